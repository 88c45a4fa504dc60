import struct
import tracemalloc
from pathlib import Path

import pytest
from gguf_conversions import convert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelmill import ConvertError
from modelmill.testing import make_checkpoint
from modelmill_gguf.header import read_header

MOST_MEMORY = 4 * 1024**2


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("header")
    checkpoint = make_checkpoint(folder / "llama", "llama")
    return (convert(checkpoint, folder / "out", "BF16") / "model.gguf").read_bytes()


def attempt(folder: Path, data: bytes) -> None:
    """Read a header that may be anything: only one error may come of it, and no more memory than the file."""
    path = folder / "fuzzed.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        read_header(path)
    except ConvertError as error:
        assert "fuzzed.gguf" in str(error)  # noqa: PT017
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MOST_MEMORY


fuzz = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(cut=st.floats(0, 1))
def test_a_truncated_file_is_one_sentence(tmp_path: Path, sound: bytes, cut: float) -> None:
    attempt(tmp_path, sound[: int(cut * len(sound))])


@fuzz
@given(data=st.binary(max_size=400), version=st.sampled_from([0, 1, 2, 3, 4, 0x3000000]))
def test_anything_behind_the_magic_is_one_sentence(tmp_path: Path, data: bytes, version: int) -> None:
    attempt(tmp_path, b"GGUF" + struct.pack("<I", version) + data)


@fuzz
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1), st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8))),
        min_size=1,
        max_size=4,
    )
)
def test_changed_bytes_are_one_sentence_or_another_sound_file(
    tmp_path: Path, sound: bytes, changes: list[tuple[float, bytes]]
) -> None:
    data = bytearray(sound)
    header = 14_000  # all that stands before this file's tensors
    for at, new in changes:
        start = int(at * header)
        data[start : start + len(new)] = new
    attempt(tmp_path, bytes(data[: len(sound)]))


@pytest.mark.parametrize("count", [2**32, 2**63, 2**64 - 1])
@pytest.mark.parametrize("place", [8, 16])
def test_counts_that_the_file_cannot_hold_are_refused_at_once(
    tmp_path: Path, sound: bytes, count: int, place: int
) -> None:
    path = tmp_path / "lying.gguf"
    path.write_bytes(sound[:place] + struct.pack("<Q", count) + sound[place + 8 :])
    with pytest.raises(ConvertError, match="more than its bytes can hold"):
        read_header(path)


def test_what_is_no_gguf_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"")
    with pytest.raises(ConvertError, match="does not begin with the letters GGUF"):
        read_header(path)


def test_a_big_endian_file_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    with pytest.raises(ConvertError, match="big-endian"):
        read_header(path)
