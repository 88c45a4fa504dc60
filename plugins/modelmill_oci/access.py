"""How a registry is reached: certificates, credentials by reference, patience."""

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from modelmill import RemoteError
from modelmill_oci.options import ImageOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The options of the `oci` remote.

    `ca_file` is a PEM file of certification authorities to trust beside the system's. `plain_http` allows
    HTTP without TLS to a registry that is not on this machine. `username` goes with the password in the
    environment variable that `password_env` names; without it the docker configuration decides. `parallel`
    blobs move at once. A request is tried `tries` times, the waits doubling from `backoff` seconds.
    `images` publishes model images too, which take the weights a second time; `shell` is a static busybox to
    put into them. `servers` are patterns of the targets whose image is the server image instead, on the base that
    build.toml's `[image]` table names, which is `image`. `mount_from` are repositories of the same registry to take
    blobs over from. `draft_annotations` adds the drafted `org.cncf.ai.*` annotations.
    """

    ca_file: str = ""
    plain_http: bool = False
    username: str = ""
    password_env: str = "MODELMILL_REGISTRY_PASSWORD"  # noqa: S105
    parallel: int = 4
    tries: int = 6
    backoff: float = 0.5
    timeout: float = 60.0
    images: bool = False
    shell: str = ""
    servers: tuple[str, ...] = ()
    image: ImageOptions = field(default_factory=ImageOptions)
    mount_from: tuple[str, ...] = ()
    draft_annotations: bool = False


def is_loopback(host: str) -> bool:
    """Whether `HOST[:PORT]` can only be this machine."""
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 or host.startswith("[") else host
    name = name.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def tls_context(access: Access) -> ssl.SSLContext:
    """A context that verifies the registry's certificate and name. Raises RemoteError for a bad `ca_file`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.ca_file:
        if not Path(access.ca_file).is_file():
            raise RemoteError(f"ca_file {access.ca_file!r} does not exist; it names a PEM file of certificates")
        try:
            context.load_verify_locations(access.ca_file)
        except ssl.SSLError as error:
            raise RemoteError(f"ca_file {access.ca_file!r} holds no PEM certificates: {error.reason}") from error
    return context
