"""What a plan says of a step's memory is what the step then takes, within half as much again: for models tiny and real.

The fixed part, an interpreter and what it imports, is nearly all that a tiny model takes; the real one shows the rest.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tool_environments
from bitnet_parts.models import master, other, packed
from bitnet_parts.models import measure as report
from huggingface_parts import GENERATION, TEMPLATE, make_adapter
from onnx_parts.encoders import make_encoder, make_onnx_encoder

from modelmill import Facts, Hardware, Job, Limits, Outlook
from modelmill.decode import decode
from modelmill.registry import Registry, load
from modelmill.testing import make_checkpoint
from modelmill.testing.architectures import Shape
from modelmill.testing.steps import run_step

FACTOR = 1.5
ENGLISH = Path(__file__).parents[2] / "examples" / "calibration" / "english.txt"
GGUF = ("modelmill_gguf", "huggingface-to-gguf", "F16")
ONNX = ("modelmill_onnx", "huggingface-to-onnx", "fp32")
Step = tuple[str, str, str]
CHEAP: dict[str, tuple[Step | None, Step]] = {
    # what: (the step before it, the step)
    "gguf": (None, GGUF),
    "gguf Q8_0": (GGUF, ("modelmill_gguf", "gguf-quantize", "Q8_0")),
    "gguf Q4_K_M": (GGUF, ("modelmill_gguf", "gguf-quantize", "Q4_K_M")),
    "gguf, fused": (None, ("modelmill_gguf", "huggingface-to-quantized-gguf", "Q4_K_M")),
    "gguf to huggingface": (GGUF, ("modelmill_gguf", "gguf-to-huggingface", "BF16")),
    "mlx": (None, ("modelmill_mlx", "huggingface-to-mlx", "4bit")),
}
DEAR: dict[str, tuple[Step | None, Step]] = {
    "onnx": (None, ONNX),
    "onnx fp16": (None, ("modelmill_onnx", "huggingface-to-onnx", "fp16")),
    "onnx int4 of the builder": (None, ("modelmill_onnx", "huggingface-to-onnx-int4", "int4-builder")),
    "onnx int8": (ONNX, ("modelmill_onnx", "onnx-quantize", "int8")),
    "onnx int4": (ONNX, ("modelmill_onnx", "onnx-quantize", "int4")),
}
ALL = CHEAP | DEAR
TERNARY: dict[str, Step] = {
    "master": ("modelmill_bitnet", "bitnet-to-gguf", "TQ2_0"),
    "packed": ("modelmill_bitnet", "bitnet-to-gguf", "TQ2_0"),
    "bitnet.cpp": ("modelmill_bitnet", "bitnet-to-i2_s", "I2_S"),
}
COMPOSED: dict[str, Step] = {
    "adapter": ("modelmill_huggingface", "merge-lora", "BF16"),
    "chat_template": ("modelmill_huggingface", "set-chat-template", "BF16"),
    "generation_config": ("modelmill_huggingface", "set-generation-config", "BF16"),
}
TORCH = ("modelmill_huggingface", "torch-to-huggingface", "BF16")
OTHER = ("modelmill_bitnet", "ternary-to-gguf", "TQ2_0")
DYNAMIC = ("modelmill_onnx", "onnx-dynamic", "int8")
ENCODER = ("modelmill_onnx", "huggingface-to-onnx-encoder", "fp32")
IMATRIX = ("modelmill_gguf", "gguf-to-imatrix", "imatrix")
MEASURE = ("modelmill_bitnet", "measure-ternary", "report")
Peaks = tuple[int, int]
Made = Callable[[Step, Path], tuple[Path, Peaks]]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture(scope="module")
def made(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The result of a step and its peaks, made once."""
    known: dict[tuple[Step, Path], tuple[Path, Peaks]] = {}

    def make(step: Step, source: Path) -> tuple[Path, Peaks]:
        if (step, source) not in known:
            place = tmp_path_factory.mktemp("step")
            options = {"execution_provider": "cuda"} if step[2] == "fp16" else None  # the CPU computes in fp32
            known[step, source] = place / "out", measure(registry, step, source, place, options)
        return known[step, source]

    return make


def measure(
    registry: Registry,
    step: Step,
    source: Path,
    place: Path,
    options: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Path] | None = None,
) -> Peaks:
    """Run a step; return its peak memory as predicted and as measured, in bytes."""
    module, name, scheme = step
    kind = "converter" if name in registry.converters else "quantizer"
    record: Any = (registry.converters if kind == "converter" else registry.quantizers)[name].record
    given, inputs = decode(record.options, options or {}), inputs or {}
    known = {key: registry.formats[record.inputs[key].format].record.facts(path) for key, path in inputs.items()}
    facts = registry.formats[record.takes].record.facts(source)
    device = Hardware(fields={"os.arch": "amd64"}).only(record.uses_hardware) if record.uses_hardware else None
    outlook = Outlook(facts=facts, scheme=scheme, options=given, inputs=known, hardware=device)
    inferred = record.infer(outlook)
    assert isinstance(inferred, Facts), inferred
    (place / "out").mkdir(parents=True)
    (place / "scratch").mkdir()
    job = Job(
        source=source,
        inputs=inputs,
        out=place / "out",
        scheme=scheme,
        options=given,
        hardware=device,
        limits=Limits(scratch=place / "scratch", threads=2),
    )
    outcome = run_step(module, kind, name, job)
    assert outcome.event == "done", outcome
    return record.estimate(outlook, inferred).peak_memory, outcome.peak_memory


def check(peaks: Peaks) -> None:
    predicted, measured = peaks
    told = f"predicted {predicted / 2**20:.1f} MiB, measured {measured / 2**20:.1f} MiB: {predicted / measured:.2f}"
    print(told)
    assert measured / FACTOR <= predicted <= measured * FACTOR, told


@pytest.mark.parametrize("what", CHEAP)
def test_of_a_tiny_model(what: str, made: Made, tmp_path: Path) -> None:
    before, step = CHEAP[what]
    pytest.importorskip({"modelmill_mlx": "mlx"}.get(step[0], "gguf"))
    source = make_checkpoint(tmp_path / "model", "llama")
    check(made(step, made(before, source)[0] if before else source)[1])


@pytest.mark.real
@pytest.mark.parametrize("what", ALL)
def test_of_the_real_model(what: str, made: Made, real_checkpoint: Path) -> None:
    before, step = ALL[what]
    pytest.importorskip({"modelmill_mlx": "mlx", "modelmill_onnx": "onnxruntime_genai"}.get(step[0], "gguf"))
    check(made(step, made(before, real_checkpoint)[0] if before else real_checkpoint)[1])


@pytest.mark.parametrize("size", ["tiny", pytest.param("real", marks=pytest.mark.real)])
def test_of_an_importance_matrix(
    size: str, registry: Registry, made: Made, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip("llama_cpp")
    model: Path = (
        request.getfixturevalue("real_checkpoint") if size == "real" else make_checkpoint(tmp_path / "m", "llama")
    )
    context = 512 if size == "real" else 64
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "english.txt").write_bytes(ENGLISH.read_bytes())
    source, inputs = made(GGUF, model)[0], {"calibration": tmp_path / "text"}
    check(measure(registry, IMATRIX, source, tmp_path / "step", {"chunks": 1, "context": context}, inputs))


@pytest.mark.parametrize("what", TERNARY)
@pytest.mark.parametrize("hidden", [256, 1024])
def test_of_a_ternary_model(what: str, hidden: int, registry: Registry, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    shape = Shape(hidden=hidden, intermediate=4 * hidden, heads=4, kv_heads=2)
    source = tmp_path / "model"
    if what == "packed":
        packed(source, "bitlinear", shape)
    else:
        master(source, shape)
    check(measure(registry, TERNARY[what], source, tmp_path / "step"))


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
@pytest.mark.parametrize("hidden", [64, 1024])
def test_of_measuring_whether_a_model_is_ternary(dtype: str, hidden: int, registry: Registry, tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    shape = Shape(hidden=hidden, intermediate=4 * hidden, heads=4, kv_heads=2)
    source = make_checkpoint(tmp_path / "model", "llama", dtype=dtype, shape=shape)
    check(measure(registry, MEASURE, source, tmp_path / "step"))


def test_of_a_model_that_says_itself_that_it_is_ternary(registry: Registry, tmp_path: Path) -> None:
    source = tmp_path / "model"
    master(source, Shape(hidden=256, intermediate=1024, heads=4, kv_heads=2))
    check(measure(registry, MEASURE, source, tmp_path / "step"))


@pytest.mark.parametrize("what", COMPOSED)
@pytest.mark.parametrize(("hidden", "dtype"), [(64, "BF16"), (1024, "BF16"), (1024, "F32")])
def test_of_composing_a_model(what: str, hidden: int, dtype: str, registry: Registry, tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    shape = Shape(hidden=hidden, intermediate=4 * hidden, heads=4, kv_heads=2)
    source = make_checkpoint(tmp_path / "model", "llama", dtype=dtype, shape=shape)
    given = tmp_path / "given"
    given.mkdir()
    match what:
        case "adapter":
            make_adapter(given, source)
        case "chat_template":
            (given / "chat_template.jinja").write_text(TEMPLATE)
        case "generation_config":
            (given / "generation_config.json").write_text(GENERATION)
    step = (*COMPOSED[what][:2], dtype)
    check(measure(registry, step, source, tmp_path / "step", inputs={what: given}))


@pytest.mark.parametrize("hidden", [64, 1024])
def test_of_a_pickled_model(hidden: int, registry: Registry, tmp_path: Path) -> None:
    torch, loaded = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    shape = Shape(hidden=hidden, intermediate=4 * hidden, heads=4, kv_heads=2)
    source = make_checkpoint(tmp_path / "model", "llama", shape=shape)
    torch.save(loaded.load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    check(measure(registry, TORCH, source, tmp_path / "step"))


@pytest.mark.parametrize("hidden", [256, 1024])
def test_of_a_ternary_model_of_another_class(hidden: int, registry: Registry, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    source = other(tmp_path / "model", shape=Shape(hidden=hidden, intermediate=4 * hidden, heads=4, kv_heads=2))
    inputs = {"ternary": report(source, tmp_path / "report")}
    check(measure(registry, OTHER, source, tmp_path / "step", inputs=inputs))


def test_of_an_encoder_in_dynamic_int8(registry: Registry, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    check(measure(registry, DYNAMIC, make_onnx_encoder(tmp_path / "model"), tmp_path / "step"))


@tool_environments.needed
@pytest.mark.real
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
def test_of_an_encoder(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in tool_environments.surroundings().items():
        monkeypatch.setenv(name, value)
    check(measure(registry, ENCODER, make_encoder(tmp_path / "model"), tmp_path / "step"))


def test_of_every_step_that_there_is(registry: Registry) -> None:
    steps = [step for _, step in ALL.values()] + [*TERNARY.values(), *COMPOSED.values()]
    tried = {name for _, name, _ in (*steps, MEASURE, TORCH, OTHER, DYNAMIC, ENCODER, IMATRIX)}
    there = {offer.record.name for _, offer in registry.makers() if offer.plugin.distribution == "modelmill"}
    assert there == tried
