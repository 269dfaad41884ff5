"""Tables, long and wide, and arrays as labelled sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gatestack.data import Sequences
from gatestack.data.collections import LabelledSequences, read_labelled
from gatestack.errors import ArgumentError, DataError

LONG = "case,time,x,y,label\n7,0,1,2,a\n7,1,2,,a\n3,0,5,6,b\n"
WIDE = "label,t0,t1,t2\nup,1,2,3\ndown,?,4,\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def labels_of(data: LabelledSequences) -> list[Any]:
    assert data.labels is not None
    return data.labels.tolist()


def test_a_long_table_has_a_case_per_key_in_order_of_appearance(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.csv", LONG), time="time")
    assert data.sequences.keys == ("7", "3")
    assert data.sequences.names == ("x", "y")
    assert data.sequences.lengths.tolist() == [2, 1]
    assert data.sequences.observed is not None
    assert data.sequences.observed.tolist() == [[True, True], [True, False], [True, True]]
    assert labels_of(data) == ["a", "b"]
    assert data.columns is not None
    assert (data.columns.label, data.columns.case, data.columns.time) == ("label", "case", "time")


def test_without_a_time_column_named_it_would_be_a_channel(tmp_path: Path) -> None:
    assert read_labelled(written(tmp_path, "a.csv", LONG)).sequences.names == ("time", "x", "y")


def test_a_wide_table_ends_a_case_at_its_missing_cells(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.csv", WIDE))
    assert data.sequences.lengths.tolist() == [3, 2]
    assert data.sequences.observed is not None
    assert data.sequences.observed[:, 0].tolist() == [True, True, True, False, True]
    assert labels_of(data) == ["up", "down"]


def test_whole_number_labels_of_frames_are_names() -> None:
    frame = pd.DataFrame({"a": [0.5, 1.0], "class": [2.0, 10.0]})
    assert labels_of(read_labelled(frame)) == ["2", "10"]


def test_targets_of_a_table(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.csv", "target,t0\n0.5,1\n-2,3\n"), kind="numbers")
    assert data.targets is not None
    assert data.targets.tolist() == [0.5, -2.0]


BAD: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "two labels in a case": (LONG.replace("2,,a", "2,,b"), {}, "line 3, column 'label'", "the first row"),
    "label missing": (LONG.replace("5,6,b", "5,6,"), {}, "line 4, column 'label'", "missing"),
    "case missing": (LONG.replace("3,0,5", ",0,5"), {}, "line 4, column 'case'", "missing"),
    "time falls": (LONG.replace("7,1,", "7,0,"), {"time": "time"}, "line 3, column 'time'", "does not rise"),
    "time missing": (LONG.replace("7,1,", "7,,"), {"time": "time"}, "line 3, column 'time'", "missing"),
    "text in a number": (LONG.replace("5,6", "wet,6"), {"time": "time"}, "line 4, column 'x'", "'wet'"),
    "unknown column": (LONG, {"label": "lable"}, "a.csv", "did you mean 'label'"),
    "unknown case": (LONG, {"case": "id"}, "a.csv", "no column 'id'"),
    "two candidates": (LONG.replace("y,label", "class,label"), {}, "a.csv", "could both be the label"),
    "no label": (LONG.replace("label", "kind"), {}, "a.csv", "label=…"),
    "times without cases": (WIDE, {"time": "t0"}, "a.csv", "case=…"),
    "an empty case": (WIDE.replace("?,4,", "?,,"), {}, "line 3", "no values"),
    "fractions as classes": (
        WIDE.replace("up", "1.5").replace("down", "2"),
        {},
        "column 'label'",
        "Regressor",
    ),
    "text as target": (WIDE, {"kind": "numbers"}, "line 2, column 'label'", "'up'"),
    "text as target of a case": (LONG, {"kind": "numbers"}, "line 2, column 'label'", "'a'"),
    "target missing": ("target,t\n1,1\n,2\n", {"kind": "numbers"}, "line 3, column 'target'", "missing"),
    "nothing but labels": ("label\na\nb\n", {}, "a.csv", "no column is left"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_with_line_and_column(tmp_path: Path, name: str) -> None:
    text, options, place, reason = BAD[name]
    with pytest.raises((DataError, ArgumentError)) as caught:
        read_labelled(written(tmp_path, "a.csv", text), **options)
    assert place in str(caught.value)
    assert reason in str(caught.value)


def test_arrays_are_cases_steps_channels() -> None:
    values = np.arange(24.0).reshape(2, 4, 3)
    data = read_labelled(values, ["a", "b"])
    assert np.array_equal(data.sequences[1], values[1])
    turned = read_labelled(values.transpose(0, 2, 1), ["a", "b"], layout="channels_first")
    assert np.array_equal(turned.sequences.values, data.sequences.values)


def test_an_array_with_more_channels_than_steps_is_refused_with_two_ways_out() -> None:
    values = np.zeros((5, 2, 7))
    with pytest.raises(ArgumentError, match="7 channels of 2 steps") as caught:
        read_labelled(values, np.arange(5))
    assert "transpose" in str(caught.value)
    meant = read_labelled(Sequences.from_padded(values), np.arange(5))
    assert meant.sequences.num_features == 7
    with pytest.raises(ArgumentError, match="more channels than steps"):
        read_labelled([np.zeros((2, 7)), np.zeros((1, 7))], [0, 1])


def test_lists_of_arrays_are_of_unequal_length() -> None:
    data = read_labelled([[1.0, np.nan], [3.0, 4.0, 5.0]], [1, 2])
    assert data.sequences.lengths.tolist() == [2, 3]
    assert data.sequences.observed is not None
    assert data.classes == (1, 2)


@pytest.mark.parametrize(
    ("data", "labels", "reason"),
    [
        (np.zeros((3, 4)), [1, 2], "labels has shape"),
        (np.zeros((3, 4)), None, "labels are missing"),
        (np.zeros(3), [1, 2, 3], "shape"),
        (np.zeros((2, 0)), [1, 2], "at least one"),
        ([[1.0], []], [1, 2], "no steps"),
        ([["wet"]], [1], "numbers"),
        (7, [1], "of type int"),
        (np.array([[np.inf, 0.0]]), [1], "inf"),
    ],
)
def test_bad_arrays_are_refused(data: Any, labels: Any, reason: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=reason):
        read_labelled(data, labels)


def test_frames_of_every_kind_give_the_same() -> None:
    frame = pl.DataFrame({"case": [1, 1, 2], "x": [0.5, 1.0, 2.0], "label": ["a", "a", "b"]})
    want = read_labelled(frame)
    for other in (frame.to_pandas(), frame.to_arrow(), frame.lazy()):
        data = read_labelled(other)
        assert np.array_equal(data.sequences.values, want.sequences.values)
        assert labels_of(data) == labels_of(want)


def test_labels_beside_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="brings its own"):
        read_labelled(written(tmp_path, "a.csv", LONG), [1, 2])
