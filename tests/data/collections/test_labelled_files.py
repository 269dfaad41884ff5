"""Readers of labelled collections: what they read, and what each says of a bad file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_samples import ARFF, RELATIONAL, TS

from gatestack.data.collections import LabelledSequences, read_labelled
from gatestack.errors import ArgumentError, DataError


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cases(data: LabelledSequences) -> list[list[Any]]:
    """Values per case and step, None where missing."""
    seen = data.sequences.observed
    values = data.sequences.values.tolist()
    if seen is not None:
        values = [
            [x if ok else None for x, ok in zip(*row, strict=True)] for row in zip(values, seen, strict=True)
        ]
    offsets = data.sequences.offsets
    return [values[a:b] for a, b in pairwise(offsets)]


def test_ts_gives_values_labels_and_declared_classes(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.ts", TS))
    assert cases(data) == [[[1.0], [2.0], [3.0]], [[3.0], [2.5], [-1.0]]]
    assert data.labels is not None
    assert data.labels.tolist() == ["up", "down"]
    assert data.classes == ("up", "down")


@pytest.mark.parametrize(
    "change", [("\n", "\r\n"), ("#comment", "\ufeff#comment"), ("1e0:down\n", "1e0:down")]
)
def test_ts_line_ends_byte_order_mark_and_missing_last_line_end_change_nothing(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    data = read_labelled(written(tmp_path, "a.ts", TS.replace(*change)))
    assert cases(data) == cases(read_labelled(written(tmp_path, "b.ts", TS)))


def test_a_comment_in_another_encoding_is_no_error(tmp_path: Path) -> None:
    assert len(read_labelled(written(tmp_path, "a.ts", TS.encode("latin-1")))) == 2


def test_ts_multivariate_of_unequal_lengths_with_missing_values(tmp_path: Path) -> None:
    text = (
        "@missing true\n@univariate false\n@dimensions 2\n@equalLength false\n@classLabel true a b\n@data\n"
    )
    data = read_labelled(written(tmp_path, "a.ts", text + "1,?,3:4,5,6:a\n7,8:9,NaN:b\n"))
    assert cases(data) == [[[1.0, 4.0], [None, 5.0], [3.0, 6.0]], [[7.0, 9.0], [8.0, None]]]


def test_ts_tags_that_are_left_out_are_taken_from_the_data(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.ts", "@classLabel true\n@data\n1,2:x\n3,?,4:y\n"))
    assert data.classes == ("x", "y")
    assert data.sequences.lengths.tolist() == [2, 3]


def test_ts_target_values(tmp_path: Path) -> None:
    data = read_labelled(
        written(tmp_path, "a.ts", "@targetLabel true\n@data\n1,2:0.5\n3:-2\n"), kind="numbers"
    )
    assert data.targets is not None
    assert data.targets.tolist() == [0.5, -2.0]


def test_ts_time_stamps(tmp_path: Path) -> None:
    head = "@timeStamps true\n@classLabel true a\n@data\n"
    counted = read_labelled(written(tmp_path, "a.ts", head + "(0,1.5),(3,2):(0,7),(3,8):a\n"))
    assert cases(counted) == [[[1.5, 7.0], [2.0, 8.0]]]
    assert counted.sequences.time is not None
    assert counted.sequences.time.tolist() == [0, 3]
    dated = read_labelled(written(tmp_path, "b.ts", head + "(2024-01-01 00:30:00,1),(2024-01-02,?):a\n"))
    assert dated.sequences.time is not None
    assert dated.sequences.time.dtype == np.dtype("datetime64[us]")
    assert str(dated.sequences.time[0]) == "2024-01-01T00:30:00.000000"


BAD_TS = {
    "unknown tag": ("@missing", "@misssing", "line 4", "did you mean '@missing'"),
    "undeclared class": (":down", ":dwn", "line 11", "line 8 declares"),
    "missing label": (":down", ":", "line 11", "the label is missing"),
    "no colon": ("3:up", "3", "line 10", "no ':'"),
    "length changes": ("1,2,3", "1,2", "line 10", "line 7 says: @seriesLength 3"),
    "second channel": ("1,2,3", "1,2,3:1,2,3", "line 10", "line 5 says: @univariate true"),
    "undeclared missing value": ("2.5", "?", "line 11, value 2", "line 4 says: @missing false"),
    "undeclared time stamp": ("1,2,3", "(1,1),(2,2),(3,3)", "line 10", "line 3 says: @timeStamps false"),
    "second @data": ("3,2.5", "@data\n3,2.5", "line 11", "@data stands twice"),
    "a tag after @data": ("3,2.5", "@missing true\n3,2.5", "line 11", "after @data"),
    "a tag twice": ("@problemName tiny", "@missing true", "line 4", "line 2"),
    "no @data": ("@data\n", "", "line 9", "@data before the first case"),
    "no cases": ("1,2,3:up\n3,2.5,-1e0:down\n", "", "a.ts", "no cases"),
    "neither true nor false": ("@missing false", "@missing no", "line 4", "true or false"),
    "a length that is no number": ("@seriesLength 3", "@seriesLength x", "line 7", "whole number"),
    "a length of 5,000 digits": ("@seriesLength 3", "@seriesLength " + "9" * 5000, "line 7", "whole number"),
    "text": ("2.5", "wet", "line 11, value 2", "'wet' is not a number"),
    "underscore": ("2.5", "1_0", "line 11, value 2", "'1_0' is not a number"),
    "hexadecimal": ("2.5", "0x10", "line 11, value 2", "'0x10' is not a number"),
    "infinite": ("2.5", "1e999", "line 11, value 2", "too large"),
    "infinity in words": ("2.5", "inf", "line 11, value 2", "'inf' is not a number"),
    "empty value": ("2.5", "", "line 11, value 2", "nothing stands here"),
    "a class twice": ("true up down", "true up up", "line 8", "declared twice"),
    "two kinds of labels": ("@problemName tiny", "@targetLabel true", "line 8", "both true"),
    "no labels": ("@classLabel true up down", "@classLabel false", "a.ts", "no labels"),
    "NUL": ("2.5", "\0", "line 11", "NUL byte (0x00) at byte 3"),
    "not UTF-8": (":down", b":d\xe9", "line 11", "not UTF-8"),
}


@pytest.mark.parametrize("name", BAD_TS)
def test_a_bad_ts_file_is_refused_with_line_and_reason(tmp_path: Path, name: str) -> None:
    old, new, place, reason = BAD_TS[name]
    assert old in TS
    content = TS.encode().replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1)
    path = written(tmp_path, "a.ts", content)
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert place in str(caught.value)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_unequal_lengths_against_the_tag_are_refused(tmp_path: Path) -> None:
    text = TS.replace("@seriesLength 3\n", "").replace("3,2.5,", "3,")
    with pytest.raises(
        DataError, match=r"line 10: 2 values, but 3 in line 9 .* line 6 says: @equalLength true"
    ):
        read_labelled(written(tmp_path, "a.ts", text))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("(0,1),(0,2):a", "value 2: the time '0' follows '0'"),
        ("(0,1),(1,2):(0,1),(2,2):a", "channel 2: the channel has other time stamps"),
        ("(0,1)(1,2):a", "value 1: '(1,2)' follows a value"),
        ("0,1:a", "value 1: '0,1' is not a time and a value"),
        ("(yesterday,1):a", "the time is 'yesterday'"),
        ("(2024-01-01T00:00:00+01:00,1):a", "has a zone"),
        ("(0,1),(2024-01-01,1):a", "value 2"),
    ],
)
def test_bad_time_stamps_are_refused(tmp_path: Path, case: str, reason: str) -> None:
    path = written(tmp_path, "a.ts", f"@timeStamps true\n@classLabel true a\n@data\n{case}\n")
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert "line 4" in str(caught.value)
    assert reason in str(caught.value)


def test_arff_univariate(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.arff", ARFF))
    assert cases(data) == [[[1.0], [2.0], [3.0]], [[3.0], [None], [1.0]]]
    assert data.labels is not None
    assert data.labels.tolist() == ["up", "go down"]
    assert data.classes == ("up", "go down")


def test_arff_relational_is_multivariate(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.arff", RELATIONAL))
    assert cases(data) == [[[1.0, 3.0], [2.0, 4.0]], [[5.0, 7.0], [6.0, None]]]
    assert data.classes == ("rest", "walk")


def test_arff_numeric_target_by_its_name(tmp_path: Path) -> None:
    text = ARFF.replace("{up,'go down'}", "real").replace("up\n", "0.5\n").replace("'go down'\n", "2\n")
    data = read_labelled(written(tmp_path, "a.arff", text), kind="numbers")
    assert data.targets is not None
    assert data.targets.tolist() == [0.5, 2.0]
    named = read_labelled(tmp_path / "a.arff", kind="numbers", label="c")
    assert named.targets is not None
    assert named.targets.tolist() == [3.0, 1.0]


BAD_ARFF = {
    "undeclared nominal": (",up\n3", ",upp\n3", "line 8, attribute 'target'", "line 6 declares"),
    "short row": ("1,2,3,up", "1,2,up", "line 8, attribute 'c'", "the row has 3 values"),
    "long row": ("1,2,3,up", "1,2,3,4,up", "line 8", "the row has 5 values"),
    "unknown type": ("integer", "intger", "line 5, attribute 'c'", "did you mean 'integer'"),
    "date": ("integer", 'date "yyyy"', "line 5, attribute 'c'", "not supported"),
    "text attribute": ("integer", "string", "line 5, attribute 'c'", "not supported"),
    "unclosed brace": ("down'}", "down'", "line 6, attribute 'target'", "brace is never closed"),
    "unclosed quote": ("'go down'\n", "'go down\n", "line 9, value 4", "quote is never closed"),
    "sparse": ("1,2,3,up", "{0 1, 3 up}", "line 8", "sparse"),
    "attribute without a type": ("@attribute b NUMERIC", "@attribute b", "line 4", "a name and a type"),
    "unknown word": ("@attribute b", "@atribute b", "line 4", "@attribute"),
    "no label": (
        "{up,'go down'}",
        "{up,'go down'}\n@attribute last real",
        "a.arff",
        "which attribute is the label",
    ),
    "two nominals": ("integer", "{3,1}", "line 5", "neither a step nor the label"),
    "text in a number": ("1,2,3,up", "1,wet,3,up", "line 8, value 2", "'wet' is not a number"),
    "missing label": (",up\n3", ",?\n3", "line 8", "label is missing"),
    "no data": ("@data\n", "", "line 7", "before the cases"),
    "all missing": ("1,2,3,up", "?,?,?,up", "line 8", "no values"),
}


@pytest.mark.parametrize("name", BAD_ARFF)
def test_a_bad_arff_file_is_refused_with_line_and_attribute(tmp_path: Path, name: str) -> None:
    old, new, place, reason = BAD_ARFF[name]
    assert old in ARFF
    with pytest.raises(DataError) as caught:
        read_labelled(written(tmp_path, "a.arff", ARFF.replace(old, new, 1)))
    assert place in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("@end steps\n", "", "inside a relation"),
        ("3,4", "3", "channel 2: the channel has 1 values"),
        ("3,4", "3,4\\n5,6", "line 9: the case has 2 channels"),
        ("{rest,walk}\n", "{rest,walk}\n@attribute other real\n", "neither a step nor the label"),
    ],
)
def test_a_bad_relation_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in RELATIONAL
    text = RELATIONAL.replace(old, new, 1)
    if "other real" in new:
        lines = text.splitlines(keepends=True)
        lines[5:7] = lines[6:4:-1]  # the label stays the last one
        text = "".join(lines)
    with pytest.raises(DataError, match="arff") as caught:
        read_labelled(written(tmp_path, "a.arff", text))
    assert reason in str(caught.value)


def test_ucr_tsv_with_unequal_lengths(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "a.tsv", "1\t0.5\tNaN\t2\n-1.0\t1\t2\tNaN\n"))
    assert cases(data) == [[[0.5], [None], [2.0]], [[1.0], [2.0]]]
    assert data.labels is not None
    assert data.labels.tolist() == ["1", "-1"]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("1\t0.5\t2\n2\t1\n", "line 2", "1 values"),
        ("1\t0.5\t2\n2\twet\t1\n", "line 2, value 1", "'wet'"),
        ("1\t0.5\t2\nNaN\t1\t1\n", "line 2", "label is missing"),
        ("1\t0.5\t2\n2\tNaN\tNaN\n", "line 2", "no values"),
        ("1\t0.5\t2\n2,1,1\n", "line 2", "no tab"),
    ],
)
def test_a_bad_ucr_line_is_refused(tmp_path: Path, text: str, place: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        read_labelled(written(tmp_path, "a.tsv", text))
    assert place in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["a.ts", "a.arff", "a.tsv"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\xff\xfe@\x00", "UTF-16"),
        (b"PK\x03\x04zip", "packed"),
        (b"\x1f\x8b\x08gz", "packed"),
    ],
)
def test_a_file_that_is_no_text_is_named_as_what_it_is(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        read_labelled(written(tmp_path, name, content))


def test_an_absent_file_offers_a_near_name(tmp_path: Path) -> None:
    written(tmp_path, "GunPoint_TRAIN.ts", TS)
    with pytest.raises(DataError, match=r"did you mean 'GunPoint_TRAIN.ts'"):
        read_labelled(tmp_path / "GunPoint_TRIAN.ts")
    (tmp_path / "folder.ts").mkdir()
    with pytest.raises(DataError, match="not a file"):
        read_labelled(tmp_path / "folder.ts")


def test_classes_and_numbers_are_not_taken_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="use Classifier"):
        read_labelled(written(tmp_path, "a.ts", TS), kind="numbers")
    with pytest.raises(DataError, match="use Regressor"):
        read_labelled(written(tmp_path, "b.ts", "@targetLabel true\n@data\n1:2\n"))
    with pytest.raises(DataError, match="use Classifier"):
        read_labelled(written(tmp_path, "a.arff", ARFF), kind="numbers")


def test_every_shared_problem_is_read(shared_data: Path) -> None:
    found = {
        path.name: read_labelled(path) for path in sorted((shared_data / "ucr_uea").glob("*/*_TRAIN.ts"))
    }
    sizes = {
        name.removesuffix("_TRAIN.ts"): (len(d), d.sequences.num_features, len(d.classes))
        for name, d in found.items()
    }
    assert sizes["GunPoint"] == (50, 1, 2)
    assert sizes["JapaneseVowels"] == (270, 12, 9)
    assert sizes["PLAID"] == (537, 1, 11)
    assert sizes["Epilepsy"] == (137, 3, 4)
    lengths = found["PLAID_TRAIN.ts"].sequences.lengths
    assert (lengths.min(), lengths.max()) == (100, 1344)


def test_columns_of_a_table_cannot_be_named_for_a_file_without(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="case=… names nothing"):
        read_labelled(written(tmp_path, "a.ts", TS), case="id")
