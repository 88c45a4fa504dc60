"""The format `mlx`: folders told apart, read back as numbers, and refused where they are not sound."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlx_parts.folders import contents, convert

from modelmill import ConvertError
from modelmill.checkpoint import open_checkpoint
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint, safetensors
from modelmill_mlx.offers import FORMAT
from modelmill_mlx.read import floats

WIDE = Shape(hidden=128, intermediate=256)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("mlx") / "source", "llama", shape=WIDE)


def test_detect_tells_mlx_from_hugging_face(tmp_path: Path, source: Path) -> None:
    assert FORMAT.detect(convert(source, tmp_path / "floats", "bf16"))
    assert FORMAT.detect(convert(source, tmp_path / "quantized", "4bit"))
    assert not FORMAT.detect(source)
    assert not FORMAT.detect(tmp_path)


@pytest.mark.parametrize(
    ("scheme", "group_size"),
    [
        *((f"{bits}bit", size) for bits in (2, 3, 4, 5, 6, 8) for size in (32, 64, 128)),
        ("mixed_2_6", 32),
        ("mixed_3_4", 64),
        ("mxfp4", None),
    ],
)
def test_values_are_within_the_formats_error_of_the_source(
    tmp_path: Path, source: Path, scheme: str, group_size: int | None
) -> None:
    made = convert(source, tmp_path, scheme, group_size=group_size)
    dtypes = set()
    with open_checkpoint(source) as checkpoint:
        for data in FORMAT.tensors(made):  # type: ignore[misc]
            original = floats(checkpoint.raw(data.tensor.name), "BF16").reshape(data.tensor.shape)
            found = data.values()
            dtypes.add(data.tensor.dtype)
            if data.tensor.dtype == "BF16":
                assert np.array_equal(found, original)
                continue
            kind, _, size = data.tensor.dtype.partition("-g")
            groups = original.reshape(-1, int(size))
            bound = microscaled_error(groups) if kind == "mxfp4" else affine_error(groups, int(kind[0]))
            assert (np.abs(found.reshape(groups.shape) - groups) <= bound).all()
    kinds = scheme.split("_")[1:] or [scheme.removesuffix("bit")]
    words = [kind if kind == "mxfp4" else f"{kind}bit" for kind in kinds]
    assert dtypes == {"BF16", *(f"{word}-g{group_size or 32}" for word in words)}


def affine_error(groups: Any, bits: int) -> Any:
    """Half a step, a step more at the far end where zero is made exact, and bfloat16's rounding of both parts."""
    step = (groups.max(1, keepdims=True) - groups.min(1, keepdims=True)) / (2**bits - 1)
    return 1.5 * step + np.abs(groups).max(1, keepdims=True) * 2.0**-7


def microscaled_error(groups: Any) -> Any:
    """Half the gap between neighbours of E2M1's 0, 0.5, 1, 1.5, 2, 3, 4, 6, in units of the scale.

    The scale is the least power of two by which the largest value is no more than 6.
    """
    scale = np.exp2(np.ceil(np.log2(np.abs(groups).max(1, keepdims=True) / 6)))
    size = np.abs(groups) / scale
    return scale * np.where(size <= 2, 0.25, np.where(size <= 4, 0.5, 1.0))


@pytest.mark.parametrize("scheme", ["2bit", "3bit", "4bit", "5bit", "6bit", "8bit", "mxfp4"])
def test_values_are_what_mlx_reads(tmp_path: Path, source: Path, scheme: str) -> None:
    import mlx.core as mx

    made = convert(source, tmp_path, scheme, dtype="float32")
    entry = json.loads((made / "config.json").read_text())["quantization"]
    loaded: Any = mx.load(str(made / "model.safetensors"))
    for data in FORMAT.tensors(made):  # type: ignore[misc]
        path = data.tensor.name.removesuffix(".weight")
        if f"{path}.scales" not in loaded:
            continue
        expected = mx.dequantize(
            loaded[f"{path}.weight"],
            loaded[f"{path}.scales"],
            loaded.get(f"{path}.biases"),
            entry["group_size"],
            entry["bits"],
            mode=entry["mode"],
            dtype=mx.float32,
            stream=mx.cpu,
        )
        # MLX may fuse the multiplication and the addition, which spares one rounding.
        np.testing.assert_allclose(data.values(), np.array(expected), rtol=1e-6, atol=1e-7)


def test_raw_holds_all_parts(tmp_path: Path, source: Path) -> None:
    made = convert(source, tmp_path, "4bit")
    files = contents(made)
    for data in FORMAT.tensors(made):  # type: ignore[misc]
        path = data.tensor.name.removesuffix(".weight")
        parts = [name for name in (f"{path}.weight", f"{path}.scales", f"{path}.biases") if name in files]
        assert bytes(data.raw) == b"".join(files[name][2] for name in parts)


def edit_config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def edit_tensors(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = dict(contents(folder))
        change(tensors)
        (folder / "model.safetensors").write_bytes(safetensors(tensors))

    return edit


def put(name: str, value: bytes, place: str = "first") -> Callable[[Path], None]:
    """Put a value at the start or the end of a tensor."""

    def change(tensors: dict[str, Any]) -> None:
        dtype, shape, data = tensors[name]
        size = len(value)
        tensors[name] = (dtype, shape, data[:-size] + value if place == "last" else value + data[size:])

    return edit_tensors(change)


def shorten(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-10])


def edit_index(folder: Path) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_text(path.read_text().replace("model.norm", "model.form"))


def both(key: str, value: Any) -> Callable[[Path], None]:
    def change(config: dict[str, Any]) -> None:
        config["quantization"] = config["quantization_config"] = {**config["quantization"], key: value}

    return edit_config(change)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (edit_config(lambda config: config.pop("quantization_config")), "quantization and quantization_config differ"),
        (both("bits", 8), "scales should be BF16 of shape"),
        (both("group_size", 32), "should be"),
        (both("bits", 7), "7 bits in mode 'affine', which this plugin does not read"),
        (both("model.layers.9.mlp", {"bits": 4, "group_size": 64}), "no tensor is quantized by that name"),
        (both("model.embed_tokens", "no"), "says 'no' of 'model.embed_tokens', whose weights are quantized"),
        (
            edit_tensors(lambda tensors: tensors.pop("model.embed_tokens.biases")),
            "biases should be .*, and is not there",
        ),
        (edit_tensors(lambda tensors: tensors.pop("model.norm.weight")), "has no tensor 'model.norm.weight'"),
        (edit_index, "does not list exactly the tensors"),
        (put("model.embed_tokens.scales", b"\xc0\x7f"), "model.embed_tokens.scales: holds a value that is not finite"),
        (shorten, "model.safetensors: .*cut short"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda folder: (folder / "model.safetensors.index.json").unlink(), "no such file"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, source: Path, damage: Callable[[Path], None], sentence: str) -> None:
    made = convert(source, tmp_path, "4bit")
    FORMAT.validate(made)
    damage(made)
    with pytest.raises(ConvertError, match=sentence) as caught:
        FORMAT.validate(made)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize(
    ("scheme", "name", "largest", "bad"),
    [
        ("mxfp4", "model.layers.0.mlp.up_proj.scales", b"\xfe", b"\xff"),
        ("mxfp4", "model.norm.weight", b"\x7f\x7f", b"\x80\x7f"),
        ("4bit", "model.layers.0.mlp.up_proj.biases", b"\x7f\xff", b"\x80\xff"),
        ("bf16", "model.embed_tokens.weight", b"\x7f\xff", b"\xc1\xff"),
        ("f16", "model.layers.1.mlp.down_proj.weight", b"\xff\x7b", b"\x00\x7c"),
        ("f32", "model.layers.1.mlp.down_proj.weight", b"\xff\xff\x7f\xff", b"\x00\x00\x80\xff"),
    ],
)
def test_a_value_that_is_not_finite_is_found_wherever_it_is(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    name: str,
    largest: bytes,
    bad: bytes,
    place: str,
) -> None:
    monkeypatch.setattr("modelmill_mlx.finite.PIECE_BYTES", 1000)
    made = convert(source, tmp_path, scheme)
    put(name, largest, place)(made)
    FORMAT.validate(made)
    put(name, bad, place)(made)
    with pytest.raises(ConvertError, match=f"^{name}: holds a value that is not finite"):
        FORMAT.validate(made)


def test_packed_words_may_hold_any_bits(tmp_path: Path, source: Path) -> None:
    made = convert(source, tmp_path, "8bit")
    put("model.embed_tokens.weight", b"\xff" * 8)(made)
    FORMAT.validate(made)
