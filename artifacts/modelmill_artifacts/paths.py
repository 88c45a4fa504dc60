"""Which relative paths an artifact may hold on any file system, and no others."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from modelmill_artifacts.errors import ArtifactError

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


def check(path: str, where: str) -> None:
    """Refuse a path that is not relative, that leaves its folder, or that some file system reads otherwise.

    Raises ArtifactError that names it.
    """
    parts = path.split("/")
    if path.startswith("/"):
        raise ArtifactError(f"{where}: {path!r} is absolute; paths are relative to the folder")
    if ".." in parts:
        raise ArtifactError(f"{where}: {path!r} leaves the folder")
    if "" in parts or "." in parts:
        raise ArtifactError(f"{where}: {path!r} is not a plain relative path")
    if found := _FORBIDDEN.search(path):
        raise ArtifactError(f"{where}: {path!r} holds {found[0]!r}, which is not allowed in a path")
    for part in parts:
        if part.endswith((".", " ")):
            raise ArtifactError(f"{where}: {path!r} has a part that ends with a dot or a space")


def check_all(paths: Iterable[str], where: str) -> None:
    """Refuse any bad path, and any two that one file system could take for one another.

    Raises ArtifactError that names both: a duplicate, two that differ only in case or in Unicode form, and a
    file that is also a folder.
    """
    seen: dict[str, str] = {}
    for path in paths:
        check(path, where)
        folded = fold(path)
        if folded in seen:
            twin = seen[folded]
            if twin == path:
                raise ArtifactError(f"{where}: {path!r} is listed twice")
            raise ArtifactError(f"{where}: {twin!r} and {path!r} are one file where case does not count")
        seen[folded] = path
    for folded, path in seen.items():
        for parent in PurePosixPath(folded).parents:
            if str(parent) in seen:
                raise ArtifactError(f"{where}: {seen[str(parent)]!r} is a file, and {path!r} needs it to be a folder")


def fold(path: str) -> str:
    """The form in which two paths are equal if any common file system takes them for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
