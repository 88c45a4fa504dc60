import json
import re
from pathlib import Path

from modelmill_artifacts import agreement, manifest, oms, policy, provenance, release
from modelmill_artifacts.manifest import SBOM
from modelmill_artifacts.policy import PolicyFile
from modelmill_signers.pem import PemSigner

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "formats.md").read_text("utf-8")
JSON = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_the_documented_examples_are_what_is_read_and_written() -> None:
    artifact, index, bundle, signature, statement, release_statement = JSON
    found = manifest.load(artifact.encode())
    listed = release.load(index.encode())
    assert listed.artifacts == (release.entry(found, artifact.encode()),)
    assert set(json.loads(bundle)) == {"dsseEnvelope", "mediaType", "verificationMaterial"}
    assert set(oms.read(json.loads(signature), "formats.md")) <= {file.path for file in found.files}
    digests = {file.path: file.sha256 for file in found.files}
    digests["artifact.json"] = listed.artifacts[0].sha256
    provenance.check(json.loads(statement), found, digests, "formats.md")
    assert json.loads(release_statement) == json.loads(release.payload(listed, index.encode()))


def test_the_documented_policy_has_every_key_and_is_read(tmp_path: Path, signer: PemSigner) -> None:
    (text,) = TOML
    (tmp_path / "release.pub").write_bytes(signer.public_key.pem)
    (tmp_path / "policy.toml").write_text(text)
    found = policy.read(tmp_path / "policy.toml")
    assert found.version == "1.0.0"
    assert re.findall(r"^(\w+) =", text, re.MULTILINE) == list(PolicyFile.__dataclass_fields__)


def test_every_property_that_an_sbom_has_is_documented(artifact: Path) -> None:
    data = (artifact / SBOM).read_text()
    agreement.check(data.encode(), manifest.read(artifact), SBOM)
    used = {re.sub(r"(option|hardware):.*", r"\1", name) for name in re.findall(r'"name": "(modelmill:[^"]*)"', data)}
    assert {name for name in used if name not in TEXT} == set()
