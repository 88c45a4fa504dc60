"""The sources `s3`, `gs`, `az` and their like: a folder of any file system that fsspec reaches.

`s3://BUCKET/FOLDER`, and for every protocol that fsspec knows `fsspec:PROTOCOL://…`. Credentials are what each
library finds by itself (environment, configuration files, the machine's role); a URI holds none.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from modelmill import Location, Opener, Resolution, Source, SourceError, SourceFile, Stream, TransientError
from modelmill_sources.http import TRANSIENT, refused

GENERAL = "fsspec"
PROTOCOLS = {
    "s3": "modelmill[s3]",
    "gs": "modelmill[gs]",
    "az": "modelmill[az]",
    "abfs": "modelmill[az]",
    GENERAL: "modelmill[fsspec]",
}
"""Schemes, and what to install for each."""
_VERSIONS = ("ETag", "etag", "VersionId", "version_id", "generation", "md5Hash", "content_md5", "crc32c", "mtime")
"""What file systems call the words that change with a file's content."""
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"retries": {"max_attempts": 2}, "connect_timeout": 30, "read_timeout": 30}}
}
"""The engine tries again by itself: a library need not do it for minutes first."""
_BLOCK = 8 * 1024 * 1024


def resolve(scheme: str, location: Location, scratch: Path) -> Resolution:  # noqa: ARG001 - listed, not fetched
    """The files below the folder, and one digest over their sizes and versions as the revision."""
    shown = f"{scheme}:{location.uri}" if scheme == GENERAL else f"{scheme}://{location.uri}"
    if location.revision is not None:
        raise SourceError(f"{shown}: a folder has no revision; remove `revision`")
    system, root = _open(scheme, location, shown)
    found = _told(shown, lambda: system.find(root, detail=True))
    if not found:
        raise SourceError(f"{shown}: there are no files; check the spelling")
    files, versions = [], {}
    for path, info in sorted(found.items()):
        name = path.removeprefix(root).lstrip("/") or path.rpartition("/")[2]
        if name and not name.endswith("/"):
            files.append(SourceFile(path=name, size=int(info["size"])))
            versions[name] = [int(info["size"]), *(_version(info.get(key)) for key in _VERSIONS)]
    digest = hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()
    return Resolution(revision=f"listing:{digest}", files=tuple(files), mixed=True)


@contextmanager
def connect(scheme: str, location: Location, scratch: Path) -> Iterator[Opener]:  # noqa: ARG001
    """Opens files where they are now; build.lock's digests tell whether they are those that were resolved."""
    shown = f"{scheme}:{location.uri}" if scheme == GENERAL else f"{scheme}://{location.uri}"
    system, root = _open(scheme, location, shown)
    alone = _told(shown, lambda: system.isfile(root))

    def open_file(file: SourceFile, start: int) -> Stream:
        told = partial(_told, f"{shown}: {file.path}")
        path = root if alone else f"{root}/{file.path}"
        opened = told(lambda: system.open(path, "rb", block_size=_BLOCK, cache_type="readahead"))
        told(lambda: opened.seek(start))
        return Stream(read=lambda count: told(lambda: opened.read(count)), close=opened.close, start=start)

    yield open_file


def _open(scheme: str, location: Location, shown: str) -> tuple[Any, str]:
    """The file system and the path in it. SourceError where a library is missing, or the URI holds a password."""
    url = location.uri if scheme == GENERAL else f"{scheme}://{location.uri}"
    authority = url.partition("://")[2].partition("/")[0]
    if ":" in authority.partition("@")[0] and "@" in authority:
        raise SourceError(f"{scheme}: an address in build.toml must hold no password")
    if url.startswith(("http://", "https://")) and "?" in url:
        raise SourceError(f"{scheme}: an address in build.toml must hold no query, for signatures lie there")
    try:
        import fsspec
    except ImportError:
        raise SourceError(f"{shown}: needs fsspec: pip install '{PROTOCOLS[scheme]}'") from None
    try:
        system, path = fsspec.url_to_fs(
            url, skip_instance_cache=True, use_listings_cache=False, **_OPTIONS.get(scheme, {})
        )
    except ImportError as error:
        raise SourceError(f"{shown}: {error}; pip install '{PROTOCOLS[scheme]}'") from None
    except (ValueError, TypeError) as error:
        raise SourceError(f"{shown}: {error}") from None
    return system, str(path).rstrip("/")


def _version(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value if isinstance(value, str | int | float) else None


def _told(shown: str, act: Callable[[], Any]) -> Any:
    """What `act` gives; a library's own exceptions become a source's errors, by the status that is behind them."""
    try:
        return act()
    except FileNotFoundError:
        raise SourceError(f"{shown}: {refused(404)}") from None
    except (SourceError, MemoryError):
        raise
    except PermissionError as error:
        raise SourceError(f"{shown}: {refused(_status(error) or 403)}") from None
    except Exception as error:  # noqa: BLE001 - each library has its own tree, without a common root
        _refuse(shown, error)


def _refuse(shown: str, error: Exception) -> NoReturn:
    status = _status(error)
    if status is not None and status not in TRANSIENT:
        raise SourceError(f"{shown}: {refused(status)}") from None
    what = (
        refused(status) if status is not None else f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
    )
    if type(error).__name__ in ("NoCredentialsError", "DefaultCredentialsError", "CredentialUnavailableError"):
        raise SourceError(f"{shown}: no credentials were found; log in, or set them in the environment") from None
    raise TransientError(f"{shown}: {what}") from None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an exception of botocore, aiohttp, google or azure, however deep."""
    while error is not None:
        response = getattr(error, "response", None)
        found = [getattr(error, name, None) for name in ("status", "status_code", "code")]
        if isinstance(response, dict):
            found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        elif response is not None:
            found.append(getattr(response, "status_code", None) or getattr(response, "status", None))
        for value in found:
            if isinstance(value, int) and 400 <= value < 600:  # noqa: PLR2004
                return value
        error = error.__cause__ or error.__context__
    return None


def sources() -> tuple[Source, ...]:
    """One source for each scheme."""
    return tuple(
        Source(name=name, resolve=partial(resolve, name), connect=partial(connect, name), requirement=needed)
        for name, needed in PROTOCOLS.items()
    )
