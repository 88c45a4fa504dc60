"""The conformance kit for plugins, with tiny checkpoints to run it on. Needs nothing but pytest.

A plugin's tests subclass the suite for what the plugin offers, name the record, and say how to make a small
input; the suite brings the tests. The checkpoints need not even pytest.
"""

import importlib
from typing import TYPE_CHECKING, Any

from modelmill.testing.architectures import ARCHITECTURES, Shape
from modelmill.testing.checkpoints import make_checkpoint

if TYPE_CHECKING:
    from modelmill.testing.formats import FormatSuite
    from modelmill.testing.makers import ConverterSuite, QuantizerSuite
    from modelmill.testing.sources import SourceSuite

__all__ = [
    "ARCHITECTURES",
    "ConverterSuite",
    "FormatSuite",
    "QuantizerSuite",
    "Shape",
    "SourceSuite",
    "make_checkpoint",
]

_SUITES = {
    "ConverterSuite": "makers",
    "FormatSuite": "formats",
    "QuantizerSuite": "makers",
    "SourceSuite": "sources",
}


def __getattr__(name: str) -> Any:
    """Import a suite when it is first asked for: it needs pytest."""
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_SUITES[name]}"), name)
