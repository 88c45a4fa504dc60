import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import convert, predicted

from modelmill import ConvertError
from modelmill.checkpoint import facts, read_header
from modelmill.testing import make_checkpoint
from modelmill_gguf.options import ConvertOptions


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


def poison(folder: Path, name: str, bits: int) -> None:
    entry = read_header(folder / "model.safetensors")[name]
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(entry.start + 6)
        file.write(struct.pack("<H", bits))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "llama", "llama")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(intermediate_size=96))
    with pytest.raises(ConvertError, match=r"layers\.0\.mlp\.down_proj\.weight' has the shape \[64, 160\].*\[64, 96\]"):
        predicted(llama)


def test_missing_tensors_are_named(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(num_hidden_layers=3))
    with pytest.raises(ConvertError, match=r"lacks the tensors 'model\.layers\.2\.input_layernorm\.weight'.* 6 more"):
        predicted(llama)


def test_an_output_matrix_that_is_not_tied_is_missed(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(tie_word_embeddings=False))
    with pytest.raises(ConvertError, match=r"lacks the tensors 'lm_head\.weight'"):
        predicted(llama)


def test_extra_tensors_are_named(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "qwen2", "qwen2")

    def rename(header: dict[str, Any]) -> None:
        header["model.layers.0.self_attn.q_proj.scale"] = header.pop("model.layers.0.self_attn.q_proj.bias")

    edit_header(folder / "model.safetensors", rename)
    with pytest.raises(
        ConvertError, match=r"beyond what the architecture knows, .*q_proj\.scale' \(architecture qwen2"
    ):
        predicted(folder)


def test_tensors_of_layers_that_the_configuration_does_not_have_are_extra(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(num_hidden_layers=1))
    with pytest.raises(ConvertError, match=r"beyond what the architecture knows.*'model\.layers\.1\."):
        predicted(llama)


def test_a_listed_shard_that_is_absent_is_named(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "sharded", "llama", shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ConvertError, match=r"model-00002-of-00003\.safetensors"):
        facts(folder)


def test_a_tensor_in_two_shards_is_named_with_both(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "sharded", "llama", shards=2)
    names = list(read_header(folder / "model-00001-of-00002.safetensors"))

    def clash(header: dict[str, Any]) -> None:
        last = next(key for key in header if key != "__metadata__")
        header[names[0]] = header.pop(last)

    edit_header(folder / "model-00002-of-00002.safetensors", clash)
    with pytest.raises(ConvertError, match=f"model-00002-of-00002.*{names[0]}.*model-00001-of-00002"):
        facts(folder)


def test_a_tensor_that_one_file_names_twice_is_named(llama: Path) -> None:
    path = llama / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    first, second = list(read_header(path))[:2]
    text = data[8 : 8 + size].replace(f'"{second}"'.encode(), f'"{first}"'.encode())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    with pytest.raises(ConvertError, match=rf"model\.safetensors: the header: .*'{first}' is there twice"):
        facts(llama)


@pytest.mark.parametrize(("bits", "what"), [(0x7FC0, "NaN"), (0xFFC1, "NaN"), (0x7F80, "infinite values")])
@pytest.mark.parametrize("scheme", ["F32", "F16", "BF16"])
def test_weights_that_are_not_finite_are_named(llama: Path, tmp_path: Path, bits: int, what: str, scheme: str) -> None:
    poison(llama, "model.layers.1.self_attn.k_proj.weight", bits)
    with pytest.raises(ConvertError, match=rf"'model\.layers\.1\.self_attn\.k_proj\.weight' holds {what}"):
        convert(llama, tmp_path / "out", scheme)


def test_weights_beyond_f16_are_named_and_the_way_out_too(llama: Path, tmp_path: Path) -> None:
    poison(llama, "model.layers.1.mlp.up_proj.weight", 0x4780)  # 65,536
    with pytest.raises(ConvertError, match=r"up_proj\.weight' has values beyond the range of F16; choose BF16 or F32"):
        convert(llama, tmp_path / "out", "F16")
    convert(llama, tmp_path / "wide", "BF16")


def test_a_tokenizer_with_more_ids_than_rows_says_both_numbers(llama: Path) -> None:
    rows = facts(llama).config["vocab_size"]

    def add(tokenizer: dict[str, Any]) -> None:
        tokenizer["added_tokens"].append({"id": rows + 4, "content": "<new>", "special": True, "normalized": False})

    edit_json(llama / "tokenizer.json", add)
    with pytest.raises(ConvertError, match=rf"ids up to {rows + 4}, such as '<new>'.* {rows} embeddings"):
        predicted(llama)


def test_an_unknown_architecture_gets_the_list_of_known_ones(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(architectures=["MambaForCausalLM"]))
    with pytest.raises(ConvertError, match=r"'MambaForCausalLM'.*Gemma3ForCausalLM, LlamaForCausalLM, .*SmolLM3"):
        predicted(llama)


def test_a_pre_tokenizer_without_counterpart_is_shown(llama: Path) -> None:
    def change(tokenizer: dict[str, Any]) -> None:
        tokenizer["pre_tokenizer"] = {"type": "WhitespaceSplit"}

    edit_json(llama / "tokenizer.json", change)
    with pytest.raises(ConvertError, match=r'"pre_tokenizer": \{"type": "WhitespaceSplit"\}'):
        predicted(llama)


def test_a_checkpoint_without_tokenizer_is_refused(llama: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (llama / name).unlink()
    with pytest.raises(ConvertError, match="has no tokenizer"):
        predicted(llama)


def test_quantized_weights_are_refused(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(quantization_config={"quant_method": "gptq"}))
    with pytest.raises(ConvertError, match=r"quantized \(gptq\)"):
        predicted(llama)


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size"])
@pytest.mark.parametrize("value", [None, "many", 0, -1, 2**40, 1.5, True, [3]])
def test_a_size_that_is_none_is_named(llama: Path, key: str, value: object) -> None:
    edit_json(llama / "config.json", lambda config: config.update({key: value}))
    with pytest.raises(ConvertError, match=f"{key} must be a positive whole number"):
        predicted(llama)


def test_a_rope_scaling_without_counterpart_is_named(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(rope_scaling={"rope_type": "dynamic", "factor": 2.0}))
    with pytest.raises(ConvertError, match="'dynamic' has no counterpart"):
        predicted(llama)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 0}}, "low_freq_factor must be above 0"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 0.0}}, "factor must be above 0"),
        (
            {"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 4, "high_freq_factor": 4}},
            "low_freq_factor must be below high_freq_factor, and they are 4 and 4",
        ),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor of rope_scaling must be above 0"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": -2}}, "factor of rope_scaling must be above 0"),
        ({"rope_theta": -1}, "rope_theta must be above 0"),
        ({"rope_theta": 1e-320}, r"rope_theta must be 1\.2e-38 or more, and is 1e-320"),
        ({"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 1e-320}}, "low_freq_factor must be 1"),
        (
            {"rope_scaling": {"rope_type": "llama3"}, "rope_theta": 3.3e38, "head_dim": 256},
            r"rope_theta is 3\.3e\+38, and factor, .* are 8, 1 and 4, which single precision cannot compute with",
        ),
    ],
    ids=str,
)
def test_a_rotary_embedding_that_cannot_be_computed_is_named(
    llama: Path, changes: dict[str, Any], sentence: str
) -> None:
    edit_json(llama / "config.json", lambda config: config.update(changes))
    with pytest.raises(ConvertError, match=sentence):
        predicted(llama)


def test_a_number_of_layers_beyond_all_tensors_is_refused_before_anything_is_counted_up(llama: Path) -> None:
    edit_json(llama / "config.json", lambda config: config.update(num_hidden_layers=2**31 - 1))
    with pytest.raises(ConvertError, match="num_hidden_layers = 2147483647, and the checkpoint has 20 tensors"):
        predicted(llama)


def test_smollm3_with_another_interval_of_layers_without_rope_is_refused(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "smollm3", "smollm3", config={"no_rope_layers": [0, 1]})
    with pytest.raises(ConvertError, match="every fourth layer"):
        predicted(folder)


@pytest.mark.parametrize("size", ["0", "2T", "-1G", "", "1.5G"])
def test_a_split_size_that_is_none_is_refused(llama: Path, size: str) -> None:
    with pytest.raises(ConvertError, match="split_max_size is"):
        predicted(llama, options=ConvertOptions(split_max_size=size))
