"""What the library of the format itself makes of a folder: https://github.com/vllm-project/compressed-tensors."""

from pathlib import Path
from typing import Any

import pytest
from modelmill.testing import Shape, convert, make_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and compressed-tensors' own
torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")
pytest.importorskip("compressed_tensors")
SHAPE = Shape(hidden=128, intermediate=256, heads=4, kv_heads=2)


def quantized(tmp_path: Path, architecture: str = "llama", dtype: str = "F32", **options: object) -> tuple[Path, Path]:
    source = make_checkpoint(tmp_path / "source", architecture, shape=SHAPE, dtype=dtype)
    name = "huggingface-to-compressed-tensors"
    out = convert("modelmill_compressed_tensors", name, "W4A16", source, tmp_path / "out", options=options)
    return source, out


def tensors(folder: Path) -> dict[str, Any]:
    load: Any = pytest.importorskip("safetensors.torch").load_file
    found: dict[str, Any] = load(folder / "model.safetensors")
    return found


def scheme(folder: Path) -> Any:
    from compressed_tensors.quantization import QuantizationConfig

    config = transformers.AutoConfig.from_pretrained(folder).quantization_config
    return QuantizationConfig.model_validate(config).config_groups["group_0"]


def parts(stored: dict[str, Any], layer: str) -> dict[str, Any]:
    return {name: stored[f"{layer}.{name}"] for name in ("weight_packed", "weight_scale", "weight_shape")}


def layers(stored: dict[str, Any]) -> list[str]:
    return [name.removesuffix(".weight_packed") for name in stored if name.endswith(".weight_packed")]


@pytest.mark.parametrize("size", [32, 64, 128])
def test_with_the_minmax_observer_every_byte_is_what_the_library_makes(size: int, tmp_path: Path) -> None:
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.quantization.utils import calculate_qparams

    source, out = quantized(tmp_path, observer="minmax", group_size=size)
    whole, stored, wanted = tensors(source), tensors(out), scheme(out)
    assert len(layers(stored)) == 14
    for layer in layers(stored):
        weight = whole[f"{layer}.weight"]
        groups = weight.reshape(weight.shape[0], -1, size)
        scale, _ = calculate_qparams(groups.amin(-1), groups.amax(-1), wanted.weights)
        made = PackedQuantizationCompressor.compress({"weight": weight, "weight_scale": scale}, wanted)
        for name, tensor in parts(stored, layer).items():
            assert torch.equal(tensor, made[name]), (layer, name)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_the_library_decompresses_to_within_half_a_step(dtype: str, tmp_path: Path) -> None:
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor

    source, out = quantized(tmp_path, dtype=dtype, observer="minmax")
    whole, stored, wanted = tensors(source), tensors(out), scheme(out)
    for layer in layers(stored):
        weight = whole[f"{layer}.weight"].float()
        made = PackedQuantizationCompressor.decompress(parts(stored, layer), wanted)["weight"].float()
        step = stored[f"{layer}.weight_scale"].float().repeat_interleave(128, -1)
        assert ((made - weight).abs() <= 0.55 * step).all(), layer


def test_the_mse_observer_errs_less(tmp_path: Path) -> None:
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor

    errors = {}
    for observer in ("minmax", "mse"):
        source, out = quantized(tmp_path / observer, observer=observer)
        whole, stored, wanted = tensors(source), tensors(out), scheme(out)
        made = {
            layer: PackedQuantizationCompressor.decompress(parts(stored, layer), wanted) for layer in layers(stored)
        }
        errors[observer] = sum(float(((made[n]["weight"] - whole[f"{n}.weight"]) ** 2).sum()) for n in made)
    assert errors["mse"] < errors["minmax"]


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "phi3", "gemma3"])
def test_transformers_loads_it_and_answers_as_the_dequantized_model_does(architecture: str, tmp_path: Path) -> None:
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor

    source, out = quantized(tmp_path, architecture)
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    model, report = load(out, dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    plain = load(source, dtype=torch.float32)
    stored, wanted = tensors(out), scheme(out)
    for layer in layers(stored):
        made = PackedQuantizationCompressor.decompress(parts(stored, layer), wanted)["weight"]
        plain.get_submodule(layer).weight.data.copy_(made)
    ids = torch.arange(3, 19)[None]
    with torch.no_grad():
        told, expected = model(ids).logits, plain(ids).logits
    assert torch.allclose(told, expected, atol=1e-4)
