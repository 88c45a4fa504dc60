"""The lock of a build file: which commands write it."""

import pytest

from .conftest import BUILD, Mill

LOOKS = [("plan",), ("plan", "--json"), ("explain",), ("build", "-n")]


def test_commands_that_only_look_write_no_lock_and_say_where_it_does_not_stand(mill: Mill) -> None:
    mill.write(BUILD)
    lock = mill.folder / "build.lock"
    for words in LOOKS:
        done = mill.run(*words)
        assert (done.code, done.err, lock.exists()) == (0, "", False), words
    assert mill.run("lock").code == 0
    pinned = lock.read_bytes()
    (mill.folder / "words" / "words.txt").write_text("or not\n")
    for words in LOOKS:
        done = mill.run(*words)
        assert (done.code, lock.read_bytes()) == (0, pinned), words
        assert done.err == (
            "modelmill: warning: build.lock does not stand for source base; `modelmill lock` or a build writes it "
            "anew\n"
        )
    refused = mill.run("build", "--locked")
    assert (refused.code, lock.read_bytes()) == (2, pinned)
    assert "build.lock: does not stand for source base" in refused.err
    assert mill.run("build").code == 0
    assert lock.read_bytes() != pinned, "a plain build resolves a folder that changed anew"
    assert mill.run("build", "--locked").code == 0


@pytest.mark.parametrize("words", LOOKS)
def test_a_lock_with_other_digests_is_not_mended_by_looking(mill: Mill, words: tuple[str, ...]) -> None:
    mill.write(BUILD)
    assert mill.run("lock").code == 0
    lock = mill.folder / "build.lock"
    text = lock.read_text()
    digest = text.split('sha256 = "')[1][:64]
    wrong = text.replace(digest, "0" * 64)
    lock.write_text(wrong)
    assert mill.run(*words).code == 0
    assert lock.read_text() == wrong


def test_each_build_file_of_a_folder_has_a_lock_of_its_own(mill: Mill) -> None:
    mill.write(BUILD)
    mill.write(BUILD.replace("[source.base]", "[source.other]").replace('"base"', '"other"'), "second.toml")
    assert mill.run("lock").code == 0
    assert mill.run("lock", "-f", "second.toml").out.startswith("second.lock: 1 sources")
    assert sorted(path.name for path in mill.folder.glob("*.lock")) == ["build.lock", "second.lock"]
    assert mill.run("build", "--locked", "plain").code == 0
    assert mill.run("build", "--locked", "plain", "-f", "second.toml").code == 0
    assert mill.run("lock", "--check", "-f", "second.toml").out == "second.lock stands for its sources\n"
    assert mill.run("rebuild", "--check", "plain", "-f", "second.toml").code == 0
    (mill.folder / "words" / "words.txt").write_text("or not\n")
    refused = mill.run("build", "--locked", "-f", "second.toml")
    assert refused.err == (
        "modelmill: second.lock: does not stand for source other; run `modelmill lock -f second.toml`\n"
    )
    assert "second.lock does not stand for source other; `modelmill lock -f second.toml`" in (
        mill.run("plan", "-f", "second.toml").err
    )
