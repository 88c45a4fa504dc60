"""Tiny BitNet checkpoints: one ternary model in every form in which such models are published."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelmill import Converter, Facts, Hardware, Job, Limits, Outlook, Refusal
from modelmill.checkpoint import facts, open_checkpoint
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint, safetensors
from modelmill_bitnet.formats import pack_rows
from modelmill_bitnet.offers import MEASURE, OTHER_TO_GGUF, TO_BITNET_CPP, TO_GGUF

SHAPE = Shape(hidden=256, intermediate=512, layers=2, heads=4, kv_heads=2)
SCALE = 2.0**-6
"""A power of two: its reciprocal and the mean of the weights are exact in every dtype."""
Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def master(folder: Path, shape: Shape = SHAPE, **config: Any) -> Path:
    """Transformers' class and names, BF16 master weights: half of them 0, the others ±2s, so that their mean is s."""
    make_checkpoint(folder, "bitnet", shape=shape, config={"hidden_act": "silu", "rope_theta": 10000.0, **config})

    def change(tensors: Tensors) -> None:
        for name, (dtype, size, _) in tensors.items():
            if name.endswith("proj.weight"):
                values = (codes_of(name, size).astype(np.float32) - 1) * (2 * SCALE)
                tensors[name] = (dtype, size, (values.view(np.uint32) >> 16).astype("<u2").tobytes())

    edit(folder, change)
    return folder


def codes_of(name: str, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape))
    values = np.random.default_rng(sum(name.encode())).choice(np.array([0, 2], np.uint8), count)
    values[np.random.default_rng(len(name)).permutation(count)[: count // 2]] = 1
    return values.reshape(shape)


def packed(folder: Path, linear_class: str, shape: Shape = SHAPE, made: Callable[..., Path] | None = None) -> Path:
    """The same model as transformers' offline quantization stores it."""
    (made or master)(folder, shape=shape)
    stored = 1 / SCALE if linear_class == "bitlinear" else SCALE
    scale = (np.array([stored], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()

    def change(tensors: Tensors) -> None:
        for name, (_, size, _) in list(tensors.items()):
            if name.endswith("proj.weight"):
                tensors[name] = ("U8", (size[0] // 4, size[1]), pack_rows(codes_of(name, size)).tobytes())
                tensors[f"{name}_scale"] = ("BF16", (1,), scale)

    edit(folder, change)
    entry = {"quant_method": "bitnet", "linear_class": linear_class, "quantization_mode": "offline"}
    configure(folder, quantization_config=entry)
    return folder


def named_as_1bitllm(folder: Path, shape: Shape = SHAPE) -> Path:
    """The same model under the names of the first published checkpoints."""
    master(folder, shape)
    names = {"self_attn.attn_sub_norm": "self_attn.inner_attn_ln", "mlp.ffn_sub_norm": "mlp.ffn_layernorm"}

    def change(tensors: Tensors) -> None:
        for name in list(tensors):
            for ours, theirs in names.items():
                if ours in name:
                    tensors[name.replace(ours, theirs)] = tensors.pop(name)

    edit(folder, change)
    configure(folder, architectures=["BitnetForCausalLM"])
    return folder


FORMS: Mapping[str, Callable[[Path], Path]] = {
    "master": master,
    "bitlinear": lambda folder: packed(folder, "bitlinear"),
    "autobitlinear": lambda folder: packed(folder, "autobitlinear"),
    "1bitllm": named_as_1bitllm,
}


def other(folder: Path, architecture: str = "llama", *, ternary: bool = True, shape: Shape = SHAPE) -> Path:
    """A model of another class than BitNet's, in BF16; where it is ternary, half the weights are 0, the others ±s."""
    make_checkpoint(folder, architecture, shape=shape)

    def change(tensors: Tensors) -> None:
        for name, (dtype, size, _) in tensors.items():
            if name.endswith("proj.weight"):
                values = (codes_of(name, size).astype(np.float32) - 1) * SCALE
                tensors[name] = (dtype, size, (values.view(np.uint32) >> 16).astype("<u2").tobytes())

    if ternary:
        edit(folder, change)
    return folder


def edit(folder: Path, change: Callable[[Tensors], None]) -> None:
    with open_checkpoint(folder) as checkpoint:
        tensors = {
            tensor.name: (tensor.dtype, tensor.shape, bytes(checkpoint.raw(tensor.name)))
            for tensor in checkpoint.tensors
        }
    change(tensors)
    (folder / "model.safetensors").write_bytes(safetensors(tensors))


def configure(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def convert(source: Path, folder: Path, scheme: str, **choices: Any) -> Path:
    record, options, hardware = _choose(source, scheme, **choices)
    inputs = {name: measure(source, folder / name) for name in record.inputs}
    run(record, source, folder, scheme=scheme, options=options, hardware=hardware, inputs=inputs)
    return folder / "out" / "model.gguf"


def measure(source: Path, folder: Path) -> Path:
    """The report on whether a checkpoint is ternary."""
    run(MEASURE, source, folder, scheme="report", options=MEASURE.options())
    return folder / "out"


def run(record: Converter[Any], source: Path, folder: Path, **values: Any) -> None:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    given = {"inputs": {}, "hardware": None, **values}
    record.run(Job(source=source, out=folder / "out", limits=Limits(scratch=folder / "scratch"), **given))


def infer(source: Path, scheme: str = "TQ2_0", **choices: Any) -> Facts | Refusal:
    record, options, hardware = _choose(source, scheme, **choices)
    return record.infer(Outlook(facts=facts(source), scheme=scheme, options=options, hardware=hardware))


def _choose(
    source: Path, scheme: str, *, cpu: str | None = None, **options: Any
) -> tuple[Converter[Any], Any, Hardware | None]:
    record: Converter[Any] = TO_BITNET_CPP if scheme == "I2_S" else TO_GGUF
    if scheme != "I2_S" and json.loads((source / "config.json").read_text())["model_type"] != "bitnet":
        record = OTHER_TO_GGUF
    return record, record.options(**options), None if cpu is None else Hardware(fields={"os.arch": cpu})
