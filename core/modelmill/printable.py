"""Text of somebody else's, as one line of ours can hold it."""


def printable(text: str) -> str:
    """The text with everything that moves, hides or ends a line written out as an escape.

    A checkpoint's words stand in sentences, tables and comments; a newline or a terminal's escape sequence in them
    could make these say something that nobody wrote.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
