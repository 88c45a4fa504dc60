"""Whether a release can be made again: built anew in a store of its own, and held against what is in dist/."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelmill.build.make import Made, make
from modelmill.build.prepare import Prepared, prepare
from modelmill.errors import ConfigError, ConvertError, ModelmillError
from modelmill.execute import Event, Settings
from modelmill.inspection.compare import tensors
from modelmill.lock import lock_path, read_lock
from modelmill.registry import Offer
from modelmill.store import Store
from modelmill.toolchains import environments
from modelmill.types import Format
from modelmill_artifacts import manifest
from modelmill_artifacts.hashing import sha256_file

_SIGNED = (manifest.PROVENANCE, manifest.SIGNATURE)
"""Files that hold signatures: those of some hardware keys differ each time, over the same content."""

Verdict = Literal["exact", "tensor-equal", "different"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An artifact and the same made again. `where` are the files, and then the tensors, that are not the same.

    `exact`: every file has the same bytes, signatures aside. `tensor-equal`: some file differs, and every tensor
    has the same type, shape and bytes. `different`: a tensor differs, or the format cannot show its tensors.
    """

    target: str
    verdict: Verdict
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What building again came to, by target; `failures` are of steps and targets that could not be made again."""

    comparisons: tuple[Comparison, ...]
    failures: tuple[ModelmillError, ...]


def check(
    file: Path,
    store: Store,
    names: tuple[str, ...],
    output: Path | None,
    settings: Settings,
    listen: Callable[[Event], None],
    *,
    everything: bool = False,
) -> Rebuilt:
    """Build targets again from the lock, with no result of `store`, and compare. ConfigError where one is not built.

    Files of sources are taken from `store` where they are there and what their digests say.
    """
    workspace = store.workspace("rebuild")
    try:
        fresh = Store(workspace.scratch / "store", store.warn)
        _seed(lock_path(file), store, fresh)
        environments.share(store, fresh)
        prepared = prepare(file, fresh, names, everything=everything, lock="refuse")
        folder = output or prepared.build.path.absolute().parent / "dist"
        release = folder / prepared.build.project.name / prepared.build.project.version
        for planned in prepared.plan.targets:
            if not (release / planned.target.name / manifest.MANIFEST).is_file():
                raise ConfigError(
                    f"{release / planned.target.name}: there is no artifact to compare with; build it first"
                )
        made = make(prepared, workspace.scratch / "dist", settings, listen)
        return Rebuilt(comparisons=_all(prepared, made, release), failures=tuple(made.failures.values()))
    finally:
        workspace.remove()


def _seed(lock: Path, store: Store, fresh: Store) -> None:
    """Give a fresh store the locked files that this one holds whole, so that they need not be fetched again."""
    for source in read_lock(lock).sources.values():
        for item in source.files:
            target = fresh.blob(item.sha256)
            if not target.exists() and store.has_blob(item.sha256, item.size) and store.verify(item.sha256):
                with suppress(OSError):  # then it is fetched
                    target.hardlink_to(store.blob(item.sha256))


def _all(prepared: Prepared, made: Made, release: Path) -> tuple[Comparison, ...]:
    formats = {planned.target.name: planned.format for planned in prepared.plan.targets}
    return tuple(
        compare(item.target, formats[item.target], release / item.target, item.folder) for item in made.artifacts
    )


def compare(target: str, offer: Offer[Format], before: Path, after: Path) -> Comparison:
    """Hold two folders of one artifact against each other: what the files hold, not what manifests say of them."""
    old, new = _digests(before), _digests(after)
    differing = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    if all(path in _SIGNED for path in differing):
        return Comparison(target=target, verdict="exact", where=tuple(differing))
    if all(path in (manifest.MANIFEST, manifest.SBOM, *_SIGNED) for path in differing):
        return Comparison(target=target, verdict="tensor-equal", where=tuple(differing))
    try:
        unequal = tuple(str(item) for item in tensors(offer, before, offer, after))
    except (ConfigError, ConvertError, ImportError) as error:
        return Comparison(target=target, verdict="different", where=(*differing, str(error)))
    return Comparison(target=target, verdict="different" if unequal else "tensor-equal", where=(*differing, *unequal))


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
