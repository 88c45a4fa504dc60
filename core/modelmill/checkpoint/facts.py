"""The facts of a checkpoint folder, read from headers and small files alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelmill.checkpoint.card import read_card
from modelmill.checkpoint.chat_template import check_chat_template
from modelmill.checkpoint.folder import find_tensors
from modelmill.checkpoint.jsonfile import read_object
from modelmill.checkpoint.licence import read_licence
from modelmill.checkpoint.safetensors import tensor_bytes
from modelmill.checkpoint.templates import chat_templates
from modelmill.checkpoint.tokenizer import Tokenizer, read_tokenizer, summarize
from modelmill.errors import ConvertError
from modelmill.types import Facts, Tensor


def facts(folder: Path, tokenizer: Tokenizer | None = None, tensors: tuple[Tensor, ...] | None = None) -> Facts:
    """What is known of a checkpoint without its weights. ConvertError for a folder that is not sound.

    `scheme` is the dtype of most bytes. `quantization` is set for a checkpoint that says of itself that it is
    quantized. `details["tokenizer"]` is the tokenizer's summary, None where the folder has no tokenizer;
    `details["card"]` is the front matter of the model card, `details["generation"]` is generation_config.json.
    `tokenizer` is the folder's own where it was read already, which takes longer than all the rest; `tensors` are
    those of a folder whose weights are in files of another kind than safetensors.
    """
    config = read_object(folder / "config.json")
    if "auto_map" in config:
        raise ConvertError(
            "config.json: auto_map asks for Python code of the checkpoint's own, which is never run; use a checkpoint "
            "whose architecture transformers has itself, and where it has this one by now, as Phi-3's, take auto_map "
            "out of config.json"
        )
    _check_tied(config)
    if tensors is None:
        placed = find_tensors(folder)
        tensors = tuple(sorted((at.entry.tensor for at in placed.values()), key=lambda tensor: tensor.name))
    architectures = config.get("architectures")
    architecture = architectures[0] if isinstance(architectures, list) and architectures else None
    quantized = config.get("quantization_config")
    tokenizer = tokenizer or read_tokenizer(folder)
    for where, template in chat_templates(folder):
        check_chat_template(template, where)
    generation = folder / "generation_config.json"
    return Facts(
        format="huggingface",
        scheme=dominant_dtype(tensors),
        architecture=architecture if isinstance(architecture, str) else None,
        config=config,
        tensors=tensors,
        files=file_sizes(folder),
        quantization=str(quantized.get("quant_method", "unknown")) if isinstance(quantized, dict) else None,
        licence=read_licence(folder),
        details={
            "tokenizer": summarize(tokenizer) if tokenizer else None,
            "card": read_card(folder),
            "generation": read_object(generation) if generation.is_file() else {},
        },
    )


def _check_tied(config: Mapping[str, Any]) -> None:
    """Whether the output matrix is the embedding is said with true or false, or not at all. Otherwise ConvertError."""
    tied = config.get("tie_word_embeddings")
    if tied is not None and not isinstance(tied, bool):
        raise ConvertError(f"config.json: tie_word_embeddings must be true or false, and is {tied!r:.80}")


def dominant_dtype(tensors: Sequence[Tensor]) -> str | None:
    """The dtype that most bytes of these tensors have; None without tensors."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor_bytes(tensor)
    return max(sorted(sizes), key=lambda dtype: sizes[dtype], default=None)


def file_sizes(folder: Path) -> dict[str, int]:
    """Every file of a folder by its POSIX path, with its size."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
