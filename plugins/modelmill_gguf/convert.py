"""huggingface → gguf, tensor by tensor from memory-mapped weights: no more than a block of rows is held."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelmill import ConvertError, Job, Lineage
from modelmill import checkpoint as checkpoints
from modelmill.checkpoint import Checkpoint
from modelmill_gguf import stripping
from modelmill_gguf.fields import Buffer, Field
from modelmill_gguf.files import write_model
from modelmill_gguf.layout import Layout, Planned, plan
from modelmill_gguf.options import ConvertOptions
from modelmill_gguf.values import Array, blocks
from modelmill_gguf.vocabulary import build

LET_GO_AFTER = 32 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A checkpoint laid out as GGUF and open for reading; `fields` are all metadata, the vocabulary included."""

    layout: Layout
    fields: tuple[Field, ...]
    weights: Checkpoint


@contextmanager
def open_model(
    folder: Path, scheme: str | None, name: str | None = None, lineage: Lineage | None = None
) -> Iterator[OpenModel]:
    """Open a checkpoint to be read as the GGUF model that it becomes at this scheme (F32, F16, BF16)."""
    tokenizer = checkpoints.read_tokenizer(folder)
    layout = plan(checkpoints.facts(folder, tokenizer), scheme, name, lineage)
    if told := layout.architecture.tell(layout.model):
        print(told)  # noqa: T201  # the step's log
    if tokenizer is None:
        raise ConvertError("The checkpoint has no tokenizer: there is no tokenizer.json and no tokenizer.model.")
    for note in layout.vocabulary.notes:
        print(note)  # noqa: T201  # the step's log
    fields = (*layout.fields, *build(tokenizer, layout.vocabulary))
    stripping.check(fields)
    with checkpoints.open_checkpoint(folder) as weights:
        yield OpenModel(layout=layout, fields=fields, weights=weights)


def rows(model: OpenModel, planned: Planned, kind: str) -> Iterator[Array]:
    """A tensor's values as `kind` (F32, F16, or BF16 as bits), in contiguous blocks of whole rows.

    Tensors may be read in any order. Their memory is let go of on the way, so that even the largest takes little.
    """
    if planned.extra is not None:
        from numpy import array, float32

        yield array([planned.extra.values], dtype=float32)
        return
    if planned.source is None:
        raise ConvertError(f"Tensor {planned.tensor.name!r} comes from nowhere.")
    raw = model.weights.raw(planned.source.name)
    read = 0
    try:
        for block in blocks(raw, planned, kind):
            yield block
            read += block.nbytes
            if read > LET_GO_AFTER:
                model.weights.release(planned.source.name)
                read = 0
    finally:
        raw.release()
        model.weights.release(planned.source.name)


def run(job: Job[ConvertOptions]) -> None:
    """Convert a checkpoint; the step's work."""
    with open_model(job.source, job.scheme, job.options.name, job.lineage) as model:
        write_model(
            job,
            fields=model.fields,
            tensors=model.layout.tensors,
            data=(_bytes(model, each) for each in model.layout.planned),
            split_max_size=job.options.split_max_size,
        )


def _bytes(model: OpenModel, planned: Planned) -> Iterator[Buffer]:
    for block in rows(model, planned, planned.tensor.dtype):
        yield block.data
