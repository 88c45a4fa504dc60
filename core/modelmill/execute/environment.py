"""What a step's child finds in its environment: an allow-list, so that nothing else can influence a byte."""

import os
from collections.abc import Mapping
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


def environment(outer: Mapping[str, str], scratch: Path, threads: int) -> dict[str, str]:
    """The whole environment of a step's child."""
    passed = {name: outer[name] for name in _PASSED if name in outer}
    folder = os.fspath(scratch)
    homes = {"HOME": folder, "TMPDIR": folder, "XDG_CACHE_HOME": folder, "HF_HOME": folder}
    return {**passed, **_FIXED, **homes, **dict.fromkeys(_THREADS, str(threads))}
