"""What the plugin says before it works, and how little it needs for that."""

import subprocess
import sys
from pathlib import Path

import pytest
from mlx_parts.folders import convert, infer

from modelmill import Facts, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_mlx.offers import FORMAT, FROM_HUGGINGFACE
from modelmill_mlx.predict import Options
from modelmill_mlx.schemes import SCHEMES


@pytest.mark.parametrize("scheme", SCHEMES)
def test_prediction_is_exact(tmp_path: Path, scheme: str) -> None:
    source = make_checkpoint(tmp_path / "source", "qwen2", shape=Shape(hidden=64, intermediate=96, layers=3))
    predicted = infer(source, scheme)
    assert isinstance(predicted, Facts)
    made = convert(source, tmp_path, scheme)
    FORMAT.validate(made)
    found = FORMAT.facts(made)
    assert predicted.tensors == found.tensors
    assert predicted.files == found.files
    assert predicted.scheme == found.scheme == scheme
    assert predicted.quantization == found.quantization
    outlook = Outlook(facts=facts(source), scheme=scheme, options=Options())
    assert FROM_HUGGINGFACE.estimate(outlook, predicted).bytes_out == sum(found.files.values())


@pytest.mark.parametrize(("dtype", "scheme"), [("BF16", "bf16"), ("F16", "f16"), ("F32", "f32")])
def test_no_scheme_asked_for_loses_nothing(tmp_path: Path, dtype: str, scheme: str) -> None:
    predicted = infer(make_checkpoint(tmp_path / "source", "llama", dtype=dtype), None)
    assert isinstance(predicted, Facts)
    assert (predicted.scheme, predicted.quantization) == (scheme, None)


def test_predicting_imports_no_tool(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    program = f"""
import sys
from pathlib import Path
from modelmill import Outlook
from modelmill.checkpoint import facts
from modelmill_mlx import modelmill_converters, modelmill_formats
(record,) = modelmill_converters()
(format_,) = modelmill_formats()
outlook = Outlook(facts=facts(Path({str(source)!r})), scheme="4bit", options=record.options())
record.estimate(outlook, record.infer(outlook))
format_.detect(Path({str(source)!r}))
print(sorted({{"mlx", "numpy", "torch", "transformers"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_groups_that_divide_no_row_at_all_are_refused(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path, "llama", shape=Shape(hidden=64, intermediate=64, heads=4, kv_heads=2))
    refused = infer(source, "4bit", group_size=128)
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("no layer has rows that a group of 128 values divides, so 4bit would quantize")
