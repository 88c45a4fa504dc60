"""What build.toml may say about the steps of this plugin."""

from dataclasses import dataclass
from typing import Literal

from modelmill.recipe import Recipe

Algorithm = Literal["rtn", "mse", "hqq", "k_quant", "importance", "gptq"]
Provider = Literal["cpu", "cuda", "dml", "webgpu"]
Layout = Literal["genai", "foundry-local"]
BlockSize = Literal[16, 32, 64, 128, 256]
AccuracyLevel = Literal[0, 1, 2, 3, 4]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How the model builder makes the graph.

    `execution_provider` is what ONNX Runtime is to run it with. `layout` adds what Foundry Local looks for, under
    the name `model_name`.
    """

    execution_provider: Provider = "cpu"
    layout: Layout = "genai"
    model_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInt4Options(BuildOptions):
    """How the model builder makes the graph and its own int4 of it.

    `accuracy_level` is the least precision of the activations in a quantized product: 4 is int8; None leaves the
    builder's choice, which is 4 for cpu.
    """

    block_size: BlockSize = 32
    symmetric: bool = True
    accuracy_level: AccuracyLevel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How the matrices of a graph become integers.

    `algorithm`, unless it is named, is `gptq` where a calibration text is given; where none is, `importance` for
    int4, and `mse` for int8 and for models in fp16. `recipe`
    says which matrix gets `int4`, which `int8` and which stays; its rules go before the scheme's own. `symmetric`
    leaves the zero points out. `accuracy_level` is MatMulNBits' own attribute: 4 computes with int8 activations, 0
    leaves it to the runtime. `calibration_chunks` pieces of 512 tokens are what is read of the text.
    """

    algorithm: Algorithm | None = None
    block_size: BlockSize = 32
    symmetric: bool = False
    accuracy_level: AccuracyLevel = 4
    recipe: Recipe | None = None
    calibration_chunks: int = 16
