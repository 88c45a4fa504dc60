"""A step's result → an artifact in a release's folder, and whether what lies there is that artifact already."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.artifact import assemble
from modelmill.artifact.card import CARD, card
from modelmill.artifact.describe import describe, evidence, runtime_files
from modelmill.artifact.index import withdraw
from modelmill.build.prepare import Prepared
from modelmill.config import COMPOSED
from modelmill.plan import PlannedTarget
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
class _Content:
    """What an artifact's folder is to hold; `determinant` is JSON data that all of it follows from."""

    files: dict[str, OutFile]
    determinant: Any
    describe: Callable[[Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Puts results into a release's folder as artifacts."""

    prepared: Prepared
    folder: Path
    signer: Signer | None
    link: bool

    def place(self, planned: PlannedTarget, result: Result) -> Artifact:
        """Have the target's folder hold its artifact."""
        content = self._content(planned, result)
        placed = assemble.place(
            self.prepared.store,
            self.folder / planned.target.name,
            content.files,
            content.determinant,
            content.describe,
            lambda: withdraw(self.folder),
            link=self.link,
        )
        return Artifact(
            target=planned.target.name, folder=placed.folder, made=placed.made, manifest=manifest.read(placed.folder)
        )

    def is_there(self, planned: PlannedTarget, result: Result) -> bool:
        """Whether the target's folder holds just what `place` would put there."""
        content = self._content(planned, result)
        return assemble.is_placed(self.prepared.store, self.folder / planned.target.name, content.determinant)

    def _content(self, planned: PlannedTarget, result: Result) -> "_Content":
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
        return _Content(files=files, determinant=determinant, describe=write)

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
