"""Artifacts made again in a fresh store: exact, equal in their tensors, or different, and where."""

import shutil
from pathlib import Path

import pytest

from modelmill.build.rebuild import compare
from modelmill.registry import load
from modelmill.testing import make_checkpoint

from .conftest import BUILD, TINY, Mill


def test_what_was_built_is_made_again_exactly(mill: Mill) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    before = mill.files()
    steps = sorted((mill.folder / "store" / "steps").iterdir())
    found = mill.run("rebuild", "--check", "--json")
    assert found.code == 0, found.err
    told = {item["target"]: (item["verdict"], item["where"]) for item in found.json()["artifacts"]}
    assert told == dict.fromkeys(("plain", "short", "tiny"), ("exact", []))
    assert mill.files() == before
    assert sorted((mill.folder / "store" / "steps").iterdir()) == steps
    assert not list((mill.folder / "store" / "tmp").iterdir())


def test_what_differs_is_named(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    (mill.folder / "dist/words/1.0/plain/loud.txt").write_text("TO BE OR NOT TO BEE\n")
    done = mill.run("rebuild", "--check", "plain", "short")
    assert done.code == 1
    assert "plain: different\n  loud.txt\n" in done.out
    assert "short: exact\n" in done.out


def test_a_source_that_is_not_as_locked_is_refused(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    (mill.folder / "words" / "words.txt").write_text("something else\n")
    done = mill.run("rebuild", "--check")
    assert (done.code, "does not stand for source base" in done.err) == (2, True)


def test_what_was_never_built_and_a_missing_flag_are_refused(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("lock")
    done = mill.run("rebuild", "--check", "tiny")
    assert (done.code, "there is no artifact to compare with; build it first" in done.err) == (2, True)
    assert mill.run("rebuild").code == 2


def test_tensors_decide_between_equal_and_different(mill: Mill, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from gguf import GGUFReader

    make_checkpoint(mill.folder / "model", "llama")
    mill.write(TINY)
    done = mill.run("build")
    assert done.code == 0, done.err
    artifact, copy = mill.folder / "dist/tiny/1.0/half", tmp_path / "copy"
    shutil.copytree(artifact, copy)
    offer = load().formats["gguf"]
    assert compare("half", offer, artifact, copy).verdict == "exact"
    (file,) = copy.glob("*.gguf")
    first = GGUFReader(file).tensors[0]
    start = int(first.data_offset)
    data = bytearray(file.read_bytes())
    key = b"tokenizer.ggml.pre"
    letter = data.find(key) + len(key) + 4 + 8  # behind the value's kind and length
    data[letter] ^= 0x20
    file.write_bytes(data)
    found = compare("half", offer, artifact, copy)
    assert (found.verdict, found.where) == ("tensor-equal", (file.name,))
    data[start] ^= 1
    file.write_bytes(data)
    found = compare("half", offer, artifact, copy)
    assert found.verdict == "different"
    assert found.where[0] == file.name
    assert found.where[1].startswith(f"tensor {first.name}: ")
