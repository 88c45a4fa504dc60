import hashlib
import os
from pathlib import Path

import pytest

from modelmill import Job, Limits, create
from modelmill.follower import LEAD
from modelmill.output import digests


def job(folder: Path) -> Job[None]:
    (folder / "out").mkdir()
    limits = Limits(scratch=folder / "scratch")
    return Job(source=folder, inputs={}, out=folder / "out", scheme="", options=None, hardware=None, limits=limits)


def found(folder: Path) -> dict[str, str]:
    return digests(folder / "scratch", folder / "out")


@pytest.mark.parametrize("sizes", [[], [0], [1], [3 << 20], [1 << 20, 1], [(1 << 20) - 1, 2, 5 << 20, 7]])
def test_the_digest_is_of_all_that_was_written(tmp_path: Path, sizes: list[int]) -> None:
    given = job(tmp_path)
    pieces = [(bytes(range(251)) * (size // 251 + 1))[at : at + size] for at, size in enumerate(sizes)]
    with create(given, "folder/file") as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
        assert file.tell() == sum(sizes)
    whole = b"".join(pieces)
    assert (tmp_path / "out/folder/file").read_bytes() == whole
    assert found(tmp_path) == {"folder/file": hashlib.sha256(whole).hexdigest()}


def test_a_buffer_may_be_used_again_as_soon_as_it_was_written(tmp_path: Path) -> None:
    given, buffer, expected = job(tmp_path), bytearray(1 << 20), hashlib.sha256()
    with create(given, "file") as file:
        for at in range(2 * LEAD // len(buffer)):
            buffer[:] = at.to_bytes(2, "little") * (len(buffer) // 2)
            expected.update(buffer)
            file.write(buffer)
    assert found(tmp_path) == {"file": expected.hexdigest()}


def test_one_write_may_be_larger_than_the_writers_lead(tmp_path: Path) -> None:
    given, data = job(tmp_path), bytes(LEAD + 12_345)
    with create(given, "file") as file:
        assert file.write(data) == len(data)
    assert found(tmp_path) == {"file": hashlib.sha256(data).hexdigest()}


def test_a_file_that_failed_has_no_digest(tmp_path: Path) -> None:
    def write_half() -> None:
        with create(job(tmp_path), "file") as file:
            file.write(bytes(2 << 20))
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert found(tmp_path) == {}


def test_a_file_that_is_cut_while_it_is_written_is_an_error(tmp_path: Path) -> None:
    file = create(job(tmp_path), "file")
    file.write(bytes(1000))
    os.truncate(tmp_path / "out/file", 10)
    with pytest.raises(OSError, match="shorter"):
        file.close()
    assert found(tmp_path) == {}


def test_a_file_that_is_touched_later_has_no_digest(tmp_path: Path) -> None:
    given = job(tmp_path)
    with create(given, "file") as file:
        file.write(b"abc")
    os.utime(tmp_path / "out/file", (1, 1))
    assert found(tmp_path) == {}
