"""Single precision without numpy, for the few numbers that plans need."""

import struct

LARGEST = 3.4e38
SMALLEST = 1.2e-38
"""Of the numbers above zero, the least that has all its digits."""


def rounded(value: float) -> float:
    """The nearest float32."""
    result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return result
