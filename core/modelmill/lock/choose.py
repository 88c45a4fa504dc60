"""Which files of a source are the model's: those that build.toml includes, else one checkpoint's own."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from modelmill.config import SourceTable
from modelmill.errors import ConfigError, SourceError
from modelmill.lock.origin import stated_uri
from modelmill.types import Resolution, SourceFile

_OTHERS = (
    ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".onnx_data", ".pkl", ".pickle", ".py",
    ".mlmodel", ".tflite", ".npz", ".gitattributes", ".gitignore",
)  # fmt: skip
"""Weights of other frameworks, training state, and code: no step reads them."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_TORCH = "pytorch_model*.bin"
_TEMPLATES = "additional_chat_templates/*.jinja"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_WEIGHTS = (".safetensors", ".gguf", ".onnx")
_SHOWN = 8


def choose(name: str, table: SourceTable, resolution: Resolution) -> tuple[SourceFile, ...]:
    """The files of a source that count. SourceError for a path that leaves its folder, and where none is left."""
    for file in resolution.files:
        _check_path(name, file.path)
    files = resolution.files
    if table.include:
        files = tuple(file for file in files if _matches(file.path, table.include))
    elif resolution.mixed:
        files = _own(files, pickles=table.pickle != "refuse")
        if table.pickle == "refuse":
            _refuse_pickles(name, resolution.files)
    files = tuple(file for file in files if not _matches(file.path, table.exclude))
    if not files:
        what = f"matches {', '.join(table.include)}" if table.include else "is a model's"
        raise SourceError(
            f"source {name!r}: none of the {len(resolution.files)} files of {stated_uri(table.uri)} {what}"
        )
    if resolution.mixed and not table.include:
        _refuse_several(name, files)
    return files


def _own(files: Iterable[SourceFile], *, pickles: bool) -> tuple[SourceFile, ...]:
    """A checkpoint's own: the top folder without other frameworks' weights, and GGUF only where that is all.

    Chat templates with names of their own have a folder below it, by transformers' custom.
    Torch files count where build.toml allows them and there are no others.
    """
    whole = tuple(file for file in files if "/" not in file.path or fnmatchcase(file.path, _TEMPLATES))
    top = tuple(file for file in whole if not file.path.endswith(_OTHERS))
    if any(file.path.endswith(".safetensors") for file in top):
        return tuple(file for file in top if not file.path.endswith(".gguf"))
    torch = tuple(file for file in whole if pickles and fnmatchcase(file.path, _TORCH))
    return (*(file for file in top if not torch or not file.path.endswith(".gguf")), *torch)


def _refuse_pickles(name: str, files: Iterable[SourceFile]) -> None:
    """By what they are called: fetching them only to see that they are what they say would cost gigabytes."""
    top = [file.path for file in files if "/" not in file.path]
    pickles = [path for path in top if path.endswith(_PICKLES)]
    if pickles and not any(path.endswith(_WEIGHTS) for path in top):
        raise SourceError(
            f"source {name!r}: its only weights are Python pickles ({pickles[0]}), which can run any code when they "
            'are loaded; use a checkpoint with safetensors files, or say `pickle = "weights-only"` in '
            f"[source.{name}]"
        )


def _refuse_several(name: str, files: Iterable[SourceFile]) -> None:
    models = sorted({_SHARD.sub(".gguf", file.path) for file in files if file.path.endswith(".gguf")})
    models = [path for path in models if not path.startswith("mmproj")]
    if len(models) > 1:
        shown = ", ".join(models[:_SHOWN]) + (f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else "")
        raise ConfigError(
            f"source {name!r}: holds {len(models)} GGUF models ({shown}); say which with `include` in [source.{name}]"
        )


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _check_path(name: str, path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise SourceError(f"source {name!r}: the file {path!r} leaves its folder; it is not to be trusted")
