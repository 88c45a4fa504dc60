"""`release.json`: written over a release's artifacts when all of them are whole, gone while one of them changes."""

from collections.abc import Callable
from pathlib import Path

from modelmill.config import Build
from modelmill.store.filesystem import left_behind, remove_unlocked, write_atomic
from modelmill_artifacts.manifest import MANIFEST
from modelmill_artifacts.package import index_files
from modelmill_artifacts.release import RELEASE, RELEASE_SIGNATURE
from modelmill_artifacts.signature import Signer


def withdraw(folder: Path) -> None:
    """Take the index away before an artifact that it names is replaced."""
    for name in (RELEASE, RELEASE_SIGNATURE):
        (folder / name).unlink(missing_ok=True)


def write_index(build: Build, folder: Path, signer: Signer | None, warn: Callable[[str], None]) -> Path:
    """Write the index over every artifact of the build file that lies in a release's folder, and its signature."""
    targets = [name for name in build.targets if (folder / name / MANIFEST).is_file()]
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in build.targets and not path.name.startswith("."):
            warn(f"{path} is of no target of {build.path.name}; remove it, or `modelmill verify` refuses the release")
    for path in left_behind(folder):  # of a build that was killed while it wrote the index
        remove_unlocked(path)
    _, data, signature = index_files(folder, targets, signer)
    if signature is not None:
        _write(folder / RELEASE_SIGNATURE, signature)
    else:
        (folder / RELEASE_SIGNATURE).unlink(missing_ok=True)
    _write(folder / RELEASE, data)
    return folder / RELEASE


def _write(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)
