"""What a signer has to keep to: a suite that a plugin's tests subclass."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from modelmill.errors import SignError
from modelmill.testing.plugins import signer
from modelmill.testing.suite import Suite
from modelmill.types import SignerOffer
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.signature import IN_TOTO, sign_statement, verify_statement

PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'


class SignerSuite(Suite):
    """Subclass it, name the plugin and the URI's scheme, and make a key."""

    hook: ClassVar[str] = "signers"
    scheme: ClassVar[str]
    """The scheme of its keys' URIs."""
    missing: ClassVar[str | None] = "no-such-key"
    """What follows the scheme where there is no key; None for a scheme that makes its key when it is first opened."""

    @classmethod
    def names(cls) -> Iterator[str]:
        """The scheme of its keys' URIs."""
        yield cls.scheme

    def make_key(self, folder: Path) -> str:
        """Make a key, below an empty folder if it is a file; return what follows `scheme:` in its URI."""
        raise NotImplementedError("make a key to sign with: def make_key(self, folder: Path) -> str")

    @pytest.fixture
    def record(self) -> SignerOffer:
        """The offer under test."""
        return signer(self.plugin, self.scheme)

    def test_what_it_signs_verifies_with_its_public_key(self, record: SignerOffer, tmp_path: Path) -> None:
        key = self.make_key(tmp_path)
        with self._sound("sign"):
            opened = record.open(key, tmp_path)
            bundle = sign_statement(IN_TOTO, PAYLOAD, opened)
        with self._sound("its public key does not verify what it signs"):
            payload = verify_statement(bundle, [opened.public_key], "the bundle").payload
        assert payload == PAYLOAD, f"{self}: what verifies is not what was signed"

    def test_a_changed_signature_does_not_verify(self, record: SignerOffer, tmp_path: Path) -> None:
        key = self.make_key(tmp_path)
        with self._sound("sign"):
            opened = record.open(key, tmp_path)
            bundle = sign_statement(IN_TOTO, PAYLOAD, opened)
        for place in range(0, len(bundle), 7):
            changed = bundle[:place] + bytes([bundle[place] ^ 1]) + bundle[place + 1 :]
            with self._refused(ArtifactError, f"a bundle whose byte {place} is another"):
                verify_statement(changed, [opened.public_key], "the bundle")

    def test_the_same_key_opens_twice(self, record: SignerOffer, tmp_path: Path) -> None:
        key = self.make_key(tmp_path)
        with self._sound("open"):
            first, second = record.open(key, tmp_path), record.open(key, tmp_path)
        assert first.public_key == second.public_key, f"{self}: a key opened twice is two keys"

    def test_a_key_that_is_not_there_is_a_sign_error(self, record: SignerOffer, tmp_path: Path) -> None:
        if self.missing is None:
            return
        with self._refused(SignError, "a key that is not there"):
            record.open(self.missing, tmp_path)
