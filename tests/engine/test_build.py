"""Whole builds with small steps: what is made, what is reused, what a person reads."""

import json
import time
from pathlib import Path

from .conftest import BUILD, Mill, lay_out


def test_targets_share_the_steps_that_are_equal(mill: Mill) -> None:
    mill.write(BUILD)
    plan = mill.run("plan", "--json").json()
    assert [step["name"] for step in plan["steps"]] == ["shout", "shorten", "shorten"]
    assert {step["state"] for step in plan["steps"]} == {"to run"}
    done = mill.run("build")
    assert done.code == 0, done.err
    assert "dist/words/1.0/tiny" in done.out
    files = mill.files()
    assert files["words/1.0/plain/loud.txt"] == b"TO BE OR NOT TO BE\n"
    assert files["words/1.0/tiny/loud.txt"] == b"TO BE OR NO TO BE\n"
    manifest = json.loads(files["words/1.0/tiny/artifact.json"])
    assert [step["name"] for step in manifest["steps"]] == ["shout", "shorten"]


def test_the_second_build_does_nothing_and_says_so(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    before = {path: path.stat().st_mtime_ns for path in (mill.folder / "dist").rglob("*")}
    assert mill.run("build").out == "3 artifacts in dist/words/1.0 are up to date\n"
    assert {path: path.stat().st_mtime_ns for path in (mill.folder / "dist").rglob("*")} == before
    assert {step["state"] for step in mill.run("plan", "--json").json()["steps"]} <= {"cached", "not needed"}


def test_the_shortcut_for_nothing_to_do_notices_every_change(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    time.sleep(2.1)  # what changed less than two seconds ago is not trusted to be at rest
    mill.run("build")
    assert list((mill.folder / "store" / "uptodate").iterdir())
    assert "up to date" in mill.run("build").out
    artifact = mill.folder / "dist/words/1.0/plain/loud.txt"
    artifact.write_text("whisper")
    assert "up to date" not in mill.run("build", "plain").out
    assert artifact.read_text() == "TO BE OR NOT TO BE\n"
    (mill.folder / "words" / "words.txt").write_text("to do\n")
    mill.run("build")
    assert artifact.read_text() == "TO DO\n"


def test_two_builds_elsewhere_give_the_same_bytes(mill: Mill, tmp_path: Path) -> None:
    mill.write(BUILD)
    mill.run("build", "--jobs", "1")
    other = lay_out(mill.python, tmp_path / "elsewhere")
    other.write(BUILD)
    other.run("build", "--jobs", "4", environment={"TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": str(tmp_path)})
    assert mill.files() == other.files()


def test_a_file_that_no_step_reads_rebuilds_nothing(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    (mill.folder / "words" / "unread.md").write_text("more")
    states = {step["state"] for step in mill.run("plan", "--json").json()["steps"]}
    assert states <= {"cached", "not needed"}


def test_an_option_reaches_its_step_and_only_what_follows_is_rebuilt(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    mill.write(BUILD.replace('scheme = "short"', 'scheme = "short"\noptions = { length = 1 }'))
    plan = mill.run("plan", "--json").json()
    assert [step["scheme"] for step in plan["steps"] if step["state"] == "to run"] == ["short"]
    mill.run("build")
    assert mill.files()["words/1.0/short/loud.txt"] == b"T B O N T B\n"


def test_a_new_version_reuses_every_step(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    mill.write(BUILD.replace('version = "1.0"', 'version = "2.0"'))
    done = mill.run("build")
    assert "shout" not in done.err
    assert "words/2.0/plain/loud.txt" in mill.files()


def test_a_dry_run_builds_nothing(mill: Mill) -> None:
    mill.write(BUILD)
    done = mill.run("build", "--dry-run")
    assert "3 targets, 3 steps, 3 to run" in done.out
    assert not (mill.folder / "dist").exists()


def test_only_the_named_targets_are_built(mill: Mill) -> None:
    mill.write(BUILD.replace('scheme = "tiny"', 'scheme = "tiny"\ndefault = false'))
    mill.run("build")
    assert not (mill.folder / "dist/words/1.0/tiny").exists()
    mill.run("build", "ti*")
    assert (mill.folder / "dist/words/1.0/tiny").exists()
    done = mill.run("build", "tinny")
    assert (done.code, done.out) == (2, "")
    assert "there is no target 'tinny'; did you mean 'tiny'?" in done.err


def test_an_input_is_made_from_another_source_where_a_plugin_can(mill: Mill) -> None:
    source = '\n[source.book]\nuri = "words"\nformat = "letters"\n'
    target = '\n[target.spelt]\nscheme = "short"\ninputs = { spelling = "book" }\n'
    mill.write(BUILD + source + target)
    plan = mill.run("plan", "spelt", "--json").json()
    assert [step["name"] for step in plan["steps"]] == ["shout", "spell", "shorten"]
    assert mill.run("build", "spelt").code == 0
    roles = [item["role"] for item in json.loads(mill.files()["words/1.0/spelt/artifact.json"])["sources"]]
    assert roles == ["model", "spelling"]


def test_quantizing_again_is_refused_unless_the_source_allows_it(mill: Mill) -> None:
    (mill.folder / "words" / "whispered").touch()
    mill.write(BUILD)
    done = mill.run("build", "short")
    assert done.code == 2
    assert "was quantized before, to whispered" in done.err
    mill.write(BUILD.replace('uri = "words"', 'uri = "words"\nrequantize = true'))
    assert mill.run("build", "short").code == 0
    assert json.loads(mill.files()["words/1.0/short/artifact.json"])["flags"]["requantized"] is True


def test_linked_artifacts_share_the_stores_files(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build", "--link", "plain")
    assert (mill.folder / "dist/words/1.0/plain/loud.txt").stat().st_nlink > 1


def test_the_lock_pins_what_was_read(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("lock")
    text = (mill.folder / "build.lock").read_text()
    assert str(mill.folder) not in text
    assert "words.txt" in text
    assert mill.run("lock", "--check").code == 0
    (mill.folder / "words" / "words.txt").write_text("or not\n")
    done = mill.run("build", "--locked")
    assert done.code == 2
    assert "build.lock: does not stand for source base" in done.err
    assert mill.run("lock", "--check").code == 2


def test_every_command_tells_its_result_as_json(mill: Mill) -> None:
    mill.write(BUILD)
    built = mill.run("build", "--json").json()
    assert [item["target"] for item in built["artifacts"]] == ["plain", "short", "tiny"]
    assert "letters" in {item["name"] for item in mill.run("plugins", "--json").json()["plugins"]}
    assert mill.run("lock", "--json").json()["sources"] == ["base"]


PARTS = BUILD.replace('scheme = "tiny"', 'scheme = "tiny"\ndefault = false').replace('mode = "none"', 'key = "key.pem"')
CHECK = ("verify", "dist/words/1.0", "--key", "key.pub")


def test_a_target_built_later_joins_the_finished_release(mill: Mill) -> None:
    mill.write(PARTS)
    mill.run("keys", "new", "key.pem")
    assert "release.json" not in mill.run("build").out
    assert mill.run(*CHECK).code == 0
    done = mill.run("build", "tiny")
    assert (done.code, "release.json" in done.out) == (0, False)
    told = mill.run(*CHECK, "--json").json()
    assert [item["target"] for item in told["artifacts"]] == ["plain", "short", "tiny"]


def test_targets_built_one_after_another_make_a_release(mill: Mill) -> None:
    mill.write(PARTS)
    mill.run("keys", "new", "key.pem")
    first = mill.run("build", "plain")
    line = first.out.splitlines()[-1]
    assert line.startswith("dist/words/1.0 has no release.json now: short is missing there, or not what build.toml")
    assert line.endswith("; `modelmill build` completes the release")
    assert "holds plain and no release.json: the release is not finished" in mill.run(*CHECK).err
    assert mill.run("build", "plain", "--json").json()["wanting"] == ["short"]
    assert "release.json" not in mill.run("build", "short").out
    assert mill.run(*CHECK).code == 0


def test_what_is_stale_is_not_indexed_whichever_target_was_built(mill: Mill) -> None:
    mill.write(PARTS)
    mill.run("keys", "new", "key.pem")
    mill.run("build", "--all")
    (mill.folder / "words" / "words.txt").write_text("to do\n")
    done = mill.run("build")
    assert "1.0 has no release.json now: tiny is missing there, or not" in done.out
    assert done.out.endswith("; `modelmill build tiny` completes the release\n")
    assert not (mill.folder / "dist/words/1.0/release.json.sig").exists()
    assert "holds plain, short, tiny and no release.json" in mill.run(*CHECK).err
    assert "completes the release" in mill.run("build").out
    mill.run("build", "tiny")
    assert mill.run(*CHECK).code == 0


def test_what_was_edited_or_signed_by_another_key_is_not_indexed(mill: Mill) -> None:
    mill.write(PARTS)
    mill.run("keys", "new", "key.pem")
    mill.run("build")
    (mill.folder / "dist/words/1.0/short/loud.txt").write_text("whisper")
    mill.write(PARTS.replace('license = "MIT"', 'license = "Apache-2.0"'))
    assert "no release.json now: short is missing there, or not" in mill.run("build", "plain").out
    assert "release.json" not in mill.run("build").out
    mill.run("keys", "new", "other.pem")
    mill.write(PARTS.replace('license = "MIT"', 'license = "Apache-2.0"').replace("key.pem", "other.pem"))
    assert "no release.json now: short is missing there, or not" in mill.run("build", "plain").out


def test_an_unsigned_release_is_told_as_unsigned(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("keys", "new", "key.pem")
    mill.run("build", "--all")
    assert "dist/words/1.0 is unsigned: it has no release.json.sig" in mill.run(*CHECK).err
    done = mill.run("verify", "dist/words/1.0/plain", "--key", "key.pub")
    assert "dist/words/1.0/plain is unsigned: it has no model.sig" in done.err
