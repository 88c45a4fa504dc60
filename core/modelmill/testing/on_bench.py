"""What the suites for converters and quantizers are told of a record, and the bench that they put it on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill.testing import plugins
from modelmill.testing.bench import Bench
from modelmill.testing.folders import copy_matching
from modelmill.testing.suite import Suite
from modelmill.types import Hardware


class OnBench(Suite):
    """What converters and quantizers have in common. Subclass ConverterSuite or QuantizerSuite instead."""

    name: ClassVar[str]
    """The record's name."""
    kind: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    """Options for every run, where the record has some without a default."""
    hardware: ClassVar[Mapping[str, Any]] = {}
    """Fields of a hardware profile, where the record uses some."""
    bytes_factor: ClassVar[float] = 1.1
    """The estimate of the bytes written is right within this factor (and 64 KiB, for headers)."""
    memory_factor: ClassVar[float] = 2.0
    """The memory at the peak is at most the estimate by this factor (and what Python and its libraries take)."""
    timeout: ClassVar[float] = 300
    """Seconds after which a run counts as hung."""
    kills: ClassVar[int] = 2
    """How often a step is killed, each time at another instant."""
    varied: ClassVar[int] = 3
    """How many schemes besides the first, spread over the list, are made once more in other surroundings."""

    def make_source(self, folder: Path) -> None:
        """Put a small source of the right format into an empty folder."""
        raise NotImplementedError("say what the record is to be tried on: def make_source(self, folder: Path) -> None")

    def make_large_source(self, folder: Path) -> bool:
        """Put a source of a hundred megabytes or more into an empty folder and return True, to have memory measured."""
        del folder
        return False

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        """Make the further inputs that the record needs, each a folder below an empty one."""
        del folder
        return {}

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """One test for every scheme, and one for every value of every option that is a choice."""
        if "scheme" in metafunc.fixturenames:
            metafunc.parametrize("scheme", plugins.maker(cls.plugin, cls.kind, cls.name).schemes)
        if "choice" in metafunc.fixturenames:
            plugins.parametrize_choices(metafunc, plugins.maker(cls.plugin, cls.kind, cls.name).options)

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory: pytest.TempPathFactory) -> Bench:
        """The record on its bench, with a source made once for the whole class."""
        root = tmp_path_factory.mktemp(cls.name)
        maker = plugins.maker(cls.plugin, cls.kind, cls.name)
        for folder in ("whole", "source", "inputs"):
            (root / folder).mkdir()
        cls().make_source(root / "whole")
        copy_matching(root / "whole", root / "source", maker.reads)
        inputs = cls().make_inputs(root / "inputs")
        takes: str = maker.takes  # type: ignore[attr-defined]
        return Bench(
            module=cls.plugin,
            kind=cls.kind,
            maker=maker,
            root=root,
            source=root / "source",
            inputs=inputs,
            facts=plugins.owner(cls.plugin, takes).facts(root / "whole"),
            input_facts={
                name: plugins.owner(cls.plugin, maker.inputs[name].format).facts(path) for name, path in inputs.items()
            },
            options=cls.options,
            hardware=Hardware(fields=dict(cls.hardware)) if maker.uses_hardware else None,
            timeout=cls.timeout,
        )
