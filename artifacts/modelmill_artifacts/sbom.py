"""`sbom.cdx.json`: the artifact as a CycloneDX 1.6 ML-BOM.

Follows the CycloneDX 1.6 JSON schema (ECMA-424): the artifact is the main component with its model card, what
it derives from is its pedigree, and the steps with their tools are a formulation. A time and a random serial
number are left out, so that the same facts give the same bytes.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any

from modelmill_artifacts import canonical, evidence, licence, oms
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.evidence import Builder, Evidence, Package
from modelmill_artifacts.manifest import File, Manifest, SourceLock

SPEC_VERSION = "1.6"
ARTIFACT = "artifact"
"""The reference of the main component."""
_MODELS = frozenset({"model", "adapter"})
"""The roles of sources that an artifact descends from."""
_SETTINGS = frozenset({"chat_template", "generation_config"})
"""The roles of sources that are put into it as they are; all others are data that it was made with."""


def dump(manifest: Manifest, facts: Evidence) -> bytes:
    """The SBOM of an artifact whose manifest lists the files that the runtime loads, and no SBOM yet.

    Raises ArtifactError where it would hold a dangling reference.
    """
    bom: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "component": _artifact(manifest, facts),
            "tools": {"components": [_builder(item) for item in facts.builders]},
        },
        "formulation": [_formula(manifest, facts)],
        "dependencies": _dependencies(manifest, facts),
    }
    bom["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, canonical.sha256(bom)).urn
    check_references(bom, "sbom.cdx.json")
    return canonical.pretty(bom)


def licences(stated: str | None) -> list[dict[str, Any]]:
    """A stated licence as CycloneDX takes it: an expression where it is one of known licences, else a name."""
    if not stated:
        return []
    try:
        expression = licence.normalise(stated)
    except ArtifactError:
        return [{"license": {"name": stated}}]
    if "LicenseRef-" in expression and stated not in {expression, *licence.MODEL_LICENCES}:
        return [{"license": {"name": stated}}]
    return [{"expression": expression}]


def _artifact(manifest: Manifest, facts: Evidence) -> dict[str, Any]:
    statement = oms.statement(manifest.target, {file.path: file.sha256 for file in manifest.files})
    models = [source for source in manifest.sources if source.role in _MODELS]
    return {
        "bom-ref": ARTIFACT,
        "type": "machine-learning-model",
        "name": manifest.name,
        "version": manifest.version,
        "purl": evidence.artifact_purl(manifest.name, manifest.version, manifest.target),
        # A folder has no digest of its own: this is the one that OpenSSF Model Signing gives to the same files.
        "hashes": [_hash(statement["subject"][0]["digest"]["sha256"])],
        "components": [_file(file, f"file:{file.path}") for file in manifest.files],
        "modelCard": _model_card(manifest, facts),
        "properties": _properties({"modelmill:target": manifest.target, "modelmill:format": manifest.format}),
        **({"licenses": found} if (found := licences(manifest.licence)) else {}),
        **({"pedigree": {"ancestors": [_source(source) for source in models]}} if models else {}),
    }


def _model_card(manifest: Manifest, facts: Evidence) -> dict[str, Any]:
    parameters: dict[str, Any] = {"task": facts.task}
    if manifest.architecture:
        parameters["architectureFamily"] = manifest.architecture
    if facts.model_class:
        parameters["modelArchitecture"] = facts.model_class
    if datasets := [source for source in manifest.sources if source.role not in {*_MODELS, *_SETTINGS}]:
        parameters["datasets"] = [{"ref": _source_ref(source)} for source in datasets]
    said = {
        "modelmill:parameters": str(manifest.parameters),
        "modelmill:bitsPerWeight": json.dumps(manifest.bits_per_weight),
        **({"modelmill:quantization": manifest.scheme} if manifest.scheme else {}),
        **({"modelmill:experimental": "true"} if manifest.flags.experimental else {}),
        **facts.properties,
    }
    if manifest.hardware:
        said["modelmill:hardware"] = manifest.hardware.profile
        for name, value in manifest.hardware.requires.items():
            said[f"modelmill:hardware:{name}"] = value if isinstance(value, str) else canonical.dumps(value).decode()
    return {"modelParameters": parameters, "properties": _properties(said)}


def _formula(manifest: Manifest, facts: Evidence) -> dict[str, Any]:
    others = [source for source in manifest.sources if source.role not in _MODELS]
    components = [_source(source) for source in others] + [_package(item) for item in facts.packages]
    workflow = {
        "bom-ref": "build",
        "uid": manifest.steps[-1].key if manifest.steps else manifest.target,
        "name": manifest.target,
        "taskTypes": ["build"],
        "tasks": [_task(manifest, facts, index) for index in range(len(manifest.steps))],
    }
    return {"bom-ref": "formula", "components": components, "workflows": [workflow]}


def _task(manifest: Manifest, facts: Evidence, index: int) -> dict[str, Any]:
    step = manifest.steps[index]
    options = {f"modelmill:option:{name}": canonical.dumps(value).decode() for name, value in step.options.items()}
    toolchain = facts.toolchains.get(step.key, "")
    tools = [{"ref": evidence.package_ref(tool.name, tool.version, toolchain)} for tool in step.tools]
    return {
        "bom-ref": f"step:{index}:{step.key}",
        "uid": step.key,
        "name": step.name,
        "taskTypes": ["build"],
        "properties": _properties(
            {
                "modelmill:plugin": f"{step.plugin} {step.plugin_version}",
                "modelmill:scheme": step.scheme,
                **({"modelmill:toolchain": toolchain} if toolchain else {}),
                **options,
            }
        ),
        **({"resourceReferences": tools} if tools else {}),
    }


def _dependencies(manifest: Manifest, facts: Evidence) -> list[dict[str, Any]]:
    present = {_place(item.toolchain, item.name): item for item in facts.packages}
    found = [{"ref": ARTIFACT, "dependsOn": sorted(_source_ref(source) for source in manifest.sources)}]
    for item in facts.packages:
        needed = (_place(item.toolchain, name) for name in item.requires)
        refs = {present[place].ref for place in needed if place in present}
        found.append({"ref": item.ref, "dependsOn": sorted(refs)})
    return sorted(found, key=lambda item: str(item["ref"]))


def _place(toolchain: str, name: str) -> tuple[str, str]:
    """A distribution by its environment and its name, however that is spelt."""
    return toolchain, evidence.pypi_purl(name, "")


def _package(item: Package) -> dict[str, Any]:
    said = {
        **({"modelmill:files:sha256": item.sha256} if item.sha256 else {}),
        **({"modelmill:toolchain": item.toolchain} if item.toolchain else {}),
    }
    return {
        "bom-ref": item.ref,
        "type": "library",
        "name": item.name,
        "version": item.version,
        "purl": evidence.pypi_purl(item.name, item.version),
        **({"hashes": [_hash(item.wheel_sha256)]} if item.wheel_sha256 else {}),
        **({"licenses": found} if (found := licences(item.licence)) else {}),
        **({"properties": _properties(said)} if said else {}),
    }


def _builder(item: Builder) -> dict[str, Any]:
    return {
        "bom-ref": f"builder:{item.name}",
        "type": "application",
        "name": item.name,
        "version": item.version,
        "purl": evidence.pypi_purl(item.distribution, item.version),
        "properties": _properties({"modelmill:files:sha256": item.sha256}),
    }


def _source(source: SourceLock) -> dict[str, Any]:
    model = source.role in _MODELS
    return {
        "bom-ref": _source_ref(source),
        "type": "machine-learning-model" if model else "data",
        "name": source.uri,
        "version": source.revision,
        "purl": evidence.source_purl(source),
        "components": [_file(file, f"{_source_ref(source)}:{file.path}") for file in source.files],
        "properties": _properties({"modelmill:role": source.role}),
        **({"licenses": found} if (found := licences(source.licence)) else {}),
    }


def _source_ref(source: SourceLock) -> str:
    return f"source:{source.role}:{source.name}"


def _file(file: File, ref: str) -> dict[str, Any]:
    return {
        "bom-ref": ref,
        "type": "file",
        "name": file.path,
        "hashes": [_hash(file.sha256)],
        "properties": _properties({"modelmill:size": str(file.size)}),
    }


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _properties(said: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(said.items())]


def check_references(bom: Any, where: str) -> None:
    """Refuse a BOM with two components under one reference, or a reference to none. Raises ArtifactError."""
    defined: list[str] = []
    used: list[str] = []
    pending = [bom]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            pending.extend(node.values())
            defined.extend(_strings([node.get("bom-ref")]))
            used.extend(_strings([node.get("ref"), *(node.get("dependsOn") or ())]))
    twice = sorted(ref for ref, count in Counter(defined).items() if count > 1)
    if twice:
        raise ArtifactError(f"{where}: the reference {twice[0]!r} names two things")
    if dangling := sorted(set(used) - set(defined)):
        raise ArtifactError(f"{where}: the reference {dangling[0]!r} names nothing in it")


def _strings(values: Iterable[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]
