"""Which ggml packs a tensor: the prebuilt one, and llama.cpp's own where the two differ; and that the key tells."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_parts import ours, peer, tiny
from gguf_parts.builds import TARGET, build
from numpy.typing import NDArray

from modelmill import ConvertError, Facts
from modelmill.testing import make_checkpoint
from modelmill.testing.architectures import Shape
from modelmill_gguf import ggml
from modelmill_gguf.kernels import PREBUILT
from modelmill_gguf.quantize_policy import QuantizeOptions
from modelmill_gguf.quantize_record import QUANTIZER

LLAMA = {"llama-cpp-python": "modelmill[llama]"}
# Enough blocks for some that the two libraries pack differently.
MANY = tiny.Tiny(layers=2, width=256, feed_forward=256, rows=300, dtype="F32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("model")
    for name in ("source", "imatrix"):
        (root / name).mkdir()
    tiny.write(root / "source" / "source.gguf", MANY)
    tiny.write_imatrix(root / "imatrix" / "imatrix.gguf", importances(), dataset="text")
    return root


def importances() -> dict[str, NDArray[Any]]:
    """Means of squares, as activations have them: some columns count next to nothing."""
    random = np.random.default_rng(5)
    return {
        name: (random.standard_normal(len(values)) ** 2 + 1e-6).astype(np.float32)
        for name, values in tiny.importances(MANY).items()
    }


def test_iq1_m_is_packed_by_llama_cpps_ggml(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[tuple[str, str | int]] = [
        ("quantize.imatrix.file", "imatrix.gguf"),
        ("quantize.imatrix.dataset", "text"),
        ("quantize.imatrix.entries_count", len(importances())),
        ("quantize.imatrix.chunks_count", 3),
    ]
    source, theirs = model / "source", tmp_path / "theirs.gguf"
    assert peer.quantize(source / "source.gguf", theirs, "IQ1_M", imatrix=importances(), keys=keys)
    made = ours.quantize(source, tmp_path / "ours", "IQ1_M", imatrix=model / "imatrix")
    assert made.read_bytes() == theirs.read_bytes()

    # Where this fails, the prebuilt library has caught up, and llama.cpp's is not needed any more.
    monkeypatch.setattr(ggml, "distribution_of", lambda _: PREBUILT)
    older = ours.quantize(source, tmp_path / "older", "IQ1_M", imatrix=model / "imatrix")
    assert older.read_bytes() != theirs.read_bytes()


@pytest.mark.parametrize(
    ("scheme", "options", "more"),
    [
        ("IQ1_M", {}, LLAMA),
        ("Q4_K_M", {}, {}),
        ("Q4_K_M", {"tensor_types": ("ffn_down=IQ1_M",)}, LLAMA),
        ("IQ1_M", {"pure": True, "tensor_types": ("weight=Q8_0",)}, {}),
    ],
    ids=str,
)
def test_the_tools_are_those_of_the_tensors(
    model: Path, scheme: str, options: dict[str, Any], more: dict[str, str]
) -> None:
    given = QuantizeOptions(**options)
    outlook = ours.outlook(model / "source" / "source.gguf", scheme, imatrix=model / "imatrix", options=given)
    facts = QUANTIZER.infer(outlook)
    assert isinstance(facts, Facts)
    assert QUANTIZER.more_tools is not None
    assert QUANTIZER.more_tools(outlook, facts) == more


def test_a_library_that_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "_MODULES", {"llama-cpp-python": "nowhere"})
    ggml.library.cache_clear()
    with pytest.raises(ConvertError, match=r"^llama-cpp-python is not installed; `pip install 'modelmill\[llama\]'`"):
        ggml.library("llama-cpp-python")


def test_the_manifest_names_the_library_of_the_step_that_it_packed(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint", "llama", shape=Shape(hidden=256, intermediate=256))
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 20)
    targets = TARGET.format(name="one", scheme="IQ1_M") + TARGET.format(name="four", scheme="Q4_0")
    build(tmp_path, '[source.text]\nuri = "text.txt"\n' + targets)
    found = {}
    for target in ("one", "four"):
        manifest = json.loads((tmp_path / "dist" / "tiny" / "1" / target / "artifact.json").read_text())
        (step,) = [step for step in manifest["steps"] if step["name"] == "gguf-quantize"]
        found[target] = {tool["name"] for tool in step["tools"]}
    assert found["one"] - found["four"] >= {"llama-cpp-python"}
    assert PREBUILT in found["four"]
