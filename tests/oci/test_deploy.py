"""Files for orchestrators are what their own validators accept, and say what the profile says."""

import configparser
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from oci_parts.programs import newer_program
from oci_parts.releases import LINUX_X86, MAC

import modelmill_oci
from modelmill import ConvertError, Hardware, PackageJob, Packager
from modelmill_oci import plain_yaml

PACKAGERS: dict[str, Packager[Any]] = {item.name: item for item in modelmill_oci.modelmill_packagers()}
PROFILE = {**LINUX_X86, "cpu.cores": 4, "memory.budget_mib": 6144, "workload.context": 2048}
IMAGE = "r.example/team/smollm2@sha256:" + "0" * 64

Deploy = Callable[..., Path]


@pytest.fixture
def deploy(release: Path, tmp_path: Path) -> Deploy:
    def write(form: str, target: str = "laptop", fields: Any = PROFILE, **options: object) -> Path:
        out = tmp_path / form
        out.mkdir()
        packager = PACKAGERS[form]
        given = packager.options(**{"image": IMAGE, **options})
        hardware = Hardware(fields=fields)
        packager.package(
            PackageJob(artifact=release / target, out=out, options=given, hardware=hardware, memory=300 << 20)
        )
        (written,) = out.iterdir()
        return written

    return write


def test_kubernetes_objects_pass_strict_validation(deploy: Deploy) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    written = deploy("kubernetes", api_key_secret="model-key", replicas=2, namespace="models")  # noqa: S106
    documents = list(yaml.safe_load_all(written.read_text()))
    assert [item["kind"] for item in documents] == ["ServiceAccount", "Deployment", "Service", "NetworkPolicy"]
    for item in documents:
        kubernetes_validate.validate(item, "1.33", strict=True)
    pod = documents[1]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    assert server["image"] == IMAGE
    assert server["resources"] == {"requests": {"cpu": "4", "memory": "300Mi"}, "limits": {"memory": "6144Mi"}}
    assert server["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["nodeSelector"]["kubernetes.io/arch"] == "amd64"
    reference = {"secretKeyRef": {"name": "model-key", "key": "api-key"}}
    assert {"name": "LLAMA_API_KEY", "valueFrom": reference} in server["env"]
    server["pulPolicy"] = "x"
    with pytest.raises(Exception, match="pulPolicy"):
        kubernetes_validate.validate(documents[1], "1.33", strict=True)


def test_compose_itself_reads_the_compose_file(deploy: Deploy, tmp_path: Path) -> None:
    compose = newer_program("docker-compose")
    written = deploy("compose")
    command = [compose, "-f", str(written), "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path), "PATH": ""})
    assert done.returncode == 0, done.stderr
    server = json.loads(done.stdout)["services"]["server"]
    assert server["image"] == IMAGE
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert server["ports"][0]["host_ip"] == "127.0.0.1"


def test_a_compose_file_asks_for_the_key_that_it_does_not_hold(deploy: Deploy, tmp_path: Path) -> None:
    compose = newer_program("docker-compose")
    command = [compose, "-f", str(deploy("compose", api_key_secret="k")), "config", "-q"]  # noqa: S106
    environment = {"HOME": str(tmp_path), "PATH": ""}
    assert subprocess.run(command, capture_output=True, check=False, env=environment).returncode != 0
    environment["LLAMA_API_KEY"] = "secret"
    assert subprocess.run(command, capture_output=True, check=False, env=environment).returncode == 0


def test_a_quadlet_is_a_unit_of_known_keys(deploy: Deploy) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    written = deploy("quadlet", api_key_secret="k")  # noqa: S106
    assert written.name == "smollm2-135m-instruct-laptop.container"
    unit.read_string(written.read_text())
    container = unit["Container"]
    assert container["Image"] == IMAGE
    assert (container["ReadOnly"], container["DropCapability"], container["NoNewPrivileges"]) == ("true", "all", "true")
    assert container["Secret"] == "k,type=env,target=LLAMA_API_KEY"  # noqa: S105
    assert container["PodmanArgs"] == "--memory=6144m --cpus=4"


def test_a_target_of_onnx_is_deployed_with_its_own_servers_settings(deploy: Deploy) -> None:
    written = deploy("compose", "laptop-onnx", api_key_secret="k")  # noqa: S106
    environment = yaml.safe_load(written.read_text())["services"]["server"]["environment"]
    assert (environment["SERVER_CONTEXT"], environment["SERVER_THREADS"]) == ("2048", "4")
    assert environment["SERVER_API_KEY"].startswith("${SERVER_API_KEY:?")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fields": MAC}, "containers run on linux only"),
        ({"fields": {**PROFILE, "memory.budget_mib": 200}}, "needs 300 MiB and its profile's budget is 200 MiB"),
        ({"name": "My Model"}, "is no DNS label; 'my-model' would be"),
    ],
)
def test_what_cannot_be_deployed_is_a_sentence(deploy: Deploy, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConvertError, match=sentence):
        deploy("kubernetes", **change)


def test_a_cluster_is_told_its_image_and_an_engine_on_this_machine_need_not_be(deploy: Deploy) -> None:
    with pytest.raises(ConvertError, match=r"^\[deploy\] names no image, and a cluster pulls one; set `image`"):
        deploy("kubernetes", image="")
    assert ":1.0.0-laptop" in deploy("compose", image="").read_text()


@pytest.mark.parametrize("word", ["yes", "1", "a: b", "", "null", "- x", "#", "ja", "a b", "/x", "1.0.0", "é", "x "])
def test_yaml_gives_back_every_string(word: str) -> None:
    value = {"k": word, word or "e": [word, {"x": word, "y": [1, True, None, {}, []]}]}
    assert yaml.safe_load(plain_yaml.dumps(value)) == value
