"""Which converters and quantizers lead from a model as it is to a model as a target wants it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelmill.config import Target
from modelmill.errors import PlanError
from modelmill.plan.compose import Makers, Move, composers, is_composer, missing
from modelmill.registry import Offer, Registry, gives, takes
from modelmill.types import Facts, Maker, Refusal

_LONGEST = 4


class Tries(Protocol):
    """Tells what a maker would make of the result of the moves so far; `wanted` None leaves the scheme to it."""

    def __call__(
        self, moves: tuple[Move, ...], kind: str, offer: Offer[Maker[Any]], wanted: str | None
    ) -> Move | Refusal: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a search came upon.

    `asked` holds, of each maker that was asked for what the target itself wants, the length of the longest way to it
    and why it refused there; `helpers` the reasons of those that would only have led on.
    """

    routes: list[tuple[Move, ...]] = field(default_factory=list)
    asked: dict[tuple[str, str], tuple[int, list[str]]] = field(default_factory=dict)
    helpers: list[str] = field(default_factory=list)

    def refused(self, moves: tuple[Move, ...], kind: str, offer: Offer[Maker[Any]], reason: str) -> None:
        """Keep what a maker said of the longest way: that one was tried because it refused the shorter ones."""
        name = (kind, offer.record.name)
        length, reasons = self.asked.get(name, (0, []))
        self.asked[name] = (len(moves), [*(reasons if length == len(moves) else ()), reason])

    def reasons(self) -> list[str]:
        """What those say who could give the target's scheme at once; where there is none, what the helpers say."""
        told = [reason for _, reasons in self.asked.values() for reason in reasons] or self.helpers
        return list(dict.fromkeys(told))


def search(start: Facts, target: Target, makers: Makers, attempt: Tries) -> tuple[Move, ...]:
    """The one shortest route that nothing refuses.

    A longer route is never taken where a shorter one exists, no record is used twice in a route, none comes back to a
    format that it had unless the target wants it, and fused records are not routes of their own. Raises PlanError where
    there is no route, with the reasons why not, or several, with their names.
    """
    found = _Found()
    leading = _leading(makers, target.format)
    frontier: list[tuple[Move, ...]] = [()]
    for _ in range(_LONGEST):
        frontier = _composed(found, start, target, makers, attempt, frontier)
        if found.routes:
            return _only(found, target)
        open_ways = [
            (moves, kind, offer) for moves in frontier for kind, offer in _usable(makers, start, target, moves, leading)
        ]
        for way in open_ways:
            _end(found, target, attempt, *way)
        if found.routes:
            return _only(found, target)
        # Only now: what a longer way would need may be a tool, or a toolchain, that nobody asked for.
        promising = [way for way in open_ways if _leads_on(makers, start, target, leading, *way)]
        frontier = [longer for way in promising if (longer := _extend(found, attempt, *way)) is not None]
    raise PlanError(_impossible(start, target, found.reasons()))


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
            found.refused(moves, kind, offer, result.reason)
            return None
        moves = (*moves, result)
    return moves


def usable_makers(registry: Registry) -> Makers:
    """Converters and quantizers by the format that they take; fused records are no routes of their own."""
    found: dict[str, list[tuple[str, Offer[Maker[Any]]]]] = {}
    for kind, offer in registry.makers():
        if not offer.record.replaces:
            found.setdefault(takes(offer), []).append((kind, offer))
    return found


def _leading(makers: Makers, wanted: str) -> frozenset[str]:
    """The formats from which some way leads to the wanted one.

    A way that ends elsewhere is not tried: it may need tools that nobody who wants this target has installed.
    """
    found = {wanted}
    for _ in range(_LONGEST):
        found |= {taken for taken, offers in makers.items() if any(gives(offer) in found for _, offer in offers)}
    return frozenset(found)


def _usable(
    makers: Makers, start: Facts, target: Target, moves: tuple[Move, ...], leading: frozenset[str]
) -> Iterator[tuple[str, Offer[Maker[Any]]]]:
    """The makers that a way may go on with."""
    used = {(move.kind, move.offer.record.name) for move in moves}
    shapes = [start.format, *(move.facts.format for move in moves)]
    # A model comes back only to be as the target wants it: what was packed is unpacked and packed anew.
    left = set(shapes) - {shapes[-1], target.format}
    for kind, offer in makers.get(shapes[-1], ()):
        if (kind, offer.record.name) not in used and gives(offer) in leading - left and not is_composer(kind, offer):
            yield kind, offer


def _leads_on(
    makers: Makers,
    start: Facts,
    target: Target,
    leading: frozenset[str],
    moves: tuple[Move, ...],
    kind: str,
    offer: Offer[Maker[Any]],
) -> bool:
    """Whether anything would take what a converter makes; otherwise it is not asked, and nobody reads why it refuses.

    A converter that gives nothing but schemes of a quantizer's makes what such a quantizer makes, not what it takes.
    """
    if kind != "converter":
        return False
    used = {(kind, offer.record.name), *((move.kind, move.offer.record.name) for move in moves)}
    left = {start.format, *(move.facts.format for move in moves)} - {gives(offer), target.format}
    for later, further in makers.get(gives(offer), ()):
        if (later, further.record.name) in used or gives(further) not in leading - left:
            continue
        if later == "converter" or not set(offer.record.schemes) <= set(further.record.schemes):
            return True
    return False


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
        found.refused(moves, kind, offer, result.reason)
    else:
        found.routes.append((*moves, result))


def _extend(
    found: _Found, attempt: Tries, moves: tuple[Move, ...], kind: str, offer: Offer[Maker[Any]]
) -> tuple[Move, ...] | None:
    """The way that is one converter longer, its scheme left to it; None where that is refused."""
    result = attempt(moves, kind, offer, None)
    if isinstance(result, Refusal):
        found.helpers.append(result.reason)
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


def _impossible(start: Facts, target: Target, reasons: list[str]) -> str:
    if reasons:
        return f"target {target.name!r}: " + "; ".join(
            [*(item.removesuffix(".") for item in reasons[:-1]), reasons[-1]]
        )
    if untaken := missing(target, ()):
        return (
            f"target {target.name!r}: nothing on the way from {start.format} to {target.format} {target.scheme} takes "
            f"{' or '.join(untaken)}, which is put into a checkpoint before that is converted"
        )
    return (
        f"target {target.name!r}: nothing leads from {start.format} to {target.format} {target.scheme}; "
        "`modelmill plugins` lists what each plugin converts"
    )
