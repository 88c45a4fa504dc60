"""A hardware profile that is a file beside build.toml is an input like any other."""

import json
import time

import pytest

from .conftest import BUILD, Mill

OWN = BUILD.replace('hardware = "bench"', 'hardware = "boards/gateway.toml"')
GATEWAY = 'inherits = ["bench"]\ndescription = "our gateway"\ncpu.features = ["avx"]\nmemory.total_mib = 4096\n'


def write(mill: Mill, profile: str = GATEWAY, build: str = OWN) -> None:
    mill.write(profile, "boards/gateway.toml")
    mill.write(build)


def test_a_target_is_built_for_a_profile_in_a_file(mill: Mill) -> None:
    write(mill)
    assert mill.run("build", "tiny").code == 0
    described = json.loads((mill.folder / "dist/words/1.0/tiny/artifact.json").read_bytes())["hardware"]
    assert described["profile"] == "gateway"
    assert described["requires"]["cpu.features"][-1] == "avx"
    assert described["requires"]["memory.total_mib"] == 4096


def test_its_fields_enter_keys_as_a_plugins_do(mill: Mill) -> None:
    write(mill)
    assert mill.run("build", "tiny").code == 0
    write(mill, GATEWAY.replace("our gateway", "theirs"))
    (unused,) = mill.run("explain", "tiny", "--json").json()["targets"]
    assert unused["up_to_date"] is True
    write(mill, GATEWAY.replace("avx", "avx2"))
    (used,) = mill.run("explain", "tiny", "--json").json()["targets"]
    assert "cpu.features" in "\n".join(used["text"])
    assert used["to_run"] == ["shorten tiny"]


def test_a_build_that_has_nothing_to_do_looks_at_the_file(mill: Mill) -> None:
    write(mill)
    assert mill.run("build").code == 0
    time.sleep(2.1)  # a stat that is younger could not tell another change
    assert mill.run("build").out.endswith("up to date\n")
    assert mill.run("build").out.endswith("up to date\n")
    write(mill, GATEWAY.replace("avx", "avx2"))
    assert not mill.run("build").out.endswith("up to date\n")


def test_what_detect_writes_can_be_named(mill: Mill) -> None:
    assert mill.run("hardware", "detect", "-o", "here.toml").code == 0
    mill.write(BUILD.replace('hardware = "bench"', 'hardware = "here.toml"'))
    assert mill.run("plan", "--json").json()["targets"][0]["hardware"] == "here"
    shown = mill.run("hardware", "show", "here.toml", "--json").json()
    assert (shown["file"], shown["name"]) == ("here.toml", "here")


@pytest.mark.parametrize(
    ("name", "profile", "sentence"),
    [
        ("boards/none.toml", GATEWAY, "boards/none.toml: cannot be read (No such file or directory)"),
        ("boards/gateway.toml", GATEWAY + "cpu.coers = 4\n", "gateway.toml: unknown field 'cpu.coers'"),
        ("bench.toml", GATEWAY, "bench.toml: another profile is called 'bench'; rename the file"),
        ("My Board.toml", GATEWAY, "'My Board' is not a name for a hardware profile"),
    ],
)
def test_a_file_that_is_no_profile_is_one_sentence(mill: Mill, name: str, profile: str, sentence: str) -> None:
    write(mill, profile, BUILD.replace('scheme = "tiny"', f'scheme = "tiny"\nhardware = "{name}"'))
    mill.write(GATEWAY, "bench.toml")
    done = mill.run("plan")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("modelmill: build.toml:24: ")
    assert sentence in done.err
