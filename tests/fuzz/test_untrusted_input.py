"""Whatever strangers hand us, thousands of times: one sentence of one kind of error, soon, and in little memory.

Each input is a sound one that was damaged: bytes flipped, cut, moved and repeated, numbers made extreme, JSON values
replaced by hostile ones. `MODELMILL_FUZZ=20` tries twenty times as many.
"""

import copy
import json
import os
import random
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from huggingface_parts import TEMPLATE, make_adapter

from modelmill import ConvertError, config
from modelmill.checkpoint import check_chat_template, facts, read_tokenizer, summarize
from modelmill.errors import ConfigError
from modelmill.lock import read_lock
from modelmill.registry import load
from modelmill.testing import convert, make_checkpoint
from modelmill_gguf import model as gguf
from modelmill_huggingface import adapter
from modelmill_huggingface.torch_file import read_torch_file

TIMES = float(os.environ.get("MODELMILL_FUZZ", "1"))
SECONDS = 10
MEMORY = 64 << 20
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**64, 10**400, 1e308, "", "\0", "\ud800", "../../etc/passwd", "x" * 70_000,
    [], {}, [[[]]], {"a": {"a": {}}}, ["x"] * 500, "{{ ''.__class__ }}",
)  # fmt: skip
NUMBERS = (0, 1, 7, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)

VALUES = ("3", "-1", "[[1]]", "{ a = { } }", '"../../x"', "1979-05-27", "nan", "'u'", '"\\u0000"', "[")
PIECES = (
    "{{", "}}", "{%", "%}", "[", "]", ".", "|", "__class__", "cycler", "attr('x')", "{% for a in b %}", "(" * 99,
)  # fmt: skip

BUILD = """\
[project]
name = "bot"
version = "1.0"
license = "MIT"

[source.base]
uri = "hf://org/name"
revision = "main"
include = ["*.json", "model*.safetensors"]

[source.lora]
uri = "adapter"

[defaults]
source = "base"
adapter = "lora"
chat_template = "chat.jinja"

[target.one]
hardware = "x86-64-v3"
format = "gguf"
scheme = "Q4_K_M"
inputs = { imatrix = "lora" }
options = { chunks = 3, tensor_types = { rules = [{ match = "*", type = "Q8_0" }] } }

[sign]
key = "development:"

[policy]
licenses = ["MIT"]

[image]
wheels = ["a.whl"]
port = 80
"""
LOCK = f"""\
version = 1

[source."base"]
uri = "hf://org/name"
revision = "main"
format = "huggingface"
parameters = 12

[[source."base".file]]
path = "config.json"
size = 629
sha256 = "{"0f" * 32}"

[toolchain."onnx"]
requires = ["torch==2.13.0"]
"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input: where it lies, how it is damaged, what reads it, and what may be raised."""

    name: str
    path: Path
    damage: Callable[[bytes, random.Random], bytes]
    read: Callable[[], object]
    error: type[Exception]
    count: int


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Bytes anywhere, but more often in front, where headers are."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        kind, at = chance.randrange(6), int(len(found) * chance.random() ** 3)
        if kind == 0:
            del found[at:]
        elif kind == 1:
            del found[at : at + chance.randint(1, 64)]
        elif kind == 2:
            found[at:at] = found[at : at + chance.randint(1, 64)]
        elif kind == 3:
            found[at : at + 8] = chance.choice(NUMBERS).to_bytes(8, "little")
        elif kind == 4:
            found[at:at] = chance.randbytes(chance.randint(1, 16))
        elif at < len(found):
            found[at] ^= 1 << chance.randrange(8)
    return bytes(found)


def rewritten(data: bytes, chance: random.Random) -> bytes:
    """JSON with some of its values replaced, or its text damaged."""
    if chance.random() < 0.3:
        return flipped(data, chance)
    found = json.loads(data)
    for _ in range(chance.randint(1, 3)):
        node: Any = found
        while isinstance(node, dict | list) and node:
            key: Any = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
            if not isinstance(node[key], dict | list) or not node[key] or chance.random() < 0.3:
                node[key] = copy.deepcopy(chance.choice(HOSTILE))
                break
            node = node[key]
    return json.dumps(found).encode()


def in_header(data: bytes, chance: random.Random) -> bytes:
    """A safetensors file whose JSON header was rewritten, its length right or not."""
    if chance.random() < 0.4:
        return flipped(data, chance)
    length = int.from_bytes(data[:8], "little")
    header = rewritten(data[8 : 8 + length], chance)
    said = len(header) if chance.random() < 0.9 else chance.choice(NUMBERS)
    return said.to_bytes(8, "little") + header + data[8 + length :]


def in_toml(data: bytes, chance: random.Random) -> bytes:
    """TOML with values of other types, with lines gone and repeated, or with its text damaged."""
    if chance.random() < 0.3:
        return flipped(data, chance)
    lines = data.decode().splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        kind = chance.randrange(4)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, chance.choice(lines))
        elif kind == 2:
            lines[at] = f"{lines[at].partition('=')[0]}= {chance.choice(VALUES)}"
        else:
            lines[at] = lines[at].replace(chance.choice("abcdes"), chance.choice(("é", '"', ".", "", "[", "x" * 999)))
        if not lines:
            break
    return "\n".join(lines).encode()


def in_template(data: bytes, chance: random.Random) -> bytes:
    """A template with pieces of Jinja anywhere in it."""
    text = data.decode()
    for _ in range(chance.randint(1, 9)):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(PIECES) * chance.choice((1, 1, 1, 400)) + text[at:]
    return text.encode()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    folder = tmp_path_factory.mktemp("fuzz")
    base = make_checkpoint(folder / "base", "llama")
    model = convert("modelmill_gguf", "huggingface-to-gguf", "BF16", base, folder / "gguf")
    given = make_adapter(folder / "adapter", base)
    (folder / "build.toml").write_text(BUILD)
    (folder / "build.lock").write_text(LOCK)
    (folder / "chat.jinja").write_text(TEMPLATE)
    torch.save({f"layer.{n}": torch.zeros(4, 4) for n in range(4)}, folder / "pytorch_model.bin")
    registry = load()
    build = lambda: config.read(folder / "build.toml", registry)  # noqa: E731
    tokenizer = lambda: summarize(found) if (found := read_tokenizer(base)) else None  # noqa: E731
    rows: tuple[tuple[str, Path, Any, Any, Any, int], ...] = (
        ("safetensors", base / "model.safetensors", in_header, lambda: facts(base), ConvertError, 300),
        ("tokenizer.json", base / "tokenizer.json", rewritten, tokenizer, ConvertError, 300),
        ("config.json", base / "config.json", rewritten, lambda: facts(base), ConvertError, 200),
        ("gguf", model / "model.gguf", flipped, lambda: check_gguf(model), ConvertError, 400),
        ("adapter_config.json", given / adapter.CONFIG, rewritten, lambda: adapter.validate(given), ConvertError, 1500),
        ("adapter", given / adapter.WEIGHTS, in_header, lambda: adapter.validate(given), ConvertError, 500),
        (
            "torch file",
            folder / "pytorch_model.bin",
            flipped,
            lambda: read_torch_file(folder / "pytorch_model.bin"),
            ConvertError,
            1000,
        ),
        (
            "chat template",
            folder / "chat.jinja",
            in_template,
            lambda: check_chat_template((folder / "chat.jinja").read_text()),
            ConvertError,
            400,
        ),
        ("build.toml", folder / "build.toml", in_toml, build, ConfigError, 1500),
        ("build.lock", folder / "build.lock", in_toml, lambda: read_lock(folder / "build.lock"), ConfigError, 2000),
    )
    return {
        name: Kind(name=name, path=path, damage=damage, read=read, error=error, count=int(count * TIMES))
        for name, path, damage, read, error, count in rows
    }


def check_gguf(folder: Path) -> None:
    gguf.facts(folder)
    gguf.validate(folder)


NAMES = (
    "safetensors", "tokenizer.json", "config.json", "gguf", "adapter_config.json", "adapter", "torch file",
    "chat template", "build.toml", "build.lock",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_input_is_read_or_refused_with_one_error(
    kinds: dict[str, Kind], name: str, record_property: Callable[[str, int], None]
) -> None:
    kind, refused = kinds[name], 0
    sound = kind.path.read_bytes()
    kind.read()
    chance = random.Random(f"4242 {name}")  # noqa: S311 - the same inputs in every run
    try:
        for number in range(kind.count):
            kind.path.write_bytes(kind.damage(sound, chance))
            with bounded(f"{name}, input {number}"):
                told = "sound"
                try:
                    kind.read()
                except kind.error as error:
                    refused += 1
                    told = str(error)
                assert told.strip(), f"input {number}: an error without a word"
    finally:
        kind.path.write_bytes(sound)
    kind.read()
    assert refused > kind.count // 10
    record_property(f"fuzzed inputs: {name}", kind.count)
    record_property("fuzzed inputs in all", kind.count)


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Fail where the block takes long, or much memory at once."""

    def late(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"{what}: still at it after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
        assert peak < MEMORY, f"{what}: took {peak:,} bytes"
    finally:
        tracemalloc.stop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
