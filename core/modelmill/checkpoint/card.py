"""The front matter of a model card, as far as model cards go.

A card opens with YAML between two lines of dashes (huggingface.co/docs/hub/model-cards). Read are keys with a
plain or quoted value, and lists of such values in either spelling; nested mappings, anchors and block texts are
passed over. A YAML library is not worth its weight in the base install for a dozen known keys.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from modelmill.checkpoint.jsonfile import read_text
from modelmill.errors import ConvertError

_LIMIT = 4 * 1024**2
_KEY = re.compile(r"([A-Za-z_][\w-]*):(?:\s+(.*))?$")
_QUOTES = "'\""

Card = dict[str, str | list[str]]


def read_card(folder: Path) -> Card:
    """The front matter of README.md by key; empty where there is none that can be read."""
    path = folder / "README.md"
    if not path.is_file():
        return {}
    try:
        return parse_card(read_text(path, _LIMIT))
    except ConvertError:  # an unreadable card is no reason to refuse a model
        return {}


def parse_card(text: str) -> Card:
    """The front matter of a card's text."""
    found: Card = {}
    key = None
    for line in _front_matter(text):
        if match := _KEY.match(line):
            key, value = match[1], (match[2] or "").strip()
            if value.startswith("[") and value.endswith("]"):
                found[key] = [_plain(part) for part in value[1:-1].split(",") if part.strip()]
            elif value and value[0] not in "|>&*{":
                found[key] = _plain(value)
        elif key is not None and (item := re.match(r"\s*-\s+(.+)$", line)):
            if _KEY.match(item[1].strip()):
                key = None  # a list of mappings, such as evaluation results
                continue
            values = found.setdefault(key, [])
            if isinstance(values, list):
                values.append(_plain(item[1]))
        elif line.strip():
            key = None
    return found


def _front_matter(text: str) -> Iterator[str]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return
    for line in lines[1:]:
        if line.strip() == "---":
            return
        if not line.lstrip().startswith("#"):
            yield line.rstrip()


def _plain(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
        return value[1:-1]
    return value.split(" #")[0].rstrip()
