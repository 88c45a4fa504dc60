"""Single precision without numpy, for the few numbers that plans need."""

import struct


def rounded(value: float) -> float:
    """The nearest float32."""
    result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return result
