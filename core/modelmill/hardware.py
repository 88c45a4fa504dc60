"""The schema of hardware profiles: TOML → fields by dotted name, checked, with what is inherited filled in."""

import tomllib
from collections.abc import Iterator, Mapping
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
    "cpu.microarchitecture": (_TEXT, "archspec's name"),
    "cpu.features": (_WORDS, "instruction set features that must be there, in Linux's words"),
    "cpu.cores": (_COUNT, "physical cores that inference should use"),
    "cpu.threads": (_COUNT, "hardware threads"),
    "memory.total_mib": (_COUNT, "MiB in all"),
    "memory.budget_mib": (_COUNT, "MiB that a model may use: weights, KV cache and overhead"),
    "memory.bandwidth_gbps": (_NUMBER, "GB/s between memory and what computes"),
    "accelerator.kind": (_TEXT, "none, cuda, metal, vulkan, npu or webgpu"),
    "accelerator.name": (_TEXT, "the device's own name"),
    "accelerator.compute": (_TEXT, "the architecture as its toolkit names it, such as sm_89"),
    "accelerator.memory_mib": (_COUNT, "MiB of its own; 0 where it shares the main memory"),
    "accelerator.bandwidth_gbps": (_NUMBER, "GB/s of its own memory"),
    "storage.artifact_max_mib": (_COUNT, "MiB that an artifact may take"),
    "workload.context": (_COUNT, "tokens of context that it is meant to hold"),
    "workload.parallel": (_COUNT, "sequences at once"),
    "workload.kv_type": (_TEXT, "type of the KV cache: f16, q8_0"),
    "runtime.*.min": (_TEXT, "the oldest version of this runtime that serves the device"),
    "runtime.*.fast": (_WORDS, "schemes that it runs well there"),
    "runtime.*.slow": (_WORDS, "schemes that it runs, but slowly"),
    "runtime.*.impossible": (_WORDS, "schemes that it cannot run there"),
    "evidence.*": (_TEXT, "where the figures of a table come from"),
}
"""Every field a profile may have: its kind, and what it means. `*` stands for one name."""

_CHECKS = {
    _TEXT: ("a string", lambda value: isinstance(value, str) and value != ""),
    _COUNT: ("a whole number, not negative", lambda value: type(value) is int and value >= 0),
    _NUMBER: ("a number, not negative", lambda value: type(value) in (int, float) and value >= 0),
    _WORDS: (
        "a list of strings",
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    ),
}
_NEEDED = ("description", "os.family", "os.arch")


def load_profile(name: str, texts: Mapping[str, str]) -> Hardware:
    """The profile of this name, given the TOML of every profile by name.

    Raises ConfigError that names the file for bad TOML, an unknown or missing field, a wrong type, a profile
    that inherits from one that is not there, or from itself.
    """
    fields = _with_inherited(name, texts, ())
    for needed in _NEEDED:
        if needed not in fields:
            raise ConfigError(f"{name}.toml: {needed!r} is missing ({FIELDS[needed][1]})")
    return Hardware(fields={"name": name, **fields})


def ancestors(name: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    """All profiles that this one inherits from: what runs there runs here."""
    found: dict[str, None] = {}
    for parent in _own(name, texts).get("inherits", ()):
        found[parent] = None
        found.update(dict.fromkeys(ancestors(parent, texts)))
    return tuple(found)


def _with_inherited(name: str, texts: Mapping[str, str], heirs: tuple[str, ...]) -> dict[str, Any]:
    if name in heirs:
        raise ConfigError(f"{name}.toml: inherits from itself: {' → '.join((*heirs, name))}")
    own = _own(name, texts)
    fields: dict[str, Any] = {}
    for parent in own.get("inherits", ()):
        if parent not in texts:
            raise ConfigError(f"{name}.toml: inherits from {parent!r}, which is not there; {suggestion(parent, texts)}")
        inherited = _with_inherited(parent, texts, (*heirs, name))
        fields |= {key: value for key, value in inherited.items() if not key.startswith(("description", "evidence."))}
    return {**fields, **{key: value for key, value in own.items() if key != "inherits"}}


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
