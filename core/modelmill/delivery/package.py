"""A built artifact → a package, by the packager that a plugin offers."""

import shutil
import uuid
from pathlib import Path
from typing import Any

from modelmill.config import Build, faults_error, profile_texts
from modelmill.decode import DecodeError, suggestion
from modelmill.errors import ConfigError, ModelmillError, PluginError
from modelmill.hardware.fit import fit
from modelmill.hardware.schema import load_profile
from modelmill.registry import Offer, Registry, fill, reader
from modelmill.types import Hardware, PackageJob, Packager
from modelmill_artifacts import manifest


def packager(registry: Registry, verb: str, form: str) -> Offer[Packager[Any]]:
    """The packager of this name that a verb offers. ConfigError lists what there is."""
    known = {name for name in registry.packagers if registry.packagers[name].record.verb == verb}
    if form not in known:
        raise ConfigError(f"nothing can {verb} as {form!r}; {registry.packagers.nearest(form, known)}")
    return registry.packagers[form]


def package_target(
    registry: Registry, offer: Offer[Packager[Any]], build: Build, target: str, dist: Path | None, folder: Path
) -> None:
    """Write the package of a target's artifact into `folder`, which appears whole or not at all."""
    if target not in build.targets:
        raise ConfigError(f"{build.path.name}: there is no target {target!r}; {suggestion(target, build.targets)}")
    base = dist or build.path.absolute().parent / "dist"
    artifact = base / build.project.name / build.project.version / target
    if not (artifact / manifest.MANIFEST).is_file():
        raise ConfigError(f"{artifact}: not built yet; run `modelmill build {target}`")
    found = manifest.read(artifact)
    if offer.record.formats and found.format not in offer.record.formats:
        raise ConfigError(
            f"{offer.record.name} packages {', '.join(offer.record.formats)}, and {target} is {found.format}"
        )
    if folder.exists():
        shutil.rmtree(folder)
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    texts = profile_texts(build.path, (build.targets[target],), registry)
    hardware = load_profile(build.targets[target].hardware, texts)
    job = PackageJob(
        artifact=artifact,
        out=temporary,
        options=_options(offer, build),
        hardware=hardware,
        root=build.path.absolute().parent,
        memory=_need(registry, hardware, artifact, found),
    )
    try:
        offer.record.package(job)
        temporary.rename(folder)
    except ModelmillError:
        raise
    except Exception as error:
        raise PluginError(f"{offer.plugin}: {offer.record.name} failed: {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _need(registry: Registry, hardware: Hardware, artifact: Path, found: manifest.Manifest) -> int | None:
    """The bytes that the fit equation gives an artifact; None where its format cannot say what is in it."""
    if found.format not in registry.formats:
        return None
    try:
        facts = registry.formats[found.format].record.facts(artifact)
    except ModelmillError:
        return None
    need = fit(hardware, facts, sum(file.size for file in found.files))
    return None if need is None or not need.complete else need.need


def _options(offer: Offer[Packager[Any]], build: Build) -> Any:
    """A packager's options from its table of build.toml; their defaults where the file has none."""
    name = offer.record.table
    try:
        return fill(reader(offer.record, offer.plugin, name), name, build.tables.get(name, {}))
    except DecodeError as error:
        if name in build.tables:
            raise faults_error(build.path, build.text, error.faults) from error
        raise ConfigError(
            f"{build.path.name}: there is no [{name}] table, of which {offer.record.name!r} takes its options: {error}"
        ) from error
