"""A deployment as a compose file."""

from typing import Any

from modelmill import PackageJob
from modelmill_oci import plain_yaml
from modelmill_oci.deployment import DeployOptions, mebibytes, plan


def package(job: PackageJob[DeployOptions]) -> None:
    """Write compose.yaml. The port is published on loopback; a key comes from the caller's environment."""
    found = plan(job)
    environment: dict[str, Any] = dict(found.environment)
    if found.api_key_secret:
        key = found.server.api_key
        environment[key] = f"${{{key}:?the key that clients must send}}"
    service = {
        "image": found.image,
        "platform": f"linux/{found.architecture}",
        "restart": "unless-stopped",
        "init": True,
        "user": f"{found.user}:{found.user}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "ports": [f"127.0.0.1:{found.port}:{found.port}"],
        "environment": environment,
        "stop_grace_period": "30s",
        "deploy": {
            "replicas": found.replicas,
            "resources": {
                "limits": {"cpus": str(found.cores), "memory": f"{mebibytes(found.memory_limit)}M"},
                "reservations": {"memory": f"{mebibytes(found.memory)}M"},
            },
        },
    }
    text = plain_yaml.dumps({"name": found.name, "services": {"server": service}})
    (job.out / "compose.yaml").write_text(text)
