"""What profiles say of runtimes is what these runtimes' sources, and the runtimes themselves, say."""

import platform
import re
from pathlib import Path

import pytest

from modelmill.hardware.schema import load_profile
from modelmill_targets import modelmill_hardware

TEXTS = {profile.name: profile.toml for profile in modelmill_hardware()}
CUDA = ("jetson-orin-nano", "nvidia-h100", "nvidia-l4")
METAL = ("apple-m1", "apple-m2", "apple-m4")
DOT_PRODUCT = ("android-arm64", "raspberry-pi-5", "snapdragon-x-elite")
NAMES = {"bitnet": "bitnet.cpp", "llamacpp": "ggml", "mlx": "MLX", "onnxruntime": "ONNX Runtime"}


def schemes(profile: str, runtime: str, word: str) -> set[str]:
    return set(load_profile(profile, TEXTS).fields.get(f"runtime.{runtime}.{word}", ()))


def types(names: set[str]) -> set[str]:
    """The types of blocks that most of a file of these schemes has: Q4_K_M → Q4_K."""
    return {re.sub(r"(_K)_[SML]$", r"\1", name) for name in names}


def between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


@pytest.fixture(scope="module")
def ggml(llama_cpp_sdist: Path) -> Path:
    return llama_cpp_sdist / "vendor" / "llama.cpp" / "ggml" / "src"


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_runtime_that_a_profile_speaks_of_has_its_evidence(name: str) -> None:
    fields = load_profile(name, TEXTS).fields
    told = " ".join(value for key, value in fields.items() if key.startswith("evidence."))
    runtimes = {key.split(".")[1] for key in fields if key.startswith("runtime.")}
    assert runtimes
    assert not [runtime for runtime in runtimes if NAMES[runtime] not in told]


def test_what_has_no_kernel_for_the_processor_is_slow(ggml: Path) -> None:
    text = (ggml / "ggml-cpu" / "arch-fallback.h").read_text()
    for start, profiles in (("defined(__x86_64__)", ("x86-64-v3",)), ("defined(__aarch64__)", DOT_PRODUCT)):
        part = between(text, f"#elif {start}", "#elif")
        without = {name.upper() for name in re.findall(r"define ggml_vec_dot_(\w+?)_q8_\w_generic", part)}
        assert "#define" in part
        for profile in profiles:
            assert without <= types(schemes(profile, "llamacpp", "slow"))


def test_what_cuda_multiplies_is_fast_and_what_it_does_not_is_slow(ggml: Path) -> None:
    text = (ggml / "ggml-cuda" / "ggml-cuda.cu").read_text()
    part = between(text, "bool ggml_backend_cuda_device_supports_op(", "case GGML_OP_OUT_PROD:")
    computed = set(re.findall(r"case GGML_TYPE_(\w+):", part.partition("case GGML_OP_MUL_MAT:")[2]))
    for profile in CUDA:
        assert types(schemes(profile, "llamacpp", "fast")) <= computed
        assert types(schemes(profile, "llamacpp", "slow")) - computed == {"TQ1_0", "TQ2_0"}


def test_what_metal_does_not_multiply_is_slow(ggml: Path) -> None:
    text = (ggml / "ggml-metal" / "ggml-metal-device.m").read_text()
    part = between(text, "bool ggml_metal_supports_mul_mat_op(", "return false")
    refused = set(re.findall(r"src\[0\]->type == GGML_TYPE_(\w+)", part)) - {"NVFP4"}  # nothing makes NVFP4
    assert refused == {"TQ1_0"}
    for profile in METAL:
        assert refused <= schemes(profile, "llamacpp", "slow")


def test_what_is_repacked_for_dot_products_is_fast(ggml: Path) -> None:
    text = (ggml / "ggml-cpu" / "repack.cpp").read_text()
    chosen = text.rpartition("if (cur->type == GGML_TYPE_Q4_0)")
    parts = re.split(r"cur->type == GGML_TYPE_(\w+)", chosen[1] + chosen[2])
    repacked = {name for name, part in zip(parts[1::2], parts[2::2], strict=True) if "cpu_has_dotprod" in part}
    for profile in DOT_PRODUCT:
        fast = types(schemes(profile, "llamacpp", "fast"))
        assert fast - repacked == {"TQ1_0", "TQ2_0"}
    kernels = (ggml / "ggml-cpu" / "arch" / "arm" / "quants.c").read_text()
    for name in ("tq1_0", "tq2_0"):
        body = between(kernels, f"void ggml_vec_dot_{name}_q8_K(", "\nvoid ")
        assert "__ARM_NEON" in body


@pytest.mark.skipif(platform.machine() != "x86_64", reason="what ONNX Runtime does on x86 is seen on x86 alone")
def test_onnx_runtime_widens_half_precision_on_x86(tmp_path: Path) -> None:
    onnx, runtime, numpy = (pytest.importorskip(name) for name in ("onnx", "onnxruntime", "numpy"))
    half, helper = onnx.TensorProto.FLOAT16, onnx.helper
    weight = onnx.numpy_helper.from_array(numpy.ones((8, 8), numpy.float16), "weight")
    ends = [helper.make_tensor_value_info(name, half, [4, 8]) for name in ("taken", "given")]
    node = helper.make_node("MatMul", ["taken", "weight"], ["given"])
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kept = onnx.load(tmp_path / "optimized.onnx").graph
    assert [item.op_type for item in kept.node] == ["Cast", "MatMul", "Cast"]
    assert [item.data_type for item in kept.initializer] == [onnx.TensorProto.FLOAT]
    for profile in ("x86-64-v3", "x86-64-v4-avx512-vnni"):
        assert "fp16" in schemes(profile, "onnxruntime", "slow")


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_profile_with_an_accelerators_provider_takes_nothing_from_the_cpus(name: str) -> None:
    if load_profile(name, TEXTS).fields.get("accelerator.provider") == "CUDAExecutionProvider":
        assert name in CUDA
        assert "int8" not in schemes(name, "onnxruntime", "fast")


def test_the_ternary_layout_of_bitnet_cpp_is_for_cpus_with_its_kernels() -> None:
    told = [name for name in TEXTS if "I2_S" in schemes(name, "bitnet", "fast")]
    assert {"apple-m1", "generic-arm64", "x86-64-v3"} <= set(told)
    for name in told:
        assert {"avx2", "asimd"} & set(load_profile(name, TEXTS).fields["cpu.features"])
