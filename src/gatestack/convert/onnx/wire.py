"""Counting the parts of a protobuf file before it is parsed: an empty part of two bytes becomes a hundred."""

from __future__ import annotations

from gatestack.errors import ModelFileError

__all__ = ["MAX_PARTS", "count_parts"]

MAX_PARTS = 500_000
"""How many fields a model may have; the numbers of a tensor are one. A model of 10,000 nodes has 10⁵."""

_DEEPEST = 64

# Message type -> the number of a field that is a message -> its type. What is not listed is not entered.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "text", 14: "text", 20: "text", 25: "text"},
    "graph": {
        1: "node",
        5: "tensor",
        11: "value",
        12: "value",
        13: "value",
        14: "text",
        15: "text",
        16: "text",
    },
    "node": {5: "attribute", 9: "text"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type"},
    "tensor": {13: "text", 16: "text"},
    "value": {2: "type", 4: "text"},
    "type": {1: "tensor type", 4: "type", 5: "type", 9: "type"},
    "tensor type": {2: "shape"},
    "shape": {1: "text"},
    "text": {},
}


def count_parts(content: bytes | bytearray, *, where: str) -> int:
    """Walk through the fields of an ONNX model without building anything.

    Args:
        content: the whole file.
        where: its path, for the message of an error.

    Returns:
        How many fields there are.

    Raises:
        ModelFileError: it is no protobuf, ends in the middle of a field, has more than `MAX_PARTS` fields, or
            is nested deeper than 64 levels; names the byte.

    Example:
        >>> count_parts(b"\\x08\\x08\\x3a\\x02\\x0a\\x00", where="m.onnx")  # version, graph, an empty node
        3
    """
    count, place, end, kind = 0, 0, len(content), "model"
    around: list[tuple[int, str]] = []  # where each message around this one ends, and its type
    while True:
        while place == end and around:
            end, kind = around.pop()
        if place == end:
            return count
        count += 1
        if count > MAX_PARTS:
            raise _broken(where, place, f"more than {MAX_PARTS} parts")
        tag, place = _varint(content, place, end, where)
        wire, number = tag & 7, tag >> 3
        if wire == 0:
            _, place = _varint(content, place, end, where)
            continue
        if wire == 2:
            length, place = _varint(content, place, end, where)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _broken(where, place, f"field {number} is of the unknown kind {wire}")
        if place + length > end:
            raise _broken(where, place, f"a field of {length} bytes, {end - place} are left")
        if wire == 2 and number in _INSIDE[kind]:
            around.append((end, kind))
            end, kind = place + length, _INSIDE[kind][number]
            if len(around) > _DEEPEST:
                raise _broken(where, place, f"nested deeper than {_DEEPEST} levels")
        else:
            place += length


def _varint(content: bytes | bytearray, place: int, end: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= end or shift > 63:
            raise _broken(where, place, "a number that does not end")
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def _broken(where: str, place: int, what: str) -> ModelFileError:
    return ModelFileError(
        f"not an ONNX model: {what}, at byte {place}",
        where=where,
        hint="the file is cut, damaged or of another kind",
    )
