"""Two models tensor by tensor, through the formats that own them."""

from dataclasses import dataclass
from pathlib import Path

from modelmill.errors import ConfigError
from modelmill.registry import Offer
from modelmill.types import Format, TensorData


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A tensor that is not the same: its type and shape on each side, and the relative error of its values.

    `error` is |after - before| / |before| in the Frobenius norm; None where it was not asked for or the
    shapes differ.
    """

    name: str
    before: str | None
    after: str | None
    error: float | None = None

    def __str__(self) -> str:
        told = f"tensor {self.name}: {self.before or 'nothing'} → {self.after or 'nothing'}"
        return told if self.error is None else f"{told}, relative error {self.error:.3g}"


def tensors(
    before: Offer[Format], old: Path, after: Offer[Format], new: Path, *, error: bool = False
) -> list[Difference]:
    """Every tensor whose type, shape or bytes differ, by name. Raises ConfigError for a format without tensors."""
    left, right = _by_name(before, old), _by_name(after, new)
    found = []
    for name in sorted({*left, *right}):
        one, other = left.get(name), right.get(name)
        if one is not None and other is not None and one.tensor == other.tensor and one.raw == other.raw:
            continue
        found.append(
            Difference(
                name=name,
                before=None if one is None else _told(one),
                after=None if other is None else _told(other),
                error=_error(one, other) if error else None,
            )
        )
    return found


def _by_name(offer: Offer[Format], folder: Path) -> dict[str, TensorData]:
    if offer.record.tensors is None:
        raise ConfigError(f"the format {offer.record.name!r} ({offer.plugin}) does not show its tensors")
    return {item.tensor.name: item for item in offer.record.tensors(folder)}


def _told(item: TensorData) -> str:
    return f"{item.tensor.dtype} {'x'.join(str(size) for size in item.tensor.shape)}"


def _error(one: TensorData | None, other: TensorData | None) -> float | None:
    if one is None or other is None or one.tensor.shape != other.tensor.shape:
        return None
    import math

    before, after = one.values().reshape(-1), other.values().reshape(-1)
    difference = after - before
    size = float(before @ before)
    return math.sqrt(float(difference @ difference) / size) if size else 0.0
