"""`modelmill inspect`: what a model is."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from modelmill.cli import options, show
from modelmill.decode import encode
from modelmill.inspection.folder import Inspection, inspect
from modelmill.printable import printable
from modelmill.registry import load


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@options.as_json
def command(path: Path, as_json: bool) -> None:
    """Tell what a checkpoint, a GGUF file, an ONNX or MLX folder, or an artifact is, from its headers."""
    found = inspect(path, load())
    if as_json:
        show.document(_document(found))
    else:
        click.echo("\n".join(_lines(found)))


def _document(found: Inspection) -> dict[str, Any]:
    said = {item.name: encode(getattr(found, item.name)) for item in fields(found)}
    memory = found.memory
    return {
        **said,
        "bytes": found.size,
        "memory": None if memory is None else {"bytes": memory.need, "context": memory.context},
    }


def _lines(found: Inspection) -> Iterator[str]:
    rows = [(name, printable(value)) for name, value in _rows(found) if value]
    width = max(len(name) for name, _ in rows)
    yield from (f"{name.ljust(width)}  {value}" for name, value in rows)
    if found.types:
        yield ""
        yield show.table(
            ("type", "tensors", "weights", "bytes", "share"), [_type_row(found, item) for item in found.types]
        )
    if found.usage:
        yield ""
        yield f"Run it: {printable(found.usage)}"


def _rows(found: Inspection) -> Iterator[tuple[str, str]]:
    if found.artifact is not None:
        made = found.artifact
        yield "artifact", f"{made.name} {made.version} {made.target}"
        yield "made by", " → ".join(f"{step.name} ({step.plugin} {step.plugin_version})" for step in made.steps)
    yield "format", f"{found.format} ({found.plugin})"
    yield "scheme", found.scheme or ""
    yield "architecture", found.architecture or ""
    yield "parameters", f"{found.parameters:,}" if found.parameters else ""
    bits = found.size * 8 / found.parameters if found.parameters else 0
    yield "size", f"{show.size(found.size)} in {len(found.files)} files" + (f", {bits:.2f} bits/weight" if bits else "")
    yield "quantized", f"to {found.quantization}" if found.quantization else "no"
    ternary = found.ternary
    if ternary is not None:
        yield "ternary", f"{'yes' if ternary.ternary else 'no'}: {ternary.because}"
    yield "context", f"{found.context:,} tokens" if found.context else ""
    yield "layers", f"{found.layers} of width {found.hidden_size}" if found.layers and found.hidden_size else ""
    tokenizer = found.tokenizer
    if tokenizer is not None:
        added = f", {tokenizer.added} added" if tokenizer.added is not None else ""
        yield "tokenizer", f"{tokenizer.model or 'unknown'}, {tokenizer.size:,} ids{added}"
    yield "licence", found.licence or "not stated"
    if found.memory is not None:
        yield "needs", f"{show.size(found.memory.need)} of memory at {found.memory.context:,} tokens"


def _type_row(found: Inspection, item: Any) -> tuple[str, ...]:
    total = sum(other.size or 0 for other in found.types)
    share = f"{100 * item.size / total:.1f} %" if item.size is not None and total else ""
    size = "" if item.size is None else show.size(item.size)
    return printable(item.type), str(item.tensors), f"{item.weights:,}", size, share
