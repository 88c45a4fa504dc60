"""What `modelmill package` makes of one artifact: layouts and an archive."""

from dataclasses import replace
from pathlib import Path

from modelmill import PackageJob
from modelmill_oci import archive, artifact, docker_model, layout, model_image, modelpack
from modelmill_oci.artifact import Artifact
from modelmill_oci.image import Image
from modelmill_oci.media import IMAGE_NAME, REF_NAME
from modelmill_oci.options import ImageOptions, LayoutOptions, NoOptions


def package_modelpack(job: PackageJob[LayoutOptions]) -> None:
    """A layout with the ModelPack. Raises ArtifactError for a folder that is no finished artifact."""
    found = artifact.read(job.artifact)
    _layout(job.out, found, modelpack.pack(found, draft_annotations=job.options.draft_annotations), "")


def package_docker_model(job: PackageJob[NoOptions]) -> None:
    """A layout with the Docker Model Runner artifact. Raises ConvertError for what is not GGUF."""
    found = artifact.read(job.artifact)
    _layout(job.out, found, docker_model.pack(found), "")


def package_image(job: PackageJob[ImageOptions]) -> None:
    """A layout with the server image where there is a base, the model image where not."""
    found = artifact.read(job.artifact)
    _layout(job.out, found, image_of(found, placed(job.options, job.root)), job.options.name)


def package_docker(job: PackageJob[ImageOptions]) -> None:
    """An archive with the server image where there is a base, the model image where not."""
    found = artifact.read(job.artifact)
    name = job.options.name or found.manifest.name
    archive.write(job.out / archive.NAME, image_of(found, placed(job.options, job.root)), name, tag_of(found))


def image_of(found: Artifact, options: ImageOptions) -> Image:
    """The image that the options ask for."""
    if options.base:
        from modelmill_oci import server_image

        return server_image.pack(found, options)
    return model_image.pack(found, Path(options.shell) if options.shell else None)


def placed(options: ImageOptions, root: Path) -> ImageOptions:
    """The options with every path under the folder that it is relative to."""

    def place(text: str) -> str:
        return str(root / text) if text else ""

    kind, _, rest = options.base.partition(":")
    local = kind in ("rootfs", "oci")
    return replace(
        options,
        base=f"{kind}:{place(rest)}" if local else options.base,
        wheels=tuple(place(wheel) for wheel in options.wheels),
        shell=place(options.shell),
        ca_file=place(options.ca_file),
        cache=place(options.cache),
    )


def tag_of(found: Artifact) -> str:
    """The tag of a target's image."""
    return f"{found.manifest.version}-{found.manifest.target}"


def _layout(out: Path, found: Artifact, image: Image, name: str) -> None:
    """A layout with one manifest, under the tag that `modelmill publish` would give it."""
    name = name or found.manifest.name
    notes = {REF_NAME: tag_of(found), IMAGE_NAME: f"docker.io/library/{name}:{tag_of(found)}"}
    layout.write(out, [image], [image.descriptor(notes)])
