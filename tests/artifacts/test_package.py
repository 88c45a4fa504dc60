from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelmill_artifacts import manifest as manifests
from modelmill_artifacts import release, tree
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.evidence import Evidence
from modelmill_artifacts.manifest import Manifest
from modelmill_artifacts.package import describe, publish_index
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.verify import verify
from modelmill_signers.pem import PemSigner

DESCRIPTIONS = ("sbom.cdx.json", "artifact.json", "provenance.sigstore.json", "model.sig")


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_each_description_has_these_bytes(artifact: Path, name: str, golden: Callable[[str, bytes], None]) -> None:
    golden(name, (artifact / name).read_bytes())


def test_a_release_index_and_its_signature_have_these_bytes(
    artifact: Path, signer: PemSigner, golden: Callable[[str, bytes], None]
) -> None:
    publish_index(artifact.parent, [artifact.name], signer)
    for name in ("release.json", "release.json.sig"):
        golden(name, (artifact.parent / name).read_bytes())


def test_the_same_facts_give_the_same_bytes_whatever_is_known_before(
    artifact: Path, tmp_path: Path, facts: Manifest, evidence: Evidence, signer: PemSigner
) -> None:
    again = tmp_path / "again"
    for path in tree.listing(artifact):
        if path not in DESCRIPTIONS:
            (again / path).parent.mkdir(parents=True, exist_ok=True)
            (again / path).write_bytes((artifact / path).read_bytes())
    describe(again, facts, evidence, signer, {"LICENSE": tree.sha256(again / "LICENSE")})
    assert [(again / name).read_bytes() for name in DESCRIPTIONS] == [
        (artifact / name).read_bytes() for name in DESCRIPTIONS
    ]


def test_files_with_known_digests_are_not_read(
    runtime_folder: Path, facts: Manifest, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {file.path: file.sha256 for file in tree.files(runtime_folder)}
    monkeypatch.setattr(tree, "sha256", lambda *_: pytest.fail("a file was read again"))
    describe(runtime_folder, facts, evidence, None, known)


def test_an_unsigned_artifact_has_neither_provenance_nor_signature_and_does_not_pass(
    runtime_folder: Path, facts: Manifest, evidence: Evidence, policy: Policy
) -> None:
    describe(runtime_folder, facts, evidence, None)
    assert set(DESCRIPTIONS) & set(tree.listing(runtime_folder)) == {"sbom.cdx.json", "artifact.json"}
    with pytest.raises(ArtifactError, match=r"is unsigned: it has no model\.sig"):
        verify(runtime_folder, policy)


def test_a_folder_is_described_once(artifact: Path, facts: Manifest, evidence: Evidence) -> None:
    with pytest.raises(ArtifactError, match=r"'artifact\.json' is there already"):
        describe(artifact, facts, evidence, None)


def test_the_manifest_returned_is_the_one_written(
    runtime_folder: Path, facts: Manifest, evidence: Evidence, signer: PemSigner
) -> None:
    returned = describe(runtime_folder, facts, evidence, signer)
    assert returned == manifests.read(runtime_folder)
    assert "sbom.cdx.json" in {file.path for file in returned.files}


def test_a_release_of_two_versions_is_refused(artifact: Path, facts: Manifest, evidence: Evidence) -> None:
    other = artifact.parent / "other"
    other.mkdir()
    (other / "x").touch()
    describe(other, replace(facts, version="2"), evidence, None)
    with pytest.raises(ArtifactError, match="one name and one version"):
        release.index(artifact.parent, ["raspberry-pi-5", "other"])


def test_a_release_index_is_read_back_equal(artifact: Path) -> None:
    found = release.index(artifact.parent, ["raspberry-pi-5"])
    assert release.load(release.dump(found)) == found
    assert found.artifacts[0].sha256 == tree.sha256(artifact / "artifact.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"artifacts": ()}, "lists no artifact"),
        ({"path": "../other"}, "leaves the folder"),
        ({"path": "release.json"}, "listed twice"),
        ({"sha256": "x"}, "64 lower-case hexadecimal"),
    ],
)
def test_an_index_that_is_not_sound_is_refused(artifact: Path, change: dict[str, Any], said: str) -> None:
    found = release.index(artifact.parent, ["raspberry-pi-5"])
    edited = (
        replace(found, **change)
        if "artifacts" in change
        else replace(found, artifacts=(replace(found.artifacts[0], **change),))
    )
    with pytest.raises(ArtifactError, match=said):
        release.dump(edited)
