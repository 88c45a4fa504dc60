"""The statement of how an artifact was made: in-toto Statement v1 with SLSA v1 provenance over every file.

Follows slsa.dev/spec/v1.0/provenance. There is no time, no host and no invocation in it: what a build was
asked and from what it made the files is the same on any day.
"""

from collections.abc import Mapping
from typing import Any

from modelmill_artifacts import canonical, evidence
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.evidence import Evidence
from modelmill_artifacts.manifest import Manifest
from modelmill_artifacts.oms import STATEMENT

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:modelmill:build:v1"
BUILDER = "urn:modelmill"


def payload(manifest: Manifest, digests: Mapping[str, str], facts: Evidence) -> bytes:
    """The bytes of the statement over files, given the hexadecimal sha256 of each by its path."""
    return canonical.dumps(
        {
            "_type": STATEMENT,
            "subject": subjects(digests),
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {"name": manifest.name, "version": manifest.version, "target": facts.target},
                    "internalParameters": {"steps": [step.key for step in manifest.steps]},
                    "resolvedDependencies": dependencies(manifest),
                },
                "runDetails": {"builder": _builder(facts)},
            },
        }
    )


def subjects(digests: Mapping[str, str]) -> list[dict[str, Any]]:
    """One subject for each file, in the order of the paths."""
    return [{"name": path, "digest": {"sha256": digests[path]}} for path in sorted(digests)]


def dependencies(manifest: Manifest) -> list[dict[str, Any]]:
    """Every file of every locked input, in the order that the manifest has them."""
    return [
        {
            "name": file.path,
            "uri": evidence.source_purl(source),
            "digest": {"sha256": file.sha256},
            "annotations": {"source": source.name, "role": source.role, "uri": source.uri},
        }
        for source in manifest.sources
        for file in source.files
    ]


def builders(value: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    """The name and version of the engine and of each plugin that a statement says took part.

    Raises ArtifactError for a statement that does not say.
    """
    try:
        found = value["predicate"]["runDetails"]["builder"]["builderDependencies"]
        named = tuple((item["name"], item["annotations"]["version"]) for item in found)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: does not say what built the artifact") from error
    if not named or not all(isinstance(text, str) for pair in named for text in pair):
        raise ArtifactError(f"{where}: does not say what built the artifact")
    return named


def check(value: Mapping[str, Any], manifest: Manifest, digests: Mapping[str, str], where: str) -> None:
    """Refuse a statement that is not SLSA v1 provenance of exactly these files from the manifest's sources.

    Raises ArtifactError that says which part disagrees.
    """
    if value.get("_type") != STATEMENT or value.get("predicateType") != PREDICATE:
        raise ArtifactError(f"{where}: not an in-toto statement with SLSA v1 provenance")
    if value.get("subject") != subjects(digests):
        raise ArtifactError(f"{where}: its subjects are not the artifact's files with their digests")
    predicate = value.get("predicate")
    definition = predicate.get("buildDefinition") if isinstance(predicate, dict) else None
    if not isinstance(definition, dict) or definition.get("buildType") != BUILD_TYPE:
        raise ArtifactError(f"{where}: not the provenance of a modelmill build")
    if definition.get("resolvedDependencies") != dependencies(manifest):
        raise ArtifactError(f"{where}: its resolved dependencies are not the sources of artifact.json")
    asked = definition.get("externalParameters")
    if not isinstance(asked, dict) or (asked.get("name"), asked.get("version")) != (manifest.name, manifest.version):
        raise ArtifactError(f"{where}: its name and version are not those of artifact.json")
    if definition.get("internalParameters") != {"steps": [step.key for step in manifest.steps]}:
        raise ArtifactError(f"{where}: its steps are not those of artifact.json")


def _builder(facts: Evidence) -> dict[str, Any]:
    return {
        "id": BUILDER,
        "version": {item.name: item.version for item in facts.builders},
        "builderDependencies": [
            {
                "name": item.name,
                "uri": evidence.pypi_purl(item.distribution, item.version),
                "digest": {"sha256": item.sha256},
                "annotations": {"version": item.version},
            }
            for item in facts.builders
        ],
    }
