"""Sources of build.toml → their locked files and facts, and those files on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from modelmill.config import Build, SourceTable
from modelmill.errors import ConfigError, ModelmillError, PluginError, SourceError
from modelmill.facts import decode_facts, encode_facts, parameters
from modelmill.lock.records import LockedFile, LockedSource
from modelmill.registry import Offer, Registry
from modelmill.store import Store, Workspace
from modelmill.store.filesystem import writing
from modelmill.toolchain import package_digest
from modelmill.tree import OutFile, tree
from modelmill.types import Facts, Format, Location, Resolution, Source, SourceFile
from modelmill_artifacts import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """A source that can be planned with. `root` holds the files of one that is used where it lies."""

    locked: LockedSource
    facts: Facts
    root: Path | None = None


class Resolver:
    """Resolves the sources of one build file against its lock, and brings their files when they are wanted."""

    def __init__(self, build: Build, registry: Registry, store: Store, locked: Mapping[str, LockedSource]) -> None:
        self._build = build
        self._registry = registry
        self._store = store
        self._locked = locked

    def resolve(self, name: str, *, update: bool = False) -> SourceState:
        """The state of a source: from the lock where that stands for it, else from where it comes from."""
        table = self._build.sources[name]
        offer, location = self._offer(table)
        known = self._locked.get(name)
        if known and not update and not offer.record.local and _answers(known, table):
            facts = self._facts(known, table, None)
            return SourceState(locked=known, facts=facts)
        workspace = self._store.workspace(f"source-{name}")
        try:
            resolution = self._call_resolve(offer, location, workspace.scratch)
            if resolution.root is None:
                # What was resolved, and not what the same name may stand for a moment later.
                pinned = Location(uri=location.uri, revision=resolution.revision, base=location.base)
                files = self._fetch(offer, pinned, resolution.files, workspace)
            else:
                files = self._digest_in_place(resolution)
        finally:
            workspace.remove()
        bare = LockedSource(
            name=name,
            uri=table.uri,
            requested=table.revision,
            revision=resolution.revision,
            format=table.format or "",
            architecture=None,
            scheme=None,
            parameters=0,
            licence=table.license,
            files=files,
        )
        facts = self._facts(bare, table, resolution.root)
        # What lies in place has no revision but its content.
        revision = resolution.revision if resolution.root is None else f"sha256:{bare.digest()}"
        locked = replace(
            bare,
            revision=revision,
            format=facts.format,
            architecture=facts.architecture,
            scheme=facts.scheme,
            parameters=parameters(facts),
            licence=table.license or facts.licence,
        )
        return SourceState(locked=locked, facts=facts, root=resolution.root)

    def bring(self, state: SourceState, files: tuple[LockedFile, ...]) -> None:
        """Have these files of a source on this machine: fetch what the store lacks. SourceError if they changed."""
        if state.root is not None or all(self._store.has_blob(file.sha256, file.size) for file in files):
            return
        table = self._build.sources[state.locked.name]
        offer, location = self._offer(table)
        pinned = Location(uri=location.uri, revision=state.locked.revision, base=location.base)
        workspace = self._store.workspace(f"source-{state.locked.name}")
        try:
            wanted = tuple(SourceFile(path=file.path, size=file.size, sha256=file.sha256) for file in files)
            self._fetch(offer, pinned, wanted, workspace)
        finally:
            workspace.remove()

    def lay_out(self, state: SourceState, files: tuple[LockedFile, ...], folder: Path) -> None:
        """Show these files, which are on this machine, as a folder."""
        if state.root is None:
            self._store.show((OutFile(path=f.path, mode=0o644, size=f.size, sha256=f.sha256) for f in files), folder)
            return
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to((state.root / file.path).absolute())

    def changed(self, state: SourceState, files: tuple[LockedFile, ...]) -> str | None:
        """The first file of a source in place that is no longer what was planned with."""
        if state.root is None:
            return None
        for file in files:
            try:
                if self._store.index.sha256(state.root / file.path) != file.sha256:
                    return file.path
            except OSError:
                return file.path
        return None

    def _offer(self, table: SourceTable) -> tuple[Offer[Source], Location]:
        scheme, colon, rest = table.uri.partition(":")
        if not colon:
            scheme, rest = "path", table.uri
        location = Location(
            uri=rest.removeprefix("//"), revision=table.revision, base=self._build.path.absolute().parent
        )
        return self._registry.sources[scheme], location

    def _call_resolve(self, offer: Offer[Source], location: Location, scratch: Path) -> Resolution:
        try:
            return offer.record.resolve(location, scratch)
        except ModelmillError:
            raise
        except Exception as error:
            raise _foreign(offer, error) from error

    def _fetch(
        self, offer: Offer[Source], location: Location, wanted: tuple[SourceFile, ...], workspace: Workspace
    ) -> tuple[LockedFile, ...]:
        out = workspace.out
        try:
            offer.record.fetch(location, wanted, out, workspace.scratch)
        except ModelmillError:
            raise
        except Exception as error:
            raise _foreign(offer, error) from error
        found = {file.path: file for file in tree(out, {})}
        for file in wanted:
            _check(offer, location, file, found.get(file.path))
        for item in found.values():
            self._store.adopt(out / item.path, item.sha256, item.size)
        return tuple(LockedFile(path=f.path, size=f.size, sha256=f.sha256) for f in found.values())

    def _digest_in_place(self, resolution: Resolution) -> tuple[LockedFile, ...]:
        if resolution.root is None:
            raise ValueError("only a source with a root lies in place")
        files = []
        for file in sorted(resolution.files, key=lambda item: item.path):
            path = resolution.root / file.path
            try:
                digest = self._store.index.sha256(path)
            except OSError as error:
                raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
            files.append(LockedFile(path=file.path, size=path.stat().st_size, sha256=digest))
        return tuple(files)

    def _facts(self, locked: LockedSource, table: SourceTable, root: Path | None) -> Facts:
        """What the format's owner says of the files; kept under their digest and the owner's version."""
        key = canonical.sha256(
            {"files": locked.digest(), "format": table.format, "owners": self._owners(), "licence": table.license}
        )
        kept = self._store.facts(key)
        if kept is not None:
            try:
                return decode_facts(kept)
            except (KeyError, TypeError, ValueError):
                pass
        state = SourceState(locked=locked, facts=Facts(format=""), root=root)
        self.bring(state, locked.files)
        workspace = self._store.workspace(f"facts-{locked.name}")
        try:
            folder = workspace.folder / "in"
            self.lay_out(state, locked.files, folder)
            facts = self._detect(locked.name, table, folder).record.facts(folder)
        except ModelmillError as error:
            raise type(error)(f"source {locked.name!r}: {error}") from error
        finally:
            workspace.remove()
        self._store.keep_facts(key, encode_facts(facts))
        return facts

    def _owners(self) -> dict[str, str]:
        """The code that reads facts: when it changes, facts are read again."""
        modules = {self._registry.formats[name].plugin.module for name in self._registry.formats}
        return {module: package_digest(module, self._store.index) for module in sorted(modules)}

    def _detect(self, name: str, table: SourceTable, folder: Path) -> Offer[Format]:
        if table.format is not None:
            return self._registry.formats[table.format]
        found = [offer for offer in self._registry.formats.all() if offer.record.detect(folder)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(self._registry.formats)
        if not found:
            raise ConfigError(f"its files are of no known format ({known}); say `format = …` in [source.{name}]")
        several = ", ".join(offer.record.name for offer in found)
        raise ConfigError(f"its files could be {several}; say `format = …` in [source.{name}]")


def _answers(known: LockedSource, table: SourceTable) -> bool:
    """Whether a lock entry is for what build.toml asks for now."""
    same = known.uri == table.uri and known.requested == table.revision
    return same and table.format in (None, known.format) and table.license in (None, known.licence)


def _check(offer: Offer[Source], location: Location, wanted: SourceFile, found: OutFile | None) -> None:
    where = f"{offer.record.name}:{location.uri}"
    if found is None:
        raise SourceError(f"{where}: {wanted.path} was promised and did not come ({offer.plugin})")
    if wanted.sha256 is not None and found.sha256 != wanted.sha256:
        raise SourceError(
            f"{where}: {wanted.path} has sha256 {found.sha256}, and build.lock says {wanted.sha256}; "
            "if the change is meant, run `modelmill lock --update`"
        )


def _foreign(offer: Offer[Source], error: Exception) -> PluginError:
    return PluginError(f"{offer.plugin}: source {offer.record.name!r} failed: {type(error).__name__}: {error}")
