import json
from pathlib import Path

import pytest

from modelmill import ConvertError, Tensor
from modelmill.checkpoint import facts, read_licence
from modelmill.checkpoint.safetensors import header_bytes


def checkpoint(folder: Path, **config: object) -> Path:
    tensors = [Tensor(name="w", dtype="BF16", shape=(4, 4)), Tensor(name="n", dtype="F32", shape=(4,))]
    (folder / "model.safetensors").write_bytes(header_bytes(tensors, {}) + bytes(48))
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}))
    return folder


def test_facts_come_from_headers(tmp_path: Path) -> None:
    found = facts(checkpoint(tmp_path))
    assert (found.format, found.scheme, found.architecture) == ("huggingface", "BF16", "LlamaForCausalLM")
    assert [tensor.name for tensor in found.tensors] == ["n", "w"]
    assert found.files["config.json"] == (tmp_path / "config.json").stat().st_size
    assert (found.quantization, found.licence, found.details["tokenizer"]) == (None, None, None)


def test_a_checkpoint_that_says_it_is_quantized_is(tmp_path: Path) -> None:
    assert facts(checkpoint(tmp_path, quantization_config={"quant_method": "awq"})).quantization == "awq"


def test_a_checkpoint_that_brings_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="auto_map asks for Python code"):
        facts(checkpoint(tmp_path, auto_map={"AutoModel": "modeling.Model"}))


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"config.json: there is no such file"):
        facts(tmp_path)


@pytest.mark.parametrize("tied", ["yes", "false", 0, 1, []])
def test_a_tie_that_is_neither_true_nor_false_is_refused(tmp_path: Path, tied: object) -> None:
    with pytest.raises(ConvertError, match=r"config\.json: tie_word_embeddings must be true or false, and is "):
        facts(checkpoint(tmp_path, tie_word_embeddings=tied))


@pytest.mark.parametrize("tied", [True, False, None])
def test_a_tie_that_is_said_or_left_open_is_taken(tmp_path: Path, tied: object) -> None:
    assert facts(checkpoint(tmp_path, tie_word_embeddings=tied)).config["tie_word_embeddings"] is tied


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    path = checkpoint(tmp_path) / "config.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    with pytest.raises(ConvertError, match=r"config\.json: begins with a byte order mark, .* save it as UTF-8 without"):
        facts(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("README.md", "---\nlanguage: en\nlicense: apache-2.0\n---\n# Model", "Apache-2.0"),
        ("README.md", "---\nlicense: other\nlicense_name: llama3.2\n---\n", "llama3.2"),
        ("README.md", "# no front matter\nlicense: mit\n", None),
        (
            "LICENSE",
            "                                 Apache License\n                           Version 2.0, ",
            "Apache-2.0",
        ),
        ("LICENSE", "MIT License\n\nCopyright", "MIT"),
        ("LICENSE", "All rights reserved", None),
        ("README.md", "\udcff", None),
    ],
)
def test_the_licence_is_what_card_or_file_states(tmp_path: Path, name: str, text: str, licence: str | None) -> None:
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    assert read_licence(tmp_path) == licence
