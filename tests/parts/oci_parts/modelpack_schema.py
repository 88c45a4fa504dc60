"""What a ModelPack configuration may hold: the specification's rules, restated as a JSON Schema.

Source: modelpack/model-spec, docs/config.md and schema/config-schema.json (which is not ours to ship). With
MODELMILL_MODELPACK_SCHEMA naming a copy of that file, tests validate against the original too.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Rules = Mapping[str, Any]


def _object(properties: Rules, required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _each(rule: Rules, *names: str) -> dict[str, Rules]:
    return dict.fromkeys(names, rule)


_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
_MODES: dict[str, Any] = {
    "type": "array",
    "items": {"enum": ["text", "image", "audio", "video", "embedding", "other"]},
}

_FLAG: dict[str, Any] = {"type": "boolean"}

_DESCRIPTOR = _object(
    {
        **_each(_TEXT, "family", "docURL", "sourceURL", "version", "revision", "vendor", "title", "description"),
        **_each(_TEXTS, "authors", "datasetsURL", "licenses"),
        "createdAt": _TIME,
        "name": {"type": "string", "minLength": 1},
    }
)
_TRANSFORMER = _object(
    {
        "attentionType": {"enum": ["mha", "gqa", "mla"]},
        "mlpType": {"enum": ["dense", "moe"]},
        **_each(_COUNT, "numLayers", "numAttentionHeads", "numKVHeads", "hiddenSize", "intermediateSize"),
    }
)
_CAPABILITIES = _object(
    {
        **_each(_MODES, "inputTypes", "outputTypes"),
        **_each(_FLAG, "reasoning", "toolUsage", "reward"),
        "knowledgeCutoff": _TIME,
        "languages": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}},
    }
)
_CONFIG = _object(
    {
        **_each(_TEXT, "architecture", "format", "paramSize", "precision", "quantization"),
        "transformerConfig": _TRANSFORMER,
        "capabilities": _CAPABILITIES,
    }
)
_LAYERS = _object(
    {"type": {"const": "layers"}, "diffIds": {"type": "array", "items": _TEXT, "minItems": 1}}, ("type", "diffIds")
)
SCHEMA = _object(
    {"descriptor": _DESCRIPTOR, "config": _CONFIG, "modelfs": _LAYERS}, ("descriptor", "config", "modelfs")
)


def schemas() -> list[Any]:
    """The restated schema, and the original where its file is named."""
    original = os.environ.get("MODELMILL_MODELPACK_SCHEMA")
    return [SCHEMA, *([json.loads(Path(original).read_bytes())] if original else [])]
