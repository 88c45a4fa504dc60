"""A finished artifact's files, sorted by what they are to whoever loads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelmill_artifacts import canonical, manifest, tree
from modelmill_artifacts.manifest import MANIFEST, PROVENANCE, SBOM, SIGNATURE, Manifest
from modelmill_oci import platform
from modelmill_oci.content import Blob, of_bytes, of_file
from modelmill_oci.media import FORMAT, LICENSES, PROFILE, REQUIRES, REVISION, SCHEME, SOURCE, TARGET, TITLE, VERSION
from modelmill_oci.platform import Platform

WEIGHTS = (".gguf", ".safetensors", ".onnx", ".data", ".npz", ".bin", ".pte", ".ptd", ".onnx_data")
_DOCUMENTS = ("LICENSE", "LICENCE", "NOTICE", "README", "COPYING", "USE_POLICY", "MODEL_CARD")
DESCRIPTIONS = (SBOM, MANIFEST, PROVENANCE, SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact in its folder: the manifest, and a blob for each file by its path.

    The digests are the manifest's own; only the few files that it cannot list are read here.
    """

    folder: Path
    manifest: Manifest
    blobs: Mapping[str, Blob]

    @property
    def platform(self) -> Platform | None:
        """The platform that its hardware profile requires."""
        hardware = self.manifest.hardware
        return platform.of(hardware.requires) if hardware else None

    def weights(self) -> tuple[str, ...]:
        """The paths of the weight files."""
        return tuple(path for path in self.blobs if kind(path) == "weight")


def read(folder: Path) -> Artifact:
    """The artifact in a folder. Raises ArtifactError unless its files are the listed ones, by name and size."""
    found = manifest.read(folder)
    unlisted = [name for name in (MANIFEST, PROVENANCE, SIGNATURE) if (folder / name).exists()]
    tree.check_folder(folder, found, unlisted)
    blobs = {file.path: of_file(folder / file.path, file.size, f"sha256:{file.sha256}") for file in found.files}
    for name in unlisted:
        blobs[name] = of_bytes(manifest.contents(folder / name))
    return Artifact(folder=folder, manifest=found, blobs=dict(sorted(blobs.items())))


def kind(path: str) -> str:
    """What a file is: `weight`, `config` (what a runtime reads beside the weights), or `doc`."""
    name = PurePosixPath(path).name
    if path in DESCRIPTIONS or name.upper().startswith(_DOCUMENTS) or name.endswith((".md", ".txt")):
        # A merges.txt or vocab.txt is a tokenizer's.
        return "config" if name in ("merges.txt", "vocab.txt") else "doc"
    return "weight" if name.endswith(WEIGHTS) else "config"


def annotations(found: Manifest) -> dict[str, str]:
    """What every form of an artifact says of itself."""
    source = next((item for item in found.sources if item.role == "model"), None)
    said = {
        TITLE: found.name,
        VERSION: found.version,
        LICENSES: found.licence,
        SOURCE: source.uri if source else None,
        REVISION: source.revision if source else None,
        TARGET: found.target,
        FORMAT: found.format,
        SCHEME: found.scheme,
    }
    if found.hardware:
        said[PROFILE] = found.hardware.profile
        said[REQUIRES] = canonical.dumps(dict(found.hardware.requires)).decode()
    return {name: value for name, value in said.items() if value}


def parameters(count: int) -> str:
    """A parameter count as people and ModelPack say it: `135M`, `1.2B`."""
    for limit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= limit:
            text = f"{count / limit:.1f}"
            return text.removesuffix(".0") + letter
    return str(count)
