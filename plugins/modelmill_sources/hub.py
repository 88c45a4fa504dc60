"""The source `hf`: a repository of the Hugging Face hub, `hf://OWNER/NAME[@REVISION][#PATTERN,…]`.

huggingface_hub resolves the revision to a commit and knows its cache and its token; the files are fetched by
the downloader of this package, which resumes and checks them.
"""

import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from modelmill import Location, Resolution, Source, SourceError, SourceFile
from modelmill_sources.download import Wanted, fetch_file, refused

_URI = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:#(?P<patterns>.+))?")
_AT_ONCE = 4
_OTHERS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".pkl", ".py", ".gitattributes")
"""Weights of other frameworks, and code: no step reads them."""


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
    files = tuple(_file(sibling, shown) for sibling in info.siblings or ())
    chosen = select(files, asked.patterns)
    if not chosen:
        what = f"matches {', '.join(asked.patterns)}" if asked.patterns else "is a model's"
        raise SourceError(f"{shown}: none of its {len(files)} files {what}")
    return Resolution(revision=str(info.sha), files=chosen)


def fetch(location: Location, files: tuple[SourceFile, ...], out: Path, scratch: Path) -> None:  # noqa: ARG001
    """Fetch files of a commit: from huggingface_hub's cache where it has them, else from the hub."""
    asked = _repository(location)
    hub = _library()
    token = hub.get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    endpoint = _api(hub).endpoint

    def one(file: SourceFile) -> None:
        target = out / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        cached = hub.try_to_load_from_cache(asked.name, file.path, revision=asked.revision)
        if isinstance(cached, str) and Path(cached).stat().st_size == file.size:
            shutil.copyfile(cached, target)
            return
        address = f"{endpoint}/{asked.name}/resolve/{quote(asked.revision, safe='')}/{quote(file.path)}"
        shown = f"hf://{asked.name}: {file.path}"
        fetch_file(Wanted(url=address, shown=shown, size=file.size, sha256=file.sha256, headers=headers), target)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(one, files):
            pass


def select(files: tuple[SourceFile, ...], patterns: tuple[str, ...]) -> tuple[SourceFile, ...]:
    """The files that patterns choose; without patterns, a checkpoint's own: no other framework's, no subfolders."""
    if patterns:
        return tuple(file for file in files if any(fnmatchcase(file.path, pattern) for pattern in patterns))
    top = tuple(file for file in files if "/" not in file.path and not file.path.endswith(_OTHERS))
    if any(file.path.endswith(".safetensors") for file in top):
        return tuple(file for file in top if not file.path.endswith(".gguf"))
    return top


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


def _file(sibling: Any, shown: str) -> SourceFile:
    path = PurePosixPath(sibling.rfilename)
    if path.is_absolute() or ".." in path.parts or "\\" in sibling.rfilename or "\0" in sibling.rfilename:
        raise SourceError(f"{shown}: the file {sibling.rfilename!r} leaves the repository; it is not to be trusted")
    return SourceFile(path=str(path), size=int(sibling.size or 0), sha256=sibling.lfs.sha256 if sibling.lfs else None)


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
        raise SourceError(f"{shown}: {refused(status)}") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"{shown}: {type(error).__name__}: {str(error).splitlines()[0][:200]}") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore"):
            raise SourceError(f"{shown}: the hub cannot be reached; check the network and HF_ENDPOINT") from None
        raise


SOURCE = Source(name="hf", resolve=resolve, fetch=fetch)
