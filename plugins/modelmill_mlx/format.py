"""The format `mlx`: what makes a folder one, what is in it, and whether it is sound."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Facts, Tensor
from modelmill.checkpoint import file_sizes, find_tensors, read_licence, read_object, read_tokenizer, summarize
from modelmill_mlx.architectures import architecture_of
from modelmill_mlx.files import INDEX, METADATA
from modelmill_mlx.layout import Request, plan_layout
from modelmill_mlx.predict import require_tokenizer
from modelmill_mlx.schemes import FLOATS, GROUP_SIZES, RECIPES, TYPES, WORD_BITS, Quantization, stored

_HEADER_START = 1 << 16
_MODES = {"affine": (2, 3, 4, 5, 6, 8), "mxfp4": (4,)}


def detect(folder: Path) -> bool:
    """Whether a folder holds a model that mlx-lm wrote: its weights say so themselves."""
    if not (folder / "config.json").is_file():
        return False
    return any(_says_mlx(path) for path in sorted(folder.glob("model*.safetensors"))[:1])


def facts(folder: Path) -> Facts:
    """What is known of the model without its weights. ConvertError for a folder that is not sound."""
    config = read_object(folder / "config.json")
    weights = quantized_weights(config, tensors_of(folder))
    tokenizer = read_tokenizer(folder)
    scheme = scheme_of(config, weights)
    architectures = config.get("architectures")
    return Facts(
        format="mlx",
        scheme=scheme,
        architecture=architectures[0] if isinstance(architectures, list) and architectures else None,
        config=config,
        tensors=tuple(
            replace(tensor, dtype=quantization.dtype) if quantization else tensor for tensor, quantization in weights
        ),
        files=file_sizes(folder),
        quantization=None if scheme in FLOATS else scheme,
        licence=read_licence(folder),
        details={"tokenizer": summarize(tokenizer) if tokenizer else None},
    )


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """The tensors of the files by name, as their headers have them."""
    return {name: placed.entry.tensor for name, placed in find_tensors(folder).items()}


def quantized_weights(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[tuple[Tensor, Quantization | None], ...]:
    """Every weight in its own shape, by name, with how it is quantized; ConvertError where parts do not fit."""
    entry = config.get("quantization") or {}
    if not isinstance(entry, Mapping):
        raise ConvertError(f"config.json: quantization is {entry!r}, not a table")
    found: list[tuple[Tensor, Quantization | None]] = []
    parts: set[str] = set()
    for name, tensor in sorted(tensors.items()):
        path = name.removesuffix(".weight")
        if path == name or f"{path}.scales" not in tensors:
            continue
        quantization = _quantization(path, entry)
        width = tensor.shape[-1] * WORD_BITS // quantization.bits if tensor.shape else 0
        scales = tensors[f"{path}.scales"]
        whole = Tensor(name=name, dtype=scales.dtype, shape=(*tensor.shape[:-1], width))
        for expected in stored(whole, quantization):
            if tensors.get(expected.name) != expected:
                raise ConvertError(
                    f"{path}: {expected.name} should be {expected.dtype} of shape {list(expected.shape)} for "
                    f"{quantization.dtype}, and is {_described(tensors.get(expected.name))}"
                )
            parts.add(expected.name)
        found.append((whole, quantization))
    found += [(tensor, None) for name, tensor in tensors.items() if name not in parts]
    return tuple(sorted(found, key=lambda item: item[0].name))


def scheme_of(config: Mapping[str, Any], weights: tuple[tuple[Tensor, Quantization | None], ...]) -> str | None:
    """The scheme that made the folder; None for floats of several dtypes."""
    kinds = {quantization.bits if quantization.mode == "affine" else 0 for _, quantization in weights if quantization}
    if not kinds:
        words = {safetensors: scheme for scheme, (_, safetensors) in FLOATS.items()}
        dtypes = {tensor.dtype for tensor, _ in weights if len(tensor.shape) > 1}
        return words.get(dtypes.pop()) if len(dtypes) == 1 else None
    mixed = any(isinstance(value, Mapping) and "mode" in value for value in config["quantization"].values())
    name = "_".join(["mixed", *map(str, sorted(kinds))])
    if mixed and name in RECIPES:
        return name
    default = config["quantization"]
    plain = "mxfp4" if default.get("mode") == "mxfp4" else f"{default.get('bits')}bit"
    return plain if plain in TYPES else None


def validate(folder: Path) -> None:
    """Read the folder as mlx-lm would. ConvertError where weights, config, index and tokenizer do not fit together."""
    from modelmill_mlx.read import check_numbers

    config = read_object(folder / "config.json")
    if config.get("quantization") != config.get("quantization_config"):
        raise ConvertError("config.json: quantization and quantization_config differ")
    tensors = tensors_of(folder)
    weights = quantized_weights(config, tensors)
    names = {tensor.name.removesuffix(".weight") for tensor, quantization in weights if quantization}
    for path, value in (config.get("quantization") or {}).items():
        if isinstance(value, Mapping) and path not in names:
            raise ConvertError(f"config.json: quantization names {path!r}, and no tensor is quantized by that name")
    if names and not config.get("quantization"):
        raise ConvertError("config.json: has no quantization, and the weights are quantized")
    whole = (replace(tensor, dtype="F32") if quantization else tensor for tensor, quantization in weights)
    _check_architecture(config, tuple(whole))
    _check_index(folder)
    require_tokenizer(file_sizes(folder))
    check_numbers(folder, weights)


def _check_architecture(config: Mapping[str, Any], weights: tuple[Tensor, ...]) -> None:
    """ConvertError where mlx-lm's model has other weights or shapes; unknown architectures pass."""
    try:
        architecture_of(config)
    except ConvertError:
        return
    plain = {key: value for key, value in config.items() if key not in ("quantization", "quantization_config")}
    plan_layout(plain, weights, Request(scheme="f32"))


def _check_index(folder: Path) -> None:
    places = read_object(folder / INDEX).get("weight_map")
    found = {name: placed.file for name, placed in find_tensors(folder).items()}
    if places != found:
        raise ConvertError(f"{INDEX}: does not list exactly the tensors of the weight files")


def _quantization(path: str, entry: Mapping[str, Any]) -> Quantization:
    own = entry.get(path, entry)
    if not isinstance(own, Mapping):
        raise ConvertError(f"config.json: quantization says {own!r} of {path!r}, whose weights are quantized")
    bits, mode = own.get("bits"), own.get("mode", "affine")
    if mode not in _MODES or bits not in _MODES[mode]:
        raise ConvertError(f"config.json: {path!r} has {bits!r} bits in mode {mode!r}, which this plugin does not read")
    group_size = own.get("group_size") or GROUP_SIZES[mode][0]
    if group_size not in GROUP_SIZES[mode]:
        raise ConvertError(f"config.json: {path!r} has groups of {group_size!r} values, which MLX does not have")
    return Quantization(bits=bits, group_size=group_size, mode=mode)


def _described(tensor: Tensor | None) -> str:
    return f"{tensor.dtype} of shape {list(tensor.shape)}" if tensor else "not there"


def _says_mlx(path: Path) -> bool:
    """Whether a file's metadata, which MLX writes at the start of the header, names MLX as what wrote it."""
    with path.open("rb") as file:
        start = file.read(_HEADER_START)[8:]
    text = '"__metadata__":' + json.dumps(dict(METADATA), separators=(",", ":"))
    return text.encode() in start
