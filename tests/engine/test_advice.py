"""What errors advise leads somewhere."""

from .conftest import BUILD, TINY, Mill, told


def test_a_lock_of_another_version_is_mended_by_what_its_error_says(mill: Mill) -> None:
    mill.write(BUILD)
    assert mill.run("lock").code == 0
    lock = mill.folder / "build.lock"
    lock.write_text(lock.read_text().replace("version = 1", "version = 7"))
    refused = mill.run("lock", "--update")
    assert told(refused).endswith("this modelmill reads 1; delete it and run `modelmill lock`")
    lock.unlink()
    assert mill.run("lock").code == 0


def test_rebuild_says_that_a_check_is_all_it_does(mill: Mill) -> None:
    mill.write(BUILD)
    done = mill.run("rebuild", "plain")
    assert done.code == 2
    assert "say --check: to compare with dist/ is all that rebuild does as yet" in done.err


def test_an_empty_file_is_told_as_one(mill: Mill) -> None:
    mill.write(TINY)
    mill.write("", "model/model.gguf")
    done = mill.run("plan")
    assert (done.code, told(done)) == (
        2,
        "modelmill: source 'base': there is nothing in model.gguf (0 bytes); bring the file whole",
    )


def test_a_path_that_is_not_there_is_told_with_its_line_and_its_file(mill: Mill) -> None:
    path = mill.write(TINY.replace('"model"', '"modle"'), "other.toml")
    done = mill.run("plan", "-f", "other.toml")
    line = path.read_text().splitlines().index('uri = "modle"') + 1
    assert told(done) == (
        f"modelmill: other.toml:{line}: source 'base': path:modle: there is no such file or folder "
        f"({mill.folder / 'modle'})"
    )
