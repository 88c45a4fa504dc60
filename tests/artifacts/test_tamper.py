"""Random mutations of signed folders: each is refused in a sentence that names what is wrong."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from modelmill_artifacts import canonical, tree
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.verify import verify
from modelmill_signers.pem import PemSigner

RUNS = 600
HIDDEN = (".git/x", ".gitignore", ".github/workflows/x.yml", ".hidden", "tokenizer/.DS_Store", "a\nb", "ünï", "x" * 200)


@dataclass(frozen=True, slots=True)
class World:
    """What a mutation may draw from: the folder it spoils, other signed folders, and chance."""

    folder: Path
    older: Path
    foreign: Path
    other_target: str
    chance: random.Random


Named = tuple[str, ...]
"""Words of which the refusal must hold at least one."""


def some_file(world: World) -> str:
    return world.chance.choice(sorted(tree.listing(world.folder)))


def flip_a_bit(world: World) -> Named:
    path = some_file(world)
    data = bytearray((world.folder / path).read_bytes())
    data[world.chance.randrange(len(data))] ^= 1 << world.chance.randrange(8)
    (world.folder / path).write_bytes(data)
    return (path,)


def flip_a_bit_of_a_signature(world: World) -> Named:
    path = world.chance.choice(
        [path for path in sorted(tree.listing(world.folder)) if path.endswith((".sig", "sigstore.json"))]
    )
    data = bytearray((world.folder / path).read_bytes())
    data[world.chance.randrange(len(data))] ^= 1 << world.chance.randrange(8)
    (world.folder / path).write_bytes(data)
    return (path,)


def truncate(world: World) -> Named:
    path = some_file(world)
    data = (world.folder / path).read_bytes()
    (world.folder / path).write_bytes(data[: world.chance.randrange(len(data))])
    return (path,)


def append(world: World) -> Named:
    path = some_file(world)
    with (world.folder / path).open("ab") as file:
        file.write(world.chance.choice((b"\n", b" ", b"\x00", b"{}", world.chance.randbytes(100))))
    return (path,)


def insert(world: World) -> Named:
    path = some_file(world)
    data = (world.folder / path).read_bytes()
    at = world.chance.randrange(len(data))
    (world.folder / path).write_bytes(data[:at] + world.chance.randbytes(world.chance.randint(1, 5)) + data[at:])
    return (path,)


def delete(world: World) -> Named:
    path = some_file(world)
    (world.folder / path).unlink()
    return (path, Path(path).name, str(Path(path).parent))


def add(world: World) -> Named:
    inside = world.chance.choice(("", *(f"{path.name}/" for path in world.folder.iterdir() if path.is_dir())))
    path = world.chance.choice(HIDDEN)
    (world.folder / inside / path).parent.mkdir(parents=True, exist_ok=True)
    (world.folder / inside / path).write_bytes(world.chance.randbytes(world.chance.randrange(20)))
    return (repr(path)[1:-1], path)


def add_an_empty_folder(world: World) -> Named:
    path = world.chance.choice((".git", "more", "tokenizer2"))
    (world.folder / path).mkdir()
    return (path,)


def rename(world: World) -> Named:
    path = some_file(world)
    (world.folder / path).rename(world.folder / f"{path}.old")
    return (path,)


def swap_two(world: World) -> Named:
    files = sorted(tree.listing(world.folder))
    first, second = world.chance.sample(files, 2)
    one, two = (world.folder / first).read_bytes(), (world.folder / second).read_bytes()
    if one == two:
        return flip_a_bit(world)
    (world.folder / first).write_bytes(two)
    (world.folder / second).write_bytes(one)
    return (first, second)


def link(world: World) -> Named:
    path = some_file(world)
    kept = world.folder.parent / "kept"
    (world.folder / path).rename(kept)
    (world.folder / path).symlink_to(kept)
    return (path,)


def link_to_a_folder(world: World) -> Named:
    (world.folder / "more").symlink_to(world.foreign)
    return ("more",)


def take_a_file_of_another_version(world: World) -> Named:
    names = [path for path in sorted(tree.listing(world.folder)) if (world.older / path).exists()]
    changed = [path for path in names if (world.folder / path).read_bytes() != (world.older / path).read_bytes()]
    path = world.chance.choice(changed)
    shutil.copy(world.older / path, world.folder / path)
    return (path,)


def take_the_signature_of_somebody_else(world: World) -> Named:
    path = world.chance.choice(
        [path for path in sorted(tree.listing(world.folder)) if path.endswith((".sig", "sigstore.json"))]
    )
    shutil.copy(world.foreign / path, world.folder / path)
    return (path,)


def artifacts_of(world: World) -> list[Path]:
    return [path.parent for path in sorted(world.folder.rglob("artifact.json"))]


def swap_the_signature_of_another_artifact(world: World) -> Named:
    place = world.chance.choice(artifacts_of(world))
    name = world.chance.choice(("model.sig", "provenance.sigstore.json"))
    other = world.older if place == world.folder else world.folder / world.other_target
    if place == other:
        other = next(path for path in artifacts_of(world) if path != place)
    shutil.copy(other / name, place / name)
    return (name, str(place))


def edit_the_manifest_and_hash_again(world: World) -> Named:
    place = world.chance.choice(artifacts_of(world))
    files = [path for path in sorted(tree.listing(place)) if path not in {"artifact.json", "model.sig"}]
    path = world.chance.choice([path for path in files if path != "provenance.sigstore.json"])
    (place / path).write_bytes(b"malice" + (place / path).read_bytes())
    manifest = json.loads((place / "artifact.json").read_bytes())
    for file in manifest["files"]:
        data = (place / file["path"]).read_bytes()
        file |= {"sha256": sha256(data).hexdigest(), "size": len(data)}
    data = canonical.pretty(manifest)
    (place / "artifact.json").write_bytes(data)
    if place != world.folder:
        index = json.loads((world.folder / "release.json").read_bytes())
        for entry in index["artifacts"]:
            if entry["path"] == place.name:
                entry |= {"sha256": sha256(data).hexdigest(), "size": len(data)}
        (world.folder / "release.json").write_bytes(canonical.pretty(index))
    return (path, "artifact.json", "release.json")


def edit_a_word_of_the_manifest(world: World) -> Named:
    place = world.chance.choice(artifacts_of(world))
    value = json.loads((place / "artifact.json").read_bytes())
    key = world.chance.choice(("name", "version", "target", "licence", "scheme"))
    value[key] = "other"
    (place / "artifact.json").write_bytes(canonical.pretty(value))
    return ("artifact.json",)


def downgrade_the_index(world: World) -> Named:
    for name in ("release.json", "release.json.sig"):
        shutil.copy(world.older / name, world.folder / name)
    return ("artifact.json",)


def downgrade_one_artifact(world: World) -> Named:
    target = world.chance.choice(artifacts_of(world)).name
    shutil.rmtree(world.folder / target)
    shutil.copytree(world.older / target, world.folder / target)
    return (target,)


def swap_two_artifacts(world: World) -> Named:
    one, two = artifacts_of(world)
    between = world.folder.parent / "between"
    one.rename(between)
    two.rename(one)
    between.rename(two)
    return (one.name, two.name)


def drop_an_artifact(world: World) -> Named:
    target = world.chance.choice(artifacts_of(world)).name
    shutil.rmtree(world.folder / target)
    return (target,)


def add_a_signed_artifact(world: World) -> Named:
    shutil.copytree(world.older / world.other_target, world.folder / "more")
    return ("more",)


def drop_the_entry_of_an_artifact(world: World) -> Named:
    index = json.loads((world.folder / "release.json").read_bytes())
    index["artifacts"].pop(world.chance.randrange(2))
    (world.folder / "release.json").write_bytes(canonical.pretty(index))
    return ("release.json",)


EITHER = (
    flip_a_bit,
    flip_a_bit_of_a_signature,
    truncate,
    append,
    insert,
    delete,
    add,
    add_an_empty_folder,
    rename,
    swap_two,
    link,
    link_to_a_folder,
    take_a_file_of_another_version,
    take_the_signature_of_somebody_else,
    swap_the_signature_of_another_artifact,
    edit_the_manifest_and_hash_again,
    edit_a_word_of_the_manifest,
)
RELEASE_ONLY = (
    downgrade_the_index,
    downgrade_one_artifact,
    swap_two_artifacts,
    drop_an_artifact,
    add_a_signed_artifact,
    drop_the_entry_of_an_artifact,
)


@pytest.mark.parametrize("kind", ["artifact", "release"])
def test_every_mutation_is_refused_and_named(
    kind: str,
    tmp_path: Path,
    make_release: Callable[..., Path],
    signer: PemSigner,
    stranger: PemSigner,
    capsys: pytest.CaptureFixture[str],
) -> None:
    accepts = Policy(keys=(signer.public_key,))
    good = make_release(tmp_path / "good", signer)
    older = make_release(tmp_path / "older", signer, "0.9.0", b"older")
    foreign = make_release(tmp_path / "foreign", stranger)
    other_target = "laptop-onnx"
    if kind == "artifact":
        good, older, foreign = (folder / "raspberry-pi-5" for folder in (good, older, foreign))
    mutations = EITHER + (RELEASE_ONLY if kind == "release" else ())
    chance = random.Random(20261122)  # noqa: S311
    done: Counter[str] = Counter()
    for run in range(RUNS):
        folder = tmp_path / "runs" / str(run) / "folder"
        shutil.copytree(good, folder)
        mutate = mutations[run % len(mutations)]
        named = mutate(World(folder, older, foreign, other_target, chance))
        with pytest.raises(ArtifactError) as refused:
            verify(folder, accepts)
        said = str(refused.value).replace("\\n", "\n")
        assert any(Path(word).name in said for word in named), f"run {run}, {mutate.__name__}: {named} not in {said!r}"
        done[mutate.__name__] += 1
        shutil.rmtree(folder.parent)
    verify(good, accepts)
    with capsys.disabled():
        print(f"\n{sum(done.values())} mutations of a signed {kind}, of {len(done)} kinds: all refused")
