"""What each target's last builds were made of: kept in the store, beside the results."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.artifact.describe import asked, describe, requirements
from modelmill.config import Build
from modelmill.decode import DecodeError, decode, encode
from modelmill.installed.digests import engine_files, package_files
from modelmill.lock import SourceState
from modelmill.plan import Plan, PlannedTarget, Step
from modelmill.store import Store
from modelmill.store.filesystem import write_atomic
from modelmill_artifacts import canonical

_HISTORY = 20
"""How many builds of a target are remembered; `cache prune --keep-last` can keep no more."""
_FRESH = 3600.0
"""Seconds in which the same use of the same results is not written down again: a build of a thousand targets
that has nothing to do would write a thousand files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The last whole build of a target: each step's title and components, and what else its artifact says."""

    file: str
    project: str
    target: str
    key: str
    titles: Mapping[str, str]
    components: Mapping[str, Mapping[str, Any]]
    artifact: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one build of a target used: keys of results, digests of its sources' files, and when (Unix seconds).

    `whole` is False for one that has not ended, or failed: its finished steps are worth keeping.
    """

    keys: tuple[str, ...]
    blobs: tuple[str, ...]
    at: float
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """The builds of a target, newest first."""

    file: str
    target: str
    uses: tuple[Use, ...]


def current(plan: Plan, planned: PlannedTarget, build: Build, key: Mapping[str, str]) -> Memory:
    """What would be remembered of this target if it were built now; `key` has digests of the signing key's files."""
    steps = [plan.steps[key] for key in plan.behind(planned.key)]
    return Memory(
        file=str(build.path.absolute()),
        project=build.project.name,
        target=planned.target.name,
        key=planned.key,
        titles={step.key: step.title for step in steps},
        components={step.key: step.components for step in steps},
        artifact=_artifact(plan, planned, build, key),
    )


def _artifact(plan: Plan, planned: PlannedTarget, build: Build, key: Mapping[str, str]) -> dict[str, Any]:
    """What an artifact says beyond its steps: the project, the hardware's requirements, whole sources, the key.

    And what may be asked or told otherwise of the same steps: the target's words, and what plugins say of the model.
    """
    states = {"model": planned.source, **planned.inputs}
    told = describe(plan, planned, build, {})
    model = {name: encode(getattr(told, name)) for name in ("architecture", "parameters", "flags", "notes")}
    return {
        "project": encode(build.project),
        "sign": encode(build.sign),
        "key": dict(key),
        "hardware": {"profile": planned.target.hardware, **requirements(planned)},
        "sources": {role: _source(state) for role, state in states.items()},
        "target": {key: value for key, value in asked(planned).items() if key not in ("source", "inputs", "hardware")},
        "model": {**model, "usage": encode(planned.format.record.usage)},
    }


def _source(state: SourceState) -> dict[str, Any]:
    locked = state.locked
    return {
        "name": locked.name,
        "uri": locked.uri,
        # What lies in place has its content as its revision, and the files say more of that.
        "revision": None if state.root is not None else locked.revision,
        "licence": locked.licence,
        "files": {file.path: file.sha256 for file in locked.files},
    }


def begin(store: Store, plan: Plan, build: Build) -> None:
    """Remember what a build is about to use, so that what it finishes is kept even if it fails."""
    for planned in plan.targets:
        _use(store, plan, planned, build, whole=False)


def remember(store: Store, plan: Plan, planned: PlannedTarget, build: Build, key: Mapping[str, str]) -> None:
    """Remember a target that was built whole, and the digests of the files of every package that had a part."""
    found = current(plan, planned, build, key)
    path = _path(store, "targets", found.file, found.target)
    data = json.dumps(encode(found), sort_keys=True).encode()
    if not path.is_file() or path.read_bytes() != data:
        for step in (plan.steps[key] for key in found.components):
            _keep_listings(store, step)
        _write(path, data)
    _use(store, plan, planned, build, whole=True)


def recall(store: Store, file: str, project: str, target: str) -> Memory | None:
    """The last build of a target of this build file; else of a target of that name and project elsewhere."""
    exact = _read(_path(store, "targets", file, target))
    if exact is not None:
        return exact
    others = [item for item in memories(store) if (item.project, item.target) == (project, target)]
    return others[-1] if others else None


def memories(store: Store) -> list[Memory]:
    """Everything that is remembered, longest unchanged first."""
    folder = store.root / "targets"
    paths = sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [item for item in map(_read, paths) if item is not None]


def listing(store: Store, digest: str) -> Mapping[str, str] | None:
    """The digest of every file of a package of this digest, if a build that is remembered used it."""
    try:
        found: Mapping[str, str] = json.loads((store.root / "listings" / f"{digest}.json").read_bytes())
        return found if canonical.sha256(found) == digest else None
    except (OSError, ValueError):
        return None


def uses(store: Store) -> Iterator[Uses]:
    """What the builds of every target used."""
    for path in sorted((store.root / "uses").glob("*.json")):
        found = _read_uses(path)
        if found is not None:
            yield found


def keep_uses(store: Store, kept: Uses) -> None:
    """Remember no more of a target's builds than these."""
    path = _path(store, "uses", kept.file, kept.target)
    if kept.uses:
        _write(path, json.dumps(encode(kept)).encode())
    else:
        path.unlink(missing_ok=True)


def _use(store: Store, plan: Plan, planned: PlannedTarget, build: Build, *, whole: bool) -> None:
    file, target = str(build.path.absolute()), planned.target.name
    path = _path(store, "uses", file, target)
    known = _read_uses(path)
    states: Iterable[SourceState] = (planned.source, *planned.inputs.values())
    now = Use(
        keys=plan.behind(planned.key),
        blobs=tuple(sorted({item.sha256 for state in states for item in state.locked.files})),
        at=time.time(),
        whole=whole,
    )
    last = known.uses[0] if known and known.uses else None
    if last and (last.keys, last.blobs) == (now.keys, now.blobs) and last.whole and 0 <= now.at - last.at < _FRESH:
        return
    earlier = [use for use in (known.uses if known else ()) if use.whole and (use.keys != now.keys or not whole)]
    _write(path, json.dumps(encode(Uses(file=file, target=target, uses=(now, *earlier[:_HISTORY])))).encode())


def _keep_listings(store: Store, step: Step) -> None:
    plugin, engine = step.components["plugin"], step.components["engine"]
    for digest, module in ((plugin["digest"], plugin["module"]), (engine["digest"], None)):
        path = store.root / "listings" / f"{digest}.json"
        if not path.exists():
            files = engine_files(store.index) if module is None else package_files(module, store.index)
            _write(path, json.dumps(files, sort_keys=True).encode())


def _path(store: Store, folder: str, file: str, target: str) -> Path:
    return store.root / folder / f"{canonical.sha256([os.fsencode(file).hex(), target])}.json"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, data, durable=False)


def _read(path: Path) -> Memory | None:
    try:
        return decode(Memory, json.loads(path.read_bytes()))
    except (OSError, ValueError, AttributeError, DecodeError):
        return None


def _read_uses(path: Path) -> Uses | None:
    try:
        return decode(Uses, json.loads(path.read_bytes()))
    except (OSError, ValueError, AttributeError, DecodeError):
        return None
