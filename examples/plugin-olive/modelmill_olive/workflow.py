"""The format `olive-workflow`: a folder with one JSON file, the passes of an Olive workflow and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Facts
from modelmill.checkpoint import read_object

NAME = "olive-workflow"
PASSES = ("ModelBuilder", "OnnxPeepholeOptimizer")
"""The passes that were tried: the first makes the ONNX model, those after it work on it."""
DECIDED = ("input_model", "output_dir", "cache_dir", "systems", "host", "target", "no_artifacts")
"""What the build decides, and a workflow must not."""
KNOWN = {"passes", "log_severity_level"}


def detect(folder: Path) -> bool:
    """Whether a folder holds one JSON file with passes, and no model."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if len(files) != 1 or files[0].suffix != ".json":
        return False
    try:
        return "passes" in read_object(files[0])
    except ConvertError:
        return False


def facts(folder: Path) -> Facts:
    """The workflow itself. Raises ConvertError for one that this plugin does not run."""
    files = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    if len(files) != 1:
        raise ConvertError(f"a workflow is one JSON file in a folder of its own; there are {len(files)} here")
    table = read_object(files[0])
    check(table, files[0].name)
    return Facts(format=NAME, config=table, files={files[0].name: files[0].stat().st_size})


def validate(folder: Path) -> None:
    """Raise ConvertError for a workflow that this plugin does not run."""
    facts(folder)


def check(table: Mapping[str, Any], file: str) -> None:
    """Raise ConvertError for what a step cannot do, or what would not be in its key."""
    for name in DECIDED:
        if name in table:
            raise ConvertError(f"{file}: says {name!r}, which the build decides; leave it out")
    unknown = sorted(set(table) - KNOWN)
    if unknown:
        raise ConvertError(f"{file}: says {unknown[0]!r}; a step runs `passes` and nothing else")
    passes = table.get("passes")
    if not isinstance(passes, dict) or not passes or not all(isinstance(item, dict) for item in passes.values()):
        raise ConvertError(f"{file}: its `passes` are no table of passes by name")
    kinds = [item.get("type") for item in passes.values()]
    strange = next((kind for kind in kinds if kind not in PASSES), None)
    if strange is not None:
        raise ConvertError(f"{file}: the pass {strange!r} was never tried here; there is {', '.join(PASSES)}")
    if kinds.index("ModelBuilder") != 0 if "ModelBuilder" in kinds else True:
        raise ConvertError(f"{file}: its first pass has to be ModelBuilder, which makes the ONNX model")
    if kinds.count("ModelBuilder") > 1 or not isinstance(next(iter(passes.values())).get("precision"), str):
        raise ConvertError(f"{file}: has to have one ModelBuilder, with a `precision`")
