"""What every suite asks of a plugin, whatever it offers."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from modelmill import registry
from modelmill.contract import API_VERSION, DECLARATION
from modelmill.registry import wellformed
from modelmill.testing import plugins


class Suite:
    """The base of all suites: subclass the one for what the plugin offers instead."""

    plugin: ClassVar[str]
    """The plugin's import package, such as `modelmill_gguf`."""
    hook: ClassVar[str]
    """What of the plugin's the suite tries, such as `formats`: the end of the hook's name."""

    @classmethod
    def names(cls) -> Iterator[str]:
        """The names under which build.toml finds what is tried."""
        yield cls.name  # type: ignore[attr-defined]

    def __str__(self) -> str:
        """Whose fault a failure is."""
        return f"{self.plugin}: {self.hook.removesuffix('s')} {' '.join(self.names())}"

    @contextmanager
    def _sound(self, what: str) -> Iterator[None]:
        """Fail the test, with the plugin's name, where what is done inside raises anything; assert outside of it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the plugin's
            pytest.fail(f"{self}: {what}: {type(error).__name__}: {error}")

    @contextmanager
    def _refused(self, kind: type[Exception], what: str, word: str = "") -> Iterator[None]:
        """Fail the test, with the plugin's name, unless what is done inside raises this error, with that word in it."""
        try:
            yield
        except kind as error:
            if not str(error).strip():
                pytest.fail(f"{self}: {what}: a {kind.__name__} without a word")
            if word not in str(error):
                pytest.fail(f"{self}: {what}: a {kind.__name__} that does not say {word!r}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not that error
            pytest.fail(f"{self}: {what}: {type(error).__name__} and not {kind.__name__}: {error}")
        else:
            pytest.fail(f"{self}: {what}: no {kind.__name__} comes of it")

    def test_what_the_plugin_offers_are_records(self) -> None:
        for offer in plugins.offers(self.plugin, f"modelmill_{self.hook}"):
            wrong = wellformed.problem(offer, registry.RECORDS[self.hook]) or registry.table_fault(offer)
            assert wrong is None, f"{self.plugin} {wrong}"

    def test_it_declares_the_contract_that_it_is_written_for(self) -> None:
        declared = getattr(importlib.import_module(self.plugin), DECLARATION, None)
        assert declared == API_VERSION, (
            f"{self.plugin}: {DECLARATION} is {declared!r} in its module; write {DECLARATION} = {API_VERSION}"
        )

    def test_nobody_else_offers_its_name(self) -> None:
        offers: registry.Offers[Any] = getattr(registry.load(), self.hook)
        for name in self.names():
            others = [offer.plugin for offer in offers.found.get(name, ()) if offer.plugin.module != self.plugin]
            assert not others, f"{self.plugin}: the name {name!r} is taken: {others[0]} offers the {offers.kind} too"

    def test_importing_the_plugin_loads_no_heavy_module(self) -> None:
        code = (
            "import importlib, sys; from modelmill.testing.weight import heavy; before = set(sys.modules);"
            "module = importlib.import_module(sys.argv[1]); list(getattr(module, sys.argv[2])());"
            "print(*heavy(before, sys.argv[1]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, self.plugin, f"modelmill_{self.hook}"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.fail(f"{self.plugin}: cannot be imported\n{done.stderr}")
        loaded = done.stdout.splitlines()[-1].split()  # whatever the plugin itself may print comes before
        assert loaded == [], (
            f"{self.plugin}: loads {', '.join(loaded)} when it is imported, and the engine waits for it"
        )
