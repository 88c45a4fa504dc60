"""The conformance kit for plugins, with tiny checkpoints to run it on. Needs nothing but pytest."""

from modelmill.testing.architectures import ARCHITECTURES, Shape
from modelmill.testing.checkpoints import make_checkpoint

__all__ = ["ARCHITECTURES", "Shape", "make_checkpoint"]
