"""Frames of every kind in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gatestack.data.frames import as_polars, like_input
from gatestack.errors import ArgumentError, DataError

FRAME = pl.DataFrame({"ds": [1, 2], "y": [0.5, None]})


def test_every_kind_of_frame_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    FRAME.write_csv(path)
    for given in (FRAME, FRAME.lazy(), FRAME.to_pandas(), FRAME.to_arrow(), path, str(path)):
        assert as_polars(given).equals(FRAME)
    assert as_polars(FRAME) is FRAME


def test_results_come_back_as_what_came_in(tmp_path: Path) -> None:
    assert isinstance(like_input(FRAME, pd.DataFrame()), pd.DataFrame)
    assert isinstance(like_input(FRAME, pa.table({"a": [1]})), pa.Table)
    for given in (FRAME, FRAME.lazy(), tmp_path, "a.csv"):
        assert like_input(FRAME, given) is FRAME


@pytest.mark.parametrize("given", [None, 3, [1, 2], {"a": 1}, np.zeros((3, 2))])
def test_other_things_are_refused(given: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        as_polars(given, "history")
    assert str(caught.value).startswith(f"history: it is of type {type(given).__name__}")
    assert "polars.DataFrame" in (caught.value.hint or "")


def test_pandas_frames_that_cannot_be_read_are_refused() -> None:
    mixed = pd.DataFrame({"y": [1.0, "word"]})
    with pytest.raises(DataError, match="frame: the frame cannot be read") as caught:
        as_polars(mixed)
    assert "y" in caught.value.what
    assert "to_numeric" in (caught.value.hint or "")
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="same name"):
        as_polars(twice)
    with pytest.raises(DataError, match="column name 0 is not text"):
        as_polars(pd.DataFrame([[1, 2]]))


def test_a_lazy_frame_that_fails_is_refused() -> None:
    with pytest.raises(DataError, match="lazy frame fails"):
        as_polars(FRAME.lazy().select("absent"))
