"""What the ONNX server reads of a request, and where it ends an answer; tests of the image ask the server itself."""

from typing import Any

import pytest

from modelmill_oci.serve_onnx import RequestError, Usage, _until_stop, parse

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


def test_a_request_without_temperature_samples_and_one_of_zero_does_not() -> None:
    assert parse(HELLO).search["do_sample"] is True
    wish = parse({**HELLO, "temperature": 0, "max_tokens": 3, "max_completion_tokens": 5, "stop": "x", "stream": True})
    assert (wish.search, wish.tokens, wish.stop, wish.stream) == ({"do_sample": False}, 5, ("x",), True)


def test_parts_of_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert parse({"messages": [{"role": "user", "content": parts}]}).messages == HELLO["messages"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "must be a JSON object"),
        ({}, "'messages' must be a list"),
        ({**HELLO, "n": 2}, "'n' must be 1"),
        ({**HELLO, "temperature": "hot"}, "'temperature' must be a number from 0 to 10"),
        ({**HELLO, "max_tokens": True}, "'max_tokens' must be a number"),
        ({**HELLO, "stop": [1]}, "'stop' must be a string"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "one of system, user, assistant"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "parts of the type text only"),
    ],
)
def test_what_is_no_request_is_one_sentence(body: Any, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as caught:
        parse(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("pieces", "stop", "text", "reason"),
    [
        (["a", "b", "c"], (), "abc", "length"),
        (["one E", "ND two"], ("END",), "one ", "stop"),
        (["one E", "NT two"], ("END",), "one ENT two", "length"),
        (["x", "y", "z"], ("yz", "y"), "x", "stop"),
    ],
)
def test_an_answer_ends_before_a_stop_sequence(
    pieces: list[str], stop: tuple[str, ...], text: str, reason: str
) -> None:
    usage = Usage()
    assert "".join(_until_stop(iter(pieces), stop, usage)) == text
    assert usage.reason == reason
