"""Which of the architectures that modelmill's plugins take the kit can make a checkpoint of."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from modelmill.testing import ARCHITECTURES, make_checkpoint
from modelmill.testing.architectures import architecture
from modelmill_gguf import architectures as gguf
from modelmill_onnx.architectures import BUILDABLE
from modelmill_onnx.encoders import FAMILIES

CLASSES = {architecture(name).class_name for name in ARCHITECTURES}
TYPES = {architecture(name).model_type for name in ARCHITECTURES}
ENCODERS = {"albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"}
"""Those of which the kit makes none: the tests of ONNX make them with transformers (`onnx_parts.encoders`)."""


def test_the_kit_makes_every_decoder_that_a_plugin_takes() -> None:
    mlx = tomllib.loads((files("modelmill_mlx") / "architectures.toml").read_text())
    assert set(BUILDABLE) - CLASSES == set()
    assert {name for name, item in mlx.items() if isinstance(item, dict)} - TYPES == set()
    for item in gguf.ARCHITECTURES:
        assert set(item.classes) & CLASSES, item.name


def test_the_kit_makes_no_encoder() -> None:
    assert set(FAMILIES) - TYPES == ENCODERS


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
def test_transformers_computes_with_it(name: str, tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    transformers: Any = pytest.importorskip("transformers")
    folder = make_checkpoint(tmp_path, name)
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert {key: value for key, value in report.items() if value} == {}
    with torch.no_grad():
        logits = model(torch.arange(3, 19)[None]).logits
    assert logits.shape == (1, 16, model.config.vocab_size)
    assert torch.isfinite(logits).all()
    assert logits.std() > 0
