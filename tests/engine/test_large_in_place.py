"""A large source on this machine: its headers come before its digests, and its reading is told of."""

import os

from modelmill.testing import make_checkpoint

from .conftest import TINY, Mill, told


def test_a_header_that_does_not_match_is_told_before_a_terabyte_is_read(mill: Mill) -> None:
    mill.write(TINY)
    make_checkpoint(mill.folder / "model", "llama")
    os.truncate(mill.folder / "model" / "model.safetensors", 1 << 40)
    for command in ("plan", "lock"):
        done = mill.run(command)
        assert done.code == 2
        assert told(done).startswith("modelmill: source 'base': model.safetensors: ")
        assert "reading" not in done.err


def test_reading_a_large_file_is_told_in_a_log(mill: Mill) -> None:
    mill.write(TINY)
    make_checkpoint(mill.folder / "model", "llama")
    assert mill.run("plan").err == ""
    (mill.folder / "model" / "more.dat").touch()
    os.truncate(mill.folder / "model" / "more.dat", 1 << 28)
    for command in ("plan", "lock"):
        assert "  source base: reading 268," in mill.run(command).err
