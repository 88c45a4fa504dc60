"""Fixtures: real registries of four kinds, and a proxy that injects faults."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import disks
import pytest
from oci_parts.certificates import certificates
from oci_parts.faults import FaultProxy, fault_proxy
from oci_parts.registries import RegistryServer, registry_server
from oci_parts.releases import write_release
from oci_parts.tokens import TokenService, token_service

import modelmill_oci
from modelmill import Publication, Published, Pulled, PullJob
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.signature import IN_TOTO, sign_statement
from modelmill_artifacts.verify import verify
from modelmill_oci.access import Access
from modelmill_oci.content import Blob, of_file
from modelmill_oci.reference import parse
from modelmill_oci.registry import Registry
from modelmill_signers import create, pem
from modelmill_signers.pem import PemSigner


@pytest.fixture(autouse=True)
def no_docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's real credentials take part."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker-config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with registry_server(tmp_path / "registry") as server:
        yield server


@pytest.fixture
def proxy(registry: RegistryServer, request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    with fault_proxy(registry.port) as running:
        yield running
    request.node.user_properties.append(("faults injected between client and registry", running.injected))


@pytest.fixture
def tls_registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with registry_server(tmp_path / "registry", tls=certificates(tmp_path / "certificates")) as server:
        yield server


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenService]:
    certificate, key, _ = certificates(tmp_path / "token-certificates")
    with token_service(certificate, key, {"ada": "lovelace"}) as service:
        yield service


@pytest.fixture
def token_registry(tmp_path: Path, tokens: TokenService) -> Iterator[RegistryServer]:
    bundle = tmp_path / "token-certificates" / "ca.pem"
    with registry_server(tmp_path / "registry", auth=tokens.auth(bundle)) as server:
        yield server


@pytest.fixture
def open_registry() -> Iterator[Callable[..., Registry]]:
    """The client under test, impatient so that tests are fast."""
    with contextlib.ExitStack() as stack:

        def make(host: str, repository: str = "team/m", **options: object) -> Registry:
            access = Access(**{"backoff": 0.01, **options})  # type: ignore[arg-type]
            return stack.enter_context(Registry(parse(f"{host}/{repository}:1"), access))

        yield make


@pytest.fixture
def make_blob(tmp_path: Path) -> Callable[..., Blob]:
    def make(size: int, seed: int = 1) -> Blob:
        block = hashlib.shake_128(seed.to_bytes(4, "big")).digest(1 << 16)
        data = (block * (size // len(block) + 1))[:size]
        path = tmp_path / f"blob-{seed}-{size}"
        path.write_bytes(data)
        return of_file(path, size, "sha256:" + hashlib.sha256(data).hexdigest())

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    with disks.small(tmp_path / "disk", "16m") as folder:
        yield folder


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> PemSigner:
    path = tmp_path_factory.mktemp("keys") / "release.pem"
    create.new(path)
    return pem.open_file(path)


@pytest.fixture
def release(tmp_path: Path, signer: PemSigner) -> Path:
    return write_release(tmp_path / "dist" / "smollm2" / "1.0.0", signer)


@pytest.fixture
def publish_release(signer: PemSigner) -> Callable[..., Published]:
    """Publish a folder as the core's verb does."""

    def publish(folder: Path, host: str, *, tag: str = "", signed: bool = True, **options: Any) -> Published:
        (remote,) = modelmill_oci.modelmill_remotes()
        sign = (lambda data: sign_statement(IN_TOTO, data, signer)) if signed else None
        where = f"{host}/{options.pop('repository', 'team/smollm2')}{tag}"
        access = Access(**{"backoff": 0.01, **options})
        return remote.publish(Publication(release=folder, reference=where, options=access, sign=sign, report=print))

    return publish


@pytest.fixture
def pull_release(signer: PemSigner, tmp_path: Path) -> Callable[..., Pulled]:
    """Pull into a folder as the core's verb does: verified with the release's key."""

    def pull(host: str, output: Path, *, tag: str = ":1.0.0", **fields: Any) -> Pulled:
        (remote,) = modelmill_oci.modelmill_remotes()
        access = Access(backoff=0.01, **fields.pop("access", {}))
        accepts = Policy(keys=(fields.pop("key", signer).public_key,))
        return remote.pull(
            PullJob(
                reference=f"{host}/team/smollm2{tag}",
                output=output,
                scratch=tmp_path / "scratch",
                options=access,
                verify=lambda folder, target: void(verify(folder, accepts, targets=[target])),
                report=print,
                **fields,
            )
        )

    return pull


def void(_: object) -> None:
    pass
