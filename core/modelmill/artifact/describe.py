"""What a plan and its results say of an artifact: the manifest's content, with nothing of this machine or day."""

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from modelmill.artifact.usage import WEIGHTS, run_command
from modelmill.config import COMPOSED, Build
from modelmill.decode import encode
from modelmill.lock import SourceState
from modelmill.plan import Plan, PlannedTarget, Step
from modelmill.plan.records import Leaf
from modelmill.store import Result
from modelmill.store.facts import parameters
from modelmill.tree import OutFile
from modelmill_artifacts import licence as licences
from modelmill_artifacts import manifest
from modelmill_artifacts.evidence import Builder, Evidence, Package

_REQUIREMENTS = ("os.", "cpu.", "accelerator.", "memory.")


def runtime_files(planned: PlannedTarget, build: Build, result: Result) -> dict[str, OutFile]:
    """The result's files by the path that they have in the artifact."""
    rename = planned.format.record.artifact_path
    name, scheme = build.project.name, planned.target.scheme
    return {rename(file.path, name, scheme): file for file in result.files}


def describe(plan: Plan, planned: PlannedTarget, build: Build, files: Mapping[str, OutFile]) -> manifest.Manifest:
    """The manifest of an artifact, before any description file is added to its list of files."""
    facts = plan.steps[planned.key].facts
    count = parameters(planned.source.facts)
    weights = [file.size for path, file in files.items() if PurePosixPath(path).suffix in WEIGHTS]
    weight_bytes = sum(weights or [file.size for file in files.values()])
    return manifest.Manifest(
        name=build.project.name,
        version=build.project.version,
        target=planned.target.name,
        format=planned.target.format,
        scheme=planned.target.scheme,
        architecture=facts.architecture or planned.source.facts.architecture,
        parameters=count,
        bits_per_weight=round(weight_bytes * 8 / count, 4) if count else 0.0,
        licence=_licence(planned, build),
        hardware=manifest.HardwareProfile(profile=planned.target.hardware, requires=requirements(planned)),
        files=tuple(manifest.File(path=path, sha256=file.sha256, size=file.size) for path, file in files.items()),
        sources=tuple(_sources(planned)),
        steps=tuple(_step(plan.steps[key]) for key in plan.behind(planned.key)),
        flags=manifest.Flags(
            requantized=_requantized(plan, planned),
            experimental=bool(facts.details.get("experimental", False)),
        ),
        usage=run_command(planned.format.record, ".", files),
        notes=tuple(facts.details.get("notes", ())),
    )


def _licence(planned: PlannedTarget, build: Build) -> str | None:
    """The model's licence, and with it those of what was put into the model, where they say another."""
    merged = [state.locked.licence for role, state in planned.inputs.items() if role in COMPOSED]
    stated = [planned.source.locked.licence or build.project.license, *merged]
    return licences.all_of(licence for licence in stated if licence is not None)


def evidence(plan: Plan, planned: PlannedTarget) -> Evidence:
    """What SBOM and provenance say beyond the manifest; all but what was asked is in the steps' keys."""
    steps = [plan.steps[key] for key in plan.behind(planned.key)]
    pickle = str(planned.source.facts.details.get("pickle", ""))
    builders, packages = {}, {}
    for step in steps:
        plugin, engine = step.components["plugin"], step.components["engine"]
        builders["modelmill"] = Builder(
            name="modelmill", distribution="modelmill", version=engine["version"], sha256=engine["digest"]
        )
        name = plugin["module"]
        builders[name] = Builder(
            name=name, distribution=plugin["distribution"], version=plugin["version"], sha256=plugin["digest"]
        )
        toolchain = step.components.get("toolchain", "")
        for tool in step.components["tools"]:
            packages[toolchain, tool["name"]] = _package(toolchain, tool)
    return Evidence(
        target=asked(planned),
        builders=tuple(builders[name] for name in sorted(builders)),
        packages=tuple(packages[name] for name in sorted(packages)),
        model_class=planned.source.facts.architecture,
        properties={"modelmill:pickle": pickle} if pickle else {},
        toolchains={step.key: step.components["toolchain"] for step in steps if "toolchain" in step.components},
    )


def _package(toolchain: str, tool: Mapping[str, Any]) -> Package:
    """A tool of a step: of a toolchain its wheel is known, of the engine's environment its installed files."""
    return Package(
        name=tool["name"],
        version=tool["version"],
        licence=tool["licence"],
        requires=tuple(tool["requires"]),
        sha256=None if toolchain else tool["digest"],
        wheel_sha256=tool["digest"] if toolchain else None,
        toolchain=toolchain,
    )


def asked(planned: PlannedTarget) -> dict[str, Any]:
    """What the build file asks for a target, in its own words."""
    return {key: value for key, value in encode(planned.target).items() if key not in ("name", "default")}


def requirements(planned: PlannedTarget) -> dict[str, Any]:
    """What an artifact needs of its hardware: those fields of the profile that a manifest states."""
    fields = planned.hardware.fields
    return {name: value for name, value in sorted(fields.items()) if name.startswith(_REQUIREMENTS) and _plain(value)}


def _plain(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _sources(planned: PlannedTarget) -> list[manifest.SourceLock]:
    states = {"model": planned.source, **planned.inputs}
    return [_source(role, state) for role, state in states.items()]


def _source(role: str, state: SourceState) -> manifest.SourceLock:
    locked = state.locked
    return manifest.SourceLock(
        name=locked.name,
        role=role,
        uri=locked.uri,
        revision=locked.revision,
        licence=None if locked.licence is None else licences.normalise(locked.licence),
        files=tuple(manifest.File(path=file.path, sha256=file.sha256, size=file.size) for file in locked.files),
    )


def _step(step: Step) -> manifest.Step:
    plugin = step.components["plugin"]
    return manifest.Step(
        key=step.key,
        name=step.offer.record.name,
        plugin=plugin["distribution"],
        plugin_version=plugin["version"],
        scheme=step.scheme,
        options=encode(step.options),
        tools=tuple(
            manifest.Tool(name=tool["name"], version=tool["version"]) for tool in step.components.get("tools", ())
        ),
    )


def _requantized(plan: Plan, planned: PlannedTarget) -> bool:
    """Whether values that had been quantized before were quantized again on the way."""
    for key in planned.chain:
        step = plan.steps[key]
        before = step.source.source.facts if isinstance(step.source, Leaf) else plan.steps[step.source].facts
        if before.quantization is not None and step.facts.quantization not in (None, before.quantization):
            return True
    return False
