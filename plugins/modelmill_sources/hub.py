"""The source `hf`: a repository of the Hugging Face hub, `hf://OWNER/NAME[@REVISION][#PATTERN,…]`.

huggingface_hub resolves the revision to a commit and knows its cache and its token.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelmill import Location, Opener, Resolution, Source, SourceError, SourceFile, Stream, TransientError
from modelmill_sources.http import TRANSIENT, Address, open_at, refused
from modelmill_sources.path import open_here

_URI = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:#(?P<patterns>.+))?")


_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What a URI names: a repository, a revision of it, and patterns that choose among its files."""

    name: str
    revision: str
    patterns: tuple[str, ...]


def resolve(location: Location, scratch: Path) -> Resolution:  # noqa: ARG001 - the hub answers from its index
    """The commit that the revision stands for now, and its files. SourceError says what the hub says."""
    asked = _repository(location)
    hub = _library()
    shown = f"hf://{asked.name}"
    info = _call(shown, partial(_api(hub).model_info, asked.name, revision=asked.revision, files_metadata=True))
    files = tuple(_file(sibling) for sibling in info.siblings or ())
    if not asked.patterns:
        return Resolution(revision=str(info.sha), files=files, mixed=True)
    chosen = tuple(file for file in files if any(fnmatchcase(file.path, pattern) for pattern in asked.patterns))
    if not chosen:
        raise SourceError(f"{shown}: none of its {len(files)} files matches {', '.join(asked.patterns)}")
    return Resolution(revision=str(info.sha), files=chosen)


@contextmanager
def connect(location: Location, scratch: Path) -> Iterator[Opener]:  # noqa: ARG001
    """Opens files of a commit: in huggingface_hub's cache where it has them, else at the hub."""
    asked = _repository(location)
    hub = _library()
    token = hub.get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    endpoint = _api(hub).endpoint

    tried: set[str] = set()

    def open_file(file: SourceFile, start: int) -> Stream:
        cached = hub.try_to_load_from_cache(asked.name, file.path, revision=asked.revision)
        if isinstance(cached, str) and file.path not in tried and Path(cached).stat().st_size == file.size:
            tried.add(file.path)  # whoever asks again found it damaged
            return open_here(Path(cached), start)
        url = f"{endpoint}/{asked.name}/resolve/{quote(asked.revision, safe='')}/{quote(file.path)}"
        return open_at(Address(url=url, shown=f"hf://{asked.name}: {file.path}", headers=headers), start)

    yield open_file


def _repository(location: Location) -> Repository:
    match = _URI.fullmatch(location.uri)
    if not match:
        raise SourceError(f"hf://{location.uri}: is not OWNER/NAME, with @REVISION and #PATTERN if need be")
    patterns = tuple((match["patterns"] or "").split(",")) if match["patterns"] else ()
    return Repository(
        name=match["repository"],
        revision=location.revision or match["revision"] or "main",
        patterns=patterns,
    )


def _library() -> Any:
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ImportError:
        raise SourceError("hf:// needs huggingface_hub: pip install 'modelmill[hf]'") from None
    # Otherwise it tells the hub which tools are installed here, and asks it for a registry to tell more.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub


def _api(hub: Any) -> Any:
    """The client. Its library reads HF_ENDPOINT only once, when it is imported."""
    return hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=hub.get_token(), library_name="modelmill")


def _file(sibling: Any) -> SourceFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    return SourceFile(path=sibling.rfilename, size=int(sibling.size or 0), sha256=sha256)


def _call(shown: str, call: Callable[[], Any]) -> Any:
    """Ask the hub; its library's errors become a sentence each."""
    from huggingface_hub import errors

    try:
        return call()
    except errors.GatedRepoError:
        raise SourceError(
            f"{shown}: is gated; accept its terms at {os.environ.get('HF_ENDPOINT') or 'https://huggingface.co'}"
            f"/{shown.removeprefix('hf://')} and set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise SourceError(f"{shown}: has no such revision; check `revision`") from None
    except errors.RepositoryNotFoundError:
        raise SourceError(f"{shown}: there is no such model, or it is private and HF_TOKEN is not set") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == _NOT_FOUND:
            raise SourceError(f"{shown}: there is no such model; check its spelling") from None
        kind = TransientError if status in TRANSIENT else SourceError
        raise kind(f"{shown}: {refused(status)}") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"{shown}: {type(error).__name__}: {str(error).splitlines()[0][:200]}") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore"):
            raise TransientError(f"{shown}: the hub cannot be reached; check the network and HF_ENDPOINT") from None
        raise


SOURCE = Source(name="hf", resolve=resolve, connect=connect, requirement="modelmill[hf]")
