"""Whether every name in build.toml that only plugins know is one that they offer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill.config.faults import faults_error
from modelmill.config.profiles import profile_texts
from modelmill.config.records import NAME, Build, SourceTable, Target
from modelmill.decode import Fault, suggestion
from modelmill.errors import ConfigError
from modelmill.hardware.schema import load_profile
from modelmill.registry import Offers, Registry, gives


def check_names(build: Build, registry: Registry) -> None:
    """Raise ConfigError with every unknown format, scheme, hardware profile, converter, quantizer and URI scheme."""
    faults = name_faults(build.path, build.targets, build.sources, registry)
    if faults:
        raise faults_error(build.path, build.text, faults)


def name_faults(
    path: Path, targets: Mapping[str, Target], sources: Mapping[str, SourceTable], registry: Registry
) -> list[Fault]:
    """The unknown names of a build file's targets and sources; a word that a target lacks is told elsewhere."""
    faults = [fault for target in targets.values() for fault in _target_faults(path, target, registry)]
    for name, source in sources.items():
        scheme, colon, _ = source.uri.partition(":")
        if colon and scheme not in registry.sources:
            faults.append(
                Fault(
                    ("source", name, "uri"),
                    f"unknown kind of source {scheme!r}; {registry.sources.nearest(scheme, registry.sources)}",
                )
            )
        if source.format is not None:
            faults += _unknown(("source", name, "format"), source.format, registry.formats)
    return faults


def _target_faults(file: Path, target: Target, registry: Registry) -> list[Fault]:
    path = ("target", target.name)
    faults = []
    if target.hardware_file is not None:
        faults += _profile_faults(file, target, registry)
    elif target.hardware:
        faults += _unknown((*path, "hardware"), target.hardware, registry.hardware)
    if target.format:
        faults += _unknown((*path, "format"), target.format, registry.formats)
    if target.converter is not None:
        faults += _unknown((*path, "converter"), target.converter, registry.converters)
    if target.quantizer is not None:
        faults += _unknown((*path, "quantizer"), target.quantizer, registry.quantizers)
    if target.scheme and target.format in registry.formats:
        faults += _scheme_faults((*path, "scheme"), target, registry)
    return faults


def _scheme_faults(path: tuple[str, ...], target: Target, registry: Registry) -> list[Fault]:
    """Why nothing can give a target's scheme: its format does not have it, or has it only to be read."""
    makers = [maker for _, maker in registry.makers()]
    made = {scheme for maker in makers if gives(maker) == target.format for scheme in maker.record.schemes}
    schemes = registry.formats[target.format].record.schemes
    if target.scheme in made and target.scheme in schemes:
        return []
    useful = [scheme for scheme in schemes if scheme in made]
    if target.scheme in schemes:
        given = (
            f"choose one of {', '.join(useful)}" if useful else "`modelmill plugins` lists what each plugin converts"
        )
        told = f"nothing makes {target.format} {target.scheme}, which is only read; {given}"
    else:
        hint = suggestion(target.scheme, useful)
        # Many names of schemes look alike, so that the nearest may not be meant: all are told.
        every = f" It has {', '.join(useful)}." if hint.endswith("?") else ""
        told = f"format {target.format!r} has no scheme {target.scheme!r}; {hint}{every}"
    return [Fault(path, registry.formats.beside(told))]


def _profile_faults(file: Path, target: Target, registry: Registry) -> list[Fault]:
    """What is wrong with a profile that a target names as a file."""
    path = ("target", target.name, "hardware")
    if not NAME.fullmatch(target.hardware):
        legal = "lower-case letters, digits, '.', '_', '-'"
        return [Fault(path, f"{target.hardware!r} is not a name for a hardware profile: {legal}; rename the file")]
    try:
        load_profile(target.hardware, profile_texts(file, (target,), registry))
    except ConfigError as error:
        return [Fault(path, str(error))]
    return []


def _unknown(path: tuple[str, ...], name: str, known: Offers[Any]) -> list[Fault]:
    return [] if name in known else [Fault(path, f"unknown {known.kind} {name!r}; {known.nearest(name, known)}")]
