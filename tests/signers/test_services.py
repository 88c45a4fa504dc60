import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelmill import SignError
from modelmill.testing import SignerSuite
from modelmill_artifacts.signature import sign_statement, verify_statement
from modelmill_signers import services

MODULES = [Path("/usr/lib/softhsm/libsofthsm2.so"), *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")]
KIND = "application/vnd.in-toto+json"
needs_token = pytest.mark.skipif(
    shutil.which("softhsm2-util") is None
    or shutil.which("pkcs11-tool") is None
    or importlib.util.find_spec("pkcs11") is None,
    reason="softhsm2, opensc and python-pkcs11 are not all installed",
)


@pytest.fixture(scope="module")
def made_token(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a token with a key that was made inside it. softhsm2 looks for tokens once in a process."""
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    module = str(next(path for path in MODULES if path.exists()))
    found = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf"), "PYKCS11LIB": module, "MODELMILL_PIN": "1234"}
    init = ["softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", "1234", "--so-pin", "5678"]
    make = ["pkcs11-tool", "--module", module, "--token-label", "release", "--login", "--pin", "1234"]
    make += ["--keypairgen", "--key-type", "EC:prime256v1", "--id", "07", "--label", "release"]
    for command in (init, make):
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **found})
    return found


@pytest.fixture
def token(made_token: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a key inside a token."""
    for name, value in made_token.items():
        monkeypatch.setenv(name, value)
    return "7?label=release"


@needs_token
@pytest.mark.usefixtures("token")
class TestToken(SignerSuite):
    plugin = "modelmill_signers"
    scheme = "hsm"
    missing = "8?label=release"

    def make_key(self, folder: Path) -> str:
        del folder
        return "7?label=release"


@needs_token
def test_a_key_inside_a_token_signs(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = services.open_token(token)
    for number in range(4):
        payload = b"%d" % number
        data = sign_statement(KIND, payload, signer)
        assert verify_statement(data, [signer.public_key], "it").payload == payload
    with pytest.raises(SignError, match=r"hsm:7\?label=none: No PKCS#11 token found for label none"):
        services.open_token("7?label=none")
    with pytest.raises(SignError, match=r"hsm:8\?label=release: could not find ECDSA key"):
        services.open_token("8?label=release")
    monkeypatch.setenv("MODELMILL_PIN", "9999")
    with pytest.raises(SignError, match=r"hsm:7\?label=release: PinIncorrect"):
        services.open_token(token).sign(b"x")


def test_what_a_token_needs_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SignError, match="PYKCS11LIB, which should hold the path of the PKCS#11 module"):
        services.open_token("2")
    monkeypatch.setenv("PYKCS11LIB", "/nonexistent.so")
    with pytest.raises(SignError, match="MODELMILL_PIN, which should hold the token's PIN"):
        services.open_token("2")
    monkeypatch.setenv("MODELMILL_PIN", "1")
    with pytest.raises(SignError, match="'slot' is not a key's number"):
        services.open_token("slot")


def test_a_missing_client_library_is_named_with_the_command_that_installs_it() -> None:
    pytest.importorskip("securesystemslib")
    code = "import sys; sys.modules['boto3'] = None; from modelmill_signers import services;"
    code += "services.open_service('awskms', '1234')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SignError: awskms:1234: " in found.stderr
    assert "pip install 'modelmill[kms]' brings what is missing" in found.stderr


def test_an_incomplete_azure_key_is_refused() -> None:
    pytest.importorskip("securesystemslib")
    with pytest.raises(SignError, match="write azurekms:VAULT/KEY"):
        services.open_service("azurekms", "vault")
