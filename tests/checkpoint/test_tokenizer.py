import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill import ConvertError
from modelmill.checkpoint import (
    SentencePieceSettings,
    parse_sentencepiece,
    parse_settings,
    parse_tokenizer,
    read_tokenizer,
    summarize,
)

DEFINITION: dict[str, Any] = {
    "added_tokens": [
        {"id": 0, "content": "<s>", "special": True, "normalized": False},
        {"id": 6, "content": "<tool>", "special": False, "normalized": False},
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel"},
    "model": {
        "type": "BPE",
        "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3, "é": 4},
        "merges": [["a", "b"]],
    },
}


def test_a_summary_counts_what_another_format_stores(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(DEFINITION))
    config = {"bos_token": "<s>", "chat_template": "{{ 1 }}", "added_tokens_decoder": {}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer is not None
    summary = summarize(tokenizer)
    assert summary["model"] == "BPE"
    assert summary["normal"] == {"count": 4, "bytes": 1 + 1 + 2 + 2}
    assert summary["merges"] == {"count": 1, "bytes": 3}
    assert (summary["size"], summary["gaps"]) == (7, [[5, 6]])
    assert [token["id"] for token in summary["added_tokens"]] == [0, 6]
    assert summary["config"] == {"bos_token": "<s>"}
    assert summary["chat_template"] == "{{ 1 }}"
    assert json.loads(json.dumps(summary)) == summary


def test_old_and_new_spelling_of_merges_are_one() -> None:
    old = {**DEFINITION, "model": {**DEFINITION["model"], "merges": ["a b"]}}
    assert parse_tokenizer(old, {}).merges == parse_tokenizer(DEFINITION, {}).merges == (("a", "b"),)


def test_a_template_file_goes_before_the_entry(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(DEFINITION))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "old"}))
    (tmp_path / "chat_template.jinja").write_text("new")
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer is not None
    assert tokenizer.chat_template == "new"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": {"vocab": {"a": 1, "b": 1}}}, "'a' and 'b' have the same id 1"),
        (
            {"model": {"vocab": {"a": 1}}, "added_tokens": [{"id": 1, "content": "<b>"}]},
            "the id 1 is 'a' in its vocabulary and the added token '<b>' too",
        ),
        (
            {"added_tokens": [{"id": 1, "content": "<a>"}, {"id": 1, "content": "<b>"}]},
            "the added tokens '<a>' and '<b>' have the same id 1",
        ),
        ({"model": {"vocab": {"a": 2**40}}}, "an id below"),
        ({"model": {"vocab": {"a": True}}}, "an id below"),
        ({"model": {"merges": ["a b c"]}}, "not a merge of two tokens"),
        ({"model": {"merges": 7}}, "not a merge"),
        ({"model": []}, "its model is not an object"),
        ({"added_tokens": [3]}, "not an added token"),
        ({"added_tokens": {}}, "not a list"),
        ({"model": {"vocab": {"\ud800": 1}}}, "surrogate"),
    ],
)
def test_a_tokenizer_that_is_not_sound_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConvertError, match=sentence):
        parse_tokenizer({**DEFINITION, **change}, {})


def test_pieces_are_read_as_sentencepiece_wrote_them(tmp_path: Path) -> None:
    import sentencepiece

    words = [["model", "mill", "tensor", "weight", "größe", "build", "makes"][at * at % 7] for at in range(400)]
    text = tmp_path / "text.txt"
    text.write_text("\n".join(" ".join(words[at : at + 8]) for at in range(0, 400, 8)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "tokenizer"), vocab_size=64, model_type="bpe",
        hard_vocab_limit=False, byte_fallback=False, minloglevel=2,
    )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(str(tmp_path / "tokenizer.model"))
    ours = parse_sentencepiece((tmp_path / "tokenizer.model").read_bytes(), "tokenizer.model")
    assert [piece.text for piece in ours] == [theirs.IdToPiece(at) for at in range(theirs.vocab_size())]
    assert [piece.score for piece in ours] == [theirs.GetScore(at) for at in range(theirs.vocab_size())]
    assert [piece.type == 3 for piece in ours] == [theirs.IsControl(at) for at in range(theirs.vocab_size())]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "char", "word"])
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("flag", [True, False])
def test_settings_are_read_as_sentencepiece_wrote_them(tmp_path: Path, kind: str, rule: str, *, flag: bool) -> None:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    text = tmp_path / "text.txt"
    text.write_text("model mill tensor weight build makes\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "tokenizer"), vocab_size=40, model_type=kind,
        hard_vocab_limit=False, byte_fallback=False, minloglevel=2, normalization_rule_name=rule,
        add_dummy_prefix=flag, remove_extra_whitespaces=not flag, treat_whitespace_as_suffix=flag,
    )  # fmt: skip
    data = (tmp_path / "tokenizer.model").read_bytes()
    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    model.ParseFromString(data)
    assert parse_settings(data, "tokenizer.model") == SentencePieceSettings(
        model=kind,
        byte_fallback=False,
        whitespace_as_suffix=flag,
        normalizer=rule,
        charsmap=len(model.normalizer_spec.precompiled_charsmap),
        dummy_prefix=flag,
        remove_extra_whitespaces=not flag,
        escape_whitespaces=True,
    )
    assert bool(model.normalizer_spec.precompiled_charsmap) is (rule == "nmt_nfkc")


@pytest.mark.parametrize("parse", [parse_sentencepiece, parse_settings])
@given(data=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_a_sentencepiece_model_raise_anything_but_convert_error(
    parse: Callable[[bytes, str], object], data: bytes
) -> None:
    try:
        parse(data, "fuzz")
    except ConvertError as error:
        assert str(error).startswith("fuzz: ")  # noqa: PT017 - any other exception must fly


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(
    definition=st.fixed_dictionaries(
        {},
        optional={
            "model": values | st.fixed_dictionaries({}, optional={"vocab": values, "merges": values, "type": values}),
            "added_tokens": values
            | st.lists(st.fixed_dictionaries({}, optional={"id": values, "content": values}), max_size=2),
        },
    ),
    config=st.fixed_dictionaries({}, optional={"added_tokens_decoder": values, "chat_template": values}),
)
@settings(max_examples=300, deadline=None)
def test_no_tokenizer_json_raises_anything_but_convert_error(
    definition: dict[str, Any], config: dict[str, Any]
) -> None:
    try:
        summarize(parse_tokenizer(definition, config))
    except ConvertError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any other exception must fly
