"""What a step's child finds in its environment: an allow-list, so that nothing else can influence a byte."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PASSED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH", "SYSTEMROOT")
"""Where the machine's own programs and libraries are; their digests are in the key where they are tools."""

_FIXED = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONNOUSERSITE": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_PROXY": "*",
    "SOURCE_DATE_EPOCH": "315532800",
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """Which Python runs a step: the engine's own, or that of a tool environment.

    The latter finds the engine's part of a step, and the plugin, in the folder `code` alone.
    """

    python: Path = Path(sys.executable)
    code: Path | None = None


def environment(
    outer: Mapping[str, str], scratch: Path, threads: int, interpreter: Interpreter | None = None
) -> dict[str, str]:
    """The whole environment of a step's child."""
    passed = {name: outer[name] for name in _PASSED if name in outer}
    folder = os.fspath(scratch)
    homes = {"HOME": folder, "TMPDIR": folder, "XDG_CACHE_HOME": folder, "HF_HOME": folder}
    if interpreter is not None and interpreter.code is not None:
        passed["PATH"] = os.pathsep.join([os.fspath(interpreter.python.parent), passed.get("PATH", os.defpath)])
        homes["PYTHONPATH"] = os.fspath(interpreter.code)
    return {**passed, **_FIXED, **homes, **dict.fromkeys(_THREADS, str(threads))}
