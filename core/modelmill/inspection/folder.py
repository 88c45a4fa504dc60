"""What a model's folder, or its one file, holds: told by the format that owns it, from headers alone."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from modelmill.artifact.usage import run_command
from modelmill.checkpoint import read_tokenizer, summarize
from modelmill.decode import suggestion
from modelmill.errors import ConfigError, ConvertError
from modelmill.hardware.fit import Fit, fit
from modelmill.inspection.ternarity import Ternarity, ternarity
from modelmill.registry import Offer, Registry
from modelmill.store.facts import parameters
from modelmill.types import Facts, Format, Hardware
from modelmill_artifacts import manifest
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.release import RELEASE

_PART = re.compile(r"(.*-)\d{5}(-of-\d{5}\.[a-z]+)")
_PACKED = ("UINT8", "UINT4", "INT4", "U8", "U32", "I32")
"""Types of tensors that hold several weights in one element, or none."""
_UNLIMITED = 1 << 40
_TEXT_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeShare:
    """How many tensors and weights have one type; `size` in bytes, None where the format does not show its tensors."""

    type: str
    tensors: int
    weights: int
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFacts:
    """The tokenizer's model (`BPE`, `gpt2`, as its format names it), its number of ids, and of added tokens."""

    model: str | None
    size: int
    added: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is known of a model. `quantization` is the last lossy scheme that its values went through.

    `memory` is what it needs to run at `memory_context` tokens; `context` the most that it was made for.
    """

    format: str
    plugin: str
    scheme: str | None
    architecture: str | None
    parameters: int
    quantization: str | None
    ternary: Ternarity | None
    licence: str | None
    context: int | None
    layers: int | None
    hidden_size: int | None
    tokenizer: TokenizerFacts | None
    types: tuple[TypeShare, ...]
    files: Mapping[str, int]
    memory: Fit | None
    artifact: manifest.Manifest | None
    usage: str

    @property
    def size(self) -> int:
        """Bytes of the model's files."""
        return sum(self.files.values())


def inspect(path: Path, registry: Registry) -> Inspection:
    """Look at a folder or a file. ConfigError where it is of no format, ConvertError where it is not sound."""
    with _as_folder(path) as folder:
        artifact = _manifest(folder)
        offer = _format(path, folder, registry, artifact)
        facts = offer.record.facts(folder)
        config = _configuration(folder, facts)
        files = dict(facts.files) or {item.name: item.stat().st_size for item in folder.iterdir() if item.is_file()}
        return Inspection(
            format=offer.record.name,
            plugin=str(offer.plugin),
            scheme=facts.scheme,
            architecture=facts.architecture,
            parameters=_parameters(facts, artifact),
            quantization=facts.quantization,
            ternary=ternarity(offer.record, folder, facts),
            licence=facts.licence or (artifact.licence if artifact else None),
            context=_number(config, "max_position_embeddings", "context_length"),
            layers=_number(config, "num_hidden_layers"),
            hidden_size=_number(config, "hidden_size"),
            tokenizer=_tokenizer(folder, facts, config),
            types=_types(offer, folder, facts),
            files=files,
            memory=_memory(config, facts, sum(files.values())),
            artifact=artifact,
            usage=run_command(offer.record, str(path), files) if path.is_dir() else "",
        )


@contextmanager
def _as_folder(path: Path) -> Iterator[Path]:
    """A folder as it is; a file in a folder of its own, with the other parts of a model that is split."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file or folder")
    match = _PART.fullmatch(path.name)
    with tempfile.TemporaryDirectory(prefix="modelmill-") as temporary:
        for item in sorted(path.parent.iterdir()) if match else [path]:
            other = _PART.fullmatch(item.name)
            if item == path or (match and other and other.groups() == match.groups()):
                (Path(temporary) / item.name).symlink_to(item.absolute())
        yield Path(temporary)


def _manifest(folder: Path) -> manifest.Manifest | None:
    if not (folder / manifest.MANIFEST).is_file():
        return None
    try:
        return manifest.read(folder)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error


def _format(path: Path, folder: Path, registry: Registry, artifact: manifest.Manifest | None) -> Offer[Format]:
    """The format that an artifact's manifest names; else the one that says that this is it."""
    if artifact is not None:
        return registry.formats[artifact.format]
    found = [offer for offer in registry.formats.all() if not offer.record.pickles and offer.record.detect(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{path}: could be any of {', '.join(offer.record.name for offer in found)}")
    if (folder / RELEASE).is_file():
        names = [item.name for item in folder.iterdir() if (item / manifest.MANIFEST).is_file()]
        raise ConfigError(f"{path}: is a release; inspect one of its artifacts: {', '.join(sorted(names))}")
    raise ConfigError(f"{path}: is of no format that a plugin knows; {suggestion('', registry.formats)}")


def _parameters(facts: Facts, artifact: manifest.Manifest | None) -> int:
    """As the manifest says; else from the header, 0 where tensors of packed codes do not tell how many there are."""
    if artifact is not None and artifact.parameters:
        return artifact.parameters
    weights = (tensor for tensor in facts.tensors if tensor.weight)
    packed = facts.quantization != "bitnet" and any(tensor.dtype in _PACKED for tensor in weights)
    return 0 if packed else parameters(facts)


def _configuration(folder: Path, facts: Facts) -> Mapping[str, Any]:
    """The model's configuration; for onnxruntime-genai's folders, its own file in the same words."""
    if facts.config:
        text = facts.config.get("text_config")
        return text if isinstance(text, Mapping) else facts.config
    try:
        model = json.loads((folder / "genai_config.json").read_bytes()[:_TEXT_LIMIT])["model"]
        decoder = model["decoder"]
        return {
            "context_length": model.get("context_length"),
            "vocab_size": model.get("vocab_size"),
            "head_dim": decoder.get("head_size"),
            **{
                key: decoder.get(key)
                for key in ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads")
            },
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _number(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if type(config.get(key)) is int), None)


def _tokenizer(folder: Path, facts: Facts, config: Mapping[str, Any]) -> TokenizerFacts | None:
    """As the format's owner read it; else from tokenizer.json."""
    found = facts.details.get("tokenizer")
    if not isinstance(found, Mapping):
        try:
            tokenizer = read_tokenizer(folder)
        except ConvertError:
            return None
        if tokenizer is None:
            return None
        found = summarize(tokenizer)
    size = _number(found, "size", "tokens") or _number(config, "vocab_size") or 0
    added = found.get("added_tokens")
    model = found.get("model")
    return TokenizerFacts(
        model=model if isinstance(model, str) else None,
        size=size,
        added=len(added) if isinstance(added, list) else None,
    )


def _types(offer: Offer[Format], folder: Path, facts: Facts) -> tuple[TypeShare, ...]:
    """By type, the largest first. Sizes come from the format's reader, whose tool may not be installed."""
    rows: dict[str, list[int]] = {}
    sized = True
    try:
        shown = (
            [(item.tensor, item.raw.nbytes) for item in offer.record.tensors(folder)] if offer.record.tensors else []
        )
    except (ImportError, ConvertError):
        shown = []
    if not shown:
        sized, shown = False, [(tensor, 0) for tensor in facts.tensors]
    for tensor, size in shown:
        row = rows.setdefault(tensor.dtype, [0, 0, 0])
        row[0] += 1
        row[1] += prod(tensor.shape) if tensor.weight else 0
        row[2] += size
    found = (
        TypeShare(type=name, tensors=count, weights=weights, size=size if sized else None)
        for name, (count, weights, size) in rows.items()
    )
    return tuple(sorted(found, key=lambda item: (-(item.size or 0), -item.weights, item.type)))


def _memory(config: Mapping[str, Any], facts: Facts, size: int) -> Fit | None:
    """What it takes to run, at no more context than it was made for."""
    context = min(4096, _number(config, "max_position_embeddings", "context_length") or 4096)
    device = Hardware(fields={"memory.budget_mib": _UNLIMITED, "workload.context": context})
    found = fit(device, Facts(format=facts.format, config=config), size)
    return found if found is not None and found.complete else None
