"""Checkpoints that arrived damaged, through the real converter: refused before any work, and built once whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modelmill.checkpoint import read_header
from modelmill.testing import make_checkpoint
from modelmill.testing.checkpoints import safetensors

from .conftest import TINY, Mill, assert_nothing_half_made, told

pytestmark = pytest.mark.fault

FIRST = "model-00001-of-00002.safetensors"
SECOND = "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def cut_short(model: Path) -> None:
    with (model / SECOND).open("r+b") as file:
        file.truncate((model / SECOND).stat().st_size - 100)


def cut_in_the_header(model: Path) -> None:
    with (model / SECOND).open("r+b") as file:
        file.truncate(100)


def empty(model: Path) -> None:
    (model / SECOND).write_bytes(b"")


def claim(model: Path, header_bytes: int) -> None:
    with (model / FIRST).open("r+b") as file:
        file.write(header_bytes.to_bytes(8, "little"))


def claim_more(model: Path) -> None:
    claim(model, 2 * (model / FIRST).stat().st_size)


def claim_all_memory(model: Path) -> None:
    claim(model, 2**64 - 1)


def claim_larger_tensors(model: Path) -> None:
    data = (model / FIRST).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    last = max((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"])
    entry = header[last]
    entry["shape"] = [1000 * entry["shape"][0], *entry["shape"][1:]]
    start, end = entry["data_offsets"]
    entry["data_offsets"] = [start, start + 1000 * (end - start)]
    text = json.dumps(header).encode()
    (model / FIRST).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def lose_a_tensor(model: Path) -> None:
    """As a broken export does: neither a shard nor the index knows of it."""
    index = json.loads((model / INDEX).read_text())
    lost = "model.layers.1.mlp.down_proj.weight"
    shard = model / index["weight_map"].pop(lost)
    data = shard.read_bytes()
    kept = {name: entry for name, entry in read_header(shard).items() if name != lost}
    shard.write_bytes(
        safetensors({name: (e.tensor.dtype, e.tensor.shape, data[e.start : e.end]) for name, e in kept.items()})
    )
    (model / INDEX).write_text(json.dumps(index))


def lose_a_shard(model: Path) -> None:
    (model / SECOND).unlink()


def take_another_tokenizer(model: Path) -> None:
    """The tokenizer files of a model with a larger vocabulary."""
    other = make_checkpoint(model.parent / "other", "llama", tokenizer="gemma")
    for path in (path for path in other.iterdir() if "token" in path.name):
        shutil.copy(path, model / path.name)


def cut_the_tokenizer(model: Path) -> None:
    data = (model / "tokenizer.json").read_bytes()
    (model / "tokenizer.json").write_bytes(data[: len(data) // 2])


DAMAGE: dict[Callable[[Path], None], tuple[str, ...]] = {
    cut_short: (SECOND, "cut short or damaged"),
    cut_in_the_header: (SECOND, "cut short or not a safetensors file"),
    empty: (SECOND, "too few"),
    claim_more: (FIRST, "its header claims"),
    claim_all_memory: (FIRST, "its header claims 18,446,744,073,709,551,615 bytes"),
    claim_larger_tensors: (FIRST, "its tensors take"),
    lose_a_tensor: ("target 'half': ", "the checkpoint lacks the tensors 'model.layers.1.mlp.down_proj.weight'"),
    lose_a_shard: (SECOND,),
    take_another_tokenizer: ("target 'half': ", "the tokenizer has ids up to 553, but the model has 499 embeddings"),
    cut_the_tokenizer: ("tokenizer.json",),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused_by_name(mill: Mill, damage: Callable[[Path], None]) -> None:
    model = make_checkpoint(mill.folder / "model", "llama", shards=2)
    mill.write(TINY)
    damage(model)
    done = mill.run("build")
    assert done.code == 2, done.err
    sentence = told(done)
    for part in DAMAGE[damage]:
        assert part.lower() in sentence.lower()
    assert mill.files() == {}
    assert_nothing_half_made(mill)


def test_damage_after_a_build_leaves_its_artifact_and_repair_gives_it_again(mill: Mill) -> None:
    model = make_checkpoint(mill.folder / "model", "llama", shards=2)
    mill.write(TINY)
    assert mill.run("build").code == 0
    undisturbed = mill.files()
    whole = (model / SECOND).read_bytes()
    cut_short(model)
    assert mill.run("build").code == 2
    assert mill.files() == undisturbed
    shutil.rmtree(mill.folder / "store")
    shutil.rmtree(mill.folder / "dist")
    assert mill.run("build").code == 2
    assert mill.files() == {}
    (model / SECOND).write_bytes(whole)
    assert mill.run("build").code == 0
    assert mill.files() == undisturbed
    assert_nothing_half_made(mill)
