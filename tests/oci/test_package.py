"""Packages of an artifact are what their readers take: skopeo, oras, umoci, podman, docker, and the schema."""

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from oci_parts.engines import Engine, dockerd, podman, podman_service
from oci_parts.modelpack_schema import schema
from oci_parts.programs import newer_program, program

import modelmill_oci
from modelmill import ConvertError, PackageJob, Packager

PACKAGERS: dict[str, Packager[Any]] = {item.name: item for item in modelmill_oci.modelmill_packagers()}
TAG = "1.0.0-laptop"


def package(release: Path, out: Path, form: str, target: str = "laptop", **options: object) -> Path:
    packager = PACKAGERS[form]
    out.mkdir(parents=True)
    packager.package(PackageJob(artifact=release / target, out=out, options=packager.options(**options)))
    return out


def blob(layout: Path, digest: str) -> bytes:
    data = (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert "sha256:" + hashlib.sha256(data).hexdigest() == digest
    return data


def manifest_of(layout: Path) -> Any:
    (listed,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return json.loads(blob(layout, listed["digest"]))


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", ["laptop", "laptop-onnx"])
def test_a_modelpack_is_valid_against_the_schema_of_the_specification(
    release: Path, tmp_path: Path, target: str
) -> None:
    layout = package(release, tmp_path / "layout", "modelpack", target)
    found = manifest_of(layout)
    assert found["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    config = json.loads(blob(layout, found["config"]["digest"]))
    validator = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())
    validator.validate(config)
    with pytest.raises(jsonschema.ValidationError, match="'size' was unexpected"):
        validator.validate({**config, "size": 1})
    assert config["modelfs"]["diffIds"] == [item["digest"] for item in found["layers"]]
    assert config["config"]["paramSize"] == "134.5M"
    files = {item["annotations"]["org.cncf.model.filepath"]: blob(layout, item["digest"]) for item in found["layers"]}
    folder = release / target
    assert files == {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_raw_layers_are_links_and_nothing_is_hashed(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelmill_oci import content

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(content, "hashed", refuse)
    layout = package(release, tmp_path / "layout", "modelpack")
    weight = release / "laptop" / "model-Q4_K_M.gguf"
    stored = layout / "blobs/sha256" / hashlib.sha256(weight.read_bytes()).hexdigest()
    assert stored.samefile(weight)


def test_a_docker_model_runner_artifact_has_the_same_weight_blob(release: Path, tmp_path: Path) -> None:
    pack = manifest_of(package(release, tmp_path / "pack", "modelpack"))
    layout = package(release, tmp_path / "runner", "docker-model-runner")
    found = manifest_of(layout)
    assert found["config"]["mediaType"] == "application/vnd.docker.ai.model.config.v0.1+json"
    assert found["layers"][0]["mediaType"] == "application/vnd.docker.ai.gguf.v3"
    assert found["layers"][0]["digest"] == pack["layers"][0]["digest"]
    config = json.loads(blob(layout, found["config"]["digest"]))
    assert config["config"]["quantization"] == "Q4_K_M"
    assert config["rootfs"]["diff_ids"] == [item["digest"] for item in found["layers"]]
    with pytest.raises(ConvertError, match="Docker Model Runner takes gguf"):
        package(release, tmp_path / "onnx", "docker-model-runner", "laptop-onnx")


@pytest.mark.parametrize("name", ["modelpack", "docker-model-runner", "image", "docker"])
def test_a_package_is_the_same_bytes_every_time(release: Path, tmp_path: Path, name: str) -> None:
    first, second = (package(release, tmp_path / place, name) for place in ("first", "second"))
    seen = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (first, second)
    ]
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ["modelpack", "docker-model-runner", "image"])
def test_skopeo_and_oras_copy_a_layout_as_it_is(release: Path, tmp_path: Path, name: str, registry: Any) -> None:
    layout = package(release, tmp_path / "layout", name)
    (listed,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    place = f"{registry.host}/skopeo/m"
    policy = ["--insecure-policy", "--override-arch", "amd64"]
    run(
        program("skopeo"),
        *policy,
        "copy",
        "--preserve-digests",
        "--dest-tls-verify=false",
        f"oci:{layout}:{TAG}",
        f"docker://{place}:1",
    )
    text = run(program("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{place}:1")
    assert "sha256:" + hashlib.sha256(text.encode()).hexdigest() == listed["digest"]
    oras = newer_program("oras")
    run(oras, "cp", "--from-oci-layout", "--to-plain-http", f"{layout}:{TAG}", f"{registry.host}/oras/m:1")
    found = json.loads(run(oras, "manifest", "fetch", "--descriptor", "--plain-http", f"{registry.host}/oras/m:1"))
    assert found["digest"] == listed["digest"]


def test_umoci_unpacks_the_model_image(release: Path, tmp_path: Path) -> None:
    layout = package(release, tmp_path / "layout", "image")
    run(program("umoci"), "unpack", "--image", f"{layout}:{TAG}", tmp_path / "bundle")
    models = tmp_path / "bundle" / "rootfs" / "models"
    for path in (release / "laptop").rglob("*"):
        if path.is_file():
            unpacked = models / path.relative_to(release / "laptop")
            assert unpacked.read_bytes() == path.read_bytes()
            assert unpacked.stat().st_mode & 0o777 == 0o644
    assert (models / "model.file").readlink() == Path("model-Q4_K_M.gguf")
    assert (models / "tokenizer").stat().st_mode & 0o777 == 0o755


def test_a_layer_is_a_sorted_tar_without_times_and_owners(release: Path, tmp_path: Path) -> None:
    layout = package(release, tmp_path / "layout", "image")
    small = manifest_of(layout)["layers"][0]
    with tarfile.open(layout / "blobs/sha256" / small["digest"].removeprefix("sha256:")) as tar:
        members = tar.getmembers()
    assert {(item.mtime, item.uid, item.gid) for item in members} == {(0, 0, 0)}
    names = [item.name for item in members]
    assert names[:2] == ["models", "models/tokenizer"]
    assert names[2:] == sorted(names[2:])


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with dockerd(tmp_path_factory.mktemp("dockerd")) as engine:
        yield engine


def test_docker_loads_the_archive_and_gives_back_the_files(
    docker: Engine, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("docker", reason="needs the docker SDK: pip install modelmill[docker]")
    out = package(release, tmp_path / "out", "docker")
    monkeypatch.setenv("DOCKER_HOST", docker.socket)
    load = PACKAGERS["docker"].load
    assert load is not None
    assert load(out) == f"smollm2-135m-instruct:{TAG}"
    container = docker.run("create", f"smollm2-135m-instruct:{TAG}", "none").stdout.strip()
    docker.run("cp", f"{container}:/models", str(tmp_path / "models"))
    docker.run("rm", container)
    weight = "model-Q4_K_M.gguf"
    assert (tmp_path / "models" / weight).read_bytes() == (release / "laptop" / weight).read_bytes()


def test_a_model_image_with_a_shell_serves_modelcar(docker: Engine, release: Path, tmp_path: Path) -> None:
    out = package(release, tmp_path / "out", "docker", shell=program("busybox"), name="car")
    docker.run("load", "-i", str(out / "image.tar"))
    common = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", f"car:{TAG}"]
    assert docker.run(*common, "sh", "-c", "[ -d /models ] && ls /models").stdout.split() == sorted(
        [*(path.name for path in (release / "laptop").iterdir()), "model.file"]
    )
    assert docker.run(*common, "sh", "-c", "ln -sf /models /tmp/x", check=False).returncode != 0


def test_no_engine_is_a_sentence(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="needs the docker SDK: pip install modelmill[docker]")
    out = package(release, tmp_path / "out", "docker")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    load = PACKAGERS["docker"].load
    assert load is not None
    with pytest.raises(ConvertError, match="no Docker or podman engine answers"):
        load(out)


def test_podman_loads_the_archive_and_keeps_its_digest(release: Path, tmp_path: Path) -> None:
    out = package(release, tmp_path / "out", "docker")
    layout = package(release, tmp_path / "layout", "image")
    (listed,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    with podman(tmp_path / "podman") as engine:
        engine.run("load", "-i", str(out / "image.tar"))
        name = f"smollm2-135m-instruct:{TAG}"
        assert engine.run("image", "inspect", "--format", "{{.Digest}}", name).stdout.strip() == listed["digest"]
        mounted = engine.run("image", "mount", name).stdout.strip()
        weight = "model-Q4_K_M.gguf"
        assert (Path(mounted) / "models" / weight).read_bytes() == (release / "laptop" / weight).read_bytes()
        engine.run("image", "umount", name)


def test_a_podman_engine_takes_the_package_as_a_docker_engine_does(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("docker", reason="needs the docker SDK: pip install modelmill[docker]")
    out = package(release, tmp_path / "out", "docker")
    load = PACKAGERS["docker"].load
    assert load is not None
    with podman(tmp_path / "podman") as engine, podman_service(engine, tmp_path) as socket:
        monkeypatch.setenv("DOCKER_HOST", socket)
        assert load(out).endswith(f"smollm2-135m-instruct:{TAG}")
        assert engine.run("image", "exists", f"smollm2-135m-instruct:{TAG}").returncode == 0


@pytest.mark.parametrize("containerd_store", [False, True])
def test_a_docker_of_today_loads_the_archive_too(release: Path, tmp_path: Path, *, containerd_store: bool) -> None:
    out = package(release, tmp_path / "out", "docker", shell=program("busybox"))
    layout = package(release, tmp_path / "layout", "image", shell=program("busybox"))
    (listed,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    with dockerd(tmp_path / "dockerd", newer=True, containerd_store=containerd_store) as engine:
        assert engine.run("version", "--format", "{{.Server.Version}}").stdout.startswith("26.")
        engine.run("load", "-i", str(out / "image.tar"))
        name = f"smollm2-135m-instruct:{TAG}"
        if containerd_store:
            assert engine.run("image", "inspect", "--format", "{{.Id}}", name).stdout.strip() == listed["digest"]
        locked = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", name]
        weight = (release / "laptop" / "model-Q4_K_M.gguf").stat().st_size
        assert engine.run(*locked, "ls", "/models").stdout.count("model") >= 2
        assert str(weight) in engine.run(*locked, "ls", "-l", "/models").stdout


def test_skopeo_reads_the_archive_in_both_its_forms(release: Path, tmp_path: Path) -> None:
    out = package(release, tmp_path / "out", "docker")
    policy = ["--insecure-policy", "--override-arch", "amd64"]
    for form in ("oci-archive", "docker-archive"):
        run(program("skopeo"), *policy, "copy", f"{form}:{out}/image.tar", f"dir:{tmp_path}/{form}")
    weight = release / "laptop" / "model-Q4_K_M.gguf"
    assert os.path.getsize(out / "image.tar") > weight.stat().st_size  # noqa: PTH202
