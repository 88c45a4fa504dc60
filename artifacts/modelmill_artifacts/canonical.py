"""The one byte form of a JSON value, which every digest, manifest and signature is made over."""

import hashlib
import json
from typing import Any


def dumps(value: Any) -> bytes:
    """Serialise to JSON with sorted keys, no white space, UTF-8 unescaped, and no NaN or infinity.

    Raises ValueError for a float that JSON cannot hold and TypeError for a value that is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def pretty(value: Any) -> bytes:
    """Serialise for people: as `dumps`, but indented by two and ended by a newline. Equally deterministic."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def sha256(value: Any) -> str:
    """The hexadecimal sha256 of a JSON value's canonical form. Never truncated."""
    return hashlib.sha256(dumps(value)).hexdigest()
