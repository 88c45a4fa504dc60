import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import convert, predicted

from modelmill import ConvertError
from modelmill.testing import make_checkpoint
from modelmill_gguf.fields import value
from modelmill_gguf.header import read_header
from reference import llama

SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Prepend", "prepend": "▁"}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
IDLE = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
TEXTS = ("The quick brown fox", "a  b\n\n c\t d  ", "日本語 🚀", "don't 12345", "")


def sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_model(path: Path, change: Callable[[Any], None]) -> None:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    model.ParseFromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())


def prepared(folder: Path, normalizer: Any, splitter: Any, **model: Any) -> Path:
    """A checkpoint with a sentencepiece tokenizer whose text is prepared in another way."""
    source = make_checkpoint(folder, "mistral")

    def change(tokenizer: dict[str, Any]) -> None:
        tokenizer.update(normalizer=normalizer, pre_tokenizer=splitter)
        tokenizer["model"].update(model)

    edit(source / "tokenizer.json", change)
    return source


@pytest.mark.parametrize("with_model", [True, False], ids=["tokenizer.model", "alone"])
@pytest.mark.parametrize(
    ("normalizer", "splitter"),
    [
        pytest.param(sequence(PREPEND, SPACES), None, id="Llama 2, Mistral 0.1, Phi-3"),
        pytest.param(None, METASPACE, id="Mistral 0.3, and what transformers 5 saves"),
        pytest.param(None, METASPACE | {"prepend_scheme": "always"}, id="transformers 4.40"),
        pytest.param(None, METASPACE | {"prepend_scheme": "never"}, id="without a prefix"),
        pytest.param(SPACES, IDLE, id="Gemma"),
        pytest.param(sequence(SPACES), None, id="the least"),
    ],
)
def test_what_sentencepieces_tokenizer_json_says_is_what_llama_cpp_does(
    tmp_path: Path, normalizer: Any, splitter: Any, *, with_model: bool
) -> None:
    from tokenizers import Tokenizer

    source = prepared(tmp_path / "source", normalizer, splitter)
    if not with_model:
        (source / "tokenizer.model").unlink()
    file = convert(source, tmp_path / "out", "F32") / "model.gguf"
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    with llama.loaded(file) as model:
        for text in TEXTS:
            ours = model.tokenize(text.encode(), add_bos=False, special=True)
            assert ours == tokenizer.encode(text, add_special_tokens=False).ids, text
    assert dict(predicted(source, "F32").files) == {"model.gguf": file.stat().st_size}


def test_a_word_start_before_the_text_alone_is_told_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(prepared(tmp_path / "always", sequence(PREPEND, SPACES), None), tmp_path / "one", "F32")
    assert capsys.readouterr().out == ""
    convert(prepared(tmp_path / "first", None, METASPACE), tmp_path / "two", "F32")
    assert "llama.cpp behind each special token too" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("normalizer", "splitter", "model"),
    [
        pytest.param(sequence({"type": "Lowercase"}, SPACES), None, {}, id="lower case"),
        pytest.param({"type": "Lowercase"}, BYTES, {}, id="lower case and bytes"),
        pytest.param(sequence({"type": "NFKC"}, PREPEND, SPACES), None, {}, id="NFKC"),
        pytest.param(sequence({"type": "Strip", "strip_left": True}, SPACES), None, {}, id="strips"),
        pytest.param(SPACES | {"content": "_"}, None, {}, id="another word start"),
        pytest.param(SPACES, BYTES, {}, id="bytes"),
        pytest.param(SPACES, METASPACE, {}, id="both ways"),
        pytest.param(None, None, {}, id="spaces as they are"),
        pytest.param(None, IDLE, {}, id="a split that is not idle"),
        pytest.param(None, METASPACE | {"split": True}, {}, id="splits"),
        pytest.param(None, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}, {}, id="splits unsaid"),
        pytest.param(None, METASPACE | {"replacement": "_"}, {}, id="another replacement"),
        pytest.param(SPACES, None, {"ignore_merges": True}, id="whole words first"),
        pytest.param(SPACES, None, {"end_of_word_suffix": "</w>"}, id="suffix"),
        pytest.param({"type": "Sequence", "normalizers": 3}, None, {}, id="no list"),
        pytest.param(3, [4], {}, id="nothing at all"),
    ],
)
@pytest.mark.parametrize("with_model", [True, False], ids=["tokenizer.model", "alone"])
def test_a_tokenizer_json_that_does_anything_else_is_refused_and_shown(
    tmp_path: Path, normalizer: Any, splitter: Any, model: dict[str, Any], *, with_model: bool
) -> None:
    source = prepared(tmp_path / "source", normalizer, splitter, **model)
    if not with_model:
        (source / "tokenizer.model").unlink()
    shown = json.dumps({"normalizer": normalizer, "pre_tokenizer": splitter}, ensure_ascii=False)[:-1]
    with pytest.raises(ConvertError) as error:
        predicted(source)
    assert shown in str(error.value)
    assert all(json.dumps(model)[1:-1] in str(error.value) for model in [model])


def test_a_unigram_tokenizer_json_is_refused_beside_a_tokenizer_model(tmp_path: Path) -> None:
    source = prepared(tmp_path / "source", sequence(PREPEND, SPACES), None, type="Unigram")
    with pytest.raises(ConvertError, match='"type": "Unigram"'):
        predicted(source)


@pytest.mark.parametrize("without", [(), ("tokenizer.json", "tokenizer_config.json")], ids=["beside", "alone"])
@pytest.mark.parametrize(
    ("part", "key", "setting", "shown"),
    [
        ("trainer_spec", "model_type", 1, '"model": "unigram"'),
        ("trainer_spec", "model_type", 3, '"model": "word"'),
        ("trainer_spec", "byte_fallback", False, '"byte_fallback": false'),
        ("trainer_spec", "treat_whitespace_as_suffix", True, '"whitespace_as_suffix": true'),
        ("normalizer_spec", "precompiled_charsmap", b"\x04\x00\x00\x00abcd", '"charsmap": 8'),
        ("normalizer_spec", "remove_extra_whitespaces", True, '"remove_extra_whitespaces": true'),
        ("normalizer_spec", "escape_whitespaces", False, '"escape_whitespaces": false'),
    ],
)
def test_a_tokenizer_model_that_does_anything_else_is_refused_and_shown(
    tmp_path: Path, without: tuple[str, ...], part: str, key: str, setting: Any, shown: str
) -> None:
    source = make_checkpoint(tmp_path / "source", "mistral")
    edit_model(source / "tokenizer.model", lambda model: setattr(getattr(model, part), key, setting))
    for name in without:
        (source / name).unlink()
    with pytest.raises(ConvertError, match=rf"tokenizer\.model does what .*{shown}"):
        predicted(source)


def test_a_tokenizer_model_that_says_nothing_of_itself_is_a_unigram_model(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "mistral")
    edit_model(source / "tokenizer.model", lambda model: model.ClearField("trainer_spec"))
    with pytest.raises(ConvertError, match='"model": "unigram"'):
        predicted(source)


@pytest.mark.parametrize("prefix", [True, False])
def test_a_tokenizer_model_alone_tokenizes_as_sentencepiece_does(tmp_path: Path, *, prefix: bool) -> None:
    from sentencepiece import SentencePieceProcessor

    source = make_checkpoint(tmp_path / "source", "mistral")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (source / name).unlink()
    edit_model(source / "tokenizer.model", lambda model: setattr(model.normalizer_spec, "add_dummy_prefix", prefix))
    file = convert(source, tmp_path / "out", "F32") / "model.gguf"
    theirs = SentencePieceProcessor(str(source / "tokenizer.model"))
    with llama.loaded(file) as model:
        for text in (*TEXTS, " leading"):
            assert model.tokenize(text.encode(), add_bos=False, special=False) == theirs.Encode(text), text
    stated = read_header(file).fields.get("tokenizer.ggml.add_space_prefix")
    assert (stated is None or value(stated)) is prefix


def test_merges_that_scores_cannot_say_are_refused(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "mistral")
    (source / "tokenizer.model").unlink()

    def forget(tokenizer: dict[str, Any]) -> None:
        merges = tokenizer["model"]["merges"]
        merges.remove(next(pair for pair in merges if len(pair[0]) > 1))

    edit(source / "tokenizer.json", forget)
    with pytest.raises(ConvertError, match=r"merges do not join '.+' and '.+', and llama\.cpp"):
        convert(source, tmp_path / "out", "F32")
