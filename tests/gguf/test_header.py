import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from gguf_conversions import convert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelmill import ConvertError, Tensor
from modelmill.testing import make_checkpoint
from modelmill_gguf.fields import Field, ValueType, numbers, scalar, string, strings
from modelmill_gguf.header import read_header
from modelmill_gguf.offers import FORMAT
from modelmill_gguf.writer import header_bytes

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


fuzz = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


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


KEYS = (
    "general.architecture",
    "general.type",
    "general.file_type",
    "general.license",
    "general.alignment",
    "split.no",
    "split.count",
    "split.tensors.count",
    "llama.block_count",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.chat_template",
)
SCALARS = [kind for kind in ValueType if kind not in (ValueType.STRING, ValueType.ARRAY)]


def field_of(key: str) -> st.SearchStrategy[Field]:
    number = st.integers(0, 100)
    kinds = st.sampled_from(SCALARS)
    return st.one_of(
        st.builds(lambda kind, value: scalar(key, kind, value), kinds, number),
        st.builds(lambda value: string(key, value), st.text(max_size=8)),
        st.builds(lambda values: strings(key, values), st.lists(st.binary(max_size=4), max_size=4)),
        st.builds(lambda kind, values: numbers(key, kind, values), kinds, st.lists(number, max_size=4)),
    )


@fuzz
@given(data=st.data(), keys=st.sets(st.sampled_from(KEYS)))
def test_keys_that_hold_something_else_than_they_should_are_one_sentence_at_most(
    tmp_path: Path, data: st.DataObject, keys: set[str]
) -> None:
    fields = [data.draw(field_of(key)) for key in sorted(keys)]
    tensor = Tensor(name="token_embd.weight", dtype="F32", shape=(2, 4))
    (tmp_path / "fuzzed.gguf").write_bytes(header_bytes(fields, [tensor]) + bytes(32))
    for look in (FORMAT.facts, FORMAT.validate):
        with suppress(ConvertError):
            look(tmp_path)


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


def test_a_gap_between_tensors_which_llama_cpp_refuses_is_one_sentence(tmp_path: Path) -> None:
    tensors = [Tensor(name=name, dtype="F32", shape=(8,)) for name in ("first", "second")]
    data = bytearray(header_bytes([string("general.architecture", "llama")], tensors))
    place = data.rindex(struct.pack("<Q", 32))
    data[place : place + 8] = struct.pack("<Q", 64)
    (tmp_path / "gap.gguf").write_bytes(bytes(data) + bytes(128))
    with pytest.raises(ConvertError, match="tensor 'second' begins at 64, where 32 is the next place"):
        read_header(tmp_path / "gap.gguf")
