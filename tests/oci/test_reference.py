"""References are read as Docker reads them."""

import pytest

from modelmill import RequestError
from modelmill_oci.reference import Reference, parse, tagged

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5000/team/m:1.0.0", Reference(host="127.0.0.1:5000", repository="team/m", tag="1.0.0")),
        ("oci://ghcr.io/a/b", Reference(host="ghcr.io", repository="a/b")),
        ("localhost/m", Reference(host="localhost", repository="m")),
        ("m:2", Reference(host="docker.io", repository="library/m", tag="2")),
        ("ada/m", Reference(host="docker.io", repository="ada/m")),
        (f"r.example/m@{DIGEST}", Reference(host="r.example", repository="m", digest=DIGEST)),
        (f"[::1]:5000/m:1@{DIGEST}", Reference(host="[::1]:5000", repository="m", tag="1", digest=DIGEST)),
    ],
)
def test_a_reference_is_read(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "r.example/", "r.example/Upper", "r.example/m:", "r.example/m@sha256:12", "r.example/../m", "r.example/m:-x"],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    if text == "r.example/m:":
        assert parse(text).tag is None
        return
    with pytest.raises(RequestError, match="is no"):
        parse(text)


def test_a_tag_that_no_registry_takes_is_refused() -> None:
    with pytest.raises(RequestError, match="is no tag"):
        tagged(parse("r.example/m"), "1.0.0+cpu")
