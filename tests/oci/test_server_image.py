"""The runnable image of the real model: it starts locked down, becomes healthy, answers, and stops."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from oci_parts.engines import Engine, dockerd, podman
from oci_parts.programs import program
from oci_parts.registries import RegistryServer, free_port

import modelmill_oci
from modelmill import ConvertError, PackageJob, Packager
from modelmill.inspection.folder import inspect
from modelmill.registry import load
from reference import cache

PACKAGERS: dict[str, Packager[Any]] = {item.name: item for item in modelmill_oci.modelmill_packagers()}
EXAMPLE = Path(__file__).parents[2] / "examples" / "server-image"
WHEELS = {
    "gguf": ("xllamacpp==2026.10.11549",),
    "onnx": ("onnxruntime-genai==0.18.0", "onnxruntime==1.31.1", "numpy==2.4.6"),
}
FOR_DEBIAN_12 = ("--only-binary", ":all:", "--python-version", "3.11")
LOCKED_DOWN = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host"]


@pytest.fixture(scope="session")
def rootfs() -> Path:
    def make(out: Path) -> None:
        done = subprocess.run(
            [sys.executable, EXAMPLE / "make_rootfs.py", out / "rootfs.tar"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"needs Debian 12 and its packages: {done.stderr[-300:]}")

    return cache.made("server-image-rootfs", make) / "rootfs.tar"


def wheels(kind: str) -> tuple[Path, ...]:
    """The wheels that serve a format, fetched once."""

    def make(out: Path) -> None:
        for number, requirement in enumerate(WHEELS[kind]):
            (out / str(number)).mkdir()
            cache.download(requirement, out / str(number), *FOR_DEBIAN_12)

    return tuple(sorted(cache.made(f"server-image-wheels-{kind}", make).glob("*/*.whl")))


def example_build(file: str, folder: Path) -> Path:
    """The example's own build, its steps kept in the tests' store; returns the release."""
    shutil.copy(EXAMPLE / file, folder / "build.toml")
    (folder / "home").mkdir()
    command = [sys.executable, "-m", "modelmill", "build", "--store", str(cache.folder() / "store"), "server"]
    home = {**os.environ, "HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next((folder / "dist").glob("*/1.0.0"))


def package(artifact: Path, out: Path, form: str, **options: object) -> Path:
    packager = PACKAGERS[form]
    out.mkdir(parents=True)
    packager.package(PackageJob(artifact=artifact, out=out, options=packager.options(**options)))
    return out


def post(port: int, question: str, **more: object) -> Any:
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": 10, "temperature": 0, **more}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return urllib.request.urlopen(request, timeout=300)  # noqa: S310


def ask(port: int, question: str, **more: object) -> str:
    with post(port, question, **more) as answer:
        text: str = json.load(answer)["choices"][0]["message"]["content"]
        return text


def healthy(engine: Engine, name: str) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        state = json.loads(engine.run("inspect", name).stdout)[0]["State"]
        if (state.get("Health") or state.get("Healthcheck") or {}).get("Status") == "healthy":
            return
        assert state["Running"], engine.run("logs", name).stdout
        time.sleep(0.5)
    pytest.fail(f"not healthy in time: {engine.run('logs', name)}")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with dockerd(tmp_path_factory.mktemp("dockerd")) as engine:
        yield engine


def packaged(kind: str, file: str, rootfs: Path, folder: Path) -> tuple[Path, int]:
    """The archive with the server image of an example, and the port that it listens on."""
    release, port = example_build(file, folder), free_port()
    given = tuple(map(str, wheels(kind)))
    package(release / "server", folder / "out", "docker", base=f"rootfs:{rootfs}", wheels=given, port=port, name="chat")
    return folder / "out" / "image.tar", port


@pytest.fixture(scope="module")
def server_image(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    return packaged("gguf", "build.toml", rootfs, tmp_path_factory.mktemp("image"))


@pytest.mark.real
def test_docker_runs_it_locked_down_and_it_answers(docker: Engine, server_image: tuple[Path, int]) -> None:
    archive, port = server_image
    with running(docker, archive):
        assert "= 4" in ask(port, "What is 2+2?")


@pytest.mark.real
def test_docker_runs_onnx_runtime_genai_locked_down_and_it_answers(
    docker: Engine, rootfs: Path, tmp_path: Path
) -> None:
    archive, port = packaged("onnx", "onnx.toml", rootfs, tmp_path)
    (artifact,) = (tmp_path / "dist").glob("*/1.0.0/server")
    seen = inspect(artifact, load())
    assert (seen.format, seen.scheme, seen.context, seen.licence) == ("onnx", "int8", 8192, "Apache-2.0")
    question = "Name the planet that we live on."
    with running(docker, archive):
        assert "Earth" in ask(port, question)
        assert "Earth" not in ask(port, question, stop=["Ear"])
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(port, question, n=2)
        with post(port, question, stream=True) as answer:
            events = [line.removeprefix(b"data: ") for line in answer.read().split(b"\n\n") if line]
        assert events.pop() == b"[DONE]"
        deltas = [json.loads(event)["choices"][0] for event in events]
        assert "Earth" in "".join(item["delta"].get("content", "") for item in deltas)
        assert deltas[-1]["finish_reason"] in ("stop", "length")


@contextmanager
def running(docker: Engine, archive: Path) -> Iterator[None]:
    """A container that is locked down and healthy, and stops within seconds when it is told to."""
    docker.run("load", "-i", str(archive))
    docker.run("run", "-d", "--name", "chat", *LOCKED_DOWN, "chat:1.0.0-server")
    try:
        healthy(docker, "chat")
        assert docker.run("inspect", "--format", "{{.Config.User}}", "chat").stdout.strip() == "65532:65532"
        yield
        start = time.monotonic()
        docker.run("stop", "-t", "20", "chat")
        assert time.monotonic() - start < 8
        assert docker.run("inspect", "--format", "{{.State.ExitCode}}", "chat").stdout.strip() == "0"
    finally:
        docker.run("rm", "-f", "chat", check=False)


@pytest.mark.real
def test_podman_runs_it_too(server_image: tuple[Path, int], tmp_path: Path) -> None:
    archive, port = server_image
    with podman(tmp_path / "podman") as engine:
        engine.run("load", "-i", str(archive))
        engine.run("run", "-d", "--name", "chat", *LOCKED_DOWN, "--no-healthcheck", "chat:1.0.0-server")
        deadline = time.monotonic() + 120
        while engine.run(
            "exec", "chat", "/usr/bin/python3", "/opt/modelmill/serve.py", "--check", str(port), check=False
        ).returncode:
            assert time.monotonic() < deadline, engine.run("logs", "chat").stderr
            time.sleep(0.5)
        assert "= 4" in ask(port, "What is 2+2?")
        engine.run("stop", "-t", "20", "chat")
        engine.run("rm", "-f", "chat")


def test_bases_of_four_kinds_give_the_same_layers(
    release: Path,
    tmp_path: Path,
    registry: RegistryServer,
    docker: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tarfile

    (tmp_path / "hello").write_bytes(b"hello\n")
    with tarfile.open(tmp_path / "rootfs.tar", "w") as tar:
        tar.add(tmp_path / "hello", "etc/hello")
    options: dict[str, Any] = {"server": ("/bin/serve", "{model}", "{port}"), "cache": str(tmp_path / "cache")}
    base = package(
        release / "laptop", tmp_path / "base", "docker", base=f"rootfs:{tmp_path}/rootfs.tar", name="b", **options
    )
    seen = {"rootfs": config_of(base)["rootfs"]["diff_ids"][0]}
    skopeo = [program("skopeo"), "--insecure-policy", "--override-arch", "amd64", "copy", "--preserve-digests"]
    source = f"oci-archive:{base}/image.tar"
    subprocess.run([*skopeo, source, f"oci:{tmp_path}/layout:b"], check=True, capture_output=True)
    target = f"docker://{registry.host}/b:1"
    subprocess.run([*skopeo, "--dest-tls-verify=false", source, target], check=True, capture_output=True)
    (listed,) = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"]
    docker.run("load", "-i", str(base / "image.tar"))
    monkeypatch.setenv("DOCKER_HOST", docker.socket)
    bases = {"registry": f"{registry.host}/b@{listed['digest']}", "layout": f"oci:{tmp_path}/layout:b"}
    pytest.importorskip("docker", reason="needs the docker SDK: pip install modelmill[docker]")
    bases["daemon"] = "docker:b:1.0.0-laptop"
    for name, text in bases.items():
        out = package(release / "laptop", tmp_path / f"on-{name}", "docker", base=text, **options)
        seen[name] = config_of(out)["rootfs"]["diff_ids"][0]
        assert config_of(out)["config"]["Entrypoint"] == ["/bin/serve", "/models/model-Q4_K_M.gguf", "8080"]
    assert len(set(seen.values())) == 1, seen


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("r.example/b:1", "is not pinned; write r.example/b:1@sha256"),
        ("rootfs:none.tar", "is no tar file"),
        ("oci:none", "is no OCI layout"),
    ],
)
def test_a_base_that_will_not_do_is_a_sentence(release: Path, tmp_path: Path, base: str, sentence: str) -> None:
    with pytest.raises(ConvertError, match=sentence):
        package(release / "laptop", tmp_path / "out", "docker", base=base)


def config_of(out: Path) -> Any:
    import tarfile

    with tarfile.open(out / "image.tar") as tar:

        def read(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        return read(read("manifest.json")[0]["Config"])
