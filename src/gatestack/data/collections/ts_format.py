"""The `.ts` format of the UCR and UEA archives.

`#` comments, `@` tags, `@data`, then one case a line: channels separated by `:`, values by `,`, after the
last `:` the class or the target value. With `@timeStamps true` a value is `(time,value)`. Tags that a header
leaves out are taken from the data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.data.collections.gather import check_declared, collect
from gatestack.data.collections.labelled import LabelledSequences, TargetKind
from gatestack.data.collections.lines import check_file, numbered_lines, numbers_of
from gatestack.errors import DataError, nearest_name, quote_value

__all__ = ["read_ts"]

Floats = npt.NDArray[np.float64]

_TRUTH_TAGS = ("timestamps", "missing", "univariate", "equallength", "targetlabel")
_COUNT_TAGS = ("dimensions", "dimension", "serieslength")
_TAGS = ("problemName", "timeStamps", "missing", "univariate", "dimensions", "equalLength", "seriesLength",
         "classLabel", "targetLabel", "data")  # fmt: skip
_SEPARATOR = re.compile(r":(?![^(]*\))")
_STAMPED = re.compile(r"\(([^(),]*),([^(),]*)\)")


@dataclass
class _Header:
    """The tags of a file, in lower case, and the lines they stand on."""

    truths: dict[str, bool] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    labelled: bool = False

    def rule(self, tag: str, value: object) -> str:
        """Name a tag that a case contradicts."""
        shown = str(value).lower() if isinstance(value, bool) else value
        return f"what line {self.lines[tag.lower()]} says: @{tag} {shown}"


def read_ts(path: str | Path, *, kind: TargetKind = "classes", need_labels: bool = True) -> LabelledSequences:
    """Read a `.ts` file.

    Args:
        path: of the file.
        kind: `"classes"` for a file with `@classLabel`, `"numbers"` for one with `@targetLabel`.
        need_labels: refuse a file without labels.

    Returns:
        The sequences, (T_i, channels) each, with `time` where there are time stamps, and labels or targets.

    Raises:
        DataError: a line that breaks the format, or contradicts a tag; names file, line and position.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "tiny.ts"
        >>> _ = path.write_text("@classLabel true up down\\n@data\\n1,2,?:up\\n3,1:down\\n")
        >>> read_ts(path)
        LabelledSequences(2 sequences, 5 steps, 1 feature, float64; classes: up, down)
        >>> folder.cleanup()
    """
    file, source = Path(path).expanduser(), str(path)
    check_file(file, source, (".ts",))
    header, cases = _Header(), _Cases()
    begun = False
    for number, text in numbered_lines(file, source, comment=("#", "%")):
        where = f"{source}, line {number}"
        if text.startswith("@"):
            if begun:
                what = "@data stands twice" if text.lower() == "@data" else "a tag stands after @data"
                raise DataError(
                    f"{what}: {quote_value(text)}", where=where, expected="cases only after @data"
                )
            begun = _read_tag(text, header, number, where)
            if begun:
                _check_kind(header, kind, source, need_labels)
        elif not begun:
            raise DataError(
                f"the line is neither a tag nor a comment: {quote_value(text)}",
                where=where,
                expected="@data before the first case",
            )
        else:
            cases.add(text, header, number, where)
    if not begun:
        raise DataError("there is no @data", where=source, expected="tags, @data, cases")
    return collect(
        cases.values,
        cases.labels if header.labelled else None,
        cases.lines,
        kind=kind,
        classes=header.classes,
        source=source,
        times=_times(cases.times) if cases.times else None,
    )


def _read_tag(text: str, header: _Header, number: int, where: str) -> bool:
    """Store a tag; True for `@data`."""
    words = text[1:].split()
    tag = words[0].lower() if words else ""
    if tag not in (known.lower() for known in _TAGS) and tag != "dimension":
        raise DataError(
            f"the tag {quote_value('@' + (words[0] if words else ''))} is not known",
            where=where,
            expected="a tag of the .ts format",
            hint=nearest_name("@" + (words[0] if words else ""), [f"@{known}" for known in _TAGS]),
        )
    if tag in header.lines:
        raise DataError(
            f"the tag @{words[0]} stands twice", where=where, hint=f"see line {header.lines[tag]}"
        )
    header.lines[tag] = number
    if tag in _TRUTH_TAGS:
        header.truths[tag] = _truth(words, where)
        if tag == "targetlabel" and header.truths[tag]:
            _label_once(header, where)
    elif tag in _COUNT_TAGS:
        if len(words) != 2 or not re.fullmatch(r"0*[1-9][0-9]{0,8}", words[1], re.ASCII):
            raise DataError(
                f"{quote_value(text)}", where=where, expected=f"@{words[0]} and a whole number of 1 or more"
            )
        tag = tag if tag == "serieslength" else "dimensions"
        header.counts[tag] = int(words[1])
        header.lines[tag] = number
    elif tag == "classlabel" and _truth(words[:2], where):
        _label_once(header, where)
        header.classes = tuple(words[2:])
        for at, name in enumerate(header.classes):
            if name in header.classes[:at]:
                raise DataError(f"the class {quote_value(name)} is declared twice", where=where)
    return tag == "data"


def _label_once(header: _Header, where: str) -> None:
    if header.labelled:
        raise DataError("@classLabel and @targetLabel are both true", where=where, expected="one of them")
    header.labelled = True


def _truth(words: list[str], where: str) -> bool:
    value = words[1].lower() if len(words) > 1 else ""
    if value not in ("true", "false") or len(words) > 2:
        raise DataError(
            f"{quote_value(' '.join(words[1:]))}", where=where, expected=f"@{words[0]} true or false"
        )
    return value == "true"


def _check_kind(header: _Header, kind: TargetKind, source: str, need_labels: bool) -> None:
    numbers = header.truths.get("targetlabel", False)
    if not header.labelled:
        if need_labels:
            raise DataError(
                "the file has no labels", where=source, expected="@classLabel true … or @targetLabel true"
            )
    elif numbers != (kind == "numbers"):
        raise DataError(
            f"the file has {'target values' if numbers else 'classes'}",
            where=f"{source}, line {header.lines['targetlabel' if numbers else 'classlabel']}",
            expected="numbers" if kind == "numbers" else "classes",
            hint=f"use {'Regressor (fit regress)' if numbers else 'Classifier (fit classify)'}",
        )


@dataclass
class _Cases:
    values: list[Floats] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    times: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def add(self, text: str, header: _Header, number: int, where: str) -> None:
        """Read the line of one case and compare it with the tags."""
        parts = _SEPARATOR.split(text)
        if header.labelled:
            label = parts.pop().strip()
            if not parts:
                raise DataError(
                    f"the line has no ':': {quote_value(text)}",
                    where=where,
                    expected="values, a colon, and the class or target value",
                )
            if not label:
                raise DataError("the label is missing", where=where, expected="text after the last ':'")
            if header.classes:
                rule = f"a class that line {header.lines['classlabel']} declares"
                check_declared(label, header.classes, where, rule)
            self.labels.append(label)
        self._check_channels(len(parts), header, where)
        complete = header.rule("missing", False) if header.truths.get("missing") is False else None
        stamped = header.truths.get("timestamps", False)
        channels: list[Floats] = []
        for channel, part in enumerate(parts, 1):
            place = f"{where}, channel {channel}" if len(parts) > 1 else where
            stamps, plain = _unstamped(part, place) if stamped else ([], part)
            if not stamped and "(" in part:
                tag = header.rule("timeStamps", False) if "timestamps" in header.lines else "@timeStamps true"
                raise DataError("a time stamp", where=place, expected=tag)
            if not plain.strip():
                raise DataError("the channel is empty", where=place, expected="one or more values")
            channels.append(numbers_of(plain, place, missing=complete))
            self._check_steps(channels, header, place)
            if stamped and channel == 1:
                self.times.append(stamps)
            elif stamped and stamps != self.times[-1]:
                raise DataError(
                    "the channel has other time stamps than the first",
                    where=place,
                    expected="the same times in each channel of a case",
                )
        self.values.append(np.stack(channels, axis=1))
        self.lines.append(number)

    def _check_channels(self, found: int, header: _Header, where: str) -> None:
        if header.truths.get("univariate") and found != 1:
            raise DataError(
                f"the case has {found} channels", where=where, expected=header.rule("univariate", True)
            )
        dimensions = header.counts.get("dimensions")
        if dimensions is not None and found != dimensions:
            raise DataError(
                f"the case has {found} channels", where=where, expected=header.rule("dimensions", dimensions)
            )
        if self.values and self.values[0].shape[1] != found:
            raise DataError(
                f"the case has {found} channels",
                where=where,
                expected=f"{self.values[0].shape[1]}, as in line {self.lines[0]}",
            )

    def _check_steps(self, channels: list[Floats], header: _Header, place: str) -> None:
        found = len(channels[-1])
        if found != len(channels[0]):
            raise DataError(
                f"the channel has {found} values",
                where=place,
                expected=f"{len(channels[0])}, as channel 1 of this case",
            )
        length = header.counts.get("serieslength")
        if length is not None and header.truths.get("equallength", True) and found != length:
            raise DataError(f"{found} values", where=place, expected=header.rule("seriesLength", length))
        if header.truths.get("equallength") and self.values and found != len(self.values[0]):
            raise DataError(
                f"{found} values, but {len(self.values[0])} in line {self.lines[0]}",
                where=place,
                expected=header.rule("equalLength", True),
            )


def _unstamped(part: str, place: str) -> tuple[list[str], str]:
    """Take `(time,value),(time,value)` apart."""
    pairs: list[tuple[str, str]] = []
    at = 0
    bare = part.strip()
    while True:
        found = _STAMPED.match(bare, at)
        if found is None:
            raise DataError(
                f"{quote_value(bare[at:])} is not a time and a value",
                where=f"{place}, value {len(pairs) + 1}",
                expected="(time,value)",
            )
        pairs.append((found[1].strip(), found[2]))
        at = found.end()
        if at == len(bare):
            break
        if bare[at] != ",":
            raise DataError(
                f"{quote_value(bare[at:])} follows a value",
                where=f"{place}, value {len(pairs)}",
                expected="a comma or the end of the channel",
            )
        at += 1
    _check_times([time for time, _ in pairs], place)
    return [time for time, _ in pairs], ",".join(value for _, value in pairs)


def _check_times(times: list[str], place: str) -> None:
    read = [_time_of(text, f"{place}, value {at}") for at, text in enumerate(times, 1)]
    for at, (before, after) in enumerate(pairwise(read), 2):
        if type(before) is not type(after) or not before < after:
            raise DataError(
                f"the time {quote_value(times[at - 1])} follows {quote_value(times[at - 2])}",
                where=f"{place}, value {at}",
                expected="times that rise",
            )


def _time_of(text: str, where: str) -> Any:
    if re.fullmatch(r"[+-]?\d{1,18}(?:\.0*)?", text, re.ASCII):
        return int(text.split(".")[0])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"the time is {quote_value(text)}",
            where=where,
            expected="a whole number, or a date such as 2024-01-31 12:00:00",
        ) from None
    if time.tzinfo is not None:
        raise DataError(
            f"the time {quote_value(text)} has a zone", where=where, expected="times without a zone"
        )
    return time


def _times(stamps: list[list[str]]) -> list[npt.NDArray[Any]]:
    """Turn checked times into arrays; whole numbers and dates cannot stand in one."""
    read = [[_time_of(text, "time") for text in case] for case in stamps]
    kinds = {type(case[0]) for case in read}
    if len(kinds) > 1:
        raise DataError("some cases count their steps, others have dates", expected="one kind of time stamps")
    dtype = np.int64 if kinds == {int} else np.dtype("datetime64[us]")
    return [np.array(case, dtype) for case in read]
