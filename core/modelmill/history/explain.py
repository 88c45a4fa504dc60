"""Why a target would be built again: what differs between now and the last build that is remembered."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from modelmill.history.memory import Memory
from modelmill.printable import printable, short
from modelmill_artifacts.diff import MISSING, leaves

Listing = Callable[[str], Mapping[str, str] | None]
"""Digest of a package → the digests of its files, where they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not as it was. `part` says of what: a component of a key, or a part of the artifact."""

    part: str
    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        told = printable(f"{self.part} {self.name}".strip())
        if self.before is None:
            return f"{told} is new ({short(self.after)})"
        if self.after is None:
            return f"{told} is gone (it was {short(self.before)})"
        return f"{told} changed: {short(self.before)} → {short(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReason:
    """Why a step has another key than in the last build: its own changes, or only those of steps before it."""

    key: str
    title: str
    changes: tuple[Change, ...]
    follows: tuple[str, ...]
    """Titles of the steps that it needs and whose keys changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """All that differs: step by step, steps that are no longer there, and what only the artifact says."""

    steps: tuple[StepReason, ...]
    gone: tuple[str, ...]
    artifact: tuple[Change, ...]


def reasons(before: Memory, after: Memory, listing: Listing) -> Reasons:
    """Compare the last build with what would be built now."""
    pairs = _pairs(before, after)
    changed = {key for key, old in pairs.items() if old != key}
    steps = tuple(
        StepReason(
            key=key,
            title=after.titles[key],
            changes=tuple(_step(before, pairs[key], after.components[key], listing)),
            follows=tuple(after.titles[need] for need in _needs(after.components[key]) if need in changed),
        )
        for key in after.components
        if key in changed
    )
    gone = tuple(title for key, title in before.titles.items() if key not in pairs.values())
    parts = _ARTIFACT if steps or gone else (*_ARTIFACT, *_SAID)
    if before.artifact.get("sign") == after.artifact.get("sign"):
        parts = (*parts, "key")  # another key under the same name
    artifact = (_differences(part, (), before.artifact.get(part), after.artifact.get(part)) for part in parts)
    return Reasons(steps=steps, gone=gone, artifact=tuple(chain.from_iterable(artifact)))


def _pairs(before: Memory, after: Memory) -> dict[str, str | None]:
    """For each step now, the step of the last build that it stands for.

    That is the same step; else one of the same record and scheme; else the same record; else, for the step
    that ends the chain, the one that ended it.
    """
    left = {key: before.components[key] for key in before.components if key not in after.components}
    pairs: dict[str, str | None] = {key: key for key in after.components if key in before.components}

    def alike(key: str, words: Callable[[Mapping[str, Any]], Any]) -> None:
        if key in pairs:
            return
        wanted = words(after.components[key])
        for old, parts in left.items():
            if words(parts) == wanted:
                pairs[key] = old
                del left[old]
                return

    for words in (
        lambda parts: (parts["record"]["kind"], parts["record"]["name"], parts["scheme"]),
        lambda parts: (parts["record"]["kind"], parts["record"]["name"]),
    ):
        for key in after.components:
            alike(key, words)
    if after.key not in pairs and before.key in left:
        pairs[after.key] = before.key
    return {key: pairs.get(key) for key in after.components}


def _needs(parts: Mapping[str, Any]) -> Iterator[str]:
    inputs = parts["inputs"]
    for origin in (inputs["source"], *inputs["inputs"].values()):
        if "step" in origin:
            yield origin["step"]


def _step(before: Memory, old_key: str | None, new: Mapping[str, Any], listing: Listing) -> Iterator[Change]:
    if old_key is None:
        yield Change(part="step", name=new["record"]["name"], before=None, after=new["scheme"])
        return
    old = before.components[old_key]
    yield from _inputs(old["inputs"], new["inputs"])
    for part in ("record", "platform", "scheme", "options", "hardware", "lineage"):
        yield from _differences(_WORDS[part], (), old.get(part), new.get(part))
    for part in ("plugin", "engine"):
        yield from _package(part, old[part], new[part], listing)
    yield from _differences("the step's toolchain", (), old.get("toolchain"), new.get("toolchain"))
    both = old.get("toolchain") == new.get("toolchain")
    part = f"toolchain {new['toolchain']}'s" if both and "toolchain" in new else "tool"
    yield from _tools(part, old.get("tools", ()), new.get("tools", ()))


_WORDS = {
    "record": "the record's",
    "platform": "the platform's",
    "scheme": "scheme",
    "options": "option",
    "hardware": "hardware field",
    "lineage": "the locked source's",
}


def _inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before = {"source": old["source"], **{f"input {name}": item for name, item in old["inputs"].items()}}
    after = {"source": new["source"], **{f"input {name}": item for name, item in new["inputs"].items()}}
    for role in {**before, **after}:
        one, other = before.get(role), after.get(role)
        if one is None or other is None or ("step" in one) != ("step" in other):
            yield Change(part=role, name="", before=_origin(one), after=_origin(other))
        elif "files" in one:
            yield from _differences(f"{role} file", (), one["files"], other["files"])


def _origin(origin: Mapping[str, Any] | None) -> str | None:
    if origin is None:
        return None
    return "made by a step" if "step" in origin else "files of a source"


def _package(part: str, old: Mapping[str, Any], new: Mapping[str, Any], listing: Listing) -> Iterator[Change]:
    """A plugin, or the engine: its files one by one where both listings are known."""
    for field in ("module", "distribution", "version"):
        if old.get(field) != new.get(field):
            yield Change(part=part, name=field, before=old.get(field), after=new.get(field))
    if old["digest"] == new["digest"]:
        return
    before, after = listing(old["digest"]), listing(new["digest"])
    if before is None or after is None:
        yield Change(part=f"{part}'s", name="files", before=old["digest"], after=new["digest"])
    else:
        yield from _differences(f"{part} file", (), before, after)


def _tools(part: str, old: Any, new: Any) -> Iterator[Change]:
    before, after = ({tool["name"]: tool for tool in tools} for tools in (old, new))
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            yield Change(part=part, name=name, before=one and one["version"], after=other and other["version"])
        elif one["version"] != other["version"]:
            yield Change(part=part, name=name, before=one["version"], after=other["version"])
        elif one != other:
            field = next(field for field in {**other, **one} if one.get(field) != other.get(field))
            yield Change(part=part, name=f"{name}'s {field}", before=one.get(field), after=other.get(field))


_ARTIFACT = ("project", "sign", "hardware", "sources")
_SAID = ("target", "model")
"""What follows from the steps where those differ, and is named where it alone does."""


def _differences(part: str, path: tuple[str, ...], old: Any, new: Any) -> Iterator[Change]:
    """Every place where two JSON values differ, item by item in lists of one length."""
    for inner, *pair in leaves(old, new, path):
        one, other = (None if value is MISSING else value for value in pair)
        if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for place, items in enumerate(zip(one, other, strict=True)):
                yield from _differences(part, (*inner, str(place)), *items)
        else:
            yield Change(part=part, name=".".join(inner), before=one, after=other)
