import json
import pickle
import zipfile
from pathlib import Path

import pytest

from modelmill import ConvertError, Tensor
from modelmill.checkpoint import is_pickle, open_checkpoint
from modelmill.checkpoint.safetensors import header_bytes


def shard(path: Path, **values: bytes) -> None:
    tensors = [Tensor(name=name, dtype="U8", shape=(len(data),)) for name, data in values.items()]
    path.write_bytes(header_bytes(tensors, {}) + b"".join(values.values()))


def index(folder: Path, **weight_map: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    shard(tmp_path / "model-1.safetensors", a=b"one", b=b"two")
    shard(tmp_path / "model-2.safetensors", c=b"three")
    index(tmp_path, a="model-1.safetensors", b="model-1.safetensors", c="model-2.safetensors")
    with open_checkpoint(tmp_path) as checkpoint:
        assert {tensor.name: bytes(checkpoint.raw(tensor.name)) for tensor in checkpoint.tensors} == {
            "a": b"one",
            "b": b"two",
            "c": b"three",
        }
        checkpoint.release("b")
        assert bytes(checkpoint.raw("b")) == b"two"
        with pytest.raises(ConvertError, match="no tensor 'd'"):
            checkpoint.raw("d")


@pytest.mark.parametrize(
    ("weight_map", "sentence"),
    [
        ({"a": "model-1.safetensors", "z": "model-1.safetensors"}, "'z' is listed, but model-1.safetensors does not"),
        ({"a": "model-1.safetensors", "b": "model-2.safetensors"}, "'a' is in model-1.safetensors too"),
        ({"a": "gone.safetensors"}, "gone.safetensors: there is no such file"),
        ({"a": "../x.safetensors"}, "not in a file of this folder"),
        ({"a": "/etc/passwd"}, "not in a file of this folder"),
        ({"a": 3}, "not in a file of this folder"),
        ({"b": "model-3.safetensors", "a": "model-3.safetensors", "c": "model-1.safetensors"}, "in"),
    ],
)
def test_an_index_that_disagrees_with_its_shards_is_refused(
    tmp_path: Path, weight_map: dict[str, str], sentence: str
) -> None:
    shard(tmp_path / "model-1.safetensors", a=b"one")
    shard(tmp_path / "model-2.safetensors", a=b"one", b=b"two")
    shard(tmp_path / "model-3.safetensors", b=b"two")
    index(tmp_path, **weight_map)
    with pytest.raises(ConvertError, match=sentence), open_checkpoint(tmp_path):
        pass


def test_a_tensor_listed_in_another_shard_than_it_is_in_is_refused(tmp_path: Path) -> None:
    shard(tmp_path / "model-1.safetensors", a=b"one")
    shard(tmp_path / "model-2.safetensors", b=b"two")
    index(tmp_path, a="model-2.safetensors", b="model-1.safetensors")
    with (
        pytest.raises(ConvertError, match=r"'a' is listed in model-2.safetensors, but is in model-1"),
        open_checkpoint(tmp_path),
    ):
        pass


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must never be seen",))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_known_by_its_content(tmp_path: Path, protocol: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Payload(), protocol=protocol))
    assert is_pickle(path)
    path.write_bytes(pickle.dumps({"weight": [1.0, 2.0]}, protocol=protocol))
    assert is_pickle(path)
    path.write_bytes(pickle.dumps(Payload(), protocol=protocol)[:-4] + b"\xff\xff")
    assert is_pickle(path)
    assert capsys.readouterr().out == ""


def test_a_pickle_in_a_zip_is_known_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/harmless.txt", pickle.dumps(Payload()))
    assert is_pickle(path)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"GGUF\x03\0\0\0", b"Apache License", b"# A model card\n" * 400, b"PK\x03\x04rest"]
)
def test_other_files_are_no_pickles(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert not is_pickle(tmp_path / "file")


def test_a_safetensors_file_is_no_pickle(tmp_path: Path) -> None:
    shard(tmp_path / "model.safetensors", a=b"one")
    assert not is_pickle(tmp_path / "model.safetensors")


def test_weights_that_are_only_pickles_are_refused_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ConvertError, match=r"pytorch_model.bin: is a Python pickle"), open_checkpoint(tmp_path):
        pass


def test_a_folder_without_weights_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"no model.safetensors and no"), open_checkpoint(tmp_path):
        pass
