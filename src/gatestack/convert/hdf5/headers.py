"""Object headers of HDF5 files: the list of messages that says what a group or a dataset is.

Source: HDF5 File Format Specification 3.0, IV.A "Disk Format: Level 2A - Data Object Headers".
"""

from __future__ import annotations

from dataclasses import dataclass

from gatestack.convert.hdf5.source import UNDEFINED, Cursor, Source

__all__ = ["Message", "read_header", "refuse_dense"]

_MOST_MESSAGES = 4096
_MOST_BLOCKS = 256

_CONTINUATION = 0x10
# What says nothing about the content: padding, old and new fill values, group info, comments, times of
# change, B-tree settings, the number of hard links.
_IGNORED = {0x00, 0x04, 0x05, 0x0A, 0x0D, 0x0E, 0x12, 0x13, 0x16}
_READ = {0x01, 0x02, 0x03, 0x06, 0x08, 0x0B, 0x0C, 0x11, 0x15}
_REFUSED = {0x07: "data in another file (external storage)", 0x0F: "a table of shared messages"}
_SHARED = 0x02


@dataclass(frozen=True)
class Message:
    """One message: its type, as the specification numbers them, and its content.

    Example:
        >>> Message(0x11, b"").kind
        17
    """

    kind: int
    content: bytes


def refuse_dense(cursor: Cursor, what: str, *, index_bytes: int) -> None:
    """Read a message that says where members or attributes are, and refuse a heap of its own for them.

    Args:
        cursor: at the beginning of a link info or attribute info message.
        what: of which it tells, for errors.
        index_bytes: of the largest creation index, where the message has one.

    Raises:
        ModelFileError: they are in a fractal heap, as many are, or the version is unknown.

    Example:
        >>> import io
        >>> none = bytes(2) + bytes([255] * 8)
        >>> source = Source(io.BytesIO(none), 10, "a.h5")
        >>> refuse_dense(Cursor(source, none, "group /"), "members", index_bytes=8)
    """
    version, flags = cursor.numbers("BB")
    if version != 0:
        raise cursor.damaged(f"the version of the list of its {what} is {version}, not 0")
    cursor.take(index_bytes if flags & 1 else 0)
    if cursor.number(8) != UNDEFINED:
        raise cursor.refused(f"its {what} are in a fractal heap")


def read_header(source: Source, address: int, place: str) -> list[Message]:
    """Read the messages of the object at `address`, those of its continuation blocks included.

    Args:
        source: the file.
        address: where the header begins.
        place: the path of the object, for errors.

    Returns:
        The messages that say something about the object, in the order of the file.

    Raises:
        ModelFileError: the header is damaged, or holds what is not read here.

    Example:
        >>> import io
        >>> header = bytes([1, 0, 1, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]) + bytes([0x11, 0] + 6 * [0])
        >>> read_header(Source(io.BytesIO(header), len(header), "a.h5"), 0, "the root group")
        [Message(kind=17, content=b'')]
    """
    if address == UNDEFINED:
        raise source.damaged("it has no address", place)
    first = source.read(address, 4, place)
    blocks, form = (
        _first_new(source, address, place) if first == b"OHDR" else _first_old(source, address, place)
    )
    found: list[Message] = []
    seen = 0
    for block in blocks:  # grows by the continuation blocks that are found
        if len(blocks) > _MOST_BLOCKS:
            raise source.damaged(f"its header has more than {_MOST_BLOCKS} parts", place)
        while block.left >= form.head:
            seen += 1
            if seen > _MOST_MESSAGES:
                raise source.damaged(f"its header has more than {_MOST_MESSAGES} messages", place)
            message = _next_message(block, form)
            if message is None:
                continue
            if message.kind == _CONTINUATION:
                blocks.append(_continued(source, message, form, place))
            else:
                found.append(message)
    return found


@dataclass(frozen=True)
class _Form:
    """How messages are laid out: in headers of version 2 their heads are shorter."""

    new: bool
    ordered: bool = False

    @property
    def head(self) -> int:
        return (6 if self.ordered else 4) if self.new else 8


def _first_old(source: Source, address: int, place: str) -> tuple[list[Cursor], _Form]:
    version, _, _, _, size = source.cursor(address, 12, place).numbers("BBHII")
    if version != 1:
        raise source.damaged(f"the version of its header is {version}, not 1 or 2", place)
    return [source.cursor(address + 16, size, place)], _Form(new=False)


def _first_new(source: Source, address: int, place: str) -> tuple[list[Cursor], _Form]:
    version, flags = source.cursor(address + 4, 2, place).numbers("BB")
    if version != 2:
        raise source.damaged(f"the version of its header is {version}, not 2", place)
    start = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = source.cursor(start, width, place).number(width)
    return [source.cursor(start + width, size, place)], _Form(new=True, ordered=bool(flags & 0x04))


def _continued(source: Source, message: Message, form: _Form, place: str) -> Cursor:
    address, size = Cursor(source, message.content, place).numbers("QQ")
    block = source.cursor(address, size, place)
    if not form.new:
        return block
    block.expect(b"OCHK")
    return block.part(max(block.left - 4, 0))  # the last four bytes are a checksum


def _next_message(block: Cursor, form: _Form) -> Message | None:
    if form.new:
        kind, size, flags = block.numbers("BHB")
        if form.ordered:
            block.take(2)
    else:
        kind, size, flags = block.numbers("HHB")
        block.take(3)
    content = block.take(size)
    if kind in _IGNORED:
        return None
    if kind in _REFUSED:
        raise block.refused(_REFUSED[kind])
    if kind not in _READ and kind != _CONTINUATION:
        raise block.damaged(f"its header has a message of the unknown type {kind}")
    if flags & _SHARED:
        raise block.refused("a message that is kept elsewhere (a committed datatype)")
    return Message(kind, content)
