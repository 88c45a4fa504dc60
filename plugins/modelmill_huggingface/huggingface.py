"""The format `huggingface`: config.json, safetensors files and a tokenizer in one folder."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from modelmill import ConvertError, Facts, Format, TensorData
from modelmill.checkpoint import (
    facts,
    open_checkpoint,
    read_metadata,
    read_object,
)

SCHEMES = ("F32", "F16", "BF16")


def detect(folder: Path) -> bool:
    """Whether a folder looks like a checkpoint: a config.json beside weights, and not MLX's own layout of it.

    MLX writes the same file names, and says so in its safetensors metadata (mlx_lm/utils.py, `save_model`).
    """
    if not (folder / "config.json").is_file():
        return False
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        return any(folder.glob("pytorch_model*.bin"))
    try:
        return "quantization" not in read_object(folder / "config.json") and (
            read_metadata(files[0]).get("format") != "mlx"
        )
    except ConvertError:
        return True  # what is wrong with it, facts and validate say


def validate(folder: Path) -> None:
    """ConvertError for a checkpoint that no runtime would load as it is, or should."""
    _check_tokenizer(facts(folder))


def _check_tokenizer(found: Facts) -> None:
    summary = found.details["tokenizer"]
    rows = next((tensor.shape[0] for tensor in found.tensors if tensor.name.endswith("embed_tokens.weight")), None)
    if summary and rows is not None and summary["size"] > rows:
        raise ConvertError(
            f"tokenizer.json: its highest token id is {summary['size'] - 1:,}, but the model embeds {rows:,} "
            "tokens: the tokenizer is another model's"
        )


def tensors(folder: Path) -> Iterator[TensorData]:
    """Every tensor by name, its bytes mapped from the file; ConvertError for a folder that is not sound."""
    with open_checkpoint(folder) as checkpoint:
        for tensor in sorted(checkpoint.tensors, key=lambda tensor: tensor.name):
            raw = checkpoint.raw(tensor.name)
            yield TensorData(tensor=tensor, raw=raw, values=partial(_widen, tensor.dtype, tensor.shape, raw))
            checkpoint.release(tensor.name)


def _widen(dtype: str, shape: tuple[int, ...], raw: memoryview) -> object:
    from modelmill_huggingface.values import widen

    return widen(dtype, shape, raw)


FORMAT = Format(
    name="huggingface",
    schemes=SCHEMES,
    detect=detect,
    facts=facts,
    validate=validate,
    tensors=tensors,
    usage="python -c \"from transformers import pipeline; print(pipeline('text-generation', '{path}')('Hello'))\"",
)
