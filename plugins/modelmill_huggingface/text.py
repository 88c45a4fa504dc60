"""The format `text`: a folder with one UTF-8 text file, such as what a quantizer calibrates on."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from modelmill import ConvertError, Facts, Format

_CHUNK = 1024 * 1024
_SUFFIXES = (".txt", ".md", ".rst", ".jsonl")


def detect(folder: Path) -> bool:
    """Whether a folder holds nothing but one text file."""
    files = _files(folder)
    return len(files) == 1 and files[0].suffix in _SUFFIXES


def text_file(folder: Path) -> Path:
    """The one text file of a folder. ConvertError where there is another number of files than one."""
    files = _files(folder)
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:5]) or "none"
        raise ConvertError(f"a text is one file in a folder of its own; there are {len(files)} here: {names}")
    return files[0]


def facts(folder: Path) -> Facts:
    """The file's name and size. ConvertError for a file that is empty or not UTF-8, before any step reads it."""
    validate(folder)
    path = text_file(folder)
    return Facts(format="text", files={path.name: path.stat().st_size})


def validate(folder: Path) -> None:
    """ConvertError for a file that is empty or not UTF-8."""
    path = text_file(folder)
    decoder = codecs.getincrementaldecoder("utf-8")()
    at, empty = 0, True
    for chunk in _chunks(path):
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            raise ConvertError(f"{path.name}: is not UTF-8 (near byte {at + error.start:,})") from None
        at += len(chunk)
        empty = empty and not text.strip()
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise ConvertError(f"{path.name}: ends in the middle of a UTF-8 character") from None
    if empty:
        raise ConvertError(f"{path.name}: holds no text")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


FORMAT = Format(name="text", schemes=(), detect=detect, facts=facts, validate=validate)
