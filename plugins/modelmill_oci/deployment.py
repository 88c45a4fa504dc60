"""What a deployment of an artifact's image needs, whatever orchestrator writes it down."""

import re
from dataclasses import dataclass

from modelmill import ConvertError, PackageJob
from modelmill_artifacts import manifest
from modelmill_oci.servers import SERVERS, Server

_MIB = 1024 * 1024
_OVERHEAD = 512 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions:
    """The `[deploy]` table of build.toml.

    `image` is the image's reference, best with its digest; the name that `package --as docker --load` gives where
    it is empty, but for Kubernetes, which must be told. The image must hold a server (`[image] base`). `name` is the
    deployment's; the project's and target's where it is empty. `api_key_secret` is the name of a secret that holds the
    key clients must send, under `api-key`; it is referred to and never written.
    """

    image: str = ""
    name: str = ""
    namespace: str = "default"
    replicas: int = 1
    port: int = 8080
    api_key_secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One server: what runs, where it may run, and what it may use. Memory is in bytes."""

    name: str
    version: str
    target: str
    image: str
    namespace: str
    replicas: int
    port: int
    api_key_secret: str
    architecture: str
    cores: int
    memory: int
    memory_limit: int
    context: int
    server: Server
    user: int = 65532

    @property
    def environment(self) -> dict[str, str]:
        """What tells the server of the hardware."""
        return {self.server.context: str(self.context), self.server.threads: str(self.cores)}


def plan(job: PackageJob[DeployOptions]) -> Deployment:
    """The deployment of a finished artifact on its hardware profile.

    Memory is what the engine's fit equation says that it needs; without that, the files and 512 MiB. The limit
    is the profile's budget. Raises ConvertError for a format that no server image serves, a model that does
    not fit its budget, and names that no orchestrator takes.
    """
    found = manifest.read(job.artifact)
    options = job.options
    if found.format not in SERVERS:
        known = " and ".join(SERVERS)
        raise ConvertError(f"target {found.target!r} is {found.format}; server images are known for {known} only")
    fields = job.hardware.fields if job.hardware else {}
    if fields.get("os.family", "linux") != "linux":
        raise ConvertError(f"target {found.target!r} is for {fields['os.family']}, and containers run on linux only")
    files = sum(file.size for file in found.files)
    memory = job.memory or files + _OVERHEAD
    limit = int(fields.get("memory.budget_mib", 0)) * _MIB or memory * 3 // 2
    if memory > limit:
        raise ConvertError(
            f"target {found.target!r} needs {memory // _MIB} MiB and its profile's budget is {limit // _MIB} MiB; "
            "choose a smaller scheme or context"
        )
    name = options.name or label(f"{found.name}-{found.target}")
    for what, text in (("name", name), ("namespace", options.namespace)):
        if label(text) != text:
            raise ConvertError(f"[deploy] {what} {text!r} is no DNS label; {label(text)!r} would be")
    return Deployment(
        name=name,
        version=found.version,
        target=found.target,
        image=options.image or f"{found.name}:{found.version}-{found.target}",
        namespace=options.namespace,
        replicas=options.replicas,
        port=options.port,
        api_key_secret=options.api_key_secret,
        architecture=str(fields.get("os.arch", "amd64")),
        cores=int(fields.get("cpu.cores", 2)),
        memory=memory,
        memory_limit=limit,
        context=int(fields.get("workload.context", 4096)),
        server=SERVERS[found.format],
    )


def label(text: str) -> str:
    """A DNS label (RFC 1123) that resembles a name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-") or "model"


def mebibytes(count: int) -> int:
    """Bytes in MiB, rounded up."""
    return -(-count // _MIB)
