"""A published release → the one artifact that fits, verified before its folder appears."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modelmill import Pulled, PullJob, RemoteError
from modelmill_artifacts import paths, release
from modelmill_artifacts.manifest import MANIFEST as ARTIFACT
from modelmill_artifacts.release import RELEASE, RELEASE_SIGNATURE, Entry
from modelmill_oci import choose, modelpack, reference
from modelmill_oci.access import Access
from modelmill_oci.download import download
from modelmill_oci.media import FILEPATH, TARGET, TITLE
from modelmill_oci.publish import FORM, RELEASE_FORM
from modelmill_oci.registry import Registry

Json = Mapping[str, Any]
_DESCRIPTION_BYTES = 64 * 1024 * 1024


def pull(job: PullJob[Access]) -> Pulled:
    """Fetch one artifact of a release into `job.output`: release.json, its signature, and the target's folder.

    What was fetched lies in `job.scratch` by digest until all is there, so that a broken pull goes on. The
    folder appears by one rename, after `job.verify` had no objection. Raises RemoteError.
    """
    if job.output.exists():
        raise RemoteError(f"{job.output} exists already; remove it or choose another folder")
    where = reference.parse(job.reference)
    with _alone(job.scratch), Registry(where, job.options) as registry:
        digest, index = _document(registry, where.digest or where.tag or "latest")
        described = _listed(index, RELEASE_FORM)
        _, listing = _document(registry, described)
        folder = job.scratch / f"release-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            moved = _fetch(registry, _release_files(listing), job.scratch, folder)
            found = release.read(folder)
            entry, reason = _choose(job, found.artifacts)
            job.report(reason)
            wanted = _listed(index, modelpack.FORM, entry.target)
            _, packed = _document(registry, wanted)
            files = _artifact_files(packed, entry, where.name)
            moved += _fetch(registry, files, job.scratch, folder)
            job.verify(folder, entry.target)
            _appear(folder, job.output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(job.scratch / "blobs", ignore_errors=True)
    return Pulled(target=entry.target, reason=reason, digest=digest, bytes_moved=moved)


@contextlib.contextmanager
def _alone(scratch: Path) -> Iterator[None]:
    """Hold the scratch folder; the lock goes with the process. Raises RemoteError where another pull holds it."""
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RemoteError(f"another pull uses {scratch}; wait for it, or give this one another place") from error
        yield


def _choose(job: PullJob[Access], entries: tuple[Entry, ...]) -> tuple[Entry, str]:
    if job.target is not None:
        return choose.by_name(entries, job.target)
    if job.profile is not None:
        return choose.by_profile(entries, job.profile)
    if job.hardware is None:
        raise RemoteError("say which target or profile to pull, or for which hardware")
    return choose.by_machine(entries, job.hardware.fields, job.suits)


def _document(registry: Registry, name: str) -> tuple[str, Json]:
    found = registry.manifest(name)
    if found is None:
        raise RemoteError(f"{registry.reference.name} has no {name}; `latest` stands for a reference without a tag")
    try:
        value = json.loads(found[1])
        if isinstance(value.get("manifests", value.get("layers")), list):
            return found[0], value
    except (ValueError, AttributeError):
        pass
    raise RemoteError(f"{registry.reference.name}: {name} is neither an OCI index nor a manifest")


def _listed(index: Json, form: str, target: str | None = None) -> str:
    """The digest under which an index lists a form of a target. Raises RemoteError where it does not."""
    for item in index.get("manifests", ()):
        notes = item.get("annotations") or {}
        if (notes.get(FORM), notes.get(TARGET)) == (form, target):
            return str(item["digest"])
    what = f"no ModelPack of target {target!r}" if target else "no release.json"
    raise RemoteError(f"the index has {what}: it is not a release that modelmill published")


def _release_files(listing: Json) -> dict[str, Json]:
    files = {(item.get("annotations") or {}).get(TITLE, ""): item for item in listing.get("layers", ())}
    if RELEASE not in files or set(files) - {RELEASE, RELEASE_SIGNATURE}:
        raise RemoteError(f"the release's manifest lists {', '.join(sorted(files))} and not just {RELEASE}")
    return files


def _artifact_files(packed: Json, entry: Entry, name: str) -> dict[str, Json]:
    """Every layer by its place in the release's folder; nothing leaves it, and artifact.json is the promised one."""
    files: dict[str, Json] = {}
    for item in packed["layers"]:
        path = (item.get("annotations") or {}).get(FILEPATH)
        if not isinstance(path, str) or f"{entry.path}/{path}" in files:
            raise RemoteError(f"{name}: a layer of {entry.target!r} has no path of its own; refused")
        files[f"{entry.path}/{path}"] = item
    paths.check_all(files, name)
    promised = f"sha256:{entry.sha256}"
    found = files.get(f"{entry.path}/{ARTIFACT}", {}).get("digest")
    if found != promised:
        raise RemoteError(f"{name}: {entry.target!r} has the manifest {found}, and {RELEASE} names {promised}; refused")
    return files


def _fetch(registry: Registry, files: Mapping[str, Json], scratch: Path, folder: Path) -> int:
    """Fetch blobs in parallel, largest first, and let them lie in the folder under their names."""
    blobs = scratch / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    sizes = {str(item["digest"]): _size(item) for item in files.values()}
    for digest in sizes:
        reference.check_digest(digest)
    order = sorted(sizes, key=lambda digest: (-sizes[digest], digest))
    with ThreadPoolExecutor(max(1, registry.access.parallel)) as pool:
        moved = sum(pool.map(lambda digest: download(registry, digest, sizes[digest], blobs / digest[7:]), order))
    for path, item in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(blobs / item["digest"][7:], place) if _shared(files, item) else _link(
            blobs / item["digest"][7:], place
        )
    return moved


def _shared(files: Mapping[str, Json], item: Json) -> bool:
    """Whether two files are one blob: they get bytes of their own, so that nobody edits both at once."""
    return [other["digest"] for other in files.values()].count(item["digest"]) > 1


def _link(blob: Path, place: Path) -> None:
    try:
        place.hardlink_to(blob)
    except OSError:
        shutil.copyfile(blob, place)


def _size(item: Json) -> int:
    size = item.get("size")
    if type(size) is not int or size < 0:
        raise RemoteError(f"a layer's size is {size!r}, which is none; refused")
    return size


def _appear(folder: Path, output: Path) -> None:
    """Let a finished folder have its name, by rename; from another file system by way of a hidden neighbour."""
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(output)
    except OSError:
        neighbour = output.with_name(f".modelmill-{output.name}-{os.getpid()}")
        shutil.rmtree(neighbour, ignore_errors=True)
        try:
            shutil.copytree(folder, neighbour)
            neighbour.rename(output)
        except OSError as error:
            shutil.rmtree(neighbour, ignore_errors=True)
            raise RemoteError(
                f"{output.parent} cannot be written: {error.strerror}; pull again into another place"
            ) from error
