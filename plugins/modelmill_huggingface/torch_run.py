"""The work of `torch-to-huggingface`: three gates, then torch's own loader of weights alone, then safetensors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from picklescan.scanner import scan_file_path

from modelmill import ConvertError, Job, Tensor
from modelmill.checkpoint import read_object, write_safetensors
from modelmill_huggingface import carry
from modelmill_huggingface.torch_checkpoint import (
    INDEX,
    OUTPUT,
    TorchToHuggingface,
    left_out,
    read_views,
    sorted_tensors,
    weight_files,
)

_DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def run(job: Job[TorchToHuggingface]) -> None:
    """Write the checkpoint. ConvertError for a file that any gate refuses."""
    views = read_views(job.source)  # the first gate: nothing but tensors
    files = weight_files(job.source)
    for path in files:
        _scan(path)
    loaded: dict[str, Any] = {}
    for path in files:
        loaded |= _load(path)
    tensors = sorted_tensors(views, left_out(views, read_object(job.source / "config.json")))
    carry.carry(job, but=(*(path.name for path in files), INDEX))
    write_safetensors(job, OUTPUT, tensors, _values(tensors, loaded))


def _scan(path: Path) -> None:
    """picklescan's list of what attacks have been made of."""
    found = scan_file_path(str(path))
    if found.scan_err or found.issues_count or found.infected_files:
        told = ", ".join(sorted({f"{item.module}.{item.name}" for item in found.globals})[:5]) or "it cannot be read"
        raise ConvertError(f"{path.name}: picklescan finds it dangerous ({told})")


def _load(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConvertError(f"{path.name}: torch does not load it as weights alone: {reason}") from error
    return found


def _values(tensors: list[Tensor], loaded: dict[str, Any]) -> Iterator[memoryview]:
    for tensor in tensors:
        found = loaded[tensor.name]
        if found.dtype != _DTYPES[tensor.dtype] or tuple(found.shape) != tensor.shape:
            raise ConvertError(
                f"tensor {tensor.name!r} is loaded as {found.dtype} {list(found.shape)}: not as its file says"
            )
        yield memoryview(found.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
