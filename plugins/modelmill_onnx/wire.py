"""Protocol Buffers' wire format, read without a schema: fields of a message as they lie in a buffer.

Encoding: https://protobuf.dev/programming-guides/encoding/. The graph of an ONNX model is described with this
in the engine, which must not load `onnx`, and no byte of a weight is touched.
"""

from collections.abc import Iterator

from modelmill import ConvertError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10
_SIGN = 1 << 63


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of one message: an integer for a varint, else the bytes.

    ConvertError where the bytes are no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        else:
            size = _SIZES.get(kind, end)
        if size > end - at:
            raise ConvertError("the bytes end in the middle of a field")
        yield number, data[at : at + size]
        at += size


def text(value: int | memoryview) -> str:
    """A string field. ConvertError where it is none."""
    if isinstance(value, int):
        raise ConvertError("a number stands where a string belongs")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise ConvertError("a string is not UTF-8") from None


def message(value: int | memoryview) -> memoryview:
    """A nested message's bytes. ConvertError where there is none."""
    if isinstance(value, int):
        raise ConvertError("a number stands where a message belongs")
    return value


def integers(value: int | memoryview) -> tuple[int, ...]:
    """A repeated int64 field's values: one, or all of them where they are packed."""
    if isinstance(value, int):
        return (_signed(value),)
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return tuple(found)


def _signed(number: int) -> int:
    return number - 2 * _SIGN if number >= _SIGN else number


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count in range(_LONGEST_VARINT):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:  # noqa: PLR2004
            return value, at
    raise ConvertError("the bytes end in the middle of a number")
