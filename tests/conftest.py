"""What all tests share: golden files, rewritten on request; the real model, and the tools to compare with."""

import signal
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter


def pytest_configure(config: pytest.Config) -> None:  # noqa: ARG001 - the hook's
    # A shell's job in the background ignores interrupts, and so would every process that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write golden files instead of comparing")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Count the faults that were injected: the tests marked so, and apart from them those that were skipped."""
    if item.get_closest_marker("fault"):
        skipped = call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception)
        if skipped:
            item.user_properties.append(("faults that could not be injected here", 1))
        elif call.when == "call":
            item.user_properties.append(("faults injected", 1))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what tests counted (`record_property("faults injected", 3)`), summed over all of them.

    Properties travel with the reports, so that the sums are right however many processes ran the tests.
    """
    totals: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if getattr(report, "when", None) == "teardown":
            totals.update({name: value for name, value in report.user_properties if isinstance(value, int)})
    for name, total in sorted(totals.items()):
        terminalreporter.write_line(f"{name}: {total:,}")


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
