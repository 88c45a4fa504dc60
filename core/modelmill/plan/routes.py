"""Which converters and quantizers lead from a model as it is to a model as a target wants it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelmill.config import Target
from modelmill.errors import PlanError
from modelmill.plan.compose import Makers, Move, composers, gives, is_composer, missing
from modelmill.registry import Offer, Registry
from modelmill.types import Facts, Maker, Refusal

_LONGEST = 4


class Tries(Protocol):
    """Tells what a maker would make of the result of the moves so far; `wanted` None leaves the scheme to it."""

    def __call__(
        self, moves: tuple[Move, ...], kind: str, offer: Offer[Maker[Any]], wanted: str | None
    ) -> Move | Refusal: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    routes: list[tuple[Move, ...]]
    refusals: dict[str, bool]
    """Reasons, and whether one is of a maker that was asked for the target's own scheme."""


def search(start: Facts, target: Target, makers: Makers, attempt: Tries) -> tuple[Move, ...]:
    """The one shortest route that nothing refuses.

    A longer route is never taken where a shorter one exists, no record is used twice in a route, and fused
    records are not routes of their own. Raises PlanError where there is no route, with the reasons why not, or
    several, with their names.
    """
    found = _Found(routes=[], refusals={})
    leading = _leading(makers, target.format)
    frontier: list[tuple[Move, ...]] = [()]
    for _ in range(_LONGEST):
        frontier = _composed(found, start, target, makers, attempt, frontier)
        if found.routes:
            return _only(found, target)
        open_ways = [
            (moves, kind, offer)
            for moves in frontier
            for kind, offer in _usable(makers, moves[-1].facts if moves else start, moves, leading)
        ]
        for way in open_ways:
            _end(found, target, attempt, *way)
        if found.routes:
            return _only(found, target)
        # Only now: what a longer way would need may be a tool, or a toolchain, that nobody asked for.
        frontier = [longer for way in open_ways if (longer := _extend(found, attempt, *way)) is not None]
    raise PlanError(_impossible(start, target, found.refusals))


def _only(found: _Found, target: Target) -> tuple[Move, ...]:
    if len(found.routes) > 1:
        raise PlanError(_ambiguous(target, found.routes))
    return found.routes[0]


def _composed(
    found: _Found,
    start: Facts,
    target: Target,
    makers: Makers,
    attempt: Tries,
    frontier: Sequence[tuple[Move, ...]],
) -> list[tuple[Move, ...]]:
    """Every way with what the target puts into the model put in, as soon as the model has a format that takes it.

    A way that ends there, because the target wants the model as it then is, is a route.
    """
    ways = []
    for moves in frontier:
        way = _put_in(found, target, makers, attempt, moves, moves[-1].facts if moves else start)
        if way is None:
            continue
        ways.append(way)
        if len(way) > len(moves) and (way[-1].facts.format, way[-1].facts.scheme) == (target.format, target.scheme):
            found.routes.append(way)
    return ways


def _put_in(
    found: _Found, target: Target, makers: Makers, attempt: Tries, moves: tuple[Move, ...], facts: Facts
) -> tuple[Move, ...] | None:
    """A way and the moves of those who put something into the model as it is there; None where one refuses."""
    for kind, offer in composers(target, makers, facts.format, moves):
        result = attempt(moves, kind, offer, None)
        if isinstance(result, Refusal):
            found.refusals[result.reason] = True
            return None
        moves = (*moves, result)
    return moves


def usable_makers(registry: Registry) -> Makers:
    """Converters and quantizers by the format that they take; fused records are no routes of their own."""
    found: dict[str, list[tuple[str, Offer[Maker[Any]]]]] = {}
    for kind, offer in registry.makers():
        if not offer.record.replaces:
            takes: str = offer.record.takes  # type: ignore[attr-defined]
            found.setdefault(takes, []).append((kind, offer))
    return found


def _leading(makers: Makers, wanted: str) -> frozenset[str]:
    """The formats from which some way leads to the wanted one.

    A way that ends elsewhere is not tried: it may need tools that nobody who wants this target has installed.
    """
    found = {wanted}
    for _ in range(_LONGEST):
        found |= {takes for takes, offers in makers.items() if any(gives(offer) in found for _, offer in offers)}
    return frozenset(found)


def _usable(
    makers: Makers, facts: Facts, moves: tuple[Move, ...], leading: frozenset[str]
) -> Iterator[tuple[str, Offer[Maker[Any]]]]:
    used = {(move.kind, move.offer.record.name) for move in moves}
    for kind, offer in makers.get(facts.format, ()):
        if (kind, offer.record.name) not in used and gives(offer) in leading and not is_composer(kind, offer):
            yield kind, offer


def _end(
    found: _Found, target: Target, attempt: Tries, moves: tuple[Move, ...], kind: str, offer: Offer[Maker[Any]]
) -> None:
    """Try to reach the target by one more move, unless the target settles for another."""
    if gives(offer) != target.format or target.scheme not in offer.record.schemes:
        return
    if not _settles({*((move.kind, move.offer.record.name) for move in moves), (kind, offer.record.name)}, target):
        return
    if missing(target, moves):
        return
    result = attempt(moves, kind, offer, target.scheme)
    if isinstance(result, Refusal):
        found.refusals[result.reason] = True
    else:
        found.routes.append((*moves, result))


def _extend(
    found: _Found, attempt: Tries, moves: tuple[Move, ...], kind: str, offer: Offer[Maker[Any]]
) -> tuple[Move, ...] | None:
    """The way that is one converter longer, its scheme left to it; None where that is refused."""
    if kind != "converter":
        return None
    result = attempt(moves, kind, offer, None)
    if isinstance(result, Refusal):
        found.refusals.setdefault(result.reason, False)
        return None
    return (*moves, result)


def _settles(names: set[tuple[str, str]], target: Target) -> bool:
    wanted = {("converter", target.converter), ("quantizer", target.quantizer)}
    return all(name is None or (kind, name) in names for kind, name in wanted)


def _ambiguous(target: Target, routes: list[tuple[Move, ...]]) -> str:
    told = "; ".join(sorted(" → ".join(f"{m.offer.record.name} ({m.offer.plugin})" for m in route) for route in routes))
    return (
        f"target {target.name!r}: several ways lead to {target.format} {target.scheme}: {told}. "
        "Choose with `converter = …` or `quantizer = …` in the target"
    )


def _impossible(start: Facts, target: Target, refusals: Mapping[str, bool]) -> str:
    """What those say who could give the target's scheme at once; where there is none, what all say who could help."""
    direct = any(refusals.values())
    reasons = [reason for reason, of_scheme in refusals.items() if of_scheme or not direct]
    if reasons:
        return f"target {target.name!r}: " + "; ".join(reasons)
    if untaken := missing(target, ()):
        return (
            f"target {target.name!r}: nothing on the way from {start.format} to {target.format} {target.scheme} takes "
            f"{' or '.join(untaken)}, which is put into a checkpoint before that is converted"
        )
    return (
        f"target {target.name!r}: nothing leads from {start.format} to {target.format} {target.scheme}; "
        "`modelmill plugins` lists what each plugin converts"
    )
