"""A deployment as a podman quadlet: a container that systemd runs (podman-systemd.unit(5))."""

from modelmill import ConvertError, PackageJob
from modelmill_oci.deployment import DeployOptions, mebibytes, plan


def package(job: PackageJob[DeployOptions]) -> None:
    """Write NAME.container. Raises ConvertError for several replicas, which one unit cannot be."""
    found = plan(job)
    if found.replicas != 1:
        raise ConvertError(f"[deploy] replicas is {found.replicas}; a quadlet is one container")
    container = [
        f"Image={found.image}",
        f"ContainerName={found.name}",
        f"User={found.user}",
        f"Group={found.user}",
        "ReadOnly=true",
        "DropCapability=all",
        "NoNewPrivileges=true",
        f"PublishPort=127.0.0.1:{found.port}:{found.port}",
        *(f"Environment={key}={value}" for key, value in found.environment.items()),
        f"PodmanArgs=--memory={mebibytes(found.memory_limit)}m --cpus={found.cores}",
    ]
    if found.api_key_secret:
        container.append(f"Secret={found.api_key_secret},type=env,target={found.server.api_key}")
    sections = {
        "Unit": [f"Description={found.name} {found.version}", "After=network-online.target"],
        "Container": container,
        "Service": ["Restart=always", "TimeoutStartSec=300", "TimeoutStopSec=30"],
        "Install": ["WantedBy=default.target"],
    }
    text = "\n\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items()) + "\n"
    (job.out / f"{found.name}.container").write_text(text)
