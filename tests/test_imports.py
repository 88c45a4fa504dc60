import subprocess
import sys

import pytest

HEAVY = {
    "click", "cryptography", "gguf", "huggingface_hub", "mlx", "numpy", "onnx", "onnxruntime", "packaging", "rich",
    "sentencepiece", "tokenizers", "torch", "transformers",
}  # fmt: skip


@pytest.mark.parametrize("module", ["modelmill", "modelmill.step", "modelmill.checkpoint", "modelmill.recipe"])
def test_what_a_step_starts_with_is_light(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert HEAVY.isdisjoint(loaded), f"{module} loads {sorted(HEAVY.intersection(loaded))}"
