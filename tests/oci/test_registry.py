"""The client against a real registry: blobs, manifests, credentials, certificates."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from oci_parts.blobs import path_of
from oci_parts.registries import RegistryServer, call, docker_config, registry_server
from oci_parts.tokens import TokenService

from modelmill import RemoteError
from modelmill_oci.access import Access, is_loopback
from modelmill_oci.content import Blob, hashed, of_bytes, of_file
from modelmill_oci.download import download
from modelmill_oci.media import EMPTY, EMPTY_BYTES, MANIFEST
from modelmill_oci.reference import parse
from modelmill_oci.registry import Registry
from modelmill_oci.upload import upload

Open = Callable[..., Registry]


def put_empty_manifest(client: Registry, tag: str) -> str:
    upload(client, of_bytes(EMPTY_BYTES))
    config = {"mediaType": EMPTY, "digest": "sha256:" + hashlib.sha256(EMPTY_BYTES).hexdigest(), "size": 2}
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [config]}
    return client.put_manifest(json.dumps(body).encode(), MANIFEST, tag)[0]


@pytest.mark.parametrize("size", [0, 1, 2, 70_000, 3_000_000, 6_000_000])
def test_a_blob_comes_back_as_it_went(
    open_registry: Open, registry: RegistryServer, make_blob: Callable[..., Blob], tmp_path: Path, size: int
) -> None:
    client, blob = open_registry(registry.host), make_blob(size)
    assert upload(client, blob) == size
    assert upload(client, blob) == 0
    assert download(client, blob.digest, size, tmp_path / "back") == size
    assert (tmp_path / "back").read_bytes() == path_of(blob).read_bytes()
    assert download(client, blob.digest, size, tmp_path / "back") == 0


def test_a_span_of_a_file_is_a_blob(open_registry: Open, registry: RegistryServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdefgh" * 10)
    part = (b"abcdefgh" * 10)[3:60]
    blob = hashed(of_file(tmp_path / "file", 80, "").content.part(3, 57))
    client = open_registry(registry.host)
    upload(client, blob)
    download(client, blob.digest, blob.size, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == part


def test_a_blob_of_another_repository_is_mounted(
    open_registry: Open, registry: RegistryServer, make_blob: Callable[..., Blob]
) -> None:
    blob = make_blob(2_000_000)
    upload(open_registry(registry.host, "team/one"), blob)
    other = open_registry(registry.host, "team/two")
    assert upload(other, blob, mount_from=("team/missing", "team/one")) == 0
    assert other.has_blob(blob.digest)


def test_a_file_that_changed_since_it_was_hashed_is_refused_by_the_registry(
    open_registry: Open, registry: RegistryServer, make_blob: Callable[..., Blob]
) -> None:
    blob = make_blob(100_000)
    path_of(blob).write_bytes(b"x" * 100_000)
    client = open_registry(registry.host)
    with pytest.raises(RemoteError, match=r"DIGEST_INVALID.*is it still what was built"):
        upload(client, blob)
    assert not client.has_blob(blob.digest)


def test_a_file_that_shrank_is_refused(
    open_registry: Open, registry: RegistryServer, make_blob: Callable[..., Blob]
) -> None:
    blob = make_blob(100_000)
    path_of(blob).write_bytes(b"x" * 1000)
    with pytest.raises(RemoteError, match="became shorter"):
        upload(open_registry(registry.host), blob)


def test_a_blob_that_is_corrupt_in_the_registry_is_refused(
    open_registry: Open, registry: RegistryServer, make_blob: Callable[..., Blob], tmp_path: Path
) -> None:
    blob = make_blob(1_000_000)
    client = open_registry(registry.host)
    upload(client, blob)
    stored = registry.blob_path(blob.digest)
    data = bytearray(stored.read_bytes())
    data[777] ^= 1
    stored.write_bytes(data)
    with pytest.raises(RemoteError, match="something other than sha256:"):
        download(client, blob.digest, blob.size, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.glob("back*"))


def test_a_blob_that_is_not_there_is_a_sentence(open_registry: Open, registry: RegistryServer, tmp_path: Path) -> None:
    client = open_registry(registry.host)
    with pytest.raises(RemoteError, match="not found: 404"):
        download(client, "sha256:" + "0" * 64, 10, tmp_path / "back")
    assert client.digest_of("nothing") is None
    assert client.manifest("nothing") is None


def test_a_manifest_is_stored_under_its_digest_and_its_tag(open_registry: Open, registry: RegistryServer) -> None:
    client = open_registry(registry.host)
    digest = put_empty_manifest(client, "1")
    assert client.digest_of("1") == digest
    found = client.manifest("1")
    assert found is not None
    assert found == client.manifest(digest)


def test_a_registry_with_passwords_is_reached_with_them(
    open_registry: Open, tmp_path: Path, make_blob: Callable[..., Blob]
) -> None:
    from oci_parts.programs import program

    line = subprocess.run([program("htpasswd"), "-Bbn", "ada", "lovelace"], capture_output=True, check=True).stdout
    (tmp_path / "htpasswd").write_bytes(line)
    auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {tmp_path}/htpasswd\n"
    blob = make_blob(1000)
    with registry_server(tmp_path / "registry", auth=auth) as server, pytest.MonkeyPatch.context() as patch:
        assert call(server, "GET", "/v2/")[0] == 401
        with pytest.raises(RemoteError, match="wants a user name and a password; docker login"):
            upload(open_registry(server.host), blob)
        patch.setenv("MODELMILL_REGISTRY_PASSWORD", "wrong")
        with pytest.raises(RemoteError, match="refuses access to team/m: 401 Unauthorized"):
            upload(open_registry(server.host, username="ada"), blob)
        patch.setenv("MODELMILL_REGISTRY_PASSWORD", "lovelace")
        assert upload(open_registry(server.host, username="ada"), blob) == 1000
        patch.delenv("MODELMILL_REGISTRY_PASSWORD")
        with pytest.raises(RemoteError, match="set the environment variable MODELMILL_REGISTRY_PASSWORD"):
            open_registry(server.host, username="ada")
        for name, value in docker_config(
            tmp_path / "docker", {"auths": {server.host: {"auth": "YWRhOmxvdmVsYWNl"}}}
        ).items():
            patch.setenv(name, value)
        assert upload(open_registry(server.host), blob) == 0


def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelmill_oci.credentials import Credentials, find

    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    helper = bin_folder / "docker-credential-safe"
    helper.write_text(
        '#!/bin/sh\nread host\n[ "$host" = r.example ] || { echo "credentials not found"; exit 1; }\n'
        'echo \'{"Username":"ada","Secret":"s3cret"}\'\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    environment = docker_config(tmp_path / "docker", {"credHelpers": {"r.example": "safe"}, "credsStore": "safe"})
    assert find("r.example", Access(), environment) == Credentials(username="ada", password="s3cret")  # noqa: S106
    assert "s3cret" not in repr(find("r.example", Access(), environment))
    assert find("other.example", Access(), environment) is None
    environment = docker_config(tmp_path / "docker", {"credHelpers": {"r.example": "missing"}})
    with pytest.raises(RemoteError, match=r"docker-credential-missing.*not installed"):
        find("r.example", Access(), environment)


def test_tokens_are_fetched_for_what_is_done_and_no_more(
    open_registry: Open,
    token_registry: RegistryServer,
    tokens: TokenService,
    make_blob: Callable[..., Blob],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MODELMILL_REGISTRY_PASSWORD", "lovelace")
    client = open_registry(token_registry.host, username="ada")
    blob = make_blob(300_000)
    assert upload(client, blob) == 300_000
    assert tokens.asked == [["repository:team/m:pull,push"]]
    reader = open_registry(token_registry.host, username="ada")
    download(reader, blob.digest, blob.size, tmp_path / "back")
    assert tokens.asked[1:] == [["repository:team/m:pull"]]
    other = open_registry(token_registry.host, "team/two", username="ada")
    assert upload(other, blob, mount_from=("team/m",)) == 0
    assert tokens.asked[-1] == ["repository:team/two:pull,push", "repository:team/m:pull"]


def test_an_expired_token_is_renewed(
    open_registry: Open,
    token_registry: RegistryServer,
    tokens: TokenService,
    make_blob: Callable[..., Blob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODELMILL_REGISTRY_PASSWORD", "lovelace")
    tokens.lifetime = -120
    client = open_registry(token_registry.host, username="ada")
    with pytest.raises(RemoteError, match="refuses access"):
        upload(client, make_blob(1000))
    tokens.lifetime = 300
    assert upload(client, make_blob(1000)) == 1000


def test_a_wrong_password_at_the_token_service_is_a_sentence(
    open_registry: Open, token_registry: RegistryServer, make_blob: Callable[..., Blob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELMILL_REGISTRY_PASSWORD", "byron")
    with pytest.raises(RemoteError, match=r"token service .* 401 Unauthorized \(DENIED: wrong password\)"):
        upload(open_registry(token_registry.host, username="ada"), make_blob(1000))


def test_tls_with_an_authority_of_ones_own(
    open_registry: Open, tls_registry: RegistryServer, make_blob: Callable[..., Blob], tmp_path: Path
) -> None:
    blob = make_blob(3_000_000)
    client = open_registry(tls_registry.host, ca_file=str(tls_registry.ca))
    assert upload(client, blob) == 3_000_000
    download(client, blob.digest, blob.size, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path_of(blob).read_bytes()


def test_a_certificate_of_another_authority_is_refused(
    open_registry: Open, tls_registry: RegistryServer, tmp_path: Path
) -> None:
    from oci_parts.certificates import certificates

    _, _, other = certificates(tmp_path / "other")
    client = open_registry(tls_registry.host, ca_file=str(other))
    with pytest.raises(RemoteError, match="certificate is not trusted"):
        client.digest_of("1")
    with pytest.raises(RemoteError, match="does not exist"):
        open_registry(tls_registry.host, ca_file=str(tmp_path / "none.pem"))


def test_plain_http_is_for_loopback_unless_asked() -> None:
    assert Registry(parse("r.example/m"), Access()).transport.url("/").startswith("https://r.example")
    assert Registry(parse("r.example/m"), Access(plain_http=True)).transport.url("/").startswith("http://r.example")
    assert [is_loopback(host) for host in ("localhost:1", "127.0.0.1:5", "[::1]:5", "::1", "127.1.2.3")] == [True] * 5
    assert [is_loopback(host) for host in ("r.example", "10.0.0.1:80", "localhost.example:1")] == [False] * 3
