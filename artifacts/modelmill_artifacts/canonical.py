"""The one byte form of a JSON value, which every digest, manifest and signature is made over."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from modelmill_artifacts.errors import ArtifactError


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


def loads(data: bytes, where: str, form: Callable[[Any], bytes] = pretty) -> Any:
    """Parse JSON that must be in the given byte form, so that no two files say the same.

    That refuses duplicate keys, other spellings of a number and white space without a rule for each.
    Raises ArtifactError, its sentence opened by `where`.
    """
    value = parse(data, where)
    try:
        same = form(value) == data
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not a JSON document: {error}") from error
    if not same:
        raise ArtifactError(f"{where}: not in canonical form: its bytes are not what writing its content gives")
    return value


def parse(data: bytes, where: str) -> Any:
    """Parse JSON in any byte form, without duplicate keys. Raises ArtifactError, its sentence opened by `where`."""
    try:
        return json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not a JSON document: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def sha256(value: Any) -> str:
    """The hexadecimal sha256 of a JSON value's canonical form. Never truncated."""
    return hashlib.sha256(dumps(value)).hexdigest()
