"""A prepared build, made: steps run, artifacts placed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.assemble import Placed, place
from modelmill.describe import describe, runtime_files
from modelmill.errors import ModelmillError
from modelmill.execute import Event, Settings, execute, work
from modelmill.plan import PlannedTarget
from modelmill.prepare import Prepared
from modelmill.store import Result
from modelmill_artifacts import manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A target's artifact in dist/."""

    target: str
    folder: Path
    made: bool
    manifest: manifest.Manifest

    @property
    def size(self) -> int:
        """Bytes of all files that the manifest lists."""
        return sum(file.size for file in self.manifest.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a build came to. `failures` are by step key or target name."""

    artifacts: tuple[Artifact, ...]
    failures: dict[str, ModelmillError]


def make(
    prepared: Prepared, output: Path, settings: Settings, listen: Callable[[Event], None], *, link: bool = False
) -> Made:
    """Run the steps whose results are not there and place every target's artifact. Finished work stays."""
    store = prepared.store
    keys = tuple(planned.key for planned in prepared.plan.targets)
    todo = work(prepared.plan, keys, store.result)
    if todo.steps:
        store.sweep()
    outcome = execute(prepared.plan, todo, store, prepared.resolver, settings, listen)
    artifacts, failures = [], dict(outcome.failures)
    for planned in prepared.plan.targets:
        result = outcome.results.get(planned.key)
        if result is None:
            continue
        try:
            artifacts.append(_place(prepared, planned, result, output, link=link))
        except ModelmillError as error:
            failures[planned.target.name] = error
            if not settings.keep_going:
                break
    store.index.save()
    return Made(artifacts=tuple(artifacts), failures=failures)


def _place(prepared: Prepared, planned: PlannedTarget, result: Result, output: Path, *, link: bool) -> Artifact:
    build = prepared.build
    files = runtime_files(planned, build, result)
    found = describe(prepared.plan, planned, build, files)
    folder = output / build.project.name / build.project.version / planned.target.name

    def write(temporary: Path) -> None:
        (temporary / manifest.MANIFEST).write_bytes(manifest.dump(found))

    determinant: Any = manifest.dump(found).decode()
    placed: Placed = place(prepared.store, folder, files, determinant, write, link=link)
    return Artifact(target=planned.target.name, folder=folder, made=placed.made, manifest=found)
