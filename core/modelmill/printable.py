"""Text of somebody else's, as one line of ours can hold it."""

from typing import Any

_DIGEST = 64
_LONGEST = 80


def printable(text: str) -> str:
    """The text with everything that moves, hides or ends a line written out as an escape.

    A checkpoint's words stand in sentences, tables and comments; a newline or a terminal's escape sequence in them
    could make these say something that nobody wrote.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def short(value: Any) -> str:
    """A value as a sentence can hold it; of a digest the first characters, which tell two apart for a reader."""
    text = printable(value if isinstance(value, str) else repr(value))
    if len(text) == _DIGEST and all(letter in "0123456789abcdef" for letter in text):
        return f"{text[:12]}…"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}…"
