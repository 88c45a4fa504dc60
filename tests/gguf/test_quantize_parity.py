"""The quantizer writes, byte for byte, the files that llama.cpp's quantizer writes."""

from pathlib import Path
from typing import Any

import pytest
from gguf_parts import ours, peer, tiny

from modelmill import ConvertError, Facts, Outlook
from modelmill_gguf.header import read_header
from modelmill_gguf.offers import FORMAT
from modelmill_gguf.quantize_policy import SCHEMES, QuantizeOptions
from modelmill_gguf.quantize_record import QUANTIZER

MODELS = {
    "llama": tiny.Tiny(),
    "tied": tiny.Tiny(tied=True, dtype="BF16", groups=2, width=288, feed_forward=512, layers=17),
    "no-block-divides": tiny.Tiny(width=100, feed_forward=52, dtype="F32", layers=3),
    "eight-experts": tiny.Tiny(experts=8, width=256, feed_forward=64, layers=8),
    "four-experts": tiny.Tiny(experts=4, width=64, feed_forward=256, layers=8, groups=4),
    "falcon": tiny.Tiny(architecture="falcon", fused_qkv=True, layers=17, width=256, feed_forward=256),
    "seventy-billion": tiny.Tiny(layers=80, width=256, feed_forward=32, heads=8, groups=1),
}
# The models that are quantized without an importance matrix too.
PLAIN = ("llama", "no-block-divides", "eight-experts")
DATASET = "calibration.txt"
# What llama.cpp refuses: schemes that need an importance matrix for a tensor of the model, and Q1_0 where rows are not
# of 128 values, for which it has no fallback.
NEED_IMATRIX = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
REFUSED = {(name, imatrix): {"Q1_0"} for name in MODELS for imatrix in (False, True)} | {
    ("llama", False): NEED_IMATRIX | {"Q1_0"},
    ("eight-experts", False): NEED_IMATRIX | {"Q1_0"},
    ("falcon", True): set(),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, model in MODELS.items():
        for folder in (name, f"{name}-imatrix"):
            (root / folder).mkdir()
        tiny.write(root / name / "source.gguf", model)
        tiny.write_imatrix(root / f"{name}-imatrix" / "imatrix.gguf", tiny.importances(model), dataset=DATASET)
    return root


def both(tmp_path: Path, models: Path, name: str, scheme: str, *, imatrix: bool) -> tuple[bool, Path, Path]:
    """llama.cpp's file, and ours; False where llama.cpp refuses, and then so did we."""
    source, theirs = models / name / "source.gguf", tmp_path / "theirs.gguf"
    folder = models / f"{name}-imatrix" if imatrix else None
    importances = tiny.importances(MODELS[name])
    keys: list[tuple[str, str | int]] = [
        ("quantize.imatrix.file", "imatrix.gguf"),
        ("quantize.imatrix.dataset", DATASET),
        ("quantize.imatrix.entries_count", len(importances)),
        ("quantize.imatrix.chunks_count", 3),
    ]
    done = peer.quantize(source, theirs, scheme, imatrix=importances if imatrix else None, keys=keys if imatrix else ())
    out = tmp_path / "ours"
    if not done:
        with pytest.raises(ConvertError):
            ours.quantize(source.parent, out, scheme, imatrix=folder)
        return False, theirs, out
    return True, theirs, ours.quantize(source.parent, out, scheme, imatrix=folder)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("name", "imatrix"),
    [(name, imatrix) for name in MODELS for imatrix in (False, True) if imatrix or name in PLAIN],
)
def test_every_scheme_is_llama_cpps_file(
    tmp_path: Path, models: Path, name: str, scheme: str, *, imatrix: bool
) -> None:
    done, theirs, found = both(tmp_path, models, name, scheme, imatrix=imatrix)
    assert done == (scheme not in REFUSED[name, imatrix])
    if not done:
        return
    assert theirs.read_bytes() == found.read_bytes()
    folder = models / f"{name}-imatrix" if imatrix else None
    outlook = ours.outlook(models / name / "source.gguf", scheme, imatrix=folder, ternary=True)
    predicted = QUANTIZER.infer(outlook)
    assert isinstance(predicted, Facts)
    assert predicted.files == {"model.gguf": found.stat().st_size}
    actual = ours.facts(found)
    assert predicted.tensors == actual.tensors
    assert predicted.details["gguf"]["metadata_bytes"] == actual.details["gguf"]["metadata_bytes"]
    assert QUANTIZER.estimate(outlook, predicted).bytes_out == found.stat().st_size


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"tensor_types": ("ffn_down=Q8_0", r"blk\.[02]\.=F16")}, {}),
        ({"tensor_types": ("attn_v=Q5_1", "token_embd=Q4_1")}, {}),
        ({"output_type": "Q5_K"}, {"output_tensor_type": "Q5_K"}),
        ({"output_type": "Q8_0", "tensor_types": ("output=Q4_0",)}, {"output_tensor_type": "Q8_0"}),
        ({"embedding_type": "Q4_1"}, {"token_embedding_type": "Q4_1"}),
        (
            {"embedding_type": "IQ4_NL", "output_type": "F16"},
            {"token_embedding_type": "IQ4_NL", "output_tensor_type": "F16"},
        ),
        ({"pure": True}, {"pure": True}),
        ({"leave_output": True}, {"quantize_output_tensor": False}),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["llama", "tied"])
def test_options_do_what_llama_cpps_do(
    tmp_path: Path, models: Path, name: str, options: dict[str, object], settings: dict[str, object]
) -> None:
    source, theirs = models / name / "source.gguf", tmp_path / "theirs.gguf"
    numbers: dict[str, Any] = {
        key: peer.tensor_type(each) if isinstance(each, str) else each for key, each in settings.items()
    }
    overrides = options.get("tensor_types", ())
    assert isinstance(overrides, tuple)
    assert peer.quantize(source, theirs, "Q4_K_M", tensor_types=overrides, **numbers)
    given = QuantizeOptions(**options)  # type: ignore[arg-type]
    found = ours.quantize(source.parent, tmp_path / "ours", "Q4_K_M", options=given)
    assert theirs.read_bytes() == found.read_bytes()
    predicted = QUANTIZER.infer(ours.outlook(source, "Q4_K_M", options=given))
    assert isinstance(predicted, Facts)
    assert predicted.tensors == ours.facts(found).tensors


@pytest.mark.parametrize("scheme", ["Q2_K", "IQ4_XS"])
def test_heads_that_differ_from_layer_to_layer_are_planned_as_they_are_quantized(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "source").mkdir()
    model = tiny.Tiny(layers=4, heads=8, groups=(2, 2, 1, 4), feed_forward=256)
    source = tiny.write(tmp_path / "source" / "source.gguf", model)
    assert peer.quantize(source, tmp_path / "theirs.gguf", scheme)
    found = ours.quantize(source.parent, tmp_path / "ours", scheme)
    assert (tmp_path / "theirs.gguf").read_bytes() == found.read_bytes()
    outlook = Outlook(facts=FORMAT.facts(source.parent), scheme=scheme, options=QuantizeOptions())
    predicted = QUANTIZER.infer(outlook)
    assert isinstance(predicted, Facts)
    assert predicted.files == {"model.gguf": found.stat().st_size}
    assert predicted.tensors == ours.facts(found).tensors


def tensor_bytes(path: Path) -> bytes:
    return path.read_bytes()[read_header(path).data_start :]


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_threads_do_not_show(tmp_path: Path, threads: int) -> None:
    # Two tensors of several chunks each, the last one short.
    model = tiny.Tiny(layers=1, experts=3, width=512, feed_forward=256, rows=1200, vocabulary=1111)
    for folder in ("source", "imatrix"):
        (tmp_path / folder).mkdir()
    tiny.write(tmp_path / "source" / "source.gguf", model)
    tiny.write_imatrix(tmp_path / "imatrix" / "imatrix.gguf", tiny.importances(model))
    assert peer.quantize(tmp_path / "source/source.gguf", tmp_path / "theirs", "Q4_0", imatrix=tiny.importances(model))
    found = ours.quantize(tmp_path / "source", tmp_path / "ours", "Q4_0", imatrix=tmp_path / "imatrix", threads=threads)
    assert tensor_bytes(found) == tensor_bytes(tmp_path / "theirs")
