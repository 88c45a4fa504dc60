"""What tests of composition put into a checkpoint: adapters without peft, and the files that override."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.checkpoint import facts
from modelmill.testing.architectures import LINEAR, Weight
from modelmill.testing.checkpoints import random_values, safetensors

TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
GENERATION = '{"do_sample": true, "temperature": 0.25, "top_p": 0.9}\n'

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def make_adapter(
    folder: Path, base: Path, modules: tuple[str, ...] = ("q_proj", "down_proj"), rank: int = 4, **config: Any
) -> Path:
    """A LoRA adapter of these modules of a checkpoint, with random weights; `config` replaces settings."""
    tensors: Tensors = {}
    for tensor in facts(base).tensors:
        module = tensor.name.removesuffix(".weight")
        if module.endswith(modules):
            rows, columns = tensor.shape
            tensors |= pair(f"base_model.model.{module}", rows, columns, rank)
    return write_adapter(folder, tensors, {"r": rank, "lora_alpha": 2 * rank, **config})


def pair(module: str, rows: int, columns: int, rank: int) -> Tensors:
    found: Tensors = {}
    for part, shape in (("A", (rank, columns)), ("B", (rows, rank))):
        name = f"{module}.lora_{part}.weight"
        found[name] = ("F32", shape, random_values(Weight(name=name, shape=shape, role=LINEAR), "F32", 1))
    return found


def write_adapter(folder: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
    (folder / "adapter_model.safetensors").write_bytes(safetensors(tensors))
    return folder


@dataclass(frozen=True)
class Mill:
    """A folder with a build file and a store of its own."""

    folder: Path

    def run(self, build: str, *arguments: str) -> Any:
        """What a command says in JSON, or the sentence that it ends with."""
        (self.folder / "build.toml").write_text(build)
        done = subprocess.run(
            [sys.executable, "-m", "modelmill", *arguments],
            cwd=self.folder,
            env={**os.environ, "MODELMILL_STORE": str(self.folder / "store")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr if done.returncode else json.loads(done.stdout)
