"""Which layers a model of each architecture has, as mlx-lm builds it: the table of `architectures.toml`, read."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from modelmill import ConvertError

_DERIVED = ("head_dim", "num_key_value_heads")
"""What follows from other numbers where config.json says null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A layer that holds weights: its path in mlx-lm's model, its weight's dimensions, and whether it has a bias."""

    path: str
    dimensions: tuple[str, ...]
    bias: str | None = None
    """None, "always", or the key of config.json that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture: its layers in mlx-lm's order, and where it is told what is shared."""

    name: str
    modules: tuple[Module, ...]
    tied: bool | str
    rope_parameters: bool
    rope_scaling: bool


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The architecture that config.json names. ConvertError for one that is not in the table."""
    found = config.get("model_type")
    known = _table()
    if not isinstance(found, str) or found not in known:
        raise ConvertError(
            f"config.json: the MLX converter does not know the model_type {found!r}; "
            f"it knows {', '.join(sorted(known))}"
        )
    return known[found]


def layers_of(config: Mapping[str, Any]) -> int:
    """How many layers config.json says there are. ConvertError where it does not say."""
    layers = config.get("num_hidden_layers")
    if type(layers) is not int or layers < 1:
        raise ConvertError(f"config.json: num_hidden_layers is {layers!r}, not a number of layers")
    return layers


def is_tied(architecture: Architecture, config: Mapping[str, Any], names: frozenset[str]) -> bool:
    """Whether the token embedding serves as the output matrix too."""
    if architecture.tied == "always":
        return True
    if architecture.tied == "absent":
        return "lm_head.weight" not in names
    return bool(config.get("tie_word_embeddings", architecture.tied))


def modules_of(architecture: Architecture, layers: int) -> Iterator[Module]:
    """Every layer of a model, in mlx-lm's order, with its number in the path."""
    rows = architecture.modules
    repeated = [row for row in rows if "*" in row.path]
    first = rows.index(repeated[0])
    yield from rows[:first]
    for number in range(layers):
        for row in repeated:
            path = row.path.replace("*", str(number))
            yield Module(path=path, dimensions=row.dimensions, bias=row.bias)
    yield from rows[first + len(repeated) :]


def expected_shape(module: Module, config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """The shape that config.json asks for; None for a dimension that it does not settle. ConvertError for no number."""
    sizes = _sizes(config)
    return tuple(_dimension(text, sizes) for text in module.dimensions)


def has_bias(module: Module, config: Mapping[str, Any]) -> bool:
    """Whether mlx-lm's layer has a bias for this configuration."""
    return module.bias == "always" or (module.bias is not None and bool(config.get(module.bias)))


def _sizes(config: Mapping[str, Any]) -> dict[str, int | None]:
    def size(key: str) -> int | None:
        value = config.get(key)
        if key not in config or (value is None and key in _DERIVED):
            return None
        if type(value) is not int or value < 1:
            raise ConvertError(f"config.json: {key} is {value!r}, not a whole number above 0")
        return value

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    groups = size("num_key_value_heads") or heads
    head = size("head_dim") or (hidden // heads if hidden and heads else None)
    return {
        "h": hidden,
        "m": size("intermediate_size"),
        "v": size("vocab_size"),
        "d": head,
        "q": heads * head if heads and head else None,
        "k": groups * head if groups and head else None,
    }


def _dimension(text: str, sizes: Mapping[str, int | None]) -> int | None:
    total = 0
    for times, symbol in re.findall(r"(\d*)([a-z])", text):
        size = sizes[symbol]
        if size is None:
            return None
        total += int(times or 1) * size
    return total


@cache
def _table() -> Mapping[str, Architecture]:
    table = tomllib.loads(files("modelmill_mlx").joinpath("architectures.toml").read_text())
    found = {}
    for name, entry in table.items():
        architecture = Architecture(
            name=name,
            modules=tuple(_module(*row) for row in entry["modules"]),
            tied=entry["tied"],
            rope_parameters=entry.get("rope_parameters", False),
            rope_scaling=entry.get("rope_scaling", True),
        )
        for alias in (name, *entry.get("also", ())):
            found[alias] = architecture
    return found


def _module(path: str, dimensions: str, bias: str = "") -> Module:
    key = bias.removeprefix("bias").removeprefix("?")
    return Module(path=path, dimensions=tuple(dimensions.split()), bias=(key or "always") if bias else None)
