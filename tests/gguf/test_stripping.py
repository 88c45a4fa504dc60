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
from modelmill_gguf.options import ConvertOptions
from reference import llama

CHAT = ("<|user|>\nhi<|end|>\n<|assistant|>\n", "<|user|>  \n\n hi </s> there", "<s>\nx<|endoftext|> y", "a <|end|>b")


def stripping(source: Path, flag: str, *, but: tuple[str, ...]) -> Path:
    """Have all added tokens but these strip white space on one side."""

    def change(token: dict[str, Any]) -> None:
        token[flag] = token["content"] not in but

    for name, get in FILES.items():
        content = json.loads((source / name).read_text())
        for token in get(content):
            change(token)
        (source / name).write_text(json.dumps(content))
    return source


FILES: dict[str, Callable[[Any], Any]] = {
    "tokenizer.json": lambda content: content["added_tokens"],
    "tokenizer_config.json": lambda content: content["added_tokens_decoder"].values(),
}


def phi3(folder: Path) -> Path:
    """A checkpoint whose tokens strip as those of Phi-3-mini-4k-instruct do."""
    return stripping(make_checkpoint(folder, "phi3"), "rstrip", but=("<unk>", "<s>", "<|endoftext|>"))


@pytest.mark.parametrize(
    ("given", "name"),
    [(None, "Phi-3"), ("Helper", "Helper (Phi-3)"), ("Phi-3 mini", "Phi-3 mini"), ("my-phi3", "my-phi3")],
)
def test_phi_3_strips_white_space_as_its_tokenizer_does_under_any_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str | None, name: str
) -> None:
    from tokenizers import Tokenizer

    source = phi3(tmp_path / "source")
    options = ConvertOptions(name=given)
    file = convert(source, tmp_path / "out", "F32", options) / "model.gguf"
    assert value(read_header(file).fields["general.name"]) == name
    assert ("by that word llama.cpp strips" in capsys.readouterr().out) is (given != name)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    with llama.loaded(file) as model:
        for text in CHAT:
            ours = model.tokenize(text.encode(), add_bos=False, special=True)
            assert ours == tokenizer.encode(text, add_special_tokens=False).ids, text
    assert dict(predicted(source, "F32", options).files) == {"model.gguf": file.stat().st_size}


def test_a_phi_3_that_strips_nothing_keeps_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_checkpoint(tmp_path / "source", "phi3")
    file = convert(source, tmp_path / "one", "F32", ConvertOptions(name="Helper")) / "model.gguf"
    assert value(read_header(file).fields["general.name"]) == "Helper"
    assert capsys.readouterr().out == ""
    convert(source, tmp_path / "two", "F32", ConvertOptions(name="Phi-3"))
    assert (
        "llama.cpp strips white space behind '</s>', '<|assistant|>', '<|end|>' and 2 more" in capsys.readouterr().out
    )


@pytest.mark.parametrize(("flag", "side"), [("lstrip", "before"), ("rstrip", "behind")])
def test_what_llama_cpp_cannot_strip_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, side: str
) -> None:
    source = stripping(make_checkpoint(tmp_path / "source", "qwen2"), flag, but=("<|im_start|>", "<|endoftext|>"))
    file = convert(source, tmp_path / "out", "F32", ConvertOptions(name="Helper")) / "model.gguf"
    assert f"strips white space {side} '<|im_end|>', and llama.cpp does not" in capsys.readouterr().out
    assert value(read_header(file).fields["general.name"]) == "Helper"


def test_a_name_that_llama_cpp_would_not_load_is_refused(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "qwen2")
    with pytest.raises(ConvertError, match=r"'Phi-3 distilled' says Phi-3.*'</s>', '<s>', '<unk>'; give it another"):
        convert(source, tmp_path / "out", "F32", ConvertOptions(name="Phi-3 distilled"))
