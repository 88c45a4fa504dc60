"""Making an importance matrix from a model and a calibration text, as the engine sees it."""

from dataclasses import dataclass
from math import prod
from typing import Any

from modelmill import Converter, ConvertError, Estimate, Facts, Input, Job, Outlook, Refusal, Tensor
from modelmill_gguf import kernels
from modelmill_gguf.fields import Field, string, strings, uint32
from modelmill_gguf.imatrix import CHUNK_COUNT, CHUNK_SIZE, COUNTS, DATASETS, SUMS
from modelmill_gguf.writer import file_size, metadata_size

FILE = "imatrix.gguf"
_SHORTEST_CONTEXT = 32  # llama.cpp skips batches of fewer than 16 tokens
_OPERATIONS_PER_SECOND = 3e10
_BYTES_PER_TOKEN = 4.5  # of English text
_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixOptions:
    """How the calibration text is run: in chunks of `context` tokens, the first `chunks` of them or all."""

    context: int = 512
    chunks: int | None = None


def infer(outlook: Outlook[ImatrixOptions]) -> Facts | Refusal:
    """Which tensors the matrix will cover; its size is exact."""
    text = outlook.inputs.get("calibration")
    if text is None:
        return Refusal(reason="An importance matrix is made from a text: name one as the input 'calibration'.")
    try:
        check(outlook.options)
    except ConvertError as error:
        return Refusal(reason=str(error))
    covered = [tensor for tensor in outlook.facts.tensors if is_multiplied(tensor)]
    dataset = next(iter(text.files), "")
    parts = [part for tensor in covered for part in parts_of(tensor.name, tensor.shape)]
    size = file_size(metadata_size(fields(dataset, 0, outlook.options.context)), parts)
    return Facts(
        format="imatrix",
        scheme="gguf",
        tensors=tuple(
            Tensor(name=tensor.name, dtype="F32", shape=(prod(tensor.shape[:-2]) * tensor.shape[-1],))
            for tensor in sorted(covered, key=lambda tensor: tensor.name)
        ),
        files={FILE: size},
        details={"datasets": [dataset], "chunks": outlook.options.chunks},
    )


def estimate(outlook: Outlook[ImatrixOptions], facts: Facts) -> Estimate:
    """The model in memory, and the time to read the text with it."""
    text, context = outlook.inputs["calibration"], outlook.options.context
    values = sum(prod(tensor.shape) for tensor in outlook.facts.tensors)
    vocabulary = max((tensor.shape[0] for tensor in outlook.facts.tensors if "token_embd" in tensor.name), default=0)
    tokens = sum(text.files.values()) / _BYTES_PER_TOKEN
    if outlook.options.chunks is not None:
        tokens = min(tokens, outlook.options.chunks * context)
    return Estimate(
        bytes_out=sum(facts.files.values()),
        # The model, llama.cpp and Python, and the logits of one chunk, computed and kept.
        peak_memory=sum(outlook.facts.files.values()) + 9 * vocabulary * context + 50 * _MEGABYTE,
        seconds=2 + 2 * values * tokens / _OPERATIONS_PER_SECOND,
    )


def check(options: ImatrixOptions) -> None:
    """Raise ConvertError for options that cannot be."""
    if options.context < _SHORTEST_CONTEXT:
        raise ConvertError(f"The context is {options.context} tokens; it must be {_SHORTEST_CONTEXT} or more.")
    if options.chunks is not None and options.chunks < 1:
        raise ConvertError(f"The number of chunks is {options.chunks}; it must be 1 or more.")


def is_multiplied(tensor: Tensor) -> bool:
    """Whether a layer multiplies activations with this tensor."""
    return tensor.name.startswith("blk.") and tensor.name.endswith(".weight") and len(tensor.shape) > 1


def parts_of(name: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The two tensors of the file that stand for one matrix, or for a stack of them."""
    experts = prod(shape[:-2])
    sums = Tensor(name=name + SUMS, dtype="F32", shape=(experts, shape[-1]) if experts > 1 else (shape[-1],))
    return sums, Tensor(name=name + COUNTS, dtype="F32", shape=(experts, 1) if experts > 1 else (1,))


def fields(dataset: str, chunks: int, context: int) -> list[Field]:
    """The metadata of the file."""
    return [
        string("general.type", "imatrix"),
        strings(DATASETS, [dataset]),
        uint32(CHUNK_COUNT, chunks),
        uint32(CHUNK_SIZE, context),
    ]


def _run(job: Job[Any]) -> None:
    from modelmill_gguf.imatrix_compute import run

    run(job)


MAKE_IMATRIX: Converter[ImatrixOptions] = Converter(
    name="gguf-to-imatrix",
    takes="gguf",
    gives="imatrix",
    schemes=("gguf",),
    options=ImatrixOptions,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=("*.gguf",),
    inputs={"calibration": Input(format="text", required=True)},
    tools=(kernels.LLAMA, "numpy"),
    requirement=kernels.REQUIREMENTS[kernels.LLAMA],
)
