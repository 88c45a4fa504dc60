"""Bounded, strict reading of the JSON files that a checkpoint consists of."""

import codecs
import json
import re
from pathlib import Path
from typing import Any, NoReturn

from modelmill.errors import ConvertError

CONFIG_LIMIT = 16 * 1024**2
"""Bytes; the largest known config.json is below one megabyte."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
TOKENIZER_LIMIT = 128 * 1024**2
"""Bytes; the largest known tokenizer.json (262,144 tokens) has 33 MB."""


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes. ConvertError where it is missing or larger."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise ConvertError(f"{path.name}: {size:,} bytes are more than the {limit:,} that are read of it")
        return path.read_bytes()
    except FileNotFoundError:
        raise ConvertError(f"{path.name}: there is no such file in the checkpoint") from None
    except OSError as error:
        raise ConvertError(f"{path.name}: cannot be read: {error.strerror}") from None


def read_text(path: Path, limit: int) -> str:
    """The same as UTF-8 text."""
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise ConvertError(f"{path.name}: is not UTF-8 (byte {error.start})") from None


def read_object(path: Path, limit: int = CONFIG_LIMIT) -> dict[str, Any]:
    """A JSON file that holds one object. ConvertError for anything else, naming the file."""
    return parse_object(read_bytes(path, limit), path.name)


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """One JSON object (RFC 8259, UTF-8, no byte order mark, no duplicate keys, no NaN, no half of a surrogate pair).

    `where` opens an error's sentence. transformers refuses a byte order mark, too.
    """
    if data.startswith(codecs.BOM_UTF8):
        raise ConvertError(f"{where}: begins with a byte order mark, which JSON has not; save it as UTF-8 without one")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise ConvertError(f"{where}: is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ConvertError(f"{where}: is nested too deeply to be what it should be") from None
    except ValueError as error:
        raise ConvertError(f"{where}: is not strict JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConvertError(f"{where}: holds {type(value).__name__}, not an object")
    if _SURROGATE.search(data):
        _check_text(value, where)
    return value


def _check_text(value: dict[str, Any], where: str) -> None:
    """Every text in a value is one that can be written again: escapes can spell what no encoding has."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ConvertError(f"{where}: holds half of a surrogate pair, which is no text") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"the name {twice!r} is there twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
