import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelmill_artifacts import keys, part, tree
from modelmill_artifacts import policy as policies
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.evidence import Evidence
from modelmill_artifacts.manifest import Flags, Manifest
from modelmill_artifacts.package import describe
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.verify import verify
from modelmill_signers import create, pem
from modelmill_signers.pem import PemSigner


def test_an_untouched_artifact_passes(artifact: Path, policy: Policy, signer: PemSigner) -> None:
    seen: list[tuple[int, int]] = []
    found = verify(artifact, policy, progress=lambda done, total: seen.append((done, total)))
    (only,) = found.artifacts
    sizes = tree.listing(artifact)
    assert only.key == signer.public_key.fingerprint
    assert (only.files, only.bytes) == (len(sizes), sum(sizes.values()) - sizes["model.sig"])
    assert sum(done for done, _ in seen) == only.bytes
    assert {total for _, total in seen} == {only.bytes}


def test_a_renamed_or_linked_folder_passes(artifact: Path, policy: Policy) -> None:
    moved = artifact.rename(artifact.parent / "elsewhere")
    verify(moved, policy)
    (artifact.parent / "latest").symlink_to(moved)
    verify(artifact.parent / "latest", policy)


def test_a_whole_release_passes(
    tmp_path: Path, make_release: Callable[..., Path], policy: Policy, signer: PemSigner
) -> None:
    found = verify(make_release(tmp_path / "1.0.0", signer), policy)
    assert found.release is not None
    assert [item.manifest.target for item in found.artifacts] == ["laptop-onnx", "raspberry-pi-5"]


def test_of_a_release_one_target_can_be_checked_alone(
    tmp_path: Path, make_release: Callable[..., Path], policy: Policy, signer: PemSigner
) -> None:
    folder = make_release(tmp_path / "1.0.0", signer)
    for path in tree.listing(folder):
        if path.startswith("laptop-onnx"):
            (folder / path).unlink()
    (folder / "laptop-onnx" / "tokenizer").rmdir()
    (folder / "laptop-onnx").rmdir()
    assert len(verify(folder, policy, targets=["raspberry-pi-5"]).artifacts) == 1
    with pytest.raises(ArtifactError, match="'laptop-onnx' is missing"):
        verify(folder, policy)
    with pytest.raises(ArtifactError, match="no target 'phone'"):
        verify(folder, policy, targets=["phone"])


def test_a_part_that_says_so_is_verified_as_that_part_and_nothing_else_is(
    tmp_path: Path, make_release: Callable[..., Path], policy: Policy, signer: PemSigner
) -> None:
    folder = make_release(tmp_path / "1.0.0", signer)
    part.write(folder, ["raspberry-pi-5"])
    with pytest.raises(ArtifactError, match="holds the artifact 'laptop-onnx' too"):
        verify(folder, policy)
    shutil.rmtree(folder / "laptop-onnx")
    found = verify(folder, policy)
    assert ([item.manifest.target for item in found.artifacts], found.missing) == (["raspberry-pi-5"], ("laptop-onnx",))
    assert verify(folder, policy, targets=["raspberry-pi-5"]).missing == ("laptop-onnx",)
    with pytest.raises(ArtifactError, match="'laptop-onnx' is missing"):
        verify(folder, policy, targets=["laptop-onnx", "raspberry-pi-5"])
    said = (folder / part.PART).read_text()
    for old, new in (("raspberry-pi-5", "phone"), ('\n    "raspberry-pi-5"\n  ', "")):
        (folder / part.PART).write_text(said.replace(old, new))
        with pytest.raises(ArtifactError, match="its targets are not some of those"):
            verify(folder, policy)
    other = make_release(tmp_path / "1.0.1", signer, version="1.0.1")
    (other / part.PART).write_text(said)
    with pytest.raises(ArtifactError, match=r"is of another release\.json"):
        verify(other, policy)


def test_without_a_key_nothing_passes(artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="no key is trusted"):
        verify(artifact, Policy(keys=()))


def test_another_key_does_not_pass(artifact: Path, stranger: PemSigner) -> None:
    with pytest.raises(ArtifactError, match="not among the trusted"):
        verify(artifact, Policy(keys=(stranger.public_key,)))


def test_one_of_several_keys_suffices(artifact: Path, stranger: PemSigner, signer: PemSigner) -> None:
    verify(artifact, Policy(keys=(stranger.public_key, signer.public_key)))


def test_a_development_key_passes_only_when_it_is_asked_for(
    runtime_folder: Path, facts: Manifest, evidence: Evidence, tmp_path: Path
) -> None:
    public = create.new(tmp_path / "development.pem", note=keys.DEVELOPMENT_NOTE)
    describe(runtime_folder, facts, evidence, pem.open_file(tmp_path / "development.pem"))
    assert b'"hint":"development-key:' in (runtime_folder / "model.sig").read_bytes()
    with pytest.raises(ArtifactError, match="is a development key"):
        verify(runtime_folder, Policy(keys=(public,)))
    with pytest.raises(ArtifactError, match="signed by a development key"):
        verify(runtime_folder, Policy(keys=(keys.load(public.pem, "the same key without its note"),)))
    assert verify(runtime_folder, Policy(keys=(public,), development_keys=True)).artifacts[0].development


@pytest.mark.parametrize(
    ("accepts", "said"),
    [
        ({"licenses": ("MIT",)}, "does not allow the licence 'Apache-2.0'; it allows MIT"),
        ({"deny_licenses": ("apache-2.0",)}, "does not allow the licence"),
        ({"deny_formats": ("gguf",)}, "forbids the format 'gguf'"),
        ({"builders": ("modelmill==0.2",)}, r"built by modelmill 0\.1\.0"),
        ({"name": "other"}, "the policy wants 'other'"),
        ({"version": "1.0.1"}, r"the policy wants '1\.0\.1'"),
    ],
)
def test_what_the_policy_does_not_accept_is_refused(
    artifact: Path, policy: Policy, accepts: dict[str, object], said: str
) -> None:
    with pytest.raises(ArtifactError, match=said):
        verify(artifact, replace(policy, **accepts))  # type: ignore[arg-type]


def test_what_the_policy_accepts_passes(artifact: Path, policy: Policy) -> None:
    verify(
        artifact,
        replace(
            policy,
            licenses=("MIT", "apache-2.0"),
            builders=("modelmill==0.1.0",),
            deny_formats=("onnx",),
            name="smollm2-135m-instruct",
            version="1.0.0",
        ),
    )


def test_an_experimental_artifact_passes_only_when_the_policy_says_so(
    runtime_folder: Path, facts: Manifest, evidence: Evidence, signer: PemSigner, policy: Policy
) -> None:
    describe(runtime_folder, replace(facts, flags=Flags(experimental=True)), evidence, signer)
    with pytest.raises(ArtifactError, match="marked experimental"):
        verify(runtime_folder, policy)
    verify(runtime_folder, replace(policy, experimental=True))


def test_obligations_of_a_model_licence_are_reported(
    runtime_folder: Path, facts: Manifest, evidence: Evidence, signer: PemSigner, policy: Policy
) -> None:
    describe(runtime_folder, replace(facts, licence="LicenseRef-Llama-3.2"), evidence, signer)
    found = verify(runtime_folder, policy).artifacts[0].obligations
    assert any("Built with Llama" in item for item in found)


def test_a_policy_file_is_read_strictly(tmp_path: Path, signer: PemSigner) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "release.pub").write_bytes(signer.public_key.pem)
    file = tmp_path / "policy.toml"
    file.write_text('keys = ["keys/release.pub"]\nlicenses = ["MIT"]\nexperimental = true\n')
    found = policies.read(file)
    assert (found.keys[0].fingerprint, found.licenses, found.experimental) == (
        signer.public_key.fingerprint,
        ("MIT",),
        True,
    )
    for text, said in (
        ('keys = ["keys/release.pub"]\nlicences = []', "unknown key 'licences'; did you mean 'licenses'"),
        ("licenses = []", "'keys' is missing"),
        ('keys = ["keys/none.pub"]', "cannot read the public key"),
        ('keys = ["policy.toml"]', "not a public key"),
        ("keys = [", "not TOML"),
        ('keys = "keys/release.pub"', "must be an array"),
    ):
        file.write_text(text)
        with pytest.raises(ArtifactError, match=said):
            policies.read(file)
