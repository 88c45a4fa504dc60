"""A prepared build, made: steps run, artifacts placed."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.artifact.assemble import place
from modelmill.artifact.card import CARD, card
from modelmill.artifact.describe import describe, evidence, runtime_files
from modelmill.artifact.index import withdraw, write_index
from modelmill.build.prepare import Prepared
from modelmill.build.sign import key_digests, open_signer
from modelmill.config import COMPOSED
from modelmill.errors import ModelmillError, SourceError
from modelmill.execute import Event, Settings, Work, execute, fuse, work
from modelmill.history.memory import begin, remember
from modelmill.plan import Leaf, PlannedTarget
from modelmill.store import Result
from modelmill.tree import OutFile
from modelmill_artifacts import manifest, package
from modelmill_artifacts.signature import Signer

_LICENCE = re.compile(r"(LICEN[CS]E|NOTICE|COPYING|USE_POLICY)[^/]*", re.IGNORECASE)


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
    index: Path | None
    """The release's index, if this build wrote it or found it right."""


def make(
    prepared: Prepared, output: Path, settings: Settings, listen: Callable[[Event], None], *, link: bool = False
) -> Made:
    """Run the steps whose results are not there and place every target's artifact. Finished work stays.

    The release's index is written when the build covers all targets that are built by default.
    """
    store, build = prepared.store, prepared.build
    signer, key = open_signer(build, prepared.registry), key_digests(build, prepared.registry)
    todo = outstanding(prepared)
    if todo.steps:
        store.sweep()
        begin(store, prepared.plan, build)
    outcome = execute(prepared.plan, todo, store, prepared.resolver, settings, listen, prepared.pinner.environment)
    folder = output / build.project.name / build.project.version
    placing = _Placing(prepared=prepared, folder=folder, signer=signer, link=link)
    artifacts, failures = [], dict(outcome.failures)
    for planned in prepared.plan.targets:
        result = outcome.results.get(planned.key)
        if result is None:
            continue
        try:
            artifacts.append(placing.place(planned, result))
            remember(store, prepared.plan, planned, build, key)
        except ModelmillError as error:
            failures[planned.target.name] = error
            if not settings.keep_going:
                break
    index = None
    if not failures and {item.target for item in artifacts} >= {t.name for t in build.targets.values() if t.default}:
        index = write_index(build, folder, signer, store.warn)
    store.index.save()
    return Made(artifacts=tuple(artifacts), failures=failures, index=index)


def fetch_inputs(prepared: Prepared, *, keep_going: bool) -> None:
    """Fetch what the steps that will run read and the store lacks, before the first of them starts.

    With `keep_going` a source that fails is left for its steps to fail on.
    """
    for step in outstanding(prepared).steps.values():
        for item in (step.source, *step.inputs.values()):
            if isinstance(item, Leaf):
                try:
                    prepared.resolver.bring(item.source, item.files)
                except SourceError:
                    if not keep_going:
                        raise


def outstanding(prepared: Prepared) -> Work:
    """The steps that a build would run, fused where that is cheaper."""
    wanted = tuple(planned.key for planned in prepared.plan.targets)
    todo = work(prepared.plan, wanted, prepared.store.result)
    return fuse(prepared.plan, todo, frozenset(wanted), prepared.registry)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placing:
    """Puts results into a release's folder as artifacts."""

    prepared: Prepared
    folder: Path
    signer: Signer | None
    link: bool

    def place(self, planned: PlannedTarget, result: Result) -> Artifact:
        prepared, build = self.prepared, self.prepared.build
        files = {**self._licences(planned), **runtime_files(planned, build, result)}
        facts = describe(prepared.plan, planned, build, files)
        made = evidence(prepared.plan, planned)
        text = card(facts, build.project.description)

        def write(temporary: Path) -> None:
            if not (temporary / CARD).exists():
                (temporary / CARD).write_text(text, encoding="utf-8")
            known = {path: file.sha256 for path, file in files.items()}
            package.describe(temporary, facts, made, self.signer, known)

        determinant: Any = {
            "files": {path: file.sha256 for path, file in files.items()},
            "facts": repr(facts),
            "evidence": repr(made),
            "card": text,
            "key": None if self.signer is None else self.signer.public_key.fingerprint,
        }
        place_at = self.folder / planned.target.name
        placed = place(
            prepared.store, place_at, files, determinant, write, lambda: withdraw(self.folder), link=self.link
        )
        return Artifact(
            target=planned.target.name, folder=placed.folder, made=placed.made, manifest=manifest.read(placed.folder)
        )

    def _licences(self, planned: PlannedTarget) -> dict[str, OutFile]:
        """The licence files of the source, and of what was put into it, under paths in the artifact.

        They travel with everything that is made of them; `LICENSE.lora` is that of the source `lora`.
        """
        found = {}
        merged = [state for role, state in planned.inputs.items() if role in COMPOSED]
        for state in (planned.source, *merged):
            files = tuple(file for file in state.locked.files if _LICENCE.fullmatch(file.path))
            self.prepared.resolver.bring(state, files)
            for file in files:
                if state.root is not None:
                    self.prepared.store.take_copy(state.root / file.path, file.sha256, file.size)
                path = file.path if state is planned.source else f"{file.path}.{state.locked.name}"
                found[path] = OutFile(path=path, mode=0o644, size=file.size, sha256=file.sha256)
        return found
