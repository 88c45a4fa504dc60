import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from modelmill import SignError
from modelmill_artifacts import keys
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.signature import Signer, sign_statement, verify_statement
from modelmill_signers import create, development, modelmill_signers, pem

KIND = "application/vnd.in-toto+json"


def opened(uri: str, base: Path = Path()) -> Signer:
    scheme, _, key = uri.partition(":")
    (offer,) = [offer for offer in modelmill_signers() if offer.scheme == scheme]
    return offer.open(key, base)


def signs(signer: Signer) -> bytes:
    data = sign_statement(KIND, b'{"a":1}', signer)
    assert verify_statement(data, [signer.public_key], "it").payload == b'{"a":1}'
    return data


def test_a_new_key_signs_and_its_public_file_verifies(tmp_path: Path) -> None:
    public = create.new(tmp_path / "keys" / "release.pem")
    data = signs(opened("file:keys/release.pem", tmp_path))
    found = verify_statement(data, [keys.read(tmp_path / "keys" / "release.pub")], "it")
    assert found.key.fingerprint == public.fingerprint
    assert (tmp_path / "keys" / "release.pem").stat().st_mode & 0o777 == 0o600


def test_a_file_key_signs_the_same_bytes_twice(tmp_path: Path) -> None:
    create.new(tmp_path / "k.pem")
    assert signs(pem.open_file(tmp_path / "k.pem")) == signs(pem.open_file(tmp_path / "k.pem"))


def test_signatures_are_those_of_rfc_6979() -> None:
    """Appendix A.2.5, P-256 with SHA-256, message "sample"; the signature's s is the larger one there."""
    private = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    data = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    r, s = decode_dss_signature(pem.load(data, "rfc6979").sign(b"sample"))
    assert r == 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    assert s == 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8


def test_an_encrypted_key_takes_its_password_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create.new(tmp_path / "k.pem", password="correct horse")  # noqa: S106
    with pytest.raises(SignError, match="is encrypted; set MODELMILL_KEY_PASSWORD"):
        pem.open_file(tmp_path / "k.pem")
    monkeypatch.setenv("MODELMILL_KEY_PASSWORD", "wrong")
    with pytest.raises(SignError, match="the password in MODELMILL_KEY_PASSWORD does not open it"):
        pem.open_file(tmp_path / "k.pem")
    monkeypatch.setenv("MODELMILL_KEY_PASSWORD", "correct horse")
    signs(pem.open_file(tmp_path / "k.pem"))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_comes_from_an_environment_variable(monkeypatch: pytest.MonkeyPatch, form: PrivateFormat) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    monkeypatch.setenv("RELEASE_KEY", private.private_bytes(Encoding.PEM, form, NoEncryption()).decode())
    signs(opened("env:RELEASE_KEY"))
    monkeypatch.delenv("RELEASE_KEY")
    with pytest.raises(SignError, match="RELEASE_KEY, which should hold the signing key in PEM form, is not set"):
        opened("env:RELEASE_KEY")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create.new(tmp_path / "k.pem")
    (tmp_path / "k.pem").chmod(0o644)
    with pytest.raises(SignError, match=r"can be read by others \(mode 644\)"):
        opened("file:k.pem", tmp_path)


def test_a_key_file_that_is_not_there_or_no_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignError, match="No such file or directory; `modelmill keys new"):
        opened("file:none.pem", tmp_path)
    (tmp_path / "no.pem").write_text("hello")
    (tmp_path / "no.pem").chmod(0o600)
    with pytest.raises(SignError, match="not a private key in PEM form"):
        opened("file:no.pem", tmp_path)


@pytest.mark.parametrize(
    ("private", "said"),
    [(ec.generate_private_key(ec.SECP384R1()), "secp384r1"), (ed25519.Ed25519PrivateKey.generate(), "Ed25519")],
)
def test_another_kind_of_key_is_refused(
    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, said: str
) -> None:
    data = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(SignError, match=f"{said}.*P-256"):
        pem.load(data, "it")


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    create.new(tmp_path / "k.pem")
    with pytest.raises(ArtifactError, match="is a private key"):
        keys.read(tmp_path / "k.pem")


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    create.new(tmp_path / "k.pem")
    before = (tmp_path / "k.pem").read_bytes()
    with pytest.raises(SignError, match="there already"):
        create.new(tmp_path / "k.pem")
    assert (tmp_path / "k.pem").read_bytes() == before


def test_the_development_key_is_made_once_and_says_what_it_is() -> None:
    with pytest.raises(SignError, match="no development key"):
        development.public_key()
    data = signs(opened("development:"))
    assert b'"hint":"development-key:' in data
    assert signs(opened("development:")) == data
    assert development.public_key().development
    assert verify_statement(data, [development.public_key()], "it").key.development


def test_offering_signers_imports_neither_cryptography_nor_securesystemslib() -> None:
    code = (
        "import sys, modelmill_signers; modelmill_signers.modelmill_signers();"
        "print(sorted({'cryptography', 'securesystemslib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout == "[]\n"
