"""What changes a model before anything is made of it: converters within a format whose needed inputs a target names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill.config import Target
from modelmill.config.records import COMPOSED
from modelmill.errors import PlanError
from modelmill.registry import Offer, gives, takes
from modelmill.types import Facts, Maker

Makers = Mapping[str, Sequence[tuple[str, Offer[Maker[Any]]]]]
"""Kind and offer of every converter and quantizer that can be part of a route, by the format that it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A maker applied to one input, with the scheme that it will give and the facts of its result."""

    kind: str
    offer: Offer[Maker[Any]]
    key: str
    facts: Facts


def is_composer(kind: str, offer: Offer[Maker[Any]]) -> bool:
    """Whether a maker puts something into a model: a converter that stays in its format and needs a further input."""
    return kind == "converter" and takes(offer) == gives(offer) and bool(_needed(offer))


def composers(
    target: Target, makers: Makers, shape: str, moves: Sequence[Move]
) -> tuple[tuple[str, Offer[Maker[Any]]], ...]:
    """The makers that put what the target names into a model of this format, in the order of its inputs.

    Raises PlanError where two could, and the target's `converter` names neither.
    """
    offered = [
        (kind, offer)
        for kind, offer in makers.get(shape, ())
        if is_composer(kind, offer) and _needed(offer) <= target.inputs.keys()
    ]
    taken = {name for move in moves for name in move.offer.record.inputs}
    found = []
    for name in target.inputs:
        able = [(kind, offer) for kind, offer in offered if name in _needed(offer) and name not in taken]
        able = [item for item in able if item[1].record.name == target.converter] or able
        if len(able) > 1:
            told = " or ".join(sorted(f"{offer.record.name} ({offer.plugin})" for _, offer in able))
            raise PlanError(f"target {target.name!r}: {told} could take {name!r}; choose with `converter = …`")
        for kind, offer in able:
            found.append((kind, offer))
            taken |= _needed(offer)
    return tuple(found)


def missing(target: Target, moves: Sequence[Move]) -> list[str]:
    """What a target puts into its model and these moves do not."""
    taken = {name for move in moves for name in move.offer.record.inputs}
    return [name for name in COMPOSED if name in target.inputs and name not in taken]


def _needed(offer: Offer[Maker[Any]]) -> set[str]:
    return {name for name, item in offer.record.inputs.items() if item.required}
