"""The records that build.toml is read into; their fields are the keys that it may have."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
"""What projects, sources, targets and hardware profiles may be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """`[project]`: what the artifacts are called, and the licence that they are given."""

    name: str
    version: str
    license: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """`[source.NAME]`: where a checkpoint, or another input, comes from."""

    uri: str
    revision: str | None = None
    format: str | None = None
    """The format, where the files alone do not tell."""
    license: str | None = None
    """The licence, where the files alone do not tell."""
    requantize: bool = False
    """Allows to quantize again what was quantized before; the manifest records it."""
    include: tuple[str, ...] = ()
    """Patterns (`*` matches any characters, `/` too) of the files to take; without any, a checkpoint's own."""
    exclude: tuple[str, ...] = ()
    """Patterns of files to leave out."""
    pickle: Literal["refuse", "weights-only"] = "refuse"
    """`weights-only` takes weights that are pickles (`pytorch_model.bin`), where they hold tensors and nothing else."""


COMPOSED = {"adapter": "peft-adapter", "chat_template": "chat-template", "generation_config": "generation-config"}
"""Keys of a target that name what is put into its model, in the order in which that is done, and the formats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """`[defaults]`: what targets have that do not say otherwise."""

    source: str | None = None
    adapter: str | None = None
    """A source with a LoRA adapter, which is merged into the model before anything else is done with it."""
    chat_template: str | None = None
    """A file, or a source, with the chat template that the model gets instead of its own."""
    generation_config: str | None = None
    """A file, or a source, with the generation_config.json that the model gets instead of its own."""
    hardware: str | None = None
    """A hardware profile: its name, or its file (`boards/gateway.toml`), relative to build.toml's folder."""
    format: str | None = None
    scheme: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTable:
    """`[target.NAME]` as written."""

    source: str | None = None
    adapter: str | None = None
    """A source with a LoRA adapter, which is merged into the model before anything else is done with it."""
    chat_template: str | None = None
    """A file, or a source, with the chat template that the model gets instead of its own."""
    generation_config: str | None = None
    """A file, or a source, with the generation_config.json that the model gets instead of its own."""
    hardware: str | None = None
    """A hardware profile: its name, or its file (`boards/gateway.toml`), relative to build.toml's folder."""
    format: str | None = None
    scheme: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Further inputs of its steps, by name: each the name of a source."""
    converter: str | None = None
    quantizer: str | None = None
    default: bool = True
    """False: built only when it is named, or with --all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One artifact to make, with the defaults filled in."""

    name: str
    source: str
    hardware: str
    """The hardware profile's name; where `hardware_file` is its file, the file's name without `.toml`."""
    format: str
    scheme: str
    options: Mapping[str, Any]
    inputs: Mapping[str, str]
    """By name, each the name of a source; what is put into the model comes first (see COMPOSED)."""
    converter: str | None
    quantizer: str | None
    default: bool
    hardware_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """`[sign]`: with which key artifacts are signed, or that they are not."""

    mode: Literal["key", "none"] = "key"
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`[policy]`: what may be built."""

    licenses: tuple[str, ...] | None = None
    """SPDX identifiers (or names of known custom licences) that a target's inputs may have; unset: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """build.toml as written; beside these keys it may have the tables that plugins read."""

    project: Project
    source: Mapping[str, SourceTable]
    target: Mapping[str, TargetTable]
    defaults: Defaults = field(default_factory=Defaults)
    sign: Sign = field(default_factory=Sign)
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What build.toml asks for. `path` is the file, `tables` are those that plugins read, as written."""

    path: Path
    text: str
    project: Project
    sources: Mapping[str, SourceTable]
    targets: Mapping[str, Target]
    sign: Sign
    policy: Policy
    tables: Mapping[str, Any]
