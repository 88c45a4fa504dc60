"""What the MLX tests share: a job run as a step runs it, mlx-lm's own conversion, and files compared by value."""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill import Facts, Job, Limits, Outlook, Refusal
from modelmill.checkpoint import facts, open_checkpoint
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_mlx.offers import FROM_HUGGINGFACE
from modelmill_mlx.predict import Options


def convert(source: Path, folder: Path, scheme: str, *, threads: int = 1, **options: Any) -> Path:
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(parents=True)
    scratch.mkdir()
    job = Job(
        source=source,
        inputs={},
        out=out,
        scheme=scheme,
        options=Options(**options),
        hardware=None,
        limits=Limits(threads=threads, scratch=scratch),
    )
    FROM_HUGGINGFACE.run(job)
    return out


def infer(source: Path, scheme: str | None, **options: Any) -> Facts | Refusal:
    return FROM_HUGGINGFACE.infer(Outlook(facts=facts(source), scheme=scheme, options=Options(**options)))


def reference(source: Path, out: Path, **arguments: Any) -> Path:
    import mlx.core as mx
    from mlx_lm import convert as mlx_lm_convert

    mx.set_default_device(mx.cpu)
    with contextlib.redirect_stdout(io.StringIO()):
        mlx_lm_convert(str(source), str(out), **arguments)
    return out


def contents(folder: Path) -> Mapping[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(folder) as checkpoint:
        return {
            tensor.name: (tensor.dtype, tensor.shape, bytes(checkpoint.raw(tensor.name)))
            for tensor in checkpoint.tensors
        }


def assert_same_model(made: Path, expected: Path) -> None:
    assert (made / "config.json").read_bytes() == (expected / "config.json").read_bytes()
    index = "model.safetensors.index.json"
    assert (made / index).read_bytes() == (expected / index).read_bytes()
    ours, theirs = contents(made), contents(expected)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def transformers_checkpoint(folder: Path, name: str, **config: Any) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    tokenizer = make_checkpoint(folder / "tokenizer", "llama")
    sizes = {
        "vocab_size": json.loads((tokenizer / "config.json").read_text())["vocab_size"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    settings = getattr(transformers, f"{name}Config")(**{**sizes, **config})
    model = getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM")(settings).to(torch.bfloat16)
    model.save_pretrained(folder / "source")
    for path in tokenizer.glob("*token*"):
        shutil.copy(path, folder / "source")
    return folder / "source"
