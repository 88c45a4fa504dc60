"""The licence that a checkpoint states, as an SPDX identifier where one is known."""

import re
from pathlib import Path

from modelmill.checkpoint.jsonfile import read_text
from modelmill.errors import ConvertError

_LIMIT = 4 * 1024**2
_SPDX = {
    name.lower(): name
    for name in (
        "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "GPL-3.0", "LGPL-3.0", "AGPL-3.0", "MPL-2.0",
        "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "ISC", "WTFPL",
        "Unlicense",
    )
}  # fmt: skip
"""The hub writes licence identifiers in lower case (huggingface.co/docs/hub/repositories-licenses)."""
_TITLES = (
    (re.compile(r"Apache License\s+Version 2\.0"), "Apache-2.0"),
    (re.compile(r"MIT License|Permission is hereby granted, free of charge"), "MIT"),
    (re.compile(r"Gemma Terms of Use"), "gemma"),
    (re.compile(r"LLAMA 3\.1 COMMUNITY LICENSE", re.IGNORECASE), "llama3.1"),
    (re.compile(r"LLAMA 3\.2 COMMUNITY LICENSE", re.IGNORECASE), "llama3.2"),
    (re.compile(r"LLAMA 3\.3 COMMUNITY LICENSE", re.IGNORECASE), "llama3.3"),
)


def spdx(name: str) -> str:
    """The SPDX spelling of a licence's identifier; one that SPDX does not have stays as it is."""
    return _SPDX.get(name.lower(), name)


def read_licence(folder: Path) -> str | None:
    """The `license` of README.md's front matter, else what the LICENSE file is by its title; None if neither says."""
    card = folder / "README.md"
    if card.is_file():
        stated = stated_licence(_text(card))
        if stated:
            return stated
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
        if (folder / name).is_file():
            text = _text(folder / name)[:4096]
            return next((licence for pattern, licence in _TITLES if pattern.search(text)), None)
    return None


def _text(path: Path) -> str:
    """A card in another encoding than UTF-8 states nothing that can be read; it is no reason to refuse a model."""
    try:
        return read_text(path, _LIMIT)
    except ConvertError:
        return ""


def stated_licence(text: str) -> str | None:
    """The licence in the front matter of a model card's text."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            break
        match = re.match(r"(license|license_name):\s*['\"]?([A-Za-z0-9._+-]+)['\"]?\s*$", line)
        if match:
            found[match[1]] = match[2]
    stated = found.get("license")
    if stated == "other":
        stated = found.get("license_name", stated)
    return spdx(stated) if stated else None
