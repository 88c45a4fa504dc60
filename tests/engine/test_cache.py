"""The store made smaller: what remembered builds need stays, and a running build is left alone."""

import subprocess

import pytest

from .conftest import BUILD, Mill
from .test_faults import faulty, wait_for_a_step


def scheme_with_length(length: int) -> str:
    return BUILD.replace('scheme = "short"', f'scheme = "short"\noptions = {{ length = {length} }}')


@pytest.fixture
def built(mill: Mill) -> Mill:
    """Two builds that differ in one target's step; the second is the last."""
    for length in (1, 3):
        mill.write(scheme_with_length(length))
        assert mill.run("build").code == 0
    return mill


def states(mill: Mill, length: int) -> set[str]:
    mill.write(scheme_with_length(length))
    return {step["state"] for step in mill.run("plan", "--json").json()["steps"]}


def test_gc_keeps_what_remembered_builds_used_and_removes_the_rest(built: Mill) -> None:
    store = built.folder / "store"
    (store / "steps" / f"{'0' * 64}.json").write_text("{}")
    (store / "blobs" / "sha256" / ("1" * 64)).write_bytes(b"12345")
    assert built.run("cache", "stats", "--json").json()["unneeded_bytes"] == 5
    gone = built.run("cache", "gc", "--json").json()
    assert (gone["results"], gone["files"], gone["bytes"]) == (["0" * 64], 1, 5)
    assert "to run" not in states(built, 1) | states(built, 3)
    assert built.run("cache", "stats", "--json").json()["results"] == 4


def test_prune_forgets_older_builds(built: Mill) -> None:
    before = built.files()
    gone = built.run("cache", "prune", "--keep-last", "1", "--json").json()
    assert (len(gone["results"]), gone["files"]) == (1, 1)
    assert "to run" not in states(built, 3)
    assert "to run" in states(built, 1)
    assert built.files() == before
    assert built.run("cache", "prune").code == 2


def test_prune_to_a_size_forgets_what_was_used_longest_ago(built: Mill) -> None:
    size = built.run("cache", "stats", "--json").json()["bytes"]
    built.run("cache", "prune", "--max-size", str(size - 1))
    left = built.run("cache", "stats", "--json").json()
    assert left["bytes"] < size
    assert left["results"] > 0
    built.run("cache", "prune", "--max-size", "1")
    assert built.run("cache", "stats", "--json").json()["bytes"] == 0
    assert built.run("build").code == 0


@pytest.mark.fault
def test_gc_beside_a_running_build_removes_nothing_and_says_so(mill: Mill) -> None:
    mill.write(faulty("sleep"))
    process = subprocess.Popen(mill.command("build"), cwd=mill.folder, env=mill.environment(), stderr=subprocess.PIPE)
    wait_for_a_step(mill)
    done = mill.run("cache", "gc")
    assert done.code == 1
    assert "a build is using the store, so nothing was removed" in done.err
    assert mill.run("cache", "gc", "--wait", "60").code == 0
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert mill.files()["words/1.0/plain/loud.txt"] == b"TO BE OR NOT TO BE\n"
    assert {step["state"] for step in mill.run("plan", "--json").json()["steps"]} <= {"cached", "not needed"}


@pytest.mark.fault
def test_what_a_failed_build_finished_is_kept(mill: Mill) -> None:
    mill.write(BUILD.replace('scheme = "tiny"', 'scheme = "tiny"\noptions = { shout = { fault = "raise" } }'))
    assert mill.run("build", "--keep-going", "--jobs", "1").code == 1
    mill.run("cache", "gc")
    mill.run("cache", "prune", "--keep-last", "1")
    states_left = [step["state"] for step in mill.run("plan", "plain", "short", "--json").json()["steps"]]
    assert "to run" not in states_left


@pytest.mark.fault
def test_verify_finds_and_removes_damage_that_stat_cannot_show(built: Mill) -> None:
    import os

    assert built.run("cache", "verify", "--json").json()["damaged"] == []
    blob = min((built.folder / "store" / "blobs" / "sha256").iterdir())
    status = blob.stat()
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[0] ^= 1
    blob.write_bytes(data)
    os.utime(blob, ns=(status.st_mtime_ns, status.st_mtime_ns))
    done = built.run("cache", "verify", "--json")
    assert (done.code, done.json()["damaged"]) == (1, [blob.name])
    assert built.run("cache", "verify").code == 0
    assert built.run("build").code == 0
