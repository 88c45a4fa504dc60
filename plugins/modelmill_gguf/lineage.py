"""Where a model comes from, in GGUF's `general` keys: name, size, licence, source, base models, data sets, sampling.

Source: gguf-py's `Metadata`, for the same files. Left out is what it guesses from names: that of the folder, and the
version in that of a base model or a data set, which its name holds anyway. Beyond it goes `general.source.revision`:
GGUF has no key for the exact revision that was converted, and no other says which.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from modelmill import Lineage
from modelmill_gguf.fields import Field, ValueType, float32, scalar, string, strings, uint32
from modelmill_gguf.precision import LARGEST

_SAMPLING = {
    "top_k": ("top_k", ValueType.INT32),
    "top_p": ("top_p", ValueType.FLOAT32),
    "min_p": ("min_p", ValueType.FLOAT32),
    "xtc_probability": ("xtc_probability", ValueType.FLOAT32),
    "xtc_threshold": ("xtc_threshold", ValueType.FLOAT32),
    "temperature": ("temp", ValueType.FLOAT32),
    "penalty_last_n": ("penalty_last_n", ValueType.INT32),
    "repetition_penalty": ("penalty_repeat", ValueType.FLOAT32),
    "mirostat": ("mirostat", ValueType.INT32),
    "mirostat_tau": ("mirostat_tau", ValueType.FLOAT32),
    "mirostat_eta": ("mirostat_eta", ValueType.FLOAT32),
}
_HUB = "https://huggingface.co/"


def lineage_fields(
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    generation: Mapping[str, Any],
    parameters: int,
    lineage: Lineage | None = None,
) -> list[Field]:
    """The fields from config.json, the model card's front matter, generation_config.json and the model's size.

    With a lineage, also where the checkpoint was fetched, and at which revision.
    """
    fields = _sampling(generation)
    organization, name = _identity(config, card)
    if name:
        fields.append(string("general.name", name))
    for key, text in (
        ("author", _stated(card, "author", "model_author", "model_creator")),
        ("version", _stated(card, "version", "model_version")),
        ("organization", organization),
        ("description", _stated(card, "description", "model_description")),
    ):
        if text:
            fields.append(string(f"general.{key}", text))
    fields.append(string("general.size_label", size_label(parameters)))
    for key, entry in (
        ("license", "license"),
        ("license.name", "license_name"),
        ("license.link", "license_link"),
    ):
        if value := card.get(entry):
            fields.append(string(f"general.{key}", ",".join(_listed(value))))
    fields += _source(lineage)
    fields += _references("base_model", _listed(card.get("base_model")))
    fields += _references("dataset", _listed(card.get("datasets")))
    if tags := [*_listed(card.get("tags")), *_listed(card.get("pipeline_tag"))]:
        fields.append(strings("general.tags", tags))
    if languages := _listed(card.get("language")):
        fields.append(strings("general.languages", languages))
    return fields


def size_label(parameters: int) -> str:
    """A count of weights as people say it: two significant digits and K, M, B or T."""
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (0, "K")):
        if parameters > limit:
            scaled = parameters * {"T": 1e-12, "B": 1e-9, "M": 1e-6, "K": 1e-3}[suffix]
            digits = len(str(round(scaled)).lstrip("0"))
            return f"{scaled:.{max(2 - digits, 0)}f}{suffix}"
    return "0.0K"


def _sampling(generation: Mapping[str, Any]) -> list[Field]:
    fields = []
    for source, (key, kind) in _SAMPLING.items():
        value = generation.get(source)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST:
            continue
        name = f"general.sampling.{key}"
        if kind is ValueType.FLOAT32:
            fields.append(float32(name, value))
        elif isinstance(value, int) and abs(value) < 2**31:
            fields.append(scalar(name, kind, value))
    return fields


def _identity(config: Mapping[str, Any], card: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Organization and name: the card's words, else those of the hub's identifier that config.json was saved with."""
    organization = _stated(card, "organization", "model_organization")
    name = _stated(card, "model_name", "name")
    saved = config.get("_name_or_path")
    # A path of somebody's machine says nothing about the model.
    if isinstance(saved, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", saved) and not saved.startswith("."):
        owner, _, model = saved.partition("/")
        organization, name = organization or owner, name or _title(model)
    return organization, name


def _stated(card: Mapping[str, Any], *keys: str) -> str | None:
    """The first text under one of these keys."""
    return next((found for key in keys if isinstance(found := card.get(key), str) and found), None)


def _source(lineage: Lineage | None) -> list[Field]:
    if lineage is None:
        return []
    fields = [string("general.source.revision", lineage.revision)]
    parts = urlsplit(lineage.uri)
    if parts.scheme == "hf":
        repository = _HUB + f"{parts.netloc}{parts.path}".partition("@")[0]
        fields.insert(0, string("general.source.url", f"{repository}/tree/{quote(lineage.revision, safe='')}"))
        fields.append(string("general.source.repo_url", repository))
    elif parts.scheme in ("http", "https"):
        # Neither a password nor a signed query is anybody else's business.
        fields.insert(
            0, string("general.source.url", f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
        )
    return fields


def _references(kind: str, identifiers: Sequence[str]) -> list[Field]:
    if not identifiers:
        return []
    fields = [uint32(f"general.{kind}.count", len(identifiers))]
    for at, identifier in enumerate(identifiers):
        key = f"general.{kind}.{at}"
        is_url = "://" in identifier
        # An address says more than where it leads only where it is that of a repository and nothing deeper.
        on_hub = re.fullmatch(r"https?://huggingface\.co/([^/]+/[^/]+)", identifier)
        name = on_hub[1] if on_hub else identifier
        owner, _, model = (name, "", "") if " " in name else name.partition("/")
        if not is_url or on_hub:
            fields.append(string(f"{key}.name", _title(model or owner)))
            if model:
                fields.append(string(f"{key}.organization", _title(owner)))
        if is_url or model:
            fields.append(string(f"{key}.repo_url", identifier if is_url else _HUB + identifier))
    return fields


def _title(identifier: str) -> str:
    words = identifier.replace("-", " ").split()
    return " ".join(
        word.title() if word.islower() and not re.fullmatch(r"v\d+(\.\d+)*|\d.*", word) else word for word in words
    )


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each]
