"""W + s·BA in the base's own dtype, bit for bit the same on every machine.

The sum over the rank is taken in float32 with one rounding per term (fused multiply-add), in the order of the
rank: what a matrix product of small inner size comes to in the libraries that peft runs on. A BLAS library's own
order and rounding differ from machine to machine, so its product only says between which two values the result
lies; where they round to the same value in the base's dtype, and they nearly always do, that is the result.
Else the sum is taken term by term.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bits = NDArray[np.unsignedinteger[Any]]
Narrow = Callable[[Floats], Bits]

_VALUES_AT_ONCE = 1 << 17
_UNIT = 2.0**-24
_SMALLEST_NORMAL = 2.0**-126
_BELOW_FLOAT32 = np.int64(0x1FFFFFFF)
_HALFWAY = np.int64(0x10000000)


def merged(base: Floats, up: Floats, down: Floats, scale: float, narrow: Narrow) -> Bits:
    """base + scale · (up @ down) through `narrow`, which must be monotone.

    `base` is [rows, columns], `up` [rows, rank], `down` [rank, columns].
    """
    factor = np.float32(scale)
    if narrow is as_float32:
        return narrow(base + _sums(up[:, :, None], down[None]) * factor)
    return _between(base, up, down, factor, narrow)


def _between(base: Floats, up: Floats, down: Floats, factor: np.float32, narrow: Narrow) -> Bits:
    """The result where it is narrower than float32."""
    rank = down.shape[0]
    near = (up @ down) * factor
    lengths = np.sqrt(np.square(down, dtype=np.float64).sum(axis=0)).astype(np.float32)
    heights = np.sqrt(np.square(up, dtype=np.float64).sum(axis=1)).astype(np.float32)
    # Two sums of `rank` products, each within rank·2⁻²⁴ of the true one by |b|·|a| (Higham, Accuracy and Stability
    # of Numerical Algorithms, §3.1); then what rounding after the sum, and of this very slack, may add.
    slack = np.outer(heights * np.float32(abs(factor) * 2.1 * (rank + 2) * _UNIT), lengths)
    slack += np.abs(near) * np.float32(8 * _UNIT) + np.float32(_SMALLEST_NORMAL)
    low, high = narrow(base + (near - slack)), narrow(base + (near + slack))
    row, column = np.nonzero(low != high)
    for at in range(0, len(row), _VALUES_AT_ONCE):
        i, j = row[at : at + _VALUES_AT_ONCE], column[at : at + _VALUES_AT_ONCE]
        low[i, j] = narrow(base[i, j] + _sums(up[i], down.T[j]) * factor)
    return low


def _sums(up: Floats, down: Floats) -> Floats:
    """The sum over the second axis of up · down, by fused multiply-add in that axis's order."""
    total = np.zeros(1, np.float32)
    for k in range(up.shape[1]):
        # The product of two float32 is exact in float64.
        total = _add(total.astype(np.float64), up[:, k].astype(np.float64) * down[:, k].astype(np.float64))
    return total


def _add(total: Doubles, product: Doubles) -> Floats:
    """total + product, rounded to float32 once.

    The sum in float64 is rounded too, which shows only where it then lies halfway between two float32: there it
    is rounded to odd first (Boldo and Melquiond, Emulation of a FMA and correctly rounded sums, 2008).
    """
    found = total + product
    doubtful = (found.view(np.int64) & _BELOW_FLOAT32) == _HALFWAY
    doubtful |= np.abs(found) < _SMALLEST_NORMAL
    if doubtful.any():
        found = np.where(doubtful, _to_odd(np.broadcast_to(total, found.shape), product, found), found)
    return found.astype(np.float32)


def _to_odd(first: Doubles, second: Doubles, found: Doubles) -> Doubles:
    """first + second, of which `found` is the nearest float64, rounded to the odd neighbour where it is not exact."""
    part = found - first
    error = (first - (found - part)) + (second - part)
    even = (found.view(np.int64) & 1) == 0
    return np.where((error != 0) & even, np.nextafter(found, np.copysign(np.inf, error)), found)


def as_float32(values: Floats) -> NDArray[np.uint32]:
    """The bits of the values as they are."""
    return np.ascontiguousarray(values).view(np.uint32)


def as_float16(values: Floats) -> NDArray[np.uint16]:
    """The bits of the nearest float16, ties to even; beyond its range infinity."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).view(np.uint16)


def as_bfloat16(values: Floats) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even; beyond its range infinity."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    return rounded.astype(np.uint16)
