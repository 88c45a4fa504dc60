"""What was published is proven to cosign, and nothing else is; oras and skopeo find what is attached."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oci_parts.programs import newer_program, program
from oci_parts.registries import RegistryServer, call

from modelmill import Published
from modelmill_oci.registry import Registry
from modelmill_signers import create, pem
from modelmill_signers.pem import PemSigner

Publish = Callable[..., Published]
INDEX = "application/vnd.oci.image.index.v1+json"
TRUST_NOBODY = {
    "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "tlogs": [],
    "certificateAuthorities": [],
    "ctlogs": [],
    "timestampAuthorities": [],
}


@pytest.fixture
def verify(tmp_path: Path, signer: PemSigner) -> Callable[..., subprocess.CompletedProcess[str]]:
    cosign = newer_program("cosign")
    (tmp_path / "root.json").write_text(json.dumps(TRUST_NOBODY))
    (tmp_path / "key.pub").write_bytes(signer.public_key.pem)

    def run(where: str, kind: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [cosign, "verify-attestation", "--new-bundle-format", "--trusted-root", str(tmp_path / "root.json")]
        command += ["--insecure-ignore-tlog=true", "--allow-insecure-registry", "--allow-http-registry"]
        command += ["--key", str(key or tmp_path / "key.pub"), "--type", kind, where]
        environment = {**os.environ, "HOME": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    return run


def packs(registry: RegistryServer) -> dict[str, str]:
    _, body = call(registry, "GET", "/v2/team/smollm2/manifests/1.0.0", {"Accept": INDEX})
    found: list[dict[str, Any]] = json.loads(body)["manifests"]
    return {
        item["annotations"]["modelmill.target"]: item["digest"]
        for item in found
        if item["annotations"]["modelmill.form"] == "modelpack"
    }


def test_cosign_verifies_every_artifact_and_the_index(
    registry: RegistryServer, release: Path, publish_release: Publish, verify: Any, tmp_path: Path
) -> None:
    published = publish_release(release, registry.host)
    name = f"{registry.host}/team/smollm2"
    for digest in packs(registry).values():
        done = verify(f"{name}@{digest}", "slsaprovenance1")
        assert done.returncode == 0, done.stderr
    done = verify(f"{name}@{published.digest}", "https://in-toto.io/attestation/release/v0.1")
    assert done.returncode == 0, done.stderr
    create.new(tmp_path / "stranger.pem")
    (tmp_path / "stranger.pub").write_bytes(pem.open_file(tmp_path / "stranger.pem").public_key.pem)
    assert verify(f"{name}@{published.digest}", "slsaprovenance1", tmp_path / "stranger.pub").returncode != 0


def test_cosign_refuses_a_manifest_that_was_changed_or_never_signed(
    registry: RegistryServer,
    release: Path,
    publish_release: Publish,
    verify: Any,
    open_registry: Callable[..., Registry],
) -> None:
    publish_release(release, registry.host)
    client = open_registry(registry.host, "team/smollm2")
    digest = packs(registry)["laptop"]
    found = client.manifest(digest)
    assert found is not None
    value = json.loads(found[1])
    value["annotations"]["org.opencontainers.image.version"] = "1.0.1"
    changed, _ = client.put_manifest(json.dumps(value).encode(), value["mediaType"])
    assert verify(f"{client.reference.name}@{changed}", "slsaprovenance1").returncode != 0
    # The signed statement of the good manifest, attached to the changed one.
    (listed,) = [item for item in client.referrers(digest) if item["artifactType"].endswith("v0.3+json")]
    referrer = client.manifest(listed["digest"])
    assert referrer is not None
    forged = json.loads(referrer[1])
    forged["subject"]["digest"] = changed
    forged["subject"]["size"] = len(json.dumps(value).encode())
    body = json.dumps(forged).encode()
    stored, _ = client.put_manifest(body, forged["mediaType"])
    entry = {
        "mediaType": forged["mediaType"],
        "digest": stored,
        "size": len(body),
        "artifactType": forged["artifactType"],
    }
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    client.put_manifest(json.dumps(index).encode(), INDEX, changed.replace(":", "-"))
    assert client.referrers(changed)
    done = verify(f"{client.reference.name}@{changed}", "slsaprovenance1")
    assert done.returncode != 0
    assert verify(f"{client.reference.name}@{digest}", "slsaprovenance1").returncode == 0


def test_oras_discovers_what_is_attached_and_pulls_the_sbom(
    registry: RegistryServer, release: Path, publish_release: Publish, tmp_path: Path
) -> None:
    publish_release(release, registry.host)
    where = f"{registry.host}/team/smollm2@{packs(registry)['laptop']}"
    oras = newer_program("oras")
    done = subprocess.run(
        [oras, "discover", "--plain-http", "--format", "json", where], capture_output=True, text=True, check=True
    )
    kinds = {item["artifactType"]: item["reference"] for item in json.loads(done.stdout)["manifests"]}
    manifest = subprocess.run(
        [oras, "manifest", "fetch", "--plain-http", kinds["application/vnd.cyclonedx+json"]],
        capture_output=True,
        check=True,
    ).stdout
    (layer,) = json.loads(manifest)["layers"]
    out = tmp_path / "sbom.json"
    blob = f"{registry.host}/team/smollm2@{layer['digest']}"
    subprocess.run([oras, "blob", "fetch", "--plain-http", "-o", str(out), blob], check=True, capture_output=True)
    assert out.read_bytes() == (release / "laptop" / "sbom.cdx.json").read_bytes()


def test_skopeo_copies_a_published_index_whole(
    registry: RegistryServer, release: Path, publish_release: Publish, tmp_path: Path
) -> None:
    published = publish_release(release, registry.host, images=True)
    source = f"docker://{registry.host}/team/smollm2:1.0.0"
    command = [program("skopeo"), "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"]
    done = subprocess.run([*command, source, f"dir:{tmp_path}/copy"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "copy" / "manifest.json").read_bytes()
    assert "sha256:" + hashlib.sha256(index).hexdigest() == published.digest
    for item in json.loads(index)["manifests"]:
        digest = item["digest"].removeprefix("sha256:")
        copied = json.loads((tmp_path / "copy" / f"{digest}.manifest.json").read_bytes())
        for layer in (copied["config"], *copied["layers"]):
            data = (tmp_path / "copy" / layer["digest"].removeprefix("sha256:")).read_bytes()
            assert "sha256:" + hashlib.sha256(data).hexdigest() == layer["digest"]
