"""What a model is, told from its headers, whatever its format."""

import json
from pathlib import Path

import pytest

from modelmill.errors import ConfigError
from modelmill.inspection.folder import inspect
from modelmill.registry import Registry, load
from modelmill.testing import make_checkpoint
from modelmill.testing.steps import convert

from .conftest import BUILD, TINY, Mill


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def test_a_checkpoint(tmp_path: Path, registry: Registry) -> None:
    found = inspect(make_checkpoint(tmp_path / "model", "llama", shards=2), registry)
    assert (found.format, found.architecture, found.quantization) == ("huggingface", "LlamaForCausalLM", None)
    assert [item.type for item in found.types] == ["BF16"]
    assert sum(item.size or 0 for item in found.types) == 2 * found.parameters
    assert found.context
    assert found.tokenizer is not None
    assert found.tokenizer.size > 0
    assert found.memory is not None
    assert found.memory.need > found.size


def test_a_gguf_file_is_looked_at_without_its_neighbours(tmp_path: Path, registry: Registry) -> None:
    from gguf_parts.tiny import Tiny, write

    paths = [write(tmp_path / name, Tiny()) for name in ("one.gguf", "other.gguf")]
    found = inspect(paths[0], registry)
    assert (found.format, list(found.files)) == ("gguf", ["one.gguf"])
    assert found.size == paths[0].stat().st_size
    assert sum(item.weights for item in found.types) == found.parameters
    assert 0 < sum(item.size or 0 for item in found.types) <= found.size


def test_whether_a_model_is_ternary_is_told_with_the_figure(tmp_path: Path, registry: Registry, mill: Mill) -> None:
    plain, ternary = (make_checkpoint(tmp_path / str(kind), "llama", ternary=kind) for kind in (False, True))
    bitnet = make_checkpoint(tmp_path / "bitnet", "bitnet")
    found = inspect(plain, registry).ternary
    assert found is not None
    assert (found.ternary, 0.3 < (found.distance or 0) < 0.7) == (False, True)
    told = mill.run("inspect", str(plain)).out
    assert f"no: its layers lie up to {found.distance:.1%} from -s, 0 and s (sampled)" in told
    assert "yes: its layers lie up to 0.0% from" in mill.run("inspect", str(ternary)).out
    assert mill.run("inspect", str(ternary), "--json").json()["ternary"]["distance"] == 0
    assert (
        "yes: config.json names BitNetForCausalLM; its master weights lie up to" in mill.run("inspect", str(bitnet)).out
    )


def test_an_mlx_folder(tmp_path: Path, registry: Registry) -> None:
    pytest.importorskip("mlx")
    source = make_checkpoint(tmp_path / "model", "llama")
    found = inspect(convert("modelmill_mlx", "huggingface-to-mlx", "4bit", source, tmp_path / "mlx"), registry)
    assert (found.format, found.scheme, found.quantization) == ("mlx", "4bit", "4bit")
    assert found.parameters == inspect(source, registry).parameters
    assert {item.type for item in found.types} > {"4bit-g64"}
    assert found.context
    assert found.memory is not None


HALF = {"F16": (117952, 235904), "F32": (320, 1280)}
KNOWN: dict[str, tuple[tuple[str, str] | None, str, int, dict[str, tuple[int, int]], str | None]] = {
    # what: (the step that makes it, architecture, parameters, weights and bytes by type, licence)
    "checkpoint": (None, "LlamaForCausalLM", 118272, {"BF16": (118272, 236544)}, "Apache-2.0"),
    "gguf F16": (("modelmill_gguf", "huggingface-to-gguf"), "llama", 118272, HALF, "Apache-2.0"),
    "mlx 4bit": (
        ("modelmill_mlx", "huggingface-to-mlx"),
        "LlamaForCausalLM",
        118272,
        {"4bit-g64": (97472, 54828), "BF16": (20800, 41600)},
        None,
    ),
    # Its caches of sines and cosines, 4096 values, and two whole numbers are in the bytes, and are no weights.
    "onnx fp32": (
        ("modelmill_onnx", "huggingface-to-onnx"),
        "llama",
        118272,
        {"FLOAT": (118272, 489472), "INT64": (0, 16)},
        None,
    ),
    "artifact F16": (None, "llama", 118272, HALF, "Apache-2.0"),
}


@pytest.mark.parametrize("what", KNOWN)
def test_every_field_of_a_model_in_each_of_its_forms(what: str, registry: Registry, mill: Mill) -> None:
    step, architecture, parameters, types, licence = KNOWN[what]
    form, _, scheme = what.partition(" ")
    pytest.importorskip({"mlx": "mlx", "onnx": "onnxruntime_genai"}.get(form, "gguf"))
    path = make_checkpoint(mill.folder / "model", "llama")
    (path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    if form == "artifact":
        mill.write(TINY)
        assert mill.run("build").code == 0
        path = mill.folder / "dist/tiny/1.0/half"
    elif step:
        path = convert(*step, scheme, path, mill.folder / "made")
    found = inspect(path, registry)
    shape = {"checkpoint": "huggingface", "artifact": "gguf"}.get(form, form)
    assert (found.format, found.scheme) == (shape, scheme or "BF16")
    assert (found.architecture, found.parameters, found.licence) == (architecture, parameters, licence)
    assert {item.type: (item.weights, item.size) for item in found.types} == types
    assert (found.context, found.layers, found.hidden_size) == (256, 2, 64)
    assert found.tokenizer is not None
    assert (found.tokenizer.model, found.tokenizer.size) == ("gpt2" if shape == "gguf" else "BPE", 499)
    assert found.memory is not None
    assert (found.memory.context, found.memory.weights, found.memory.kv_cache) == (256, found.size, 65536)
    told = mill.run("inspect", str(path)).out
    for line in ("architecture", "parameters", "context", "layers", "tokenizer", "licence", "needs", *types):
        assert any(said.startswith(line) for said in told.splitlines()), (line, told)


def test_an_artifact_is_told_with_what_made_it(mill: Mill) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    found = mill.run("inspect", "dist/words/1.0/tiny", "--json").json()
    assert (found["format"], found["artifact"]["target"]) == ("loud", "tiny")
    told = mill.run("inspect", "dist/words/1.0/tiny").out
    assert "shout (letters 1.0) → shorten (letters 1.0)" in told
    done = mill.run("inspect", "dist/words/1.0")
    assert (done.code, "is a release; inspect one of its artifacts: plain, short, tiny" in done.err) == (2, True)


def test_what_is_no_model_is_one_sentence(mill: Mill) -> None:
    (mill.folder / "empty").mkdir()
    (mill.folder / "cut.gguf").write_bytes(b"GGUF")
    for path, sentence in (
        ("nowhere", "nowhere: there is no such file or folder"),
        ("empty", "empty: is of no format that a plugin knows"),
        ("cut.gguf", "cut.gguf"),
    ):
        done = mill.run("inspect", path)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert sentence in done.err


def test_what_a_model_says_of_itself_cannot_move_a_terminals_cursor(mill: Mill) -> None:
    config = make_checkpoint(mill.folder / "model", "llama") / "config.json"
    evil = "X\nlicence  MIT\x1b[2J\x9b1A"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": [evil]}))
    done = mill.run("inspect", "model")
    said = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in done.out.splitlines()}
    assert said["architecture"] == "X\\nlicence  MIT\\x1b[2J\\x9b1A"
    assert said["licence"] == "not stated"
    assert done.out.count("\nlicence") == 1
    assert mill.run("inspect", "model", "--json").json()["architecture"] == evil
    mill.run("init", "model", "--scheme", "F16")
    done = mill.run("plan")
    assert (done.code, "\\x1b[2J" in done.err, "\x1b" in done.err) == (2, True, False), done.err


def test_a_folder_of_several_formats_is_not_guessed_at(tmp_path: Path, registry: Registry) -> None:
    from gguf_parts.tiny import Tiny, write

    make_checkpoint(tmp_path, "llama")
    write(tmp_path / "model.gguf", Tiny())
    with pytest.raises(ConfigError, match="could be any of gguf, huggingface"):
        inspect(tmp_path, registry)
