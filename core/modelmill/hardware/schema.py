"""The schema of hardware profiles: TOML → fields by dotted name, checked, with what is inherited filled in."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from modelmill.decode import suggestion
from modelmill.errors import ConfigError
from modelmill.types import Hardware

_TEXT, _COUNT, _NUMBER, _WORDS = "text", "count", "number", "words"

FIELDS: Mapping[str, tuple[str, str]] = {
    "description": (_TEXT, "what the device class is, in a sentence"),
    "inherits": (_WORDS, "profiles whose fields this one starts from, later ones winning"),
    "os.family": (_TEXT, "linux, macos, windows or android"),
    "os.arch": (_TEXT, "amd64 or arm64, as OCI names it"),
    "os.variant": (_TEXT, "the architecture's variant, as OCI names it: v8 for arm64, v3 for x86-64-v3"),
    "os.libc": (_TEXT, "glibc, musl or bionic"),
    "os.min": (_TEXT, "the oldest version of the system that is meant"),
    "cpu.microarchitecture": (_TEXT, "archspec's name of it, else of the newest generic one that it implements"),
    "cpu.features": (
        _WORDS,
        "instruction set features that must be there, in Linux's words; they add to inherited ones",
    ),
    "cpu.cores": (_COUNT, "physical cores that inference should use"),
    "cpu.threads": (_COUNT, "hardware threads"),
    "cpu.llc_kib": (_COUNT, "KiB of the last level of cache"),
    "memory.total_mib": (_COUNT, "MiB in all"),
    "memory.budget_mib": (_COUNT, "MiB that a model may use: weights, KV cache and overhead"),
    "memory.bandwidth_gbps": (_NUMBER, "GB/s between memory and what computes"),
    "accelerator.kind": (_TEXT, "none, cuda, metal, vulkan, npu or webgpu"),
    "accelerator.name": (_TEXT, "the device's own name"),
    "accelerator.compute": (_TEXT, "the architecture as its toolkit names it, such as sm_89"),
    "accelerator.memory_mib": (_COUNT, "MiB of its own; 0 where it shares the main memory"),
    "accelerator.bandwidth_gbps": (_NUMBER, "GB/s of its own memory"),
    "accelerator.driver_min": (_TEXT, "the oldest driver that serves it"),
    "accelerator.provider": (_TEXT, "ONNX Runtime's execution provider for it"),
    "storage.artifact_max_mib": (_COUNT, "MiB that an artifact may take"),
    "storage.split_mib": (_COUNT, "MiB that one file may take"),
    "workload.context": (_COUNT, "tokens of context that it is meant to hold"),
    "workload.parallel": (_COUNT, "sequences at once"),
    "workload.kv_type": (_TEXT, "type of the KV cache: f32, f16, bf16, q8_0, q5_0, q5_1, q4_0, q4_1 or iq4_nl"),
    "runtime.*.min": (_TEXT, "the oldest version of this runtime that serves the device"),
    "runtime.*.fast": (_WORDS, "schemes that it runs well there"),
    "runtime.*.slow": (_WORDS, "schemes that it runs, but slowly"),
    "runtime.*.impossible": (_WORDS, "schemes that it cannot run there"),
    "evidence.*": (_TEXT, "where the figures of a table come from"),
}
"""Every field a profile may have: its kind, and what it means. `*` stands for one name."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "os.family": ("linux", "macos", "windows", "android"),
    "os.arch": ("amd64", "arm64"),
    "os.libc": ("glibc", "musl", "bionic"),
    "accelerator.kind": ("none", "cuda", "metal", "vulkan", "npu", "webgpu"),
    "workload.kv_type": ("f32", "f16", "bf16", "q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl"),
}
"""Texts that must be one of a few."""

_CHECKS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    _TEXT: ("a string", lambda value: isinstance(value, str) and value != ""),
    _COUNT: ("a whole number, not negative", lambda value: type(value) is int and value >= 0),
    _NUMBER: (
        "a number, not negative",
        lambda value: type(value) in (int, float) and isfinite(value) and value >= 0,
    ),
    _WORDS: (
        "a list of strings",
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    ),
}
_NEEDED = ("description", "os.family", "os.arch")
_FIXED = ("os.arch",)
"""What no heir may change: what runs on a profile must run on all that inherit from it."""


def load_profile(name: str, texts: Mapping[str, str]) -> Hardware:
    """The profile of this name, given the TOML of every profile by name.

    Raises ConfigError that names the file for bad TOML, an unknown or missing field, a wrong type, a profile
    that inherits from one that is not there, or from itself, a budget beyond the memory.
    """
    fields = _with_inherited(name, texts)
    for needed in _NEEDED:
        if needed not in fields:
            raise ConfigError(f"{name}.toml: {needed!r} is missing ({FIELDS[needed][1]})")
    _check_budget(name, fields)
    return Hardware(fields={"name": name, **fields})


def _check_budget(name: str, fields: Mapping[str, Any]) -> None:
    """Refuse a budget that the memory for models does not hold, such as an heir's that only its memory differs in."""
    budget = fields.get("memory.budget_mib", 0)
    own = "accelerator.memory_mib"
    memory = own if fields.get(own) else "memory.total_mib"
    if budget > fields.get(memory, budget):
        raise ConfigError(
            f"{name}.toml: 'memory.budget_mib' is {budget}, more than {memory!r} of {fields[memory]}; "
            "state here what a model may use of it"
        )


def ancestors(name: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    """All profiles that this one inherits from, nearest first: an artifact for any of them runs here too.

    Inheritance is a partial order, as among archspec's microarchitectures: an heir adds features and never
    drops one. Raises ConfigError as `load_profile` does.
    """
    found: dict[str, None] = {}
    parents = _parents(name, texts, (name,))
    for parent in parents:
        found[parent] = None
    for parent in parents:
        found.update(dict.fromkeys(ancestors(parent, texts)))
    return tuple(found)


def _parents(name: str, texts: Mapping[str, str], heirs: tuple[str, ...]) -> tuple[str, ...]:
    parents: list[str] = _own(name, texts).get("inherits", [])
    for parent in parents:
        if parent in heirs:
            raise ConfigError(f"{name}.toml: inherits from itself: {' → '.join((*heirs, parent))}")
        if parent not in texts:
            raise ConfigError(f"{name}.toml: inherits from {parent!r}, which is not there; {suggestion(parent, texts)}")
        _parents(parent, texts, (*heirs, parent))
    return tuple(parents)


def _with_inherited(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    own = _own(name, texts)
    fields: dict[str, Any] = {}
    features: dict[str, None] = {}
    for parent in _parents(name, texts, (name,)):
        inherited = _with_inherited(parent, texts)
        for fixed in _FIXED:
            stated = own.get(fixed, fields.get(fixed))
            if stated is not None and inherited.get(fixed, stated) != stated:
                raise ConfigError(f"{name}.toml: {fixed!r} is {stated!r}, but {parent!r} has {inherited[fixed]!r}")
        features |= dict.fromkeys(inherited.get("cpu.features", ()))
        fields |= {key: value for key, value in inherited.items() if key != "description"}
    features |= dict.fromkeys(own.get("cpu.features", ()))
    fields |= {key: value for key, value in own.items() if key != "inherits"}
    return fields | ({"cpu.features": list(features)} if features else {})


def _own(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    try:
        table = tomllib.loads(texts[name])
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}.toml: not valid TOML: {error}") from error
    found = {}
    for key, value in _flat(table, ""):
        known = key if key in FIELDS else _starred(key)
        if known not in FIELDS:
            raise ConfigError(f"{name}.toml: unknown field {key!r}; {suggestion(key, FIELDS)}")
        words, check = _CHECKS[FIELDS[known][0]]
        if not check(value):
            raise ConfigError(f"{name}.toml: {key!r} must be {words}, not {value!r}")
        if key in CHOICES and value not in CHOICES[key]:
            raise ConfigError(f"{name}.toml: {key!r} is {value!r}; {suggestion(value, CHOICES[key])}")
        found[key] = value
    return found


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _starred(key: str) -> str:
    """`runtime.llamacpp.fast` → `runtime.*.fast`; `evidence.memory` → `evidence.*`."""
    parts = key.split(".")
    if len(parts) > 1:
        parts[1] = "*"
    return ".".join(parts)
