"""Where in a TOML text a key stands: its standard parser does not say."""

import re

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_ASSIGNMENT = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_INLINE = re.compile(r"""([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*=""")
_QUOTES = ('"""', "'''")


def locate(text: str) -> dict[tuple[str, ...], int]:
    """The line (from 1) of every table header and key of a valid TOML text, by the keys that lead there.

    Made only once something is wrong, so it is simple rather than complete: a key inside an inline table gets
    the line that it stands on; what stands inside a multi-line string is skipped.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    closing: str | None = None
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if closing is not None:
            closing = None if closing in line else closing
            continue
        bare = _without_strings(line)
        header = _HEADER.match(line)
        assignment = _ASSIGNMENT.match(line)
        if depth == 0 and header:
            table = _keys(header.group(2))
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], number)
            continue
        if depth == 0 and assignment:
            owner = (*table, *_keys(assignment.group(1)))
            found.setdefault(owner, number)
            _note_inline(found, owner, line[assignment.end() :], number)
        elif depth > 0:
            _note_inline(found, owner, line, number)
        closing = next((quote for quote in _QUOTES if line.count(quote) % 2 == 1), None)
        depth = max(0, depth + sum(bare.count(sign) for sign in "[{") - sum(bare.count(sign) for sign in "]}"))
    return found


def line_of(lines: dict[tuple[str, ...], int], path: tuple[str, ...]) -> int:
    """The line of a key, or of the nearest table around it that has one.

    What a target does not say itself, it has from the defaults: then that is where the fault is.
    """
    if path[:1] == ("target",) and path not in lines and ("defaults", *path[2:]) in lines:
        return lines["defaults", *path[2:]]
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _note_inline(found: dict[tuple[str, ...], int], owner: tuple[str, ...], text: str, number: int) -> None:
    for match in _INLINE.finditer(_without_strings(text)):
        found.setdefault((*owner, match.group(1)), number)


def _without_strings(line: str) -> str:
    return re.sub(r""""(?:[^"\\]|\\.)*"|'[^']*'|#.*$""", "", line)
