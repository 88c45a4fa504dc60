"""What vLLM itself computes with a folder, beside the weights that the format's library unpacks.

Not among the tests that run by themselves: vLLM 0.32 wants another transformers than modelmill's tests, so it is run
by a Python of its own, which MODELMILL_TEST_VLLM names: `MODELMILL_TEST_VLLM=vllm/bin/python pytest -m vllm`.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from modelmill.testing import Shape, convert, make_checkpoint

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]  # torch's and transformers' own
SHAPE = Shape(hidden=256, intermediate=512, heads=4, kv_heads=2)
IDS = list(range(3, 19))
CODE = f"""
import json, os, sys
os.environ.update(
    HF_HUB_OFFLINE="1", VLLM_CPU_KVCACHE_SPACE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1"
)
from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt
if __name__ == "__main__":
    model = LLM(model=sys.argv[1], dtype="bfloat16", enforce_eager=True, max_model_len=64, max_num_seqs=1)
    asked = SamplingParams(temperature=0, max_tokens=8, prompt_logprobs=0, ignore_eos=True)
    (said,) = model.generate([TokensPrompt(prompt_token_ids={IDS})], asked)
    print(json.dumps({{
        "quantization": model.llm_engine.model_config.quantization,
        "logprobs": [next(iter(item.values())).logprob for item in said.prompt_logprobs[1:]],
        "tokens": len(said.outputs[0].token_ids),
    }}))
"""


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
@pytest.mark.parametrize("size", [32, 64, 128])
def test_vllm_computes_what_the_unpacked_weights_give(size: int, architecture: str, tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    source = make_checkpoint(tmp_path / "source", architecture, shape=SHAPE)
    name = "huggingface-to-compressed-tensors"
    out = convert("modelmill_compressed_tensors", name, "W4A16", source, tmp_path / "out", options={"group_size": size})
    told = run_vllm(out, tmp_path)
    assert told["quantization"] == "compressed-tensors"
    assert told["tokens"] == 8
    whole, unpacked = logprobs(source, None), logprobs(source, out)
    # bfloat16 in vLLM, float32 here; what quantizing itself changes is ten times as much.
    assert (torch.tensor(told["logprobs"]) - unpacked).abs().max() < 0.06
    assert (whole - unpacked).abs().max() > 0.3


def run_vllm(folder: Path, scratch: Path) -> dict[str, Any]:
    python = os.environ.get("MODELMILL_TEST_VLLM")
    if python is None:
        pytest.fail("MODELMILL_TEST_VLLM names no Python that has vLLM")
    (scratch / "ask.py").write_text(CODE)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, str(scratch / "ask.py"), str(folder)]
    done = subprocess.run(command, cwd=scratch, env=kept, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def logprobs(source: Path, out: Path | None) -> Any:
    """What transformers gives the prompt's tokens, in float32; with the weights that were packed, where they are."""
    torch: Any = pytest.importorskip("torch")
    transformers: Any = pytest.importorskip("transformers")
    load: Any = pytest.importorskip("safetensors.torch").load_file
    plain = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    if out is not None:
        from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
        from compressed_tensors.quantization import QuantizationConfig

        config = transformers.AutoConfig.from_pretrained(out).quantization_config
        scheme = QuantizationConfig.model_validate(config).config_groups["group_0"]
        stored = load(out / "model.safetensors")
        for layer in (item.removesuffix(".weight_packed") for item in stored if item.endswith(".weight_packed")):
            packed = {part: stored[f"{layer}.{part}"] for part in ("weight_packed", "weight_scale", "weight_shape")}
            made = PackedQuantizationCompressor.decompress(packed, scheme)["weight"]
            plain.get_submodule(layer).weight.data.copy_(made)
    ids = torch.tensor([IDS])
    with torch.no_grad():
        found = torch.log_softmax(plain(ids).logits[0], -1)
    return found[:-1].gather(1, ids[0, 1:, None])[:, 0]
