"""Memory for calls is handed out again when nobody holds it, and never before."""

from __future__ import annotations

import gc

import pytest

from gatestack.kernels import rooms
from gatestack.kernels.rooms import room

BIG = 3 << 20


@pytest.fixture(autouse=True)
def _empty_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_free", {})


@pytest.mark.parametrize("count", [0, 1, 100, BIG, BIG + 7])
def test_a_room_is_aligned_and_has_its_size(count) -> None:
    given = room(count)
    assert given.numel() == count
    assert given.data_ptr() % 64 == 0


def test_a_room_comes_again_when_its_last_tensor_is_gone() -> None:
    first = room(BIG)
    place, part = first.data_ptr(), first[5:10]
    del first
    gc.collect()
    assert room(BIG).data_ptr() != place  # a part is still held
    del part
    gc.collect()
    assert place in {room(BIG).data_ptr() for _ in range(3)}


def test_two_rooms_at_once_are_two_places() -> None:
    held = [room(BIG) for _ in range(4)]
    for number, one in enumerate(held):
        one.fill_(number)
    assert [int(one.min()) for one in held] == [0, 1, 2, 3]


def test_a_small_room_does_not_take_a_large_piece() -> None:
    large = room(40 * BIG)
    del large
    room(BIG)
    assert [piece.nbytes for piece in rooms._free.values()] != []
    assert max(piece.nbytes for piece in rooms._free.values()) > 40 * BIG


def test_no_more_is_kept_than_the_limit(monkeypatch) -> None:
    monkeypatch.setattr(rooms, "_MOST_KEPT_BYTES", 2 * BIG + 1000)
    held = [room(BIG) for _ in range(5)]
    held.clear()
    gc.collect()
    assert sum(piece.nbytes for piece in rooms._free.values()) <= 2 * BIG + 1000
