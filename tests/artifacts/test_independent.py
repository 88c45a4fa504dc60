import base64
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelmill_artifacts import signature
from modelmill_artifacts.package import publish_index
from modelmill_signers.pem import PemSigner

SCRIPTS = Path(__file__).parent / "independent"
NPM_PACKAGES = (
    "@sigstore/verify@3.1.1",
    "@sigstore/bundle@4.0.0",
    "@cyclonedx/cyclonedx-library@10.3.0",
    "ajv@8.20.0",
    "ajv-formats@3.0.1",
    "ajv-formats-draft2019@1.6.1",
)
BUNDLES = ("model.sig", "provenance.sigstore.json", "../release.json.sig")
EMPTY_ROOT = {
    "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "tlogs": [],
    "certificateAuthorities": [],
    "ctlogs": [],
    "timestampAuthorities": [],
}


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def npm(request: pytest.FixtureRequest) -> Path:
    """A folder with the npm packages and our scripts, kept between runs in pytest's cache."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder: Path = request.config.cache.mkdir("independent-npm")
    wanted = folder / "installed.txt"
    if not wanted.exists() or wanted.read_text() != "\n".join(NPM_PACKAGES):
        (folder / "package.json").write_text('{"private": true}')
        found = run("npm", "install", "--no-audit", "--no-fund", *NPM_PACKAGES, cwd=folder)
        if found.returncode:
            pytest.skip(f"npm cannot bring the packages here: {found.stderr.strip().splitlines()[-1:]}")
        wanted.write_text("\n".join(NPM_PACKAGES))
    for script in SCRIPTS.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


@pytest.fixture(scope="session")
def cosign(request: pytest.FixtureRequest) -> Path:
    """cosign from Debian 13, unpacked beside whatever Debian this is; its binary needs no newer C library."""
    if found := shutil.which("cosign"):
        return Path(found)
    folder: Path = request.config.cache.mkdir("independent-cosign")
    binary = folder / "root" / "usr" / "bin" / "cosign"
    if not binary.exists():
        if shutil.which("apt-get") is None:
            pytest.skip("cosign is not installed, and there is no apt to bring it")
        _unpack_cosign(folder)
    return binary


def _unpack_cosign(folder: Path) -> None:
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI)|$(LABEL)", "Created-By: Packages").stdout
    mirror = next((line.partition("|")[0] for line in listed.splitlines() if line.endswith("|Debian")), None)
    if mirror is None:
        pytest.skip("cosign is not installed, and apt knows no Debian mirror to bring it from")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} trixie main\n")
    own = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Dir::State::status": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    options = [part for name, value in own.items() for part in ("-o", f"{name}={value}")]
    for command in (["apt-get", *options, "update"], ["apt-get", *options, "download", "cosign"]):
        found = run(*command, cwd=folder)
        if found.returncode:
            pytest.skip(f"apt cannot bring cosign here: {found.stderr.strip().splitlines()[-1:]}")
    (package,) = folder.glob("cosign_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)


@pytest.fixture
def public_key(tmp_path: Path, signer: PemSigner) -> Path:
    path = tmp_path / "release.pub"
    path.write_bytes(signer.public_key.pem)
    return path


@pytest.fixture
def strange_key(tmp_path: Path, stranger: PemSigner) -> Path:
    path = tmp_path / "stranger.pub"
    path.write_bytes(stranger.public_key.pem)
    return path


@pytest.fixture
def released(artifact: Path, signer: PemSigner) -> Path:
    publish_index(artifact.parent, [artifact.name], signer)
    return artifact


def openssl_verifies(bundle: Path, key: Path, scratch: Path) -> bool:
    envelope = json.loads(bundle.read_bytes())["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    (scratch / "pae").write_bytes(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload)
    (scratch / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    found = run("openssl", "dgst", "-sha256", "-verify", key, "-signature", scratch / "sig", scratch / "pae")
    return found.returncode == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("bundle", BUNDLES)
def test_openssl_verifies(released: Path, bundle: str, public_key: Path, strange_key: Path, tmp_path: Path) -> None:
    assert openssl_verifies(released / bundle, public_key, tmp_path)
    assert not openssl_verifies(released / bundle, strange_key, tmp_path)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_sigstore_verify_of_npm_verifies(
    released: Path, bundle: str, public_key: Path, strange_key: Path, npm: Path
) -> None:
    assert run("node", npm / "verify.mjs", released / bundle, public_key).stdout == "verified\n"
    assert run("node", npm / "verify.mjs", released / bundle, strange_key).returncode != 0


def model_signing_verifies(artifact: Path, key: Path) -> bool:
    pytest.importorskip("model_signing")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "model_signing",
        "verify",
        "key",
        artifact,
        "--no-ignore-git-paths",
    ]
    return run(*command, "--public_key", key, "--signature", artifact / "model.sig").returncode == 0


def test_model_signing_verifies(artifact: Path, public_key: Path, strange_key: Path) -> None:
    assert model_signing_verifies(artifact, public_key)
    assert not model_signing_verifies(artifact, strange_key)


@pytest.mark.parametrize("name", ["LICENSE", ".git/hook.py", "model-Q4_K_M.gguf"])
def test_model_signing_refuses_what_was_changed(artifact: Path, public_key: Path, name: str) -> None:
    (artifact / name).parent.mkdir(exist_ok=True)
    (artifact / name).write_text("changed")
    assert not model_signing_verifies(artifact, public_key)


def cosign_verifies(cosign: Path, bundle: Path, key: Path, blob: Path, scratch: Path) -> bool:
    (scratch / "root.json").write_text(json.dumps(EMPTY_ROOT))
    command: list[str | Path] = [
        cosign,
        "verify-blob-attestation",
        "--new-bundle-format",
        "--trusted-root",
        scratch / "root.json",
    ]
    command += ["--insecure-ignore-tlog=true", "--key", key, "--bundle", bundle, blob]
    return run(*command).returncode == 0


def test_cosign_verifies_the_signature_over_all_digests(
    artifact: Path, public_key: Path, strange_key: Path, cosign: Path, tmp_path: Path, signer: PemSigner
) -> None:
    statement, _ = signature.statement((artifact / "model.sig").read_bytes(), [signer.public_key], "model.sig")
    blob = tmp_path / "digests"
    paths = [item["name"] for item in statement["predicate"]["resources"]]
    blob.write_bytes(b"".join(hashlib.sha256((artifact / path).read_bytes()).digest() for path in paths))
    assert cosign_verifies(cosign, artifact / "model.sig", public_key, blob, tmp_path)
    assert not cosign_verifies(cosign, artifact / "model.sig", strange_key, blob, tmp_path)
    blob.write_bytes(b"other")
    assert not cosign_verifies(cosign, artifact / "model.sig", public_key, blob, tmp_path)


def test_cosign_verifies_provenance_of_each_file_and_the_index(
    released: Path, public_key: Path, cosign: Path, tmp_path: Path
) -> None:
    provenance = released / "provenance.sigstore.json"
    for name in ("model-Q4_K_M.gguf", "LICENSE", "sbom.cdx.json", "artifact.json"):
        assert cosign_verifies(cosign, provenance, public_key, released / name, tmp_path)
    assert not cosign_verifies(cosign, provenance, public_key, released / "model.sig", tmp_path)
    index = released.parent / "release.json"
    assert cosign_verifies(cosign, index.with_name("release.json.sig"), public_key, index, tmp_path)
    index.write_bytes(index.read_bytes() + b" ")
    assert not cosign_verifies(cosign, index.with_name("release.json.sig"), public_key, index, tmp_path)


def broken_boms(data: bytes) -> list[str]:
    def task_type(bom: dict[str, object]) -> None:
        bom["formulation"][0]["workflows"][0]["taskTypes"] = ["brew"]  # type: ignore[index]

    def card(bom: dict[str, object]) -> None:
        bom["metadata"]["component"]["modelCard"]["size"] = 1  # type: ignore[index]

    def digest(bom: dict[str, object]) -> None:
        bom["metadata"]["component"]["hashes"][0]["content"] = "x"  # type: ignore[index]

    found = []
    for spoil in (task_type, card, digest):
        bom = json.loads(data)
        spoil(bom)
        found.append(json.dumps(bom))
    return found


def test_cyclonedx_of_python_finds_the_sbom_strictly_valid(artifact: Path) -> None:
    json_validation = pytest.importorskip("cyclonedx.validation.json")
    versions = pytest.importorskip("cyclonedx.schema").SchemaVersion
    validator = json_validation.JsonStrictValidator(versions.V1_6)
    assert validator.validate_str((artifact / "sbom.cdx.json").read_text()) is None
    for bom in broken_boms((artifact / "sbom.cdx.json").read_bytes()):
        assert validator.validate_str(bom) is not None


def test_cyclonedx_of_npm_finds_the_sbom_strictly_valid(artifact: Path, npm: Path, tmp_path: Path) -> None:
    assert run("node", npm / "validate.mjs", artifact / "sbom.cdx.json").stdout == "valid\n"
    for bom in broken_boms((artifact / "sbom.cdx.json").read_bytes()):
        (tmp_path / "broken.json").write_text(bom)
        assert run("node", npm / "validate.mjs", tmp_path / "broken.json").returncode == 1
