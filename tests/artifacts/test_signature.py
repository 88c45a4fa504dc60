import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from modelmill_artifacts import canonical, oms, signature
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.signature import IN_TOTO, sign_statement, statement, verify_statement
from modelmill_signers.pem import PemSigner

PAYLOAD = canonical.dumps({"a": "ü"})


@pytest.fixture
def bundle(signer: PemSigner) -> bytes:
    return sign_statement(IN_TOTO, PAYLOAD, signer)


def test_a_bundle_gives_back_what_was_signed(bundle: bytes, signer: PemSigner) -> None:
    assert verify_statement(bundle, [signer.public_key], "it").payload == PAYLOAD
    assert statement(bundle, [signer.public_key], "it")[0] == {"a": "ü"}


def test_the_encoding_that_is_signed_is_that_of_the_dsse_specification() -> None:
    """The example of DSSE's protocol.md."""
    assert signature.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def edited(bundle: bytes, edit: Callable[[Any], Any]) -> bytes:
    value = json.loads(bundle)
    edit(value)
    return canonical.dumps(value)


def mirrored(value: Any) -> None:
    """The other number that makes the same ECDSA signature valid."""
    found = value["dsseEnvelope"]["signatures"][0]
    r, s = decode_dss_signature(base64.b64decode(found["sig"]))
    found["sig"] = base64.b64encode(encode_dss_signature(r, signature._ORDER - s)).decode()


def padded(value: Any) -> None:
    found = value["dsseEnvelope"]["signatures"][0]
    found["sig"] = base64.b64encode(base64.b64decode(found["sig"]) + b"\0").decode()


@pytest.mark.parametrize(
    "edit",
    [
        mirrored,
        padded,
        lambda value: value.update(extra=1),
        lambda value: value.update(mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"),
        lambda value: value["dsseEnvelope"]["signatures"].append(value["dsseEnvelope"]["signatures"][0]),
        lambda value: value["dsseEnvelope"]["signatures"].clear(),
        lambda value: value["dsseEnvelope"]["signatures"][0].update(keyid="x"),
        lambda value: value["dsseEnvelope"]["signatures"][0].update(sig="####"),
        lambda value: value["dsseEnvelope"].update(payloadType="text/plain"),
        lambda value: value["dsseEnvelope"].update(payloadType=1),
        lambda value: value["dsseEnvelope"].update(payload=base64.b64encode(b"{}").decode()),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint="0" * 64),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint=None),
        lambda value: value["verificationMaterial"]["publicKey"].clear(),
        lambda value: value["verificationMaterial"]["tlogEntries"].append({}),
        lambda value: value.clear(),
    ],
)
def test_a_bundle_that_is_not_exactly_what_was_written_is_refused(
    bundle: bytes, signer: PemSigner, edit: Callable[[Any], Any]
) -> None:
    with pytest.raises(ArtifactError, match=r"^it: "):
        verify_statement(edited(bundle, edit), [signer.public_key], "it")


def test_the_mirrored_signature_is_mathematically_valid(bundle: bytes, signer: PemSigner) -> None:
    """Else the refusal above would prove nothing."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    sig = json.loads(edited(bundle, mirrored))["dsseEnvelope"]["signatures"][0]["sig"]
    data = signature.pae(IN_TOTO, PAYLOAD)
    signer.private.public_key().verify(base64.b64decode(sig), data, ECDSA(SHA256()))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\x00", b'"x"', b"1", b'{"dsseEnvelope":[]}'])
def test_bytes_that_are_no_bundle_are_refused(signer: PemSigner, data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^it: "):
        verify_statement(data, [signer.public_key], "it")


def test_a_statement_of_another_type_is_refused(signer: PemSigner) -> None:
    data = sign_statement("text/plain", PAYLOAD, signer)
    with pytest.raises(ArtifactError, match="payload of type 'text/plain'"):
        statement(data, [signer.public_key], "it")


def test_a_signer_that_signs_with_another_key_is_found_out(signer: PemSigner, stranger: PemSigner) -> None:
    from dataclasses import replace

    with pytest.raises(ArtifactError, match="the new signature: "):
        sign_statement(IN_TOTO, PAYLOAD, replace(signer, private=stranger.private))


@given(
    st.dictionaries(st.text("abcdef./-", min_size=1, max_size=6), st.binary(min_size=32, max_size=32).map(bytes.hex))
)
def test_an_oms_statement_is_read_back_or_refused_for_its_paths(digests: dict[str, str]) -> None:
    value = json.loads(oms.payload("name", digests))
    odd = [path for path in digests if "//" in f"/{path}/" or {".", ".."} & set(path.split("/")) or path.endswith(".")]
    odd += [path for path in digests if any(part.endswith(".") for part in path.split("/"))]
    odd += [path for path in digests if any(other.startswith(f"{path}/") for other in digests)]
    if odd:
        with pytest.raises(ArtifactError, match="it: "):
            oms.read(value, "it")
    else:
        assert oms.read(value, "it") == digests


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value["predicate"]["serialization"].update(allow_symlinks=True),
        lambda value: value["predicate"]["serialization"].update(ignore_paths=[".git"]),
        lambda value: value["predicate"]["serialization"].update(method="shards"),
        lambda value: value["predicate"]["resources"][0].update(algorithm="md5"),
        lambda value: value["predicate"]["resources"].append(value["predicate"]["resources"][0]),
        lambda value: value["predicate"]["resources"].pop(),
        lambda value: value["subject"].append(value["subject"][0]),
        lambda value: value["subject"][0]["digest"].update(sha256="0" * 64),
        lambda value: value.update(predicateType="https://model_signing/Digests/v0.1"),
        lambda value: value.pop("predicate"),
        lambda value: value.update(subject=None),
    ],
)
def test_a_statement_that_is_not_a_model_signature_is_refused(edit: Callable[[Any], Any]) -> None:
    value = json.loads(oms.payload("name", {"a": "0" * 64, "b": "1" * 64}))
    edit(value)
    with pytest.raises(ArtifactError, match=r"^it: "):
        oms.read(value, "it")
