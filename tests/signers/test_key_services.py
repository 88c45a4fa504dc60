"""Key services sign whole builds, through their own clients, against servers on loopback that speak their protocols."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from signers_parts import services
from signers_parts.services import Held, Service

from modelmill.testing.checkpoints import make_checkpoint
from modelmill_artifacts.signature import pae

SERVICES: dict[str, tuple[Any, str]] = {
    "aws": (services.aws, "boto3"),
    "azure": (services.azure, "azure.keyvault.keys"),
    "google": (services.google, "google.cloud.kms"),
    "vault": (services.vault, "ssl"),
}
CLI = ("-m", "modelmill")
FOREIGN = ("AWS_", "AZURE_", "GOOGLE_", "VAULT_", "HTTP", "http", "NO_PROXY", "no_proxy", "REQUESTS_CA", "IDENTITY_")


@pytest.fixture(params=SERVICES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A function that starts a service around a key, ended after the test."""
    start, client = SERVICES[request.param]
    pytest.importorskip(client)
    with ExitStack() as stack:
        yield lambda held: stack.enter_context(start(held, tmp_path))


def run(folder: Path, service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    places = {"MODELMILL_STORE": str(folder / "store"), "XDG_DATA_HOME": str(folder / "data"), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**own, **places, **service.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def build(folder: Path, service: Service) -> subprocess.CompletedProcess[str]:
    make_checkpoint(folder / "checkpoint", "llama")
    (folder / "build.toml").write_text(
        '[project]\nname = "tiny"\nversion = "1"\nlicense = "MIT"\n[source.base]\nuri = "path:checkpoint"\n'
        '[target.a]\nsource = "base"\nhardware = "x86-64-v3"\nformat = "gguf"\nscheme = "BF16"\n'
        f'[sign]\nkey = "{service.uri}"\n'
    )
    return run(folder, service, *CLI, "build")


def test_a_build_is_signed_and_everybody_verifies_it(make: Any, tmp_path: Path) -> None:
    held = Held()
    service = make(held)
    done = build(tmp_path, service)
    assert done.returncode == 0, done.stderr
    shown = run(tmp_path, service, *CLI, "keys", "show", service.uri)
    assert shown.stdout.encode() == held.public(Encoding.PEM)
    (tmp_path / "release.pub").write_text(shown.stdout)
    release = tmp_path / "dist" / "tiny" / "1"
    assert run(tmp_path, service, *CLI, "verify", str(release), "--key", "release.pub").returncode == 0
    check_with_openssl(release / "a" / "model.sig", tmp_path)
    if shutil.which("model_signing", path=str(Path(sys.executable).parent)):
        check_with_model_signing(release / "a", tmp_path / "release.pub")


def check_with_openssl(bundle: Path, folder: Path) -> None:
    envelope = json.loads(bundle.read_text())["dsseEnvelope"]
    (folder / "signed").write_bytes(pae(envelope["payloadType"], base64.b64decode(envelope["payload"])))
    (folder / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    words = ["openssl", "dgst", "-sha256", "-verify", "release.pub", "-signature", "signature", "signed"]
    found = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert found.stdout == "Verified OK\n", found.stderr


def check_with_model_signing(artifact: Path, public: Path) -> None:
    tool = Path(sys.executable).parent / "model_signing"
    words = [tool, "verify", "key", artifact, "--signature", artifact / "model.sig", "--public_key", public]
    words += ["--no-ignore-git-paths", "--ignore-paths", artifact / "model.sig"]
    found = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


SIGN = """
import sys
from modelmill.registry import load
from modelmill.build.sign import open_key
from pathlib import Path
from modelmill_artifacts.signature import sign_statement
sign_statement("application/vnd.in-toto+json", b"{}", open_key(sys.argv[1], Path(), load()))
"""


def test_a_service_that_signs_another_digest_is_found_out(make: Any, tmp_path: Path) -> None:
    service = make(Held(hashes_again=True))
    done = run(tmp_path, service, "-c", SIGN, service.uri)
    assert done.returncode != 0
    assert "the signature is not one that" in done.stderr


def test_a_key_that_is_not_there_is_one_sentence(make: Any, tmp_path: Path) -> None:
    service = make(Held())
    name = service.uri.replace("release/crypto", "none/crypto").replace("/signing", "/none")
    name = name.replace("alias/release", "alias/none").replace("vault:release", "vault:none")
    done = run(tmp_path, service, *CLI, "keys", "show", name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"modelmill: {name}: ")
    assert "Traceback" not in done.stderr
