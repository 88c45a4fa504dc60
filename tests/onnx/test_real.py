"""The real model in ONNX: onnxruntime-genai answers from the folder as it lies, and perplexity stays in bounds."""

from pathlib import Path

import pytest
from onnx_parts.folders import build, quantize
from onnx_parts.perplexity import by_onnx_runtime, by_torch, perplexity, tokens

from modelmill_onnx.offers import FORMAT

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]  # torch's and transformers' own warnings
TURN = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, real_checkpoint: Path) -> Path:
    folder = tmp_path_factory.mktemp("smollm2") / "onnx"
    return build(real_checkpoint, folder, threads=2, layout="foundry-local", model_name="smollm2:1")


@pytest.mark.parametrize("scheme", ["fp32", "int8", "int4"])
def test_onnxruntime_genai_answers_from_the_folder_as_it_lies(built: Path, tmp_path: Path, scheme: str) -> None:
    made = built if scheme == "fp32" else quantize(built, tmp_path / "made", scheme, threads=2)
    FORMAT.validate(made)
    assert FORMAT.facts(made).scheme == scheme
    assert (made / "inference_model.json").is_file()
    assert "Paris" in answer(made, TURN)


def answer(folder: Path, prompt: str, tokens: int = 24) -> str:
    import onnxruntime_genai as genai

    model = genai.Model(str(folder))
    tokenizer = genai.Tokenizer(model)
    ids = tokenizer.encode(prompt)
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(ids) + tokens, do_sample=False)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(ids)
    found = []
    while not generator.is_done():
        generator.generate_next_token()
        found.append(generator.get_next_tokens()[0])
    text: str = tokenizer.decode(found)
    return text


def test_perplexity_of_fp32_is_torchs_and_int4_loses_less_than_the_builders(
    built: Path, real_checkpoint: Path, tmp_path: Path
) -> None:
    ids = tokens(built, 2)
    source = perplexity(by_onnx_runtime(built), ids)
    assert source == pytest.approx(perplexity(by_torch(real_checkpoint), ids), rel=1e-4)
    int8 = quantize(built, tmp_path / "int8", "int8", threads=2)
    assert perplexity(by_onnx_runtime(int8), ids) == pytest.approx(source, rel=0.02)
    own = quantize(built, tmp_path / "int4", "int4", threads=2, symmetric=True)
    theirs = build(real_checkpoint, tmp_path / "builder", "int4-builder", threads=2)
    sizes = [(folder / "model.onnx.data").stat().st_size for folder in (own, theirs)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-3)
    lost = [perplexity(by_onnx_runtime(folder), ids) - source for folder in (own, theirs)]
    print(f"perplexity {source:.3f}; int4 loses {lost[0]:.3f}, the builder's at equal bytes {lost[1]:.3f}")
    # Rounding to nearest would be the builder's own; the checkpoint lies on a grid of 4 bits, which flatters both.
    assert 0 < lost[0] < 0.6 * lost[1]
