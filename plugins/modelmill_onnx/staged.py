"""A step's source as files, for ONNX Runtime opens no weights behind a link.

A source that is used in place comes as a folder of links.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from modelmill import Job
from modelmill_artifacts.manifest import MANIFEST, PROVENANCE, SBOM, SIGNATURE

Options = TypeVar("Options")
DESCRIPTIONS = (MANIFEST, SBOM, PROVENANCE, SIGNATURE)
"""What describes an artifact that a source was: it does not travel along, for the new one has its own."""


def with_files(job: Job[Options]) -> Job[Options]:
    """The job with what its source's links lead to, linked hard where the file system allows it, else copied."""
    paths = sorted(job.source.rglob("*"))
    if not any(path.is_symlink() for path in paths):
        return job
    folder = job.limits.scratch / "source"
    for path in paths:
        if path.is_file():
            target = folder / path.relative_to(job.source)
            target.parent.mkdir(parents=True, exist_ok=True)
            _put(path.resolve(), target)
    return replace(job, source=folder)


def _put(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without hard links, or somebody else's file
        shutil.copyfile(file, target)
