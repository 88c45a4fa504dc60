"""What a folder with GGUF files is: one model, in one file or in split files that belong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Facts
from modelmill_gguf import imatrix, split
from modelmill_gguf.details import gguf_details, read_tokenizer_details
from modelmill_gguf.fields import Field, ValueType, value
from modelmill_gguf.file_types import BY_NUMBER, UNQUANTIZED
from modelmill_gguf.header import MAGIC, Header, TensorInfo, read_header
from modelmill_gguf.to_huggingface_config import configuration
from modelmill_gguf.to_huggingface_details import describe
from modelmill_gguf.writer import metadata_size

_REQUIRED = ("block_count", "context_length", "embedding_length", "attention.head_count")
_TEXTS = (
    "general.architecture",
    "general.type",
    "general.name",
    "general.license",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.chat_template",
)
_SHOWN = 3
_TEMPLATE = "tokenizer.chat_template"  # and, for tool use and the like, with a name behind it
_ARRAYS = {
    "tokenizer.ggml.tokens": (ValueType.STRING,),
    "tokenizer.ggml.merges": (ValueType.STRING,),
    "tokenizer.ggml.token_type": (ValueType.INT32, ValueType.UINT32),
    "tokenizer.ggml.scores": (ValueType.FLOAT32,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a model and its header."""

    path: Path
    header: Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model's files in order. `fields` are the first file's metadata without what only numbers the files."""

    parts: tuple[Part, ...]
    fields: dict[str, Field]

    @property
    def tensors(self) -> tuple[tuple[Part, TensorInfo], ...]:
        """Every tensor with the file that holds it."""
        return tuple((part, info) for part in self.parts for info in part.header.tensors)


def detect(folder: Path) -> bool:
    """Whether the folder holds a GGUF model: files that begin as GGUF does, whatever they are called.

    An importance matrix is GGUF too, and no model.
    """
    return any(_is_gguf(path) for path in sorted(folder.glob("*.gguf"))) and not imatrix.detect(folder)


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_model(folder: Path) -> Model:
    """Read the headers of the model in a folder. Raises ConvertError where it is not one sound model."""
    paths = sorted(folder.glob("*.gguf"))
    if not paths:
        raise ConvertError("There is no .gguf file here.")
    parts = tuple(Part(path=path, header=read_header(path)) for path in paths)
    first = parts[0]
    count = _number(first, split.COUNT) or 1
    if count == 1 and len(parts) > 1:
        names = ", ".join(path.name for path in paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
        raise ConvertError(f"Several models lie here ({names}), and one folder holds one model; name its file.")
    if count != len(parts):
        others = ", ".join(part.path.name for part in parts[1:3]) or "nothing else"
        raise ConvertError(
            f"{first.path.name} says that the model has {count} files, but with it lie {len(parts) - 1} others "
            f"({others}); one folder holds one model with all of its files."
        )
    if count > 1:
        _check_split(parts)
    _check_names(parts)
    fields = {key: field for key, field in first.header.fields.items() if key not in split.KEYS}
    _check_kinds(first.path.name, fields)
    return Model(parts=parts, fields=fields)


def _number(part: Part, key: str) -> int | None:
    field = part.header.fields.get(key)
    if field is None:
        return None
    if field.kind in (ValueType.STRING, ValueType.ARRAY, ValueType.FLOAT32, ValueType.FLOAT64):
        raise ConvertError(f"{part.path.name}: {key} is not a whole number.")
    return int(value(field))


def _check_split(parts: tuple[Part, ...]) -> None:
    for at, part in enumerate(parts):
        number, count = _number(part, split.NUMBER), _number(part, split.COUNT)
        named = split.numbered(part.path.name)
        if number != at or count != len(parts):
            raise ConvertError(
                f"{part.path.name} says that it is file {number} of {count} (from 0), not {at} of {len(parts)}."
            )
        if named is None or named[1:] != (at, len(parts)):
            raise ConvertError(
                f"{part.path.name} must be called NAME-{at + 1:05d}-of-{len(parts):05d}.gguf to be found by llama.cpp."
            )
    total = sum(len(part.header.tensors) for part in parts)
    expected = _number(parts[0], split.TENSOR_COUNT)
    if expected is not None and total != expected:
        raise ConvertError(f"The split files hold {total} tensors, and {split.TENSOR_COUNT} says {expected}.")


def _check_names(parts: tuple[Part, ...]) -> None:
    seen: dict[str, str] = {}
    for part in parts:
        for info in part.header.tensors:
            if info.name in seen:
                raise ConvertError(f"Tensor {info.name!r} is in {seen[info.name]} and in {part.path.name}.")
            seen[info.name] = part.path.name


def _check_kinds(name: str, fields: Mapping[str, Field]) -> None:
    """The keys that everybody reads hold what they should."""
    for key in _TEXTS:
        if key in fields and fields[key].kind is not ValueType.STRING:
            raise ConvertError(f"{name}: {key} holds {fields[key].kind.name}, and must hold a text.")
    for key, elements in _ARRAYS.items():
        if key in fields and fields[key].element not in elements:
            found = fields[key].element or fields[key].kind
            raise ConvertError(f"{name}: {key} holds {found.name}, and must be an array of {elements[0].name}.")


def facts(folder: Path) -> Facts:
    """What is known of a GGUF model from its headers. Raises ConvertError for one that is not sound."""
    model = read_model(folder)
    _check_templates(model)
    scheme = _scheme(model)
    texts = {key: text(model, f"general.{key}") for key in ("architecture", "license")}
    first = model.parts[0].header
    size = metadata_size(model.fields.values())
    checkpoint = describe(model.fields)
    return Facts(
        format="gguf",
        scheme=scheme,
        architecture=texts["architecture"],
        config=configuration(checkpoint, {info.name: info.shape for _, info in model.tensors}),
        tensors=tuple(info.tensor for _, info in model.tensors),
        files={part.path.name: part.header.file_size for part in model.parts},
        quantization=None if scheme in UNQUANTIZED else scheme,
        licence=_licence(texts["license"]),
        details={
            "gguf": gguf_details(model.fields.values(), size, len(model.fields), first.alignment),
            "tokenizer": read_tokenizer_details(model.fields),
            "checkpoint": checkpoint,
        },
    )


def _check_templates(model: Model) -> None:
    """No chat template, of those that runtimes choose among, reaches out of itself."""
    from modelmill.checkpoint import check_chat_template

    for key, field in model.fields.items():
        if key.startswith(_TEMPLATE) and field.kind is ValueType.STRING:
            check_chat_template(value(field), f"{model.parts[0].path.name}: {key}")


def _scheme(model: Model) -> str | None:
    """What general.file_type says; where it is silent, the type that most bytes have, if that is also a scheme."""
    field = model.fields.get("general.file_type")
    if field is not None and field.kind is ValueType.UINT32:
        return BY_NUMBER.get(int(value(field)))
    sizes: dict[str, int] = {}
    for _, info in model.tensors:
        sizes[info.kind] = sizes.get(info.kind, 0) + info.size
    kind = max(sorted(sizes), key=lambda name: sizes[name], default=None)
    return kind if kind in BY_NUMBER.values() else None


def text(model: Model, key: str) -> str | None:
    """A text of the metadata; None where the key is missing or holds something else."""
    field = model.fields.get(key)
    return value(field) if field is not None and field.kind is ValueType.STRING else None


def _licence(stated: str | None) -> str | None:
    from modelmill.checkpoint import spdx

    return spdx(stated) if stated else None


def validate(folder: Path) -> None:
    """Check a model: headers, sizes, names, and the keys without which llama.cpp loads nothing."""
    model = read_model(folder)
    name = model.parts[0].path.name
    architecture = text(model, "general.architecture")
    if not architecture:
        raise ConvertError(f"{name} lacks general.architecture, so that no runtime can load it.")
    kind = text(model, "general.type")
    if kind not in (None, "model"):
        return  # an adapter, a projector or an importance matrix has other keys
    if not model.tensors:
        raise ConvertError(f"{name} holds no tensors.")
    for key in _REQUIRED:
        if f"{architecture}.{key}" not in model.fields:
            raise ConvertError(f"{name} lacks {architecture}.{key}, so that llama.cpp cannot load it.")
    _check_vocabulary(model, name)


def _check_vocabulary(model: Model, name: str) -> None:
    tokens = model.fields.get("tokenizer.ggml.tokens")
    embedding: dict[str, Any] = {info.name: info.shape for _, info in model.tensors}
    shape = embedding.get("token_embd.weight")
    if tokens is not None and shape and tokens.count != shape[0]:
        raise ConvertError(f"{name} has {tokens.count} tokens, but token_embd.weight has {shape[0]} rows.")
