"""Reading files: what is accepted, and that every bad file is refused with file, line, column and value."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from gatestack.data.read import MISSING_TOKENS, read_table
from gatestack.data.text_scan import CHUNK_BYTES, scan_text
from gatestack.errors import ArgumentError, DataError

GOOD = "date,rain\n2024-01-01,1.5\n2024-01-02,2\n"


def write(folder: Path, content: str | bytes, name: str = "rain.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        "\ufeff" + GOOD,
        GOOD + "\n\n",
        GOOD.replace("\n", "\r\n") + "\r\n",
        '"date","rain"\n"2024-01-01","1.5"\n"2024-01-02","2"\n',
    ],
    ids=["plain", "crlf", "no last line end", "byte order mark", "blank tail", "blank crlf tail", "quoted"],
)
def test_accepted_forms_give_the_same_table(tmp_path: Path, content: str) -> None:
    assert read_table(write(tmp_path, content)).rows() == [("2024-01-01", 1.5), ("2024-01-02", 2.0)]


@pytest.mark.parametrize(("name", "sign"), [("r.tsv", "\t"), ("r.txt", ";"), ("r.txt", "\t"), ("r.txt", ",")])
def test_the_ending_or_the_header_tells_the_separator(tmp_path: Path, name: str, sign: str) -> None:
    assert read_table(write(tmp_path, GOOD.replace(",", sign), name)).shape == (2, 2)


def test_packed_and_parquet_files_hold_the_same_table(tmp_path: Path) -> None:
    plain = read_table(write(tmp_path, GOOD))
    plain.write_parquet(tmp_path / "rain.parquet")
    packed = write(tmp_path, gzip.compress(GOOD.encode()), "rain.csv.gz")
    assert read_table(packed).equals(plain)
    assert read_table(tmp_path / "rain.parquet").equals(plain)


@pytest.mark.parametrize("token", MISSING_TOKENS)
def test_missing_tokens_are_missing(tmp_path: Path, token: str) -> None:
    assert read_table(write(tmp_path, f"a,b\n1,{token}\n2,3\n"))["b"].to_list() == [None, 3]


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, 'a,b\n"x, ""y""\nz",1\n"q",2\n'))
    assert frame.rows() == [('x, "y"\nz', 1), ("q", 2)]


def test_decimal_comma_is_read_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a;b\n1;1,5\n2;2,5\n")
    assert read_table(path, separator=";", decimal_comma=True)["b"].to_list() == [1.5, 2.5]
    with pytest.raises(ArgumentError, match="separator=';'"):
        read_table(path, decimal_comma=True)


@pytest.mark.parametrize("separator", ["", ",,", '"', "é"])
def test_a_wrong_separator_is_refused(tmp_path: Path, separator: str) -> None:
    with pytest.raises(ArgumentError, match="separator"):
        read_table(write(tmp_path, GOOD), separator=separator)


# Content, what stands between path and message, words of the message, words of the hint.
BAD_TEXT = {
    "empty": ("", "", "is empty", "written whole"),
    "blank header": ("\n1,2\n", ", line 1", "first line is blank", ""),
    "header only": ("a,b\n", "", "header and no rows", ""),
    "header only, no line end": ("a,b", "", "header and no rows", ""),
    "semicolons": ("a;b\n1;2\n", ", line 1", "separated by ';'", "separator=';'"),
    "tabs": ("a\tb\n1\t2\n", ", line 1", "separated by tab", "separator='\\t'"),
    "short row": ("a,b,c\n1,2,3\n4,5\n", ", line 3", "has 2 cells, '5' is the last", "from column 'c' on"),
    "long row": ("a,b\n1,2\n3,4,5\n", ", line 3", "has 3 cells, '5' is too much", "in quotes"),
    "short last row": ("a,b\n1,2\n3", ", line 3", "has 1 cell, '3'", "empty cells"),
    "blank line": ("a,b\n1,2\n\n3,4\n", ", line 3", "line is blank", "delete"),
    "unclosed quote": (
        'a,b\n1,2\n3,"open\n4,5\n6,7\n',
        ", line 3, column 'b'",
        "never closed",
        "close the quote",
    ),
    "quote inside": (
        'a,b\n1,2\n5" pipe,3\n',
        ", line 3, column 'a'",
        "inside the cell that begins with '5'",
        '""',
    ),
    "text after quote": (
        'a,b\n1,"x"y\n2,3,4\n',
        ", line 2, column 'b'",
        "'y' follows the closing quote",
        '""',
    ),
    "NUL": (b"a,b\n1,2\n3,\x004\n", ", line 3, column 'b'", "NUL byte (0x00) at byte 3", "damaged"),
    "NUL in header": (b"a,b\x00\n1,2\n", ", line 1", "NUL byte", ""),
    "Latin-1": (
        b"a,b\n1,caf\xe9\n",
        ", line 2, column 'b'",
        "0xe9 is not UTF-8 (as Windows-1252 the cell reads 'café')",
        "iconv -f CP1252",
    ),
    "GB18030": (
        "a,b\n1,北京天气\n".encode("gb18030"),
        ", line 2, column 'b'",
        "as GB18030 the cell reads '北京天气'",
        "iconv -f GB18030",
    ),
    "cut UTF-8": ("a,b\n1,é".encode()[:-1], ", line 2, column 'b'", "0xc3 is not UTF-8", "UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), ", line 1", "encoded in UTF-16", "iconv -f UTF-16"),
    "UTF-16 without mark": (GOOD.encode("utf-16-le"), ", line 1", "encoded in UTF-16LE", "iconv -f UTF-16LE"),
    "Latin-1 header": (b"a,caf\xe9\n1,2\n", ", line 1", "encoded in Windows-1252", "iconv"),
    "same names": ("a,b,a\n1,2,3\n", ", line 1", "'a' stands twice, in columns 1 and 3", "rename"),
    "two nameless": (",,a\n1,2,3\n", ", line 1", "two columns have no name", ""),
    "no header": ("1,2\n3,4\n", ", line 1", "numbers only: '1,2'", "names of the columns"),
    "unclosed header": ('a,"b\n1,2\n', ", line 1", "never closed", ""),
    "carriage return": ("a\rb,c\n1,2\n", ", line 1", "carriage return stands inside", ""),
    "Macintosh": ("a,b\r1,2\r", ", line 1", "lone carriage return", "tr '\\r' '\\n'"),
    "Parquet in disguise": (b"PAR1xxxxPAR1", "", "is Parquet", ".parquet"),
    "gzip in disguise": (gzip.compress(b"a,b\n1,2\n"), "", "gzip", ".gz"),
    "workbook": (b"PK\x03\x04....", "", "Excel", "CSV"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    content, place, words, hint = BAD_TEXT[case]
    path = write(tmp_path, content)
    error = refusal(path)
    assert error.where == f"{path}{place}"
    assert words in error.what
    assert hint in (error.hint or "")


def test_values_in_messages_are_cut(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a,b\n1,2," + "x" * 500 + "\n"))
    assert "x" * 59 + "…" in error.what
    assert "x" * 60 not in error.what


def test_limits_are_options_and_say_so(tmp_path: Path) -> None:
    long = write(tmp_path, "a,b\n1," + "x" * 200 + "\n")
    error = refusal(long, max_cell_bytes=100)
    assert error.where == f"{long}, line 2, column 'b'"
    assert "longer than 100 bytes" in error.what
    assert "max_cell_bytes" in (error.hint or "")
    assert read_table(long).height == 1
    wide = write(
        tmp_path, ",".join(f"c{i}" for i in range(30)) + "\n" + ",".join("1" * 30) + "\n", "wide.csv"
    )
    error = refusal(wide, max_columns=20)
    assert "30 columns" in error.what
    assert "max_columns" in (error.hint or "")
    assert read_table(wide).width == 30


def test_a_quote_that_swallows_the_file_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,2\n3,"4\n' + "5,6\n" * 50_000)
    assert refusal(path).where == f"{path}, line 3, column 'b'"


@pytest.mark.parametrize(
    "content", [b"", b"nonsense!", b"PAR1" + b"x" * 50, b"PAR1" + b"\xff" * 40 + b"PAR1"]
)
def test_bad_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    refusal(write(tmp_path, content, "rain.parquet"))


def test_cut_parquet_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"a": range(50)}).write_parquet(whole)
    content = whole.read_bytes()
    for length in range(1, len(content), 37):
        refusal(write(tmp_path, content[:length], "cut.parquet"))
    assert "at its end" in str(refusal(write(tmp_path, content[:-3], "cut.parquet")))


def test_cut_gzip_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress((GOOD * 1000).encode())
    for length in (12, len(packed) // 2, len(packed) - 3):
        refusal(write(tmp_path, packed[:length], "rain.csv.gz"))


def test_absent_folder_and_unknown_endings_are_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    absent = refusal(tmp_path / "rian.csv")
    assert absent.what == "there is no such file"
    assert absent.hint == "did you mean 'rain.csv'?"
    assert "no such file" in refusal(tmp_path / "none" / "x.csv").what
    assert "folder" in refusal(tmp_path).what
    unknown = refusal(write(tmp_path, GOOD, "rain.xlsx"))
    assert "'.xlsx' is not known" in unknown.what
    assert ".parquet" in (unknown.expected or "")


def test_a_number_too_long_for_any_type_is_kept_as_text(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, "a,b\n1," + "9" * 60 + "\n"))
    assert frame["b"].to_list() == ["9" * 60]


@pytest.mark.parametrize("quoted", [False, True])
def test_the_scan_sees_across_chunks(tmp_path: Path, quoted: bool) -> None:
    # Rows of 11 bytes do not fit the chunk evenly, so lines, cells and quotes lie across the border.
    row = '"ab,c",4567\n' if quoted else "abcde,4567\n"
    text = "x,y\n" + row * (CHUNK_BYTES // len(row) + 5)
    path = write(tmp_path, text)
    with path.open("rb") as stream:
        scan = scan_text(stream, separator=",", columns=2, max_cell_bytes=100)
    assert (scan.sound, scan.rows) == (True, text.count("\n") - 1)
    broken = write(tmp_path, text + "abc\n" + row)
    assert refusal(broken).where == f"{broken}, line {text.count(chr(10)) + 1}"


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 7])
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", 1),
        ("a,b\r\n1,2\r\n\r\n\r\n", 1),
        ('a,b\n"1\n,",2\n', 1),
        ("a,b\n1,é\n", 1),
        ("a,b\n1,2\n\n3,4\n", None),
        ("a,b\n1,2,\n", None),
        ('a,b\n1,"2\n', None),
        ("a,b\n1,longlong\n", None),
        ("a\n\n1\n", 2),
    ],
)
def test_the_scan_does_not_depend_on_the_chunk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, rows: int | None, chunk: int
) -> None:
    monkeypatch.setattr("gatestack.data.text_scan.CHUNK_BYTES", chunk)
    with write(tmp_path, text).open("rb") as stream:
        columns = 1 + text.splitlines()[0].count(",")
        scan = scan_text(stream, separator=",", columns=columns, max_cell_bytes=6)
    assert scan.sound == (rows is not None)
    if rows is not None:
        assert scan.rows == rows


@pytest.mark.parametrize(
    ("early", "late", "dtype"),
    [
        ("1", "2", pl.Int64),
        ("1", "2.5", pl.Float64),
        ("1", "wet", pl.String),
        ("2.5", "wet", pl.String),
        ("true", "wet", pl.String),
        ("NA", "2.5", pl.Float64),
        ("NA", "wet", pl.String),
        ("wet", "1", pl.String),
        ("1", "NA", pl.Int64),
        ("1", "9" * 30, pl.Int128),
    ],
)
def test_types_come_from_all_rows(tmp_path: Path, early: str, late: str, dtype: pl.DataType) -> None:
    frame = read_table(write(tmp_path, "a,b\n" + f"1,{early}\n" * 11_000 + f"1,{late}\n"))
    assert frame["b"].dtype == dtype
    whole = pl.read_csv(tmp_path / "rain.csv", infer_schema_length=None, null_values=list(MISSING_TOKENS))
    assert frame.equals(whole)
