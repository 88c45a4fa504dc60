import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill import ConvertError, Job, Limits, Tensor
from modelmill.checkpoint import DTYPE_BITS, read_header, safetensors_size, tensor_bytes, write_safetensors
from modelmill.checkpoint.safetensors import header_bytes, parse_header


def job(folder: Path) -> Job[None]:
    (folder / "out").mkdir()
    return Job(
        source=folder,
        inputs={},
        out=folder / "out",
        scheme="F32",
        options=None,
        hardware=None,
        limits=Limits(scratch=folder / "scratch"),
    )


def file_of(folder: Path, header: Any, room: int = 0) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(room))
    return path


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_file_of_ours_is_read_by_the_safetensors_library(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    tensors = [Tensor(name="b", dtype="F32", shape=(2, 3)), Tensor(name="a", dtype="I64", shape=())]
    data = [bytes(range(24)), (7).to_bytes(8, "little")]
    write_safetensors(job(tmp_path), "model.safetensors", tensors, data)
    path = tmp_path / "out" / "model.safetensors"
    loaded = load_file(path)
    assert loaded["b"].tobytes() == data[0]
    assert loaded["b"].shape == (2, 3)
    assert int(loaded["a"]) == 7
    assert path.stat().st_size == safetensors_size(tensors)
    assert [found.tensor for found in read_header(path).values()] == tensors


def test_a_file_of_the_safetensors_library_is_read_by_us(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"x": np.arange(6, dtype=np.float16).reshape(2, 3), "y": np.zeros(0, dtype=np.float32)}, tmp_path / "m")
    found = read_header(tmp_path / "m")
    assert {at.tensor for at in found.values()} == {
        Tensor(name="x", dtype="F16", shape=(2, 3)),
        Tensor(name="y", dtype="F32", shape=(0,)),
    }


def test_bytes_of_another_number_than_the_shape_asks_for_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="takes 8 bytes, 4 were made"):
        write_safetensors(job(tmp_path), "m", [Tensor(name="a", dtype="F32", shape=(2,))], [bytes(4)])


@pytest.mark.parametrize(
    ("header", "room", "sentence"),
    [
        ({"a": entry()}, 4, "takes 8 bytes where the file has 4|take 8 bytes where the file has 4"),
        ({"a": entry()}, 9, "take 8 bytes where the file has 9"),
        ({"a": entry(), "b": entry()}, 8, "tensor 'b' overlaps"),
        ({"a": entry(), "b": entry(offsets=[12, 20])}, 20, "tensor 'b' leaves unused bytes"),
        ({"a": entry(dtype="F31")}, 8, "dtype 'F31', which safetensors does not know"),
        ({"a": entry(dtype=["F32"])}, 8, "does not know"),
        ({"a": entry(shape=[3])}, 8, "takes 12 bytes, its data_offsets hold 8"),
        ({"a": entry(shape=[-2])}, 8, "a shape that is none"),
        ({"a": entry(shape=[True, 2])}, 8, "a shape that is none"),
        ({"a": entry(shape=[2**62, 2**62])}, 8, "its data_offsets hold 8"),
        ({"a": entry(shape=[1] * 9, offsets=[0, 4])}, 4, "a shape that is none"),
        ({"a": entry(offsets=[8, 0])}, 8, "data_offsets that are none"),
        ({"a": entry(offsets=[0, 2**80])}, 8, "data_offsets that are none"),
        ({"a": {"dtype": "F32"}}, 8, "does not have exactly dtype, shape and data_offsets"),
        ({"__metadata__": {"a": 1}}, 0, "__metadata__"),
        (b'{"a": 1, "a": 2}', 0, "the name 'a' is there twice"),
        (b'{"a": NaN}', 0, "NaN is not a JSON number"),
        (b"[1]", 0, "holds list, not an object"),
        (b"\xff{}", 0, "is not UTF-8"),
        (b"[" * 100_000, 0, "nested too deeply"),
        (b"", 0, "is not strict JSON"),
    ],
)
def test_a_header_that_is_not_sound_is_one_sentence_with_the_files_name(
    tmp_path: Path, header: Any, room: int, sentence: str
) -> None:
    with pytest.raises(ConvertError, match=sentence) as caught:
        read_header(file_of(tmp_path, header, room))
    assert str(caught.value).startswith("model.safetensors: ")
    assert "\n" not in str(caught.value)


def test_a_header_that_claims_more_than_the_file_has_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    tracemalloc.start()
    with pytest.raises(ConvertError, match="claims 1,099,511,627,776 bytes where the file has 2"):
        read_header(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_pointer_of_git_lfs_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "5" * 64 + "\nsize 269060552\n")
    with pytest.raises(ConvertError, match=r"model\.safetensors: is a pointer of Git LFS, .* run `git lfs pull`"):
        read_header(path)


def test_a_header_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write((2**28).to_bytes(8, "little"))
        file.truncate(2**29)
    with pytest.raises(ConvertError, match="more than the 16,777,216 allowed"):
        read_header(path)


@given(data=st.binary(max_size=300))
@settings(max_examples=400, deadline=None)
def test_no_bytes_raise_anything_but_convert_error(data: bytes) -> None:
    try:
        parse_header(data, len(data), "fuzz")
    except ConvertError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any other exception must fly


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BITS, "X"]) | json_values,
        "shape": st.lists(st.integers(-1, 2**65), max_size=9) | json_values,
        "data_offsets": st.lists(st.integers(-1, 2**65), max_size=3) | json_values,
    }
)


@given(header=st.dictionaries(st.text(max_size=5), entries | json_values, max_size=4), room=st.integers(0, 2**40))
@settings(max_examples=400, deadline=None)
def test_no_header_raises_anything_but_convert_error(header: dict[str, Any], room: int) -> None:
    try:
        found = parse_header(json.dumps(header).encode(), room, "fuzz")
    except ConvertError:
        return
    assert sum(at.end - at.start for at in found.values()) == room


tensors_strategy = st.lists(
    st.builds(
        lambda name, dtype, shape: Tensor(name=name, dtype=dtype, shape=tuple(shape)),
        st.text(min_size=1, max_size=6).filter(lambda name: name != "__metadata__"),
        st.sampled_from([name for name, bits in DTYPE_BITS.items() if bits >= 8]),
        st.lists(st.integers(0, 5), max_size=4),
    ),
    max_size=6,
    unique_by=lambda tensor: tensor.name,
)


@given(tensors=tensors_strategy)
@settings(max_examples=150, deadline=None)
def test_what_a_header_says_is_read_back(tensors: list[Tensor]) -> None:
    data = header_bytes(tensors, {"format": "pt"})
    room = sum(map(tensor_bytes, tensors))
    assert len(data) % 8 == 0
    found = parse_header(data[8:], room, "m")
    assert {at.tensor for at in found.values()} == set(tensors)
    assert all(
        at.end - at.start == math.prod(at.tensor.shape) * DTYPE_BITS[at.tensor.dtype] // 8 for at in found.values()
    )
