"""What build.toml's tables `[image]` and `[modelpack]` may say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOptions:
    """The options of ModelPack layouts: `draft_annotations` adds the drafted `org.cncf.ai.*` annotations."""

    draft_annotations: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """There is nothing to say of a Docker Model Runner artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """The options of images.

    `base` is what a server image stands on: `HOST/REPOSITORY@sha256:…` in a registry, `oci:FOLDER[:TAG]` for a
    local layout, `docker:NAME` in the local engine, or `rootfs:FILE.tar` for the files of a system. Without it the
    image only holds the model. `wheels` are put beside a base (into /opt/modelmill/site), so that it can serve.
    `shell` is a static busybox to put into an image that only holds the model. `server` is the program's argument
    vector where the format's own is not meant; `{model}` stands for the model's file, `{folder}` for its folder,
    `{port}` for the port. `name` is the image's name; the project's where it is empty. `ca_file` and `plain_http`
    are for the base's registry. `cache` is where a base's layers are kept.
    """

    base: str = ""
    wheels: tuple[str, ...] = ()
    shell: str = ""
    server: tuple[str, ...] = ()
    port: int = 8080
    user: str = "65532:65532"
    name: str = ""
    ca_file: str = ""
    plain_http: bool = False
    cache: str = ""
