"""The kit on key services, through their own clients against servers on loopback, and on the development key."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from signers_parts import services
from signers_parts.services import Held, Service

from modelmill.testing import SignerSuite

FOREIGN = ("AWS_", "AZURE_", "GOOGLE_", "GRPC_", "HTTP", "http", "NO_PROXY", "no_proxy", "REQUESTS_CA", "IDENTITY_")


@pytest.fixture(scope="class")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests of a class: gRPC reads its authorities once in a process."""
    pytest.importorskip(request.cls.client)
    with request.cls.start(Held(), tmp_path_factory.mktemp("service")) as running:
        yield running


class KeyService(SignerSuite):
    plugin = "modelmill_signers"
    client: ClassVar[str]

    start: ClassVar[Any]

    @pytest.fixture(autouse=True)
    def key(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            monkeypatch.delenv(name)
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        self.uri = service.uri

    def make_key(self, folder: Path) -> str:
        del folder
        return self.uri.partition(":")[2]


class TestAws(KeyService):
    scheme = "awskms"
    client = "boto3"
    start = staticmethod(services.aws)

    @pytest.fixture(autouse=True)
    def no_session_of_another_test(self, key: None, monkeypatch: pytest.MonkeyPatch) -> None:
        del key
        monkeypatch.setattr("boto3.DEFAULT_SESSION", None)


class TestAzure(KeyService):
    scheme = "azurekms"
    client = "azure.keyvault.keys"
    start = staticmethod(services.azure)
    missing = "release-test/none"


class TestGoogle(KeyService):
    scheme = "gcpkms"
    client = "google.cloud.kms"
    start = staticmethod(services.google)
    missing = "projects/p/locations/global/keyRings/r/cryptoKeys/none/cryptoKeyVersions/1"


class TestDevelopment(SignerSuite):
    plugin = "modelmill_signers"
    scheme = "development"
    missing = None

    def make_key(self, folder: Path) -> str:
        del folder
        return ""
