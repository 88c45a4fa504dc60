"""The converter `merge-lora`: a checkpoint and a LoRA adapter of it → the checkpoint with the adapter merged."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelmill import Converter, ConvertError, Estimate, Facts, Input, Job, Outlook, Refusal, Tensor
from modelmill.checkpoint import tensor_bytes
from modelmill_huggingface import adapter, carry
from modelmill_huggingface.adapter import Change

SCHEMES = ("F32", "F16", "BF16")
_HEAD = "lm_head.weight"
_EMBEDDING = "embed_tokens.weight"
_FIXED_MEMORY = 38_000_000
_BLOCK_MEMORY = 150_000_000  # of F32; half of it of narrower types
_PER_BYTE = 5  # of a tensor that is smaller than a block: its values in float32, and the products
_BYTES_PER_SECOND = 250_000_000
_MERGED_PER_SECOND = 60_000_000
_TERMS_PER_SECOND = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeLora:
    """There is nothing to choose: the adapter says it all."""


def infer(outlook: Outlook[MergeLora]) -> Facts | Refusal:
    """The base's own facts: merging changes values alone."""
    base = outlook.facts
    if outlook.scheme not in (None, base.scheme) or base.scheme not in SCHEMES:
        return Refusal(
            reason=f"an adapter is merged in the base's own dtype, which is {base.scheme}; that can be "
            f"{', '.join(SCHEMES)}"
        )
    try:
        check(outlook.inputs["adapter"], {tensor.name: tensor for tensor in base.tensors}, tied=is_tied(base))
    except ConvertError as error:
        return Refusal(reason=str(error))
    return Facts(
        format=base.format,
        scheme=base.scheme,
        architecture=base.architecture,
        config=base.config,
        tensors=base.tensors,
        files=carry.sizes(base.files),
        quantization=base.quantization,
        licence=base.licence,
        details=base.details,
    )


def check(found: Facts, base: Mapping[str, Tensor], *, tied: bool) -> tuple[Change, ...]:
    """What an adapter changes in this base. ConvertError where it is for another model, or cannot be merged."""
    changes = adapter.changes(found)
    for change in changes:
        if tied and change.target.endswith((_HEAD, _EMBEDDING)):
            raise ConvertError(
                f"the adapter changes {change.target!r}, which the model uses both as its embedding and as its head: "
                "merged into one it would change the other; untie them with peft and transformers first"
            )
        if change.target not in base:
            raise ConvertError(
                f"the adapter changes {change.target!r}, which the base does not have: it is another model's adapter"
            )
        tensor = base[change.target]
        if tensor.shape != change.shape:
            raise ConvertError(
                f"the adapter changes {change.target!r} of shape {list(change.shape)}, which in the base is "
                f"{list(tensor.shape)}: it is another model's adapter"
            )
        if tensor.dtype not in SCHEMES:
            raise ConvertError(
                f"the adapter changes {change.target!r}, which in the base is {tensor.dtype}: merge into the original "
                f"weights, which are {', '.join(SCHEMES)}"
            )
    return changes


def is_tied(base: Facts) -> bool:
    """Whether the embedding is the head too: by the settings, or because there is no other head."""
    has_head = any(tensor.name.endswith(_HEAD) for tensor in base.tensors)
    return bool(base.config.get("tie_word_embeddings", not has_head)) or not has_head


def _block(tensor: Tensor) -> int:
    """Memory for the rows of a tensor that are merged at once."""
    return min(_BLOCK_MEMORY if tensor.dtype == "F32" else _BLOCK_MEMORY // 2, _PER_BYTE * tensor_bytes(tensor))


def estimate(outlook: Outlook[MergeLora], facts: Facts) -> Estimate:
    """Bytes are the base's; memory is that of some rows; rates measured with models of 0.1 to 1 GB."""
    size = sum(facts.files.values())
    shapes = {tensor.name: tensor for tensor in facts.tensors}
    changes = [change for change in adapter.changes(outlook.inputs["adapter"]) if change.rank]
    touched = sum(tensor_bytes(shapes[change.target]) for change in changes)
    largest = max(
        (tensor_bytes(tensor) for tensor in outlook.inputs["adapter"].tensors if ".lora_" in tensor.name), default=0
    )
    block = max((_block(shapes[change.target]) for change in changes), default=0)
    terms = sum(
        change.rank * tensor_bytes(shapes[change.target]) // 4
        for change in changes
        if shapes[change.target].dtype == "F32"
    )
    return Estimate(
        bytes_out=size,
        peak_memory=_FIXED_MEMORY + block + 8 * largest,
        seconds=1.0 + size / _BYTES_PER_SECOND + touched / _MERGED_PER_SECOND + terms / _TERMS_PER_SECOND,
    )


def _run(job: Job[MergeLora]) -> None:
    from modelmill_huggingface import merge_run

    merge_run.run(job)


MERGE_LORA = Converter(
    name="merge-lora",
    takes="huggingface",
    gives="huggingface",
    schemes=SCHEMES,
    options=MergeLora,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=carry.READS,
    inputs={"adapter": Input(format="peft-adapter", required=True, reads=adapter.FILES)},
    tools=("numpy",),
    requirement="modelmill[lora]",
)
