"""Whether a release's folder holds all that its index has to name, each as a build would make it now."""

from collections.abc import Collection
from dataclasses import replace

from modelmill.artifact.assemble import state
from modelmill.build.placing import Placing
from modelmill.build.prepare import Prepared, beside
from modelmill.errors import ModelmillError


def wanting(placing: Placing, built: Collection[str]) -> tuple[str, ...]:
    """The targets to build before the release is whole: of those that are built by default or lie in its folder.

    Those that were just `built` are as they should be. Of the others counts what the plan would make now, told
    from what lock and store have: nothing is fetched, and what cannot be told is to be built.
    """
    prepared, folder = placing.prepared, placing.folder
    others = [
        target.name
        for target in prepared.build.targets.values()
        if target.name not in built and (target.default or (folder / target.name).is_dir())
    ]
    lacking = tuple(name for name in others if state(prepared.store, folder / name) != "whole")
    if lacking or not others:
        return lacking
    current = _current(placing, tuple(others))
    return tuple(name for name in others if name not in current)


def _current(placing: Placing, names: tuple[str, ...]) -> set[str]:
    """Which of these targets' folders hold what a build would put there."""
    try:
        now = beside(placing.prepared, names)
    except ModelmillError:  # of one of them; each alone tells of which
        return set() if len(names) == 1 else {name for name in names if _current(placing, (name,))}
    return {name for name in names if _is_there(replace(placing, prepared=now), name)}


def _is_there(placing: Placing, name: str) -> bool:
    prepared: Prepared = placing.prepared
    (planned,) = (item for item in prepared.plan.targets if item.target.name == name)
    result = prepared.store.result(planned.key)
    try:
        return result is not None and placing.is_there(planned, result)
    except ModelmillError:
        return False
