"""HashiCorp Vault's transit engine as a signer: what every signer keeps to, and what it refuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from signers_parts.services import Held, vault

from modelmill import SignError
from modelmill.testing import SignerSuite
from modelmill_signers.vault import open_key


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with vault(Held(), tmp_path) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.usefixtures("served")
class TestVault(SignerSuite):
    plugin = "modelmill_signers"
    scheme = "vault"

    def make_key(self, folder: Path) -> str:
        del folder
        return "release"


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("variable", "value", "key", "sentence"),
    [
        ("VAULT_TOKEN", "stale", "release", "vault:release: Vault answers 403 Forbidden to transit/keys/release"),
        ("VAULT_TOKEN", None, "release", "vault:release: the environment variable VAULT_TOKEN is not set"),
        ("VAULT_ADDR", "file:///etc", "release", "VAULT_ADDR is 'file:///etc', not an http or https URL"),
        ("VAULT_ADDR", "https://127.0.0.1:1", "release", "cannot ask Vault at https://127.0.0.1:1: "),
        ("VAULT_CACERT", None, "release", "certificate verify failed"),
        ("VAULT_CACERT", "/nonexistent.pem", "release", "No such file or directory"),
        ("VAULT_NAMESPACE", "team", "other", "vault:other: a key of type ed25519; signatures need ecdsa-p256"),
        ("VAULT_NAMESPACE", "team", "a/../b", r"vault:a/../b: Vault answers 404 Not Found to transit/keys/a%2F..%2Fb"),
    ],
)
def test_what_vault_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None, key: str, sentence: str
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SignError, match=sentence) as caught:
        open_key(key)
    assert "\n" not in str(caught.value)
