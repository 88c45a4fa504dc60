"""What all tests share: golden files, rewritten on request; the real model, and the tools to compare with."""

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """Compare bytes with `golden/NAME` beside the test, or write that file with --update-goldens."""
    folder = request.path.parent / "golden"

    def check(name: str, data: bytes) -> None:
        path: Path = folder / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        assert path.read_bytes() == data, f"{path} differs; pytest --update-goldens writes it anew"

    return check


@pytest.fixture(scope="session")
def real_gguf() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file (Q4_1), fetched once and kept from run to run."""
    from reference import models

    return models.smollm2()


@pytest.fixture(scope="session")
def real_checkpoint() -> Path:
    """The same model in Hugging Face layout (BF16), made by modelmill's converter and kept while that is the same."""
    from reference import models

    return models.smollm2_checkpoint()


@pytest.fixture(scope="session")
def llama_cpp_sdist() -> Path:
    """The unpacked sources of llama-cpp-python, with llama.cpp's own converter in vendor/llama.cpp."""
    from reference import llama_build

    return llama_build.sources()
