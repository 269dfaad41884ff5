"""One series a row: what is read, what is refused, and where."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatestack.data import continue_series, read_wide
from gatestack.errors import DataError


def written(folder: Path, text: str, name: str = "wide.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@st.composite
def series(draw: st.DrawFn) -> dict[str, list[float | None]]:
    """Series of different lengths; the first and the last value of each is there."""
    number = st.floats(-1e6, 1e6)
    keys = draw(st.lists(st.text("abc ,é", min_size=1, max_size=4).map(str.strip), min_size=1, unique=True))
    found = {}
    for key in filter(None, keys):
        middle = draw(st.lists(st.none() | number, max_size=5))
        found[key] = [draw(number), *middle, draw(number)][: draw(st.integers(1, 7))]
        while found[key][-1] is None:
            found[key].pop()
    return found or {"a": [1.0]}


@given(series(), st.booleans(), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: dict[str, list[float | None]],
    padded: bool,
    separator: str,
    end: str,
) -> None:
    longest = max(map(len, drawn.values()))
    lines = [separator.join(["id", *(f"V{step}" for step in range(longest))])]
    for key, values in drawn.items():
        cells = ["" if value is None else repr(value) for value in values]
        cells += [""] * (longest - len(values) if padded else 0)
        lines.append(separator.join([f'"{key}"', *cells]))
    frame = read_wide(written(tmp_path_factory.mktemp("wide"), end.join(lines)))
    found = {
        key: (part["ds"].to_list(), part["y"].to_list())
        for (key,), part in frame.group_by(["unique_id"], maintain_order=True)
    }
    assert found == {key: (list(range(1, len(values) + 1)), values) for key, values in drawn.items()}


def test_a_series_may_begin_late_and_have_gaps(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffid,1,2,3,4,5\na,,2,NA,4,\nb,7\n")
    assert read_wide(path).rows() == [("a", 2, 2.0), ("a", 3, None), ("a", 4, 4.0), ("b", 1, 7.0)]


BAD = {
    "a word": ("id,V1,V2\na,1,2\nb,1,wet\n", "line 3, column 'V2': 'wet' is not a finite number"),
    "infinity": ("id,V1\na,inf\n", "line 2, column 'V1': 'inf' is not a finite number"),
    "too large": ("id,V1\na,1e999\n", "line 2, column 'V1': '1e999' is not a finite number"),
    "digits with signs": ("id,V1\na,1_000\n", "line 2, column 'V1': '1_000' is not"),
    "a row too long": ("id,V1\na,1\nb,1,2\n", "line 3: the row has 3 cells"),
    "a name twice": ("id,V1\na,1\nb,1\na,2\n", "line 4: the series 'a' stands twice, first in line 2"),
    "no name": ('id,V1\na,1\n" ",1\n', "line 3, column 'id': the name of the series is missing"),
    "no value": ("id,V1,V2\na,1,2\nb,,\n", "line 3: the series has no value"),
    "no rows": ("id,V1\n", "the file has a header and no rows"),
    "one column": ("id\na\n", "line 1: the header has one column: 'id'"),
    "no header": ("a,5,3,4\nb,1,2,3\n", "line 1: the first line looks like a series"),
    "an open quote": ('id,V1\n"a,1\n', "line 2: the line cannot be cut into cells"),
    "a huge cell": (f'id,V1\n"a",{"1" * 200_000}\n', "line 2: the line cannot be cut into cells"),
    "a zero byte": ("id,V1\na,\0\n", "line 2: a NUL byte"),
    "empty": ("", "the file is empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_their_place(tmp_path: Path, name: str) -> None:
    text, expected = BAD[name]
    with pytest.raises(DataError) as found:
        read_wide(written(tmp_path, text))
    assert expected in str(found.value)
    assert str(found.value).startswith(str(tmp_path / "wide.csv"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_wide(tmp_path / "absent.csv")
    path = tmp_path / "wide.csv"
    path.write_bytes("id,V1\ncafé,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2: byte 0xe9 at byte 4 of the line is not UTF-8"):
        read_wide(path)


def test_short_series_beside_a_long_one_take_the_memory_of_their_values(tmp_path: Path) -> None:
    steps, many = 20_000, 400
    lines = [",".join(["id", *(f"V{step}" for step in range(steps))])]
    lines += [",".join(["long", *("1" for _ in range(steps))])]
    lines += [f"short {number},1,2,3" for number in range(many)]
    path = written(tmp_path, "\n".join(lines))
    tracemalloc.start()
    frame = read_wide(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frame.height == steps + 3 * many
    # A full table of doubles would take many * steps * 8 bytes, 64 MB.
    assert peak < 16e6


def test_what_came_after_follows_the_end_of_each_series() -> None:
    history = pl.DataFrame({"unique_id": ["a", "a", "b"], "ds": [1, 2, 1], "y": [1.0, 2.0, 3.0]})
    after = pl.DataFrame({"unique_id": ["b", "b"], "ds": [1, 2], "y": [4.0, 5.0]})
    assert continue_series(history, after).rows()[3:] == [("b", 2, 4.0), ("b", 3, 5.0)]
    with pytest.raises(DataError, match=r"test\.csv: 1 series is not in the history: 'c'"):
        continue_series(history, after.with_columns(unique_id=pl.lit("c")), source="test.csv")


def test_the_m4_files_are_read_as_they_are(shared_data: Path) -> None:
    train = read_wide(shared_data / "m4_hourly" / "Hourly-train.csv")
    test = read_wide(shared_data / "m4_hourly" / "Hourly-test.csv")
    lengths = train.group_by("unique_id", maintain_order=True).len()["len"]
    assert (len(lengths), sorted(set(lengths))) == (414, [700, 960])
    assert train.null_count().sum_horizontal().item() == 0
    whole = continue_series(train, test)
    assert whole.height == train.height + 414 * 48
    # From the file: the last value of the training part of H1 and the first of its test part.
    first = whole.filter(pl.col("unique_id") == "H1").sort("ds")["y"].to_numpy()
    assert np.array_equal(first[[0, 1, 700]], [605.0, 586.0, 619.0])
