import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from modelmill.testing import ARCHITECTURES, Shape, make_checkpoint

TEXT = "The capital of France is Paris.  Zürich 2026, déjà vu 🙂\n\tx = y_1 // don't\r\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    import torch
    import transformers

    auto: Any = transformers.AutoModelForCausalLM
    model, report = auto.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    return model, report


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equal_arguments_give_equal_bytes_in_under_a_second(name: str, tmp_path: Path) -> None:
    start = time.perf_counter()
    first = contents(make_checkpoint(tmp_path / "first", name))
    assert time.perf_counter() - start < 1
    assert contents(make_checkpoint(tmp_path / "second", name)) == first
    assert contents(make_checkpoint(tmp_path / "third", name, seed=1)) != first


def test_bytes_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    content = contents(make_checkpoint(tmp_path, "llama"))["model.safetensors"]
    assert hashlib.sha256(content).hexdigest() == "023d6aee57cb3d635e2da99b072b4cd7e0b5c69456be2bd6b42d8683fce85920"


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_transformers_loads_every_tensor_and_no_other(name: str, tmp_path: Path) -> None:
    model, report = load(make_checkpoint(tmp_path, name))
    assert {key: value for key, value in report.items() if value} == {}
    assert model.config.architectures == [type(model).__name__]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_weights_are_finite_and_bounded_in_every_dtype(name: str, dtype: str, tmp_path: Path) -> None:
    import safetensors.numpy

    make_checkpoint(tmp_path, name, dtype=dtype)
    tensors = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    for tensor, values in tensors.items():
        assert 0 < abs(values).max() < 1.5, tensor
        assert values.std() > 0, tensor


def test_bitnet_is_ternary_in_its_linear_layers_only(tmp_path: Path) -> None:
    import safetensors.numpy

    make_checkpoint(tmp_path, "bitnet", dtype="F32")
    tensors = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    for name, values in tensors.items():
        distinct = set(values.ravel().tolist())
        assert (distinct == {-0.125, 0.0, 0.125}) == ("_proj" in name), name


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tokenizer_gives_back_any_text_and_knows_its_chat_template(name: str, tmp_path: Path) -> None:
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(make_checkpoint(tmp_path, name))
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == TEXT
    assert len(ids) < len(TEXT.encode()), "no merge was applied"
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], add_generation_prompt=True)
    special = json.loads((tmp_path / "tokenizer.json").read_text())["added_tokens"]
    assert "Hello" in tokenizer.decode(chat["input_ids"])
    assert {token["id"] for token in special} & set(chat["input_ids"])
    assert len(tokenizer) <= json.loads((tmp_path / "config.json").read_text())["vocab_size"]


@pytest.mark.parametrize("name", ["mistral", "gemma3", "phi3"])
def test_tokenizer_json_and_tokenizer_model_agree(name: str, tmp_path: Path) -> None:
    import sentencepiece
    import tokenizers

    make_checkpoint(tmp_path, name)
    fast = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    slow = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert fast.encode(TEXT, add_special_tokens=False).ids == slow.encode(TEXT)


def test_shards_hold_the_tensors_that_the_index_says(tmp_path: Path) -> None:
    import safetensors.numpy

    make_checkpoint(tmp_path / "one", "qwen3", dtype="F32")
    make_checkpoint(tmp_path / "three", "qwen3", dtype="F32", shards=3)
    whole = safetensors.numpy.load_file(tmp_path / "one" / "model.safetensors")
    index = json.loads((tmp_path / "three" / "model.safetensors.index.json").read_text())
    parts: dict[str, Any] = {}
    for path in sorted((tmp_path / "three").glob("*.safetensors")):
        part = safetensors.numpy.load_file(path)
        assert {index["weight_map"][name] for name in part} == {path.name}
        parts |= part
    assert parts.keys() == whole.keys()
    assert all((parts[name] == whole[name]).all() for name in whole)
    assert index["metadata"]["total_size"] == sum(values.nbytes for values in whole.values())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_sizes_and_configuration_can_be_chosen(tmp_path: Path) -> None:
    shape = Shape(hidden=72, intermediate=200, layers=3, heads=6, kv_heads=3, head_width=20, tied=False)
    make_checkpoint(tmp_path, "llama", shape=shape, tokenizer="llama-3", config={"rope_theta": 5e5})
    model, report = load(tmp_path)
    assert {key: value for key, value in report.items() if value} == {}
    assert model.lm_head.weight.shape[1] == 72
    assert model.config.rope_parameters["rope_theta"] == 5e5


def test_an_unknown_architecture_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'gpt-2' is not one of the architectures llama, "):
        make_checkpoint(tmp_path, "gpt-2")
