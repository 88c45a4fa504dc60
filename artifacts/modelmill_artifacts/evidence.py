"""What is known of how an artifact was made beyond what its manifest says: the facts for SBOM and provenance."""

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelmill_artifacts.manifest import SourceLock


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One distribution of the tools' dependency closure.

    `licence` is what it states of itself. `requires` are the names of others of the closure, `sha256` is over
    the digests of its files; of one that was installed into a tool environment, `wheel_sha256` is its wheel's.
    `toolchain` names that environment, which may hold another version than the engine's own or another one does.
    """

    name: str
    version: str
    licence: str | None = None
    requires: tuple[str, ...] = ()
    sha256: str | None = None
    wheel_sha256: str | None = None
    toolchain: str = ""

    @property
    def ref(self) -> str:
        """What the SBOM calls it."""
        return package_ref(self.name, self.version, self.toolchain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """The engine or a plugin that took part: its import package, its distribution, and the digest of its files."""

    name: str
    distribution: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How an artifact was made.

    `target` is the target's table as build.toml has it, `builders` are modelmill itself and each plugin that
    had a step, `packages` the tools of all steps with all that they need. `model_class` is the model's own
    name of its architecture (`LlamaForCausalLM`), `task` what it is for. `toolchains` names the toolchain of each
    step that has one, by the step's key.
    """

    target: Mapping[str, Any]
    builders: tuple[Builder, ...]
    packages: tuple[Package, ...] = ()
    task: str = "text-generation"
    model_class: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    toolchains: Mapping[str, str] = field(default_factory=dict)


def pypi_purl(name: str, version: str) -> str:
    """The package URL of a Python distribution (purl-spec, type `pypi`: PEP 503 name)."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    return f"pkg:pypi/{_quote(plain)}@{_quote(version)}"


def package_ref(name: str, version: str, toolchain: str) -> str:
    """The reference of a distribution in an SBOM: its package URL, which in a toolchain may not be the only one."""
    purl = pypi_purl(name, version)
    return f"toolchain:{toolchain}:{purl}" if toolchain else purl


def artifact_purl(name: str, version: str, target: str) -> str:
    """The package URL of an artifact, which is not yet in any registry."""
    return f"{release_purl(name, version)}?target={_quote(target)}"


def release_purl(name: str, version: str) -> str:
    """The package URL of a release."""
    return f"pkg:generic/{_quote(name)}@{_quote(version)}"


def source_purl(source: SourceLock) -> str:
    """The package URL of a locked source: `huggingface`, `pypi` or `oci` where its URI is one, else `generic`."""
    scheme, _, rest = source.uri.partition(":")
    if scheme == "hf":
        path = rest.lstrip("/").partition("#")[0]
        return f"pkg:huggingface/{'/'.join(_quote(part) for part in path.split('/'))}@{_quote(source.revision.lower())}"
    if scheme == "pypi" and "==" in rest:
        name, _, version = rest.partition("#")[0].partition("==")
        return pypi_purl(name, version)
    if scheme == "oci":
        name = re.split(r"[@:]", rest.rstrip("/").rpartition("/")[2])[0]
        return f"pkg:oci/{_quote(name)}@{_quote(source.revision)}"
    found = f"pkg:generic/{_quote(source.name)}@{_quote(source.revision)}"
    return f"{found}?download_url={_quote(source.uri)}" if scheme in {"http", "https"} else found


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe=".-_~")
