"""What a server image stands on: layers and configuration of a base, from wherever build.toml says."""

import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill import ConvertError
from modelmill_oci import engine, image, reference
from modelmill_oci.access import Access
from modelmill_oci.content import Blob, Content, Piece, hashed, of_file, sha256
from modelmill_oci.download import download
from modelmill_oci.image import Json
from modelmill_oci.media import LAYER, REF_NAME
from modelmill_oci.options import ImageOptions
from modelmill_oci.platform import Platform
from modelmill_oci.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Layers with the descriptors that name them, the image configuration, and where it came from."""

    layers: tuple[tuple[Blob, Json], ...]
    config: Mapping[str, Any]
    name: str = ""
    digest: str = ""


def resolve(options: ImageOptions, platform: Platform) -> Base:
    """The base that the options name. Raises ConvertError for a base that is not there, or not pinned."""
    kind, colon, rest = options.base.partition(":")
    if kind == "rootfs" and colon:
        return _rootfs(Path(rest), platform)
    if kind == "oci" and colon and not rest.startswith("//"):
        return _layout(rest, platform)
    if kind == "docker" and colon:
        return _daemon(rest, _cache(options))
    return _registry(options, platform)


def _rootfs(path: Path, platform: Platform) -> Base:
    """The files of a system as one plain tar, taken as it is."""
    if not path.is_file() or not tarfile.is_tarfile(path):
        raise ConvertError(f"base 'rootfs:{path}' is no tar file")
    with path.open("rb") as file:
        if file.read(512)[257:262] != b"ustar":
            raise ConvertError(f"base 'rootfs:{path}' is compressed; unpack it to a plain .tar")
    blob = hashed(Content(pieces=(Piece(size=path.stat().st_size, path=path),)))
    config = {**platform.value(), "rootfs": {"type": "layers", "diff_ids": [blob.digest]}}
    return Base(layers=((blob, image.layer(blob, LAYER)),), config=config)


def _layout(text: str, platform: Platform) -> Base:
    folder, _, tag = text.rpartition(":") if not Path(text).is_dir() else (text, "", "")
    root = Path(folder)
    if not (root / "index.json").is_file():
        raise ConvertError(f"base 'oci:{text}' is no OCI layout; it reads oci:FOLDER or oci:FOLDER:TAG")

    def read(digest: str) -> bytes:
        data = _blob_path(root, digest).read_bytes()
        if sha256(data) != digest:
            raise ConvertError(f"base 'oci:{text}': the blob {digest} is not what its digest says")
        return data

    listed = json.loads((root / "index.json").read_bytes())["manifests"]
    if tag:
        listed = [item for item in listed if (item.get("annotations") or {}).get(REF_NAME) == tag]
    digest = _pick(listed, platform, f"oci:{text}")
    value = json.loads(read(digest))
    if "manifests" in value:
        digest = _pick(value["manifests"], platform, f"oci:{text}")
        value = json.loads(read(digest))
    pairs = []
    for item in value["layers"]:
        blob = hashed(of_file(_blob_path(root, item["digest"]), item["size"], item["digest"]).content)
        if blob.digest != item["digest"]:
            raise ConvertError(f"base 'oci:{text}': the layer {item['digest']} is not what its digest says")
        pairs.append((blob, item))
    config = json.loads(read(value["config"]["digest"]))
    return Base(layers=tuple(pairs), config=_checked(config, platform, f"oci:{text}"), digest=digest)


def _registry(options: ImageOptions, platform: Platform) -> Base:
    where = reference.parse(options.base)
    if where.digest is None:
        raise ConvertError(f"base {options.base!r} is not pinned; write {where}@sha256:… so that it never changes")
    access = Access(ca_file=options.ca_file, plain_http=options.plain_http)
    blobs = _cache(options)
    with Registry(where, access) as registry:
        digest = where.digest
        value = _manifest(registry, digest)
        if "manifests" in value:
            digest = _pick(value["manifests"], platform, options.base)
            value = _manifest(registry, digest)
        pairs = []
        for item in (value["config"], *value["layers"]):
            reference.check_digest(item["digest"])
            path = blobs / item["digest"].removeprefix("sha256:")
            download(registry, item["digest"], item["size"], path)
            pairs.append((of_file(path, item["size"], item["digest"]), item))
    config = json.loads((blobs / value["config"]["digest"].removeprefix("sha256:")).read_bytes())
    checked = _checked(config, platform, options.base)
    return Base(layers=tuple(pairs[1:]), config=checked, name=str(where), digest=digest)


def _manifest(registry: Registry, digest: str) -> Any:
    found = registry.manifest(digest)
    if found is None:
        raise ConvertError(f"base {registry.reference.name}@{digest} is not there")
    return json.loads(found[1])


def _daemon(name: str, cache: Path) -> Base:
    """An image of the local engine, by way of its archive; kept by the image's own identity."""
    docker = engine.sdk()
    client = engine.connect(docker)
    try:
        found = client.images.get(name)
        folder = cache / "docker" / str(found.id).removeprefix("sha256:")
        if not (folder / "manifest.json").is_file():
            part = folder.with_name(folder.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            with (part / "image.tar").open("wb") as file:
                for block in found.save():
                    file.write(block)
            with tarfile.open(part / "image.tar") as tar:
                tar.extractall(part, filter="data")
            (part / "image.tar").unlink()
            part.rename(folder)
    except docker.errors.DockerException as error:
        raise ConvertError(f"base 'docker:{name}': the engine does not give it: {error}") from error
    finally:
        client.close()
    (listed,) = json.loads((folder / "manifest.json").read_bytes())
    config = json.loads((folder / listed["Config"]).read_bytes())
    pairs = []
    for path, diff_id in zip(listed["Layers"], config["rootfs"]["diff_ids"], strict=True):
        file = (folder / path).resolve()
        blob = hashed(Content(pieces=(Piece(size=file.stat().st_size, path=file),)))
        if blob.digest != diff_id:
            raise ConvertError(f"base 'docker:{name}': the layer {path} is not what its configuration says")
        pairs.append((blob, image.layer(blob, LAYER)))
    return Base(layers=tuple(pairs), config=config, name=name, digest=str(found.id))


def _pick(listed: list[Any], platform: Platform, name: str) -> str:
    """The manifest of a platform out of an index; the only one where it does not say."""
    if len(listed) == 1:
        return str(listed[0]["digest"])
    for item in listed:
        found = item.get("platform") or {}
        same = (found.get("os"), found.get("architecture")) == (platform.os, platform.architecture)
        if same and found.get("variant", "") in ("", platform.variant):
            return str(item["digest"])
    raise ConvertError(f"base {name!r} has nothing for {platform}")


def _checked(config: Mapping[str, Any], platform: Platform, name: str) -> Mapping[str, Any]:
    has = Platform(os=config.get("os", "linux"), architecture=config.get("architecture", ""))
    if (has.os, has.architecture) != (platform.os, platform.architecture):
        raise ConvertError(f"base {name!r} is for {has}, and the target's hardware profile wants {platform}")
    return config


def _blob_path(root: Path, digest: str) -> Path:
    reference.check_digest(digest)
    return root / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _cache(options: ImageOptions) -> Path:
    if options.cache:
        return Path(options.cache)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "modelmill" / "bases"
