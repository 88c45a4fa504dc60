"""Files that a step leaves as they are."""

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from modelmill import Job, create
from modelmill.checkpoint import file_sizes

READS = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.jinja",
    "*processor_config.json",
    "README.md",
)
"""What makes up a checkpoint: its weights, its settings, its tokenizer, its card."""
_CHUNK = 1 << 20


def carry(job: Job[Any], but: Iterable[str] = ()) -> None:
    """Have the source's files, but these, in the result too."""
    left = set(but)
    for path in file_sizes(job.source):
        if path not in left:
            _carry(job, path)


def _carry(job: Job[Any], path: str) -> None:
    """A blob of the store gets one name more; whatever else there is, somebody may write to, and is copied."""
    source = job.source / path
    status = source.lstat()
    if not source.is_symlink() and not status.st_mode & 0o222 and status.st_nlink > 1:
        target = job.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
        return
    copy(job, source, path)


def copy(job: Job[Any], source: Path, path: str) -> None:
    """Write a file's bytes into the result."""
    with source.open("rb") as reader, create(job, path) as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)


def sizes(files: Mapping[str, int]) -> dict[str, int]:
    """Those files of a checkpoint that a step gets to see, with their sizes."""
    return {path: size for path, size in files.items() if any(fnmatchcase(path, pattern) for pattern in READS)}
