"""The members of a group of an HDF5 file: names and where their object headers are.

Source: HDF5 File Format Specification 3.0, III.A "Version 1 B-trees", III.B "Group Symbol Table Nodes",
III.C "Symbol Table Entry", III.D "Local Heaps", IV.A.2.g "The Link Message".
"""

from __future__ import annotations

from collections.abc import Sequence

from gatestack.convert.hdf5.headers import Message, refuse_dense
from gatestack.convert.hdf5.source import Cursor, Source
from gatestack.convert.hdf5.types import decode_text

__all__ = ["is_group", "read_members"]

_LINK_INFO, _LINK, _SYMBOL_TABLE = 0x02, 0x06, 0x11
_MOST_MEMBERS = 65536
_DEEPEST_TREE = 8
_SYMBOLIC = 2


def is_group(messages: Sequence[Message]) -> bool:
    """Whether an object with these messages is a group.

    Example:
        >>> is_group([Message(0x11, b"")])
        True
    """
    return any(message.kind in (_LINK_INFO, _LINK, _SYMBOL_TABLE) for message in messages)


def read_members(source: Source, messages: Sequence[Message], place: str) -> dict[str, int]:
    """Read which names a group has, each with the address of its object header.

    Args:
        source: the file.
        messages: of the group.
        place: its path, for errors.

    Raises:
        ModelFileError: the group is damaged, has a name twice, or has a link that leads elsewhere than to an
            object in this file.

    Example:
        >>> import io
        >>> read_members(Source(io.BytesIO(b""), 0, "a.h5"), [], "the root group")
        {}
    """
    found: dict[str, int] = {}
    for message in messages:
        cursor = Cursor(source, message.content, place)
        if message.kind == _SYMBOL_TABLE:
            tree, heap = cursor.numbers("QQ")
            _read_tree(source, tree, _LocalHeap(source, heap, place), found, place)
        elif message.kind == _LINK:
            _read_link(cursor, found)
        elif message.kind == _LINK_INFO:
            refuse_dense(cursor, "members", index_bytes=8)
    return found


def _add(found: dict[str, int], name: str, address: int, cursor: Cursor) -> None:
    if not name or "/" in name or name in (".", ".."):
        raise cursor.damaged(f"a member of it is called {name[:60]!r}")
    if name in found:
        raise cursor.damaged(f"it has the member {name[:60]!r} twice")
    if len(found) >= _MOST_MEMBERS:
        raise cursor.damaged(f"it has more than {_MOST_MEMBERS} members")
    found[name] = address


class _LocalHeap:
    """The names of a group of the old kind, in one piece."""

    def __init__(self, source: Source, address: int, place: str) -> None:
        head = source.cursor(address, 32, place)
        head.expect(b"HEAP")
        version, size, _, start = head.numbers("B3xQQQ")
        if version != 0:
            raise head.damaged(f"the version of its heap is {version}, not 0")
        self._names = source.read(start, size, place)

    def name(self, offset: int, cursor: Cursor) -> str:
        end = self._names.find(b"\0", offset)
        if offset >= len(self._names) or end < 0:
            raise cursor.damaged(f"the name at {offset} of its heap is not there")
        return decode_text(self._names[offset:end], cursor)


def _read_tree(source: Source, root: int, heap: _LocalHeap, found: dict[str, int], place: str) -> None:
    level, nodes = _tree_level(source, root, None, place)
    while level > 0:
        level -= 1
        nodes = [child for node in nodes for child in _tree_level(source, node, level, place)[1]]
    for node in nodes:
        _read_leaf(source, node, heap, found, place)


def _tree_level(source: Source, address: int, level: int | None, place: str) -> tuple[int, list[int]]:
    """Read a node of a group's B-tree -> its level, the addresses of its children."""
    head = source.cursor(address, 24, place)
    head.expect(b"TREE")
    kind, own, count = head.numbers("BBH")
    if kind != 0 or own > _DEEPEST_TREE or level not in (None, own):
        raise head.damaged(f"the node at byte {address} is of kind {kind} on level {own}")
    # A key before each child and one at the end; the keys are for searching.
    return own, list(source.cursor(address + 24, 16 * count, place).numbers(f"{2 * count}Q")[1::2])


def _read_leaf(source: Source, address: int, heap: _LocalHeap, found: dict[str, int], place: str) -> None:
    head = source.cursor(address, 8, place)
    head.expect(b"SNOD")
    version, count = head.numbers("BxH")
    if version != 1:
        raise head.damaged(f"the version of its table of names is {version}, not 1")
    entries = source.cursor(address + 8, 40 * count, place)
    for _ in range(count):
        offset, target, cache = entries.numbers("QQI20x")
        name = heap.name(offset, entries)
        if cache == _SYMBOLIC:
            raise entries.refused(f"the member {name[:60]!r} is a soft link")
        _add(found, name, target, entries)


def _read_link(cursor: Cursor, found: dict[str, int]) -> None:
    version, flags = cursor.numbers("BB")
    if version != 1:
        raise cursor.damaged(f"the version of a link is {version}, not 1")
    kind = cursor.number(1) if flags & 0x08 else 0
    cursor.take((8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0))
    name = decode_text(cursor.take(cursor.number(1 << (flags & 3))), cursor)
    if kind != 0:
        sort = {1: "a soft link", 64: "an external link"}.get(kind, f"a link of the kind {kind}")
        raise cursor.refused(f"the member {name[:60]!r} is {sort}")
    _add(found, name, cursor.number(8), cursor)
