"""The conformance kit for plugins, with tiny checkpoints to run it on. Needs nothing but pytest.

A plugin's tests subclass the suite for what the plugin offers, name the record, and say how to make a small
input; the suite brings the tests. The checkpoints need not even pytest.
"""

import importlib
from typing import TYPE_CHECKING, Any

from modelmill.testing.architectures import ARCHITECTURES
from modelmill.testing.checkpoints import make_checkpoint
from modelmill.testing.shapes import Shape

if TYPE_CHECKING:
    from modelmill.testing.artifacts import make_artifact
    from modelmill.testing.formats import FormatSuite
    from modelmill.testing.hardware import HardwareSuite
    from modelmill.testing.makers import ConverterSuite, QuantizerSuite
    from modelmill.testing.packagers import PackagerSuite
    from modelmill.testing.remotes import RemoteSuite
    from modelmill.testing.signers import SignerSuite
    from modelmill.testing.sources import SourceSuite
    from modelmill.testing.steps import convert

__all__ = [
    "ARCHITECTURES",
    "ConverterSuite",
    "FormatSuite",
    "HardwareSuite",
    "PackagerSuite",
    "QuantizerSuite",
    "RemoteSuite",
    "Shape",
    "SignerSuite",
    "SourceSuite",
    "convert",
    "make_artifact",
    "make_checkpoint",
]

_LATER = {
    "ConverterSuite": "makers",
    "FormatSuite": "formats",
    "HardwareSuite": "hardware",
    "PackagerSuite": "packagers",
    "QuantizerSuite": "makers",
    "RemoteSuite": "remotes",
    "SignerSuite": "signers",
    "SourceSuite": "sources",
    "convert": "steps",
    "make_artifact": "artifacts",
}


def __getattr__(name: str) -> Any:
    """Import what needs pytest or runs steps when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
