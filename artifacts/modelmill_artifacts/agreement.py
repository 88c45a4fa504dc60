"""Whether an SBOM says the same of an artifact as its manifest."""

from collections.abc import Iterable, Mapping
from typing import Any

from modelmill_artifacts import canonical, sbom
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.manifest import SBOM, Manifest


def check(data: bytes, manifest: Manifest, where: str) -> None:
    """Refuse an SBOM that disagrees with the manifest, or that refers to what it does not hold.

    Compares name, version, licence, files, sources with their files, and steps. Raises ArtifactError that
    says which.
    """
    bom = canonical.parse(data, where)  # its digest is signed: another spelling would be no forgery
    try:
        found = _said(bom)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: not a CycloneDX {sbom.SPEC_VERSION} ML-BOM of an artifact") from error
    for what, wanted in _wanted(manifest).items():
        if found[what] != wanted:
            raise ArtifactError(f"{where}: its {what} disagree with artifact.json")
    sbom.check_references(bom, where)


def _wanted(manifest: Manifest) -> dict[str, Any]:
    return {
        "format and version": ("CycloneDX", sbom.SPEC_VERSION),
        "name and version": (manifest.name, manifest.version),
        "licences": sbom.licences(manifest.licence),
        "files": {file.path: file.sha256 for file in manifest.files if file.path != SBOM},
        "sources": {
            (source.uri, source.revision, source.role): {file.path: file.sha256 for file in source.files}
            for source in manifest.sources
        },
        "steps": [(step.key, step.name) for step in manifest.steps],
    }


def _said(bom: Mapping[str, Any]) -> dict[str, Any]:
    artifact, formula = bom["metadata"]["component"], bom["formulation"][0]
    ancestors = artifact.get("pedigree", {}).get("ancestors", [])
    datasets = [item for item in formula["components"] if item["type"] == "data"]
    return {
        "format and version": (bom["bomFormat"], bom["specVersion"]),
        "name and version": (artifact["name"], artifact["version"]),
        "licences": artifact.get("licenses", []),
        "files": _files(artifact["components"]),
        "sources": {
            (item["name"], item["version"], _property(item, "modelmill:role")): _files(item["components"])
            for item in [*ancestors, *datasets]
        },
        "steps": [(task["uid"], task["name"]) for task in formula["workflows"][0]["tasks"]],
    }


def _files(components: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {item["name"]: item["hashes"][0]["content"] for item in components}


def _property(item: Mapping[str, Any], name: str) -> str | None:
    return next((entry["value"] for entry in item["properties"] if entry["name"] == name), None)
