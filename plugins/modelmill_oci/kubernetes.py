"""A deployment as Kubernetes objects: locked down, probed, and closed to all but its clients."""

from typing import Any

from modelmill import ConvertError, PackageJob
from modelmill_oci import plain_yaml
from modelmill_oci.deployment import Deployment, DeployOptions, mebibytes, plan


def package(job: PackageJob[DeployOptions]) -> None:
    """Write kubernetes.yaml: service account, deployment, service and network policy.

    Raises ConvertError where no image is named: a cluster pulls it, and knows nothing of a name on this machine.
    """
    if not job.options.image:
        raise ConvertError(
            "[deploy] names no image, and a cluster pulls one; set `image` to the reference, best with its digest, "
            "under which the image that serves the target was pushed"
        )
    found = plan(job)
    documents = (_account(found), _deployment(found), _service(found), _policy(found))
    text = "---\n".join(plain_yaml.dumps(document) for document in documents)
    (job.out / "kubernetes.yaml").write_text(text)


def _meta(found: Deployment) -> dict[str, Any]:
    labels = {
        **_selector(found),
        "app.kubernetes.io/version": found.version,
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/managed-by": "modelmill",
    }
    return {"name": found.name, "namespace": found.namespace, "labels": labels}


def _selector(found: Deployment) -> dict[str, str]:
    return {"app.kubernetes.io/name": found.name}


def _account(found: Deployment) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _meta(found),
        "automountServiceAccountToken": False,
    }


def _deployment(found: Deployment) -> dict[str, Any]:
    pod = {
        "serviceAccountName": found.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": found.architecture},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": found.user,
            "runAsGroup": found.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(found)],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(found),
        "spec": {
            "replicas": found.replicas,
            "selector": {"matchLabels": _selector(found)},
            "template": {"metadata": {"labels": _meta(found)["labels"]}, "spec": pod},
        },
    }


def _container(found: Deployment) -> dict[str, Any]:
    environment: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in found.environment.items()]
    if found.api_key_secret:
        reference = {"secretKeyRef": {"name": found.api_key_secret, "key": "api-key"}}
        environment.append({"name": found.server.api_key, "valueFrom": reference})
    probe = {"httpGet": {"path": "/health", "port": "http"}}
    return {
        "name": "server",
        "image": found.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": found.port, "protocol": "TCP"}],
        "env": environment,
        "resources": {
            "requests": {"cpu": str(found.cores), "memory": f"{mebibytes(found.memory)}Mi"},
            "limits": {"memory": f"{mebibytes(found.memory_limit)}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**probe, "periodSeconds": 5, "failureThreshold": 60},
        "readinessProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 4},
        "livenessProbe": {**probe, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def _service(found: Deployment) -> dict[str, Any]:
    port = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}
    spec = {"selector": _selector(found), "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(found), "spec": spec}


def _policy(found: Deployment) -> dict[str, Any]:
    """Only pods of the namespace that carry the client's label may connect; the server connects to nobody."""
    client = {"podSelector": {"matchLabels": {f"{found.name}-client": "true"}}}
    spec = {
        "podSelector": {"matchLabels": _selector(found)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [client], "ports": [{"port": "http", "protocol": "TCP"}]}],
        "egress": [],
    }
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": _meta(found), "spec": spec}
