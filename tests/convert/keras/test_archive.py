"""Archives are never extracted, and nothing in one of them takes memory or leads elsewhere."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from gatestack.convert.archive import read_archive
from gatestack.errors import ModelFileError

PARTS = {"metadata.json": False, "config.json": True, "model.weights.h5": True}
Fill = Callable[[zipfile.ZipFile], None]


def packed(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytearray:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in entries:
            archive.writestr(name, content)
    return bytearray(stream.getvalue())


def sound() -> bytearray:
    return packed(("config.json", b"{}" * 9), ("model.weights.h5", bytes(range(256)) * 4))


def read(content: bytes, limit: int = 2**30) -> dict[str, bytes]:
    return read_archive(io.BytesIO(content), PARTS, where="m.keras", max_bytes=limit)


def test_reads_the_members() -> None:
    assert read(sound()) == {"config.json": b"{}" * 9, "model.weights.h5": bytes(range(256)) * 4}


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("config.json")
    entry.external_attr = 0o120777 << 16
    return entry


def changed(content: bytearray, place: int, value: bytes) -> bytearray:
    content[place : place + len(value)] = value
    return content


def directory(content: bytearray, number: int = 0) -> int:
    """Where an entry of the central directory begins."""
    place = -1
    for _ in range(number + 1):
        place = content.index(b"PK\1\2", place + 1)
    return place


def overlapping() -> bytearray:
    content = sound()
    return changed(content, directory(content, 1) + 42, struct.pack("<I", 3))


def ten_gigabytes() -> bytearray:
    content = sound()
    return changed(content, directory(content, 1) + 24, struct.pack("<I", 10**10 % 2**32 | 2**31))


def encrypted() -> bytearray:
    content = sound()
    return changed(content, directory(content) + 8, b"\1")


def other_method() -> bytearray:
    content = sound()
    return changed(content, directory(content) + 10, b"\x0e")


def stored_lie() -> bytearray:
    content = sound()
    return changed(content, directory(content) + 10, b"\0")


def zip64() -> bytearray:
    content = sound()
    end = content.index(b"PK\5\6")
    return content[:end] + b"PK\6\7" + bytes(16) + content[end:]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed(("../config.json", b"{}")), r"member '\.\./config.json': its name leads out of"),
        (packed(("a\\..\\config.json", b"{}")), "its name leads out of"),
        (packed(("/config.json", b"{}")), "its name leads out of"),
        (packed(("C:config.json", b"{}")), "its name leads out of"),
        (packed((link(), b"/etc/passwd")), "member 'config.json': a link"),
        (packed(("config.json", b"{}"), ("config.json", b"[]")), "member 'config.json': it is there twice"),
        (packed(("assets/vocabulary.txt", b"a")), "member 'assets/vocabulary.txt': not a part of a Keras"),
        (packed(("config.json", b"{}")), "it has no model.weights.h5"),
        (packed(*[(f"{n}", b"") for n in range(70)]), "its directory has 70 entries"),
        (packed(("config.json", bytes(2**21))), "bytes unpack to 2097152, more than 100-fold"),
        (overlapping(), "member 'model.weights.h5': it overlaps"),
        (ten_gigabytes(), "member 'model.weights.h5': [0-9]+ bytes unpack to"),
        (encrypted(), "member 'config.json': it is encrypted"),
        (other_method(), "packed by method 14"),
        (stored_lie(), "it is not packed, and"),
        (zip64(), "for more than 4 GiB"),
        (sound() + b"more", "something follows it"),
        (sound()[:-30], "not a zip archive"),
        (bytearray(b""), "not a zip archive"),
    ],
)
def test_hostile_archive_is_refused_with_its_member(content: bytearray, reason: str) -> None:
    with pytest.raises(ModelFileError, match=f"^m.keras.*{reason}"):
        read(content)


def test_all_members_together_stay_below_the_limit() -> None:
    with pytest.raises(ModelFileError, match="has 1042 bytes or more — expected at most 1000"):
        read(sound(), 1000)


def test_a_bomb_takes_no_memory() -> None:
    bomb = packed(("config.json", b"{}"), ("model.weights.h5", bytes(300 * 2**20)))
    assert len(bomb) < 2**20
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="more than 100-fold"):
        read(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_member_that_lies_about_its_size_is_read_no_further() -> None:
    content = packed(("config.json", b"{}"), ("model.weights.h5", bytes(100 * 2**20)))
    for place in (content.index(b"PK\3\4", 4) + 22, directory(content, 1) + 24):
        content = changed(content, place, struct.pack("<I", 2**20))
    tracemalloc.start()
    with pytest.raises(ModelFileError, match=r"model\.weights\.h5"):
        read(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.timeout(60)
def test_no_damage_raises_anything_else() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        content = sound()
        for place in rng.integers(0, len(content), rng.integers(1, 5)):
            content[place] = rng.integers(256)
        if rng.random() < 0.2:
            del content[rng.integers(len(content)) :]
        try:
            read(content)
        except ModelFileError:
            refused += 1
    assert refused > 500
