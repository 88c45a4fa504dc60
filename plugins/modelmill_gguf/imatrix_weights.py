"""The numbers of an importance matrix, as the quantizer uses them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError
from modelmill_gguf.imatrix import Entry, ImportanceFile

Weights = Mapping[str, NDArray[np.float32]]
"""An importance per column of each tensor, experts one after another."""


def weights(file: ImportanceFile) -> Weights:
    """For each tensor the mean square of what each of its columns is multiplied with, experts one after another.

    Raises ConvertError for values that are not finite, or negative, which no square is.
    """
    data = np.memmap(file.path, np.uint8, mode="r")
    found = {name: _means(data, entry) for name, entry in file.entries.items()}
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ConvertError(f"{file.path.name} holds values that are NaN or infinite for the tensor {name!r}.")
        if (values < 0).any():
            raise ConvertError(
                f"{file.path.name} holds negative values for the tensor {name!r}, and means of squares are none; "
                "make the importance matrix anew."
            )
    return found


def _means(data: NDArray[Any], entry: Entry) -> NDArray[np.float32]:
    sums = _floats(data, entry.offset, entry.values)
    if entry.counts is None:
        return sums / np.float32(entry.calls) if entry.calls > 0 else sums
    counts = np.rint(_floats(data, *entry.counts))[:, None]
    rows = sums.reshape(len(counts), -1)
    # An expert that the text never reached says nothing: all its columns weigh the same.
    ones = np.ones_like(rows)
    # A negative number of tokens makes negative means, which are refused.
    return np.divide(rows, counts, out=ones, where=counts != 0).reshape(-1)


def _floats(data: NDArray[Any], offset: int, count: int) -> NDArray[np.float32]:
    return np.frombuffer(data[offset : offset + 4 * count].tobytes(), np.float32)
