"""What a GGUF file becomes as a checkpoint, decided from its facts alone: every tensor, every small file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError, Facts, Tensor
from modelmill.checkpoint import (
    dominant_dtype,
    parse_card,
    safetensors_size,
    stated_licence,
    tensor_bytes,
)
from modelmill_gguf import to_huggingface_config as configs
from modelmill_gguf import to_huggingface_tokenizer as tokenizers
from modelmill_gguf.architectures import ARCHITECTURES
from modelmill_gguf.architectures.table import Change, Rule

SCHEMES = ("F32", "F16", "BF16")
_LAYER = re.compile(r"blk\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """One tensor to come, what it is made of, and what the way into GGUF did to it. `heads` go with permutations."""

    tensor: Tensor
    source: Tensor
    change: Change
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The folder to come. `small` are its small files; `definition` is tokenizer.json without its vocabulary."""

    scheme: str
    config: Mapping[str, Any]
    generation: Mapping[str, Any]
    card: str
    definition: Mapping[str, Any] | None
    tokenizer_config: Mapping[str, Any]
    vocabulary: Mapping[str, Any]
    tensors: tuple[Restored, ...]

    @property
    def small(self) -> dict[str, bytes]:
        """The files that are written as they are here."""
        files = {
            "README.md": self.card.encode(),
            "config.json": tokenizers.pretty(self.config),
            "generation_config.json": tokenizers.pretty(self.generation),
        }
        if self.definition is not None:
            special = tokenizers.special_tokens_map(self.tokenizer_config)
            files["special_tokens_map.json"] = tokenizers.pretty(special)
            files["tokenizer_config.json"] = tokenizers.pretty(self.tokenizer_config)
        return files


def plan(facts: Facts, scheme: str | None) -> Rebuilt:
    """Lay out the checkpoint of a GGUF model; with None as `scheme`, in the one that loses the least.

    Raises ConvertError where it cannot be rebuilt.
    """
    header = facts.details.get("checkpoint")
    if header is None:
        raise ConvertError(
            "this GGUF model is itself made from a checkpoint in this build: use that checkpoint as the source"
        )
    if "problem" in header:
        raise ConvertError(header["problem"])
    metadata: Mapping[str, Any] = header["metadata"]
    vocabulary: Mapping[str, Any] = header["vocabulary"] or {"special": {}}
    chosen = scheme or lossless_scheme(facts)
    shapes = {tensor.name: tensor.shape for tensor in facts.tensors}
    config = configs.rebuild_config(metadata, vocabulary["special"], shapes, chosen)
    has_tokenizer = header["vocabulary"] is not None
    context = config["max_position_embeddings"]
    return Rebuilt(
        scheme=chosen,
        config=config,
        generation=configs.rebuild_generation(metadata, vocabulary["special"]),
        card=configs.rebuild_card(metadata),
        definition=tokenizers.rebuild_definition(metadata, vocabulary) if has_tokenizer else None,
        tokenizer_config=tokenizers.rebuild_config(metadata, vocabulary, context) if has_tokenizer else {},
        vocabulary=vocabulary,
        tensors=_tensors(facts.tensors, str(metadata["general.architecture"]), config, chosen),
    )


def lossless_scheme(facts: Facts) -> str:
    """The type of the matrices where all have the same one of SCHEMES; else BF16, as precise as any quantized type."""
    found = {tensor.dtype for tensor in facts.tensors if len(tensor.shape) > 1}
    return found.pop() if len(found) == 1 and found <= set(SCHEMES) else "BF16"


def _tensors(
    sources: tuple[Tensor, ...], architecture: str, config: Mapping[str, Any], scheme: str
) -> tuple[Restored, ...]:
    """By size of value, then by name, as the safetensors library orders them."""
    rules = _rules(architecture)
    is_kept = {tensor.dtype for tensor in sources if len(tensor.shape) > 1} == {scheme}
    restored = []
    for source in sources:
        rule, name = _match(source.name, rules, config["num_hidden_layers"])
        # A file in this scheme has its norms in single precision, and narrowing them could lose something.
        dtype = source.dtype if is_kept and source.dtype in SCHEMES else scheme
        heads = {
            Change.PERMUTE_QUERY: config["num_attention_heads"],
            Change.PERMUTE_KEY: config["num_key_value_heads"],
        }.get(rule.change, 1)
        if source.shape[0] % (2 * heads) and rule.change in (Change.PERMUTE_QUERY, Change.PERMUTE_KEY):
            raise ConvertError(f"tensor {source.name!r} has {source.shape[0]} rows, which {heads} heads do not share")
        tensor = Tensor(name=name, dtype=dtype, shape=source.shape)
        restored.append(Restored(tensor=tensor, source=source, change=rule.change, heads=heads))
    missing = {rule.source for rule in rules.values() if "{}" not in rule.source and not rule.optional}
    missing -= {each.tensor.name for each in restored}
    if missing:
        raise ConvertError(f"the GGUF file lacks what becomes {', '.join(sorted(missing))}")
    restored.sort(
        key=lambda each: (-tensor_bytes(Tensor(name="", dtype=each.tensor.dtype, shape=())), each.tensor.name)
    )
    return tuple(restored)


def _rules(name: str) -> dict[str, Rule]:
    architecture = next(each for each in ARCHITECTURES if each.name == name)
    return {rule.name: rule for rule in architecture.rules}


def _match(name: str, rules: Mapping[str, Rule], layers: int) -> tuple[Rule, str]:
    found = _LAYER.fullmatch(name)
    rule = rules.get(f"blk.{{}}.{found[2]}" if found else name)
    if rule is None or (found and int(found[1]) >= layers):
        raise ConvertError(f"tensor {name!r} of the GGUF file has no place in a checkpoint of this architecture")
    return rule, rule.source.format(found[1] if found else "")


def predict(facts: Facts, rebuilt: Rebuilt) -> Facts:
    """The facts of the folder to come, to the byte."""
    tensors = tuple(each.tensor for each in rebuilt.tensors)
    files = {name: len(content) for name, content in rebuilt.small.items()}
    files["model.safetensors"] = safetensors_size(tensors)
    summary = None
    if rebuilt.definition is not None:
        files["tokenizer.json"] = tokenizers.definition_size(rebuilt.definition, rebuilt.vocabulary)
        if rebuilt.vocabulary["pieces"]:
            files["tokenizer.model"] = rebuilt.vocabulary["pieces"]["file"]
        summary = tokenizers.predict_summary(rebuilt.definition, rebuilt.tokenizer_config, rebuilt.vocabulary)
    return Facts(
        format="huggingface",
        scheme=dominant_dtype(tensors),
        architecture=rebuilt.config["architectures"][0],
        config=rebuilt.config,
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        files=dict(sorted(files.items())),
        quantization=facts.quantization,
        licence=stated_licence(rebuilt.card),
        details={
            "tokenizer": summary,
            "card": parse_card(rebuilt.card),
            "generation": dict(rebuilt.generation),
        },
    )
