"""The source `oci`: a model in a registry as files, `oci://REGISTRY/REPOSITORY[:TAG][@DIGEST]`.

Read are artifacts whose layers are files as they are: CNCF ModelPack (modelpack/model-spec, docs/spec.md), Docker
Model Runner (docker/model-runner, pkg/distribution/types/config.go), and whatever else names a layer's file in
`org.cncf.model.filepath` or `org.opencontainers.image.title`. Layers that are archives are refused.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from modelmill import Location, Opener, RemoteError, Resolution, SourceError, SourceFile, Stream
from modelmill import TransientError as Retryable
from modelmill_oci import reference
from modelmill_oci.access import Access
from modelmill_oci.media import (
    DOCKER_AI_GGUF,
    DOCKER_AI_LICENSE,
    DOCKER_AI_MMPROJ,
    DOCKER_AI_TEMPLATE,
    FILEPATH,
    TITLE,
)
from modelmill_oci.registry import Registry
from modelmill_oci.retry import TransientError
from modelmill_oci.transport import Request

_NAMES = {DOCKER_AI_MMPROJ: "mmproj.gguf", DOCKER_AI_LICENSE: "LICENSE", DOCKER_AI_TEMPLATE: "chat_template.jinja"}
"""Docker Model Runner's layers that carry no name of their own."""
_ARCHIVES = (".tar", ".tar+gzip", ".tar+zstd", "+gzip", "+zstd")
_SHOWN = 6
_ACCESS = Access(tries=1)
"""The engine tries again by itself."""

Json = Mapping[str, Any]


def resolve(location: Location, scratch: Path) -> Resolution:  # noqa: ARG001 - a manifest is read into memory
    """The digest that the reference stands for now, and its files. SourceError says what the registry says."""
    asked = _reference(location)
    with _told(asked.name), Registry(asked, _ACCESS) as registry:
        found = registry.manifest(asked.digest or asked.tag or "latest")
        if found is None:
            raise SourceError(
                f"oci://{asked}: there is no such artifact; check its spelling, and `latest` stands for no tag"
            )
        digest, manifest = found[0], _parsed(found[1], asked.name)
        if "manifests" in manifest:
            digest = _only(manifest, asked.name)
            inner = registry.manifest(digest)
            if inner is None:
                raise SourceError(f"oci://{asked}: its index lists {digest}, which is not there")
            manifest = _parsed(inner[1], asked.name)
        return Resolution(revision=digest, files=_files(manifest, asked.name))


@contextmanager
def connect(location: Location, scratch: Path) -> Iterator[Opener]:  # noqa: ARG001
    """Opens layers by their digests, which are the files' own."""
    asked = _reference(location)
    with Registry(asked, _ACCESS) as registry:

        def open_file(file: SourceFile, start: int) -> Stream:
            with _told(asked.name):
                return _open(registry, file, start)

        yield open_file


def _open(registry: Registry, file: SourceFile, start: int) -> Stream:
    """A blob from `start` on. The exchange stays open until the stream is closed."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    target = f"{registry.path}/blobs/sha256:{file.sha256}"
    request = Request(method="GET", target=target, scope=registry.pull_scope, headers=headers)
    exchange = registry.transport.exchange(request)
    response = exchange.__enter__()
    if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        error = registry.failure(response)
        exchange.__exit__(None, None, None)
        raise error

    def close() -> None:
        exchange.__exit__(None, None, None)

    return Stream(read=response.read1, close=close, start=start if response.status == HTTPStatus.PARTIAL_CONTENT else 0)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What the registry's client raises, as a source's errors."""
    try:
        yield
    except TransientError as error:
        raise Retryable(f"oci://{name}: {error}", error.after) from None
    except RemoteError as error:
        if isinstance(cause := error.__cause__, TransientError):  # told by a client that tried as often as it may: once
            raise Retryable(f"oci://{name}: {cause}", cause.after) from None
        raise SourceError(f"oci://{name}: {error}") from None


def _reference(location: Location) -> reference.Reference:
    """What the URI names; a `revision` is a tag or a digest, and goes before the URI's own."""
    try:
        asked = reference.parse(location.uri)
        if location.revision is None:
            return asked
        text = f"{asked.name}@{location.revision}" if ":" in location.revision else f"{asked.name}:{location.revision}"
        return reference.parse(text)
    except RemoteError as error:
        raise SourceError(str(error)) from None


def _parsed(body: bytes, name: str) -> Json:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        items = value.get("manifests", value.get("layers"))
        if isinstance(items, list) and all(isinstance(item, dict) for item in items):
            return value
    raise SourceError(f"oci://{name}: what the registry serves is neither an OCI index nor a manifest")


def _only(index: Json, name: str) -> str:
    """The one manifest of an index. SourceError that lists them where there are several."""
    listed = [str(item.get("digest", "")) for item in index["manifests"]]
    if len(listed) != 1:
        notes = [item.get("annotations") or item.get("platform") or {} for item in index["manifests"]]
        shown = "; ".join(
            f"{digest} ({', '.join(f'{key}={value}' for key, value in sorted(note.items()))})"
            for digest, note in list(zip(listed, notes, strict=True))[:_SHOWN]
        )
        raise SourceError(f"oci://{name}: is an index of {len(listed)} manifests; name one by its digest: {shown}")
    reference.check_digest(listed[0])
    return listed[0]


def _files(manifest: Json, name: str) -> tuple[SourceFile, ...]:
    gguf = [item for item in manifest["layers"] if item.get("mediaType") == DOCKER_AI_GGUF]
    found: dict[str, SourceFile] = {}
    for item in manifest["layers"]:
        path = _path(item, gguf, name)
        digest, size = item.get("digest"), item.get("size")
        if path in found or type(size) is not int or size < 0 or not isinstance(digest, str):
            raise SourceError(f"oci://{name}: the layer {path!r} is there twice, or without a size or a digest")
        reference.check_digest(digest)
        found[path] = SourceFile(path=path, size=size, sha256=digest.removeprefix("sha256:"))
    return tuple(found[path] for path in sorted(found))


def _path(item: Json, gguf: list[Json], name: str) -> str:
    """The file that a layer is; Docker Model Runner names shards as llama.cpp does. The engine checks the path."""
    kind = str(item.get("mediaType", ""))
    notes = item.get("annotations") or {}
    path = notes.get(FILEPATH) or notes.get(TITLE) if isinstance(notes, dict) else None
    if kind.endswith(_ARCHIVES):
        raise SourceError(
            f"oci://{name}: the layer {path or item.get('digest')!r} is an archive ({kind}), and only files as they "
            "are can be fetched one by one; publish it with raw layers"
        )
    if isinstance(path, str):
        return path
    if kind == DOCKER_AI_GGUF:
        number = [other.get("digest") for other in gguf].index(item.get("digest")) + 1
        return "model.gguf" if len(gguf) == 1 else f"model-{number:05}-of-{len(gguf):05}.gguf"
    if kind in _NAMES:
        return _NAMES[kind]
    raise SourceError(f"oci://{name}: a layer of type {kind!r} names no file; it is no model's artifact")
