"""Checkpoints whose weights are pickles: taken only where the source says so, and only what holds tensors alone."""

import builtins
import io
import json
import os
import pickle
import subprocess
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_parts import Mill
from safetensors.torch import load_file

from modelmill import ConvertError
from modelmill.checkpoint import facts
from modelmill.testing import ConverterSuite, FormatSuite, make_checkpoint
from modelmill_huggingface import torch_checkpoint
from modelmill_huggingface.torch_file import read_torch_file

RAN = Path(tempfile.gettempdir()) / f"modelmill-a-pickle-ran-{os.getpid()}"


def pickled(folder: Path, shards: int = 1, *, tied: bool = False) -> Path:
    """A checkpoint with its weights as torch saves them."""
    made = make_checkpoint(folder, "llama", shards=shards, config={"tie_word_embeddings": tied})
    index: dict[str, str] = {}
    for path in sorted(made.glob("*.safetensors")):
        tensors: Any = OrderedDict(load_file(path))
        if tied and "model.embed_tokens.weight" in tensors:
            tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        tensors._metadata = OrderedDict({"": {"version": 1}})
        name = path.name.replace("model", "pytorch_model", 1).replace(".safetensors", ".bin")
        torch.save(tensors, made / name)
        index |= dict.fromkeys(tensors, name)
        path.unlink()
    if shards > 1:
        (made / "model.safetensors.index.json").unlink()
        (made / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    return made


class TestTorchToHuggingface(ConverterSuite):
    plugin = "modelmill_huggingface"
    name = "torch-to-huggingface"
    kills = 1

    def make_source(self, folder: Path) -> None:
        pickled(folder)


class TestTorch(FormatSuite):
    plugin = "modelmill_huggingface"
    name = "torch"

    def make_sample(self, folder: Path) -> None:
        pickled(folder)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        path = folder / "pytorch_model.bin"
        with zipfile.ZipFile(path) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            data = archive.read(member)
        start = path.read_bytes().index(data)
        yield path, range(start, start + len(data), 29)


BUILD = """
[project]
name = "bot"
version = "1"
license = "MIT"
[source.base]
uri = "checkpoint"
[target.merged]
source = "base"
hardware = "x86-64-v3"
format = "huggingface"
scheme = "BF16"
[sign]
mode = "none"
"""
ALLOWED = BUILD.replace('"checkpoint"', '"checkpoint"\npickle = "weights-only"')


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_alone_become_safetensors_where_the_source_allows_it(tmp_path: Path, shards: int) -> None:
    mill = Mill(tmp_path)
    pickled(tmp_path / "checkpoint", shards)
    told = mill.run(BUILD, "build", "--json")
    assert "is a Python pickle" in told
    assert 'say `pickle = "weights-only"` in the source' in told
    mill.run(ALLOWED, "build", "--json")
    artifact = tmp_path / "dist/bot/1/merged"
    plain = make_checkpoint(tmp_path / "plain", "llama", config={"tie_word_embeddings": False})
    ours, wanted = (load_file(folder / "model.safetensors") for folder in (artifact, plain))
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(ours[name], wanted[name]) for name in ours)
    assert json.loads((artifact / "artifact.json").read_text())["steps"][0]["name"] == "torch-to-huggingface"
    properties = json.loads((artifact / "sbom.cdx.json").read_text())["metadata"]["component"]["modelCard"]
    assert {"name": "modelmill:pickle", "value": "weights-only"} in properties["properties"]
    # What is in the store opens no door.
    assert "is a Python pickle" in mill.run(BUILD, "build", "--json")


def test_a_head_that_is_the_embedding_is_written_once(tmp_path: Path) -> None:
    found = torch_checkpoint.torch_facts(pickled(tmp_path / "tied", tied=True))
    assert found.tensors == facts(make_checkpoint(tmp_path / "plain", "llama")).tensors


def test_the_format_alone_opens_no_door(tmp_path: Path) -> None:
    pickled(tmp_path / "checkpoint")
    told = Mill(tmp_path).run(BUILD.replace('"checkpoint"', '"checkpoint"\nformat = "torch"'), "plan", "--json")
    assert "its weights are Python pickles" in told


class Attack:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def in_zip(data: bytes, member: str = "model/data.pkl", compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(member, data)
    return buffer.getvalue()


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def attack(function: Callable[..., Any], *arguments: Any) -> bytes:
    return pickle.dumps(Attack(function, *arguments), protocol=2)


TOUCH = f"touch {RAN}"
SAMPLES: dict[str, bytes] = {
    "os.system": in_zip(attack(os.system, TOUCH)),
    "eval": in_zip(attack(builtins.eval, f"open({str(RAN)!r}, 'w')")),
    "subprocess": in_zip(attack(subprocess.getoutput, TOUCH)),
    "nested, an import of torch's own": in_zip(attack(torch.hub.load, "somebody/something")),
    "in a tensor's hooks": saved({"weight": torch.zeros(2), "more": Attack(os.system, TOUCH)}),
    "a bare pickle": attack(os.system, TOUCH),
    "a bare pickle of protocol 0": pickle.dumps(Attack(os.system, TOUCH), protocol=0),
    "a global that no list knows": in_zip(b"\x80\x02cmycorp\nsecret\n."),
    "one that runs before it fails": in_zip(attack(os.system, TOUCH)[:-1] + b"garbage"),
    "an opcode of old": in_zip(b"(S'" + TOUCH.encode() + b"'\nios\nsystem\n."),
    "another member": in_zip(attack(os.system, TOUCH), member="model/renamed.pkl"),
    "two pickles": in_zip(pickle.dumps({}, protocol=2)) + in_zip(attack(os.system, TOUCH)),
    "a member that leaves": in_zip(pickle.dumps({}, protocol=2), member="../data.pkl"),
    "a bomb": in_zip(bytes(1 << 24), compression=zipfile.ZIP_DEFLATED),
    "a whole model": saved(torch.nn.Linear(2, 2)),
    "a list": saved([torch.zeros(2)]),
    "numbers": saved({"steps": 7}),
    "keys within keys": in_zip(b"\x80\x02})\x86q\x00" + b"h\x00h\x00\x86q\x00" * 64 + b"h\x00s."),
    "no end": in_zip(b"\x80\x02}"),
    "nothing": b"",
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_what_is_more_than_tensors_is_refused_and_never_run(
    tmp_path: Path, sample: bytes, record_property: Callable[[str, int], None]
) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(sample)
    with pytest.raises(ConvertError, match=r"^pytorch_model\.bin: ") as error:
        read_torch_file(path)
    assert "\n" not in str(error.value)
    assert not RAN.exists()
    record_property("malicious samples refused", 1)


def test_the_scanner_is_a_gate_of_its_own(tmp_path: Path) -> None:
    from modelmill_huggingface import torch_run

    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(SAMPLES["os.system"])
    with pytest.raises(ConvertError, match="picklescan finds it dangerous"):
        torch_run._scan(path)
    with pytest.raises(ConvertError, match="torch does not load it as weights alone"):
        torch_run._load(path)
    assert not RAN.exists()


def test_values_that_are_not_there_are_told(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.arange(6.0)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:-1] if "/data/" in name else data)
    with pytest.raises(ConvertError, match="the values of 'a' are not there, or not whole"):
        read_torch_file(path)
