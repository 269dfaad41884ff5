"""Sequences: ragged storage, views, checks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatestack.data import Sequences
from gatestack.errors import ArgumentError, DataError

LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def ragged(lengths: list[int], features: int = 2, dtype: type = np.float64) -> list[np.ndarray]:
    """Arrays whose values all differ."""
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = np.arange(1, offsets[-1] * features + 1, dtype=dtype).reshape(-1, features)
    return [values[a:b].copy() for a, b in pairwise(offsets)]


def full() -> Sequences:
    """Four sequences with every part present."""
    lengths = [3, 0, 1, 2]
    return Sequences.from_arrays(
        ragged(lengths),
        observed=[np.ones((n, 2), bool) for n in lengths],
        time=[np.arange(n) + 10 * n for n in lengths],
        static=np.arange(8.0).reshape(4, 2),
        targets=np.array([5, 6, 7, 8]),
        keys=["a", "b", "c", "d"],
        names=["temp", "wind"],
    )


@given(LENGTHS, st.sampled_from([np.float32, np.float64]))
def test_arrays_come_back_as_they_went_in(lengths: list[int], dtype: type) -> None:
    arrays = ragged(lengths, dtype=dtype)
    sequences = Sequences.from_arrays(arrays)
    assert len(sequences) == len(lengths)
    assert sequences.lengths.tolist() == lengths
    assert sequences.values.dtype == dtype
    for found, array in zip(sequences, arrays, strict=True):
        np.testing.assert_array_equal(found, array)


@given(LENGTHS)
def test_padding_and_unpadding_is_identity(lengths: list[int]) -> None:
    sequences = Sequences.from_arrays(ragged(lengths))
    padded, found = sequences.padded()
    assert found.tolist() == lengths
    for row, length in enumerate(lengths):
        assert not padded[row, length:].any()
    back = Sequences.from_padded(padded, lengths=found)
    np.testing.assert_array_equal(back.values, sequences.values)
    np.testing.assert_array_equal(back.offsets, sequences.offsets)
    time_first, _ = sequences.padded(batch_first=False)
    np.testing.assert_array_equal(time_first, padded.transpose(1, 0, 2))


@given(st.data(), LENGTHS)
def test_rows_are_those_asked_for_in_that_order(data: st.DataObject, lengths: list[int]) -> None:
    arrays = ragged(lengths)
    picked = data.draw(st.lists(st.integers(-len(arrays), len(arrays) - 1), max_size=8))
    rows = Sequences.from_arrays(arrays).rows(picked)
    assert len(rows) == len(picked)
    for found, number in zip(rows, picked, strict=True):
        np.testing.assert_array_equal(found, arrays[number])


def test_rows_carry_every_part() -> None:
    rows = full().rows([3, 0])
    assert rows.observed is not None
    assert rows.observed.shape == rows.values.shape
    np.testing.assert_array_equal(rows.time, [20, 21, 30, 31, 32])
    np.testing.assert_array_equal(rows.static, [[6, 7], [0, 1]])
    np.testing.assert_array_equal(rows.targets, [8, 5])
    assert rows.keys == ("d", "a")
    assert rows.names == ("temp", "wind")


def test_items_and_slices_are_views() -> None:
    sequences = full()
    assert np.shares_memory(sequences[0], sequences.values)
    assert np.shares_memory(sequences[-1], sequences.values)
    part = sequences[2:]
    for name in ("values", "observed", "time", "static", "targets"):
        assert np.shares_memory(getattr(part, name), getattr(sequences, name)), name


def test_a_slice_is_the_sequences_in_it() -> None:
    part = full()[2:9]
    assert len(part) == 2
    assert part.offsets.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(part[1], full()[3])
    np.testing.assert_array_equal(part.time, [10, 20, 21])
    assert part.keys == ("c", "d")
    assert len(full()[3:1]) == 0


def test_given_arrays_are_kept_not_copied() -> None:
    values = np.zeros((4, 1), np.float32)
    assert Sequences(values, np.array([0, 4])).values is values


def test_nan_is_missing() -> None:
    sequences = Sequences.from_arrays([[[1.0, np.nan]], [[np.nan, 4.0]]])
    np.testing.assert_array_equal(sequences.values, [[1.0, 0.0], [0.0, 4.0]])
    np.testing.assert_array_equal(sequences.observed, [[True, False], [False, True]])
    padded = Sequences.from_padded(np.array([[[1.0], [np.nan], [np.nan]]]), lengths=[2])
    np.testing.assert_array_equal(padded.observed, [[True], [False]])


def test_a_value_marked_as_not_observed_is_stored_as_zero() -> None:
    given_arrays = [np.array([1.0, 2.0])]
    sequences = Sequences.from_arrays(given_arrays, observed=[[True, False]])
    np.testing.assert_array_equal(sequences.values[:, 0], [1.0, 0.0])
    np.testing.assert_array_equal(given_arrays[0], [1.0, 2.0])


def test_complete_data_has_no_observed_mask() -> None:
    assert Sequences.from_arrays([[1.0]]).observed is None


def test_masked_steps_are_left_out() -> None:
    padded = np.arange(6.0).reshape(2, 3, 1)
    mask = np.array([[True, False, True], [False, False, False]])
    sequences = Sequences.from_padded(padded, mask=mask)
    assert sequences.lengths.tolist() == [2, 0]
    np.testing.assert_array_equal(sequences[0][:, 0], [0.0, 2.0])


def test_infinity_names_sequence_step_and_feature() -> None:
    with pytest.raises(
        DataError, match=r"sequence 1 \(south\), step 2, feature 0 \(rain\): the value is -inf"
    ):
        Sequences.from_arrays([[1.0], [1.0, 2.0, -np.inf]], keys=["north", "south"], names=["rain"])


def test_nan_given_to_the_constructor_says_what_takes_it() -> None:
    with pytest.raises(DataError, match=r"sequence 2, step 0, feature 0: .*\n\nhint: Sequences.from_arrays"):
        Sequences(np.array([[1.0], [np.nan]]), np.array([0, 1, 1, 2]))


def test_the_last_of_many_values_is_checked() -> None:
    values = np.zeros((200_000, 1), np.float32)
    values[-1] = np.inf
    with pytest.raises(DataError, match="step 199999"):
        Sequences(values, np.array([0, len(values)]))


def test_whole_numbers_become_float64() -> None:
    assert Sequences.from_arrays([[1, 2]]).values.dtype == np.float64


V, OFFSETS = np.zeros((3, 2)), np.array([0, 1, 3])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"values": np.zeros(3)}, r"values has shape \(3,\) — expected \(total_steps, features\)"),
        ({"values": np.zeros((3, 2), np.float16)}, "values have dtype float16"),
        ({"values": [[1.0]]}, "values is of type list"),
        ({"offsets": np.array([0, 2])}, r"offsets are 0 … 2 — expected 0 … 3"),
        ({"offsets": np.array([], int)}, "offsets are nothing"),
        ({"offsets": np.array([0.0, 3.0])}, "offsets have dtype float64"),
        ({"offsets": np.array([0, 4, 3])}, r"sequence 1: offsets fall from 4 to 3"),
        (
            {"observed": np.ones((2, 2), bool)},
            r"observed has shape \(2, 2\) — .*\(total_steps, features\) = \(3, 2\)",
        ),
        ({"observed": np.ones((3, 2))}, "observed has dtype float64"),
        ({"time": np.arange(2)}, r"time has shape \(2,\) — expected \(total_steps,\) = \(3,\)"),
        ({"time": np.zeros(3)}, "time has dtype float64"),
        ({"static": np.zeros((3, 1))}, r"static has shape \(3, 1\) — expected .* = \(2, 1\)"),
        ({"targets": np.zeros(3)}, r"targets has shape \(3,\) — expected .* = \(2,\)"),
        ({"keys": ("a",)}, "keys has 1 entries — expected 2"),
        ({"keys": (1, 2)}, "keys holds 1"),
        ({"names": "ab"}, "names is 'ab'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Sequences(**{"values": V, "offsets": OFFSETS, **parts})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sequences.from_arrays([]), "arrays is empty"),
        (
            lambda: Sequences.from_arrays([np.zeros((2, 3)), np.zeros((2, 4))]),
            r"arrays\[1\] has shape \(2, 4\) — expected \(steps, 3\)",
        ),
        (lambda: Sequences.from_arrays([np.zeros((1, 2, 3))]), r"arrays\[0\] has shape \(1, 2, 3\)"),
        (lambda: Sequences.from_arrays([["a"]]), "has dtype <U1"),
        (lambda: Sequences.from_arrays([[[1.0], [1.0, 2.0]]]), "not a table of numbers"),
        (
            lambda: Sequences.from_arrays([[1.0]], time=[[1, 2]]),
            r"time\[0\] has shape \(2,\) — expected \(1,\)",
        ),
        (lambda: Sequences.from_arrays([[1.0]], time=[]), "time has 0 entries"),
        (lambda: Sequences.from_arrays([[1.0]], observed=[[1]]), "observed has dtype int64"),
        (
            lambda: Sequences.from_padded(np.zeros((2, 3))),
            r"padded has shape \(2, 3\) — expected \(batch, time, features\)",
        ),
        (
            lambda: Sequences.from_padded(np.zeros((1, 2, 1)), lengths=[3]),
            r"lengths\[0\] is 3 — expected 0 to 2",
        ),
        (lambda: Sequences.from_padded(np.zeros((1, 2, 1)), lengths=[1.0]), "lengths has dtype float64"),
        (lambda: Sequences.from_padded(np.zeros((1, 2, 1)), lengths=[1, 1]), r"lengths has shape \(2,\)"),
        (lambda: Sequences.from_padded(np.zeros((1, 2, 1)), mask=[[1, 1]]), "mask has dtype int64"),
        (
            lambda: Sequences.from_padded(np.zeros((1, 2, 1)), mask=[True]),
            r"mask has shape \(1,\) — expected \(batch, time\)",
        ),
        (lambda: Sequences.from_padded(np.zeros((1, 2, 1)), mask=[[True, True]], lengths=[2]), "both given"),
        (lambda: full()[::2], r"slice with step 2 .*\n\nhint: rows\(range\(0, 4, 2\)\)"),
        (lambda: full().rows([4]), "index 4 — expected less than 4"),
        (lambda: full().rows([0.5]), "whole numbers"),
    ],
)
def test_calls_that_do_not_fit_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_an_index_past_the_end_is_an_index_error() -> None:
    with pytest.raises(IndexError, match="sequence 4 of 4"):
        full()[4]


def test_parts_cannot_be_exchanged() -> None:
    with pytest.raises(AttributeError):
        full().values = V  # type: ignore[misc]
