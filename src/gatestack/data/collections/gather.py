"""What the readers of all formats do with the cases they have read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.data.collections.labelled import LabelColumns, LabelledSequences, TargetKind
from gatestack.data.collections.lines import target_of
from gatestack.data.sequences import Sequences
from gatestack.errors import DataError, nearest_name, quote_value

__all__ = ["check_declared", "collect", "plain_label", "without_missing_end"]

Floats = npt.NDArray[np.float64]


def plain_label(text: str) -> str:
    """Write a whole number without decimals, so that `1`, `1.0` and `1.0000e+00` name one class.

    Example:
        >>> plain_label("1.0000000e+00"), plain_label("walking"), plain_label("2.5"), plain_label("01")
        ('1', 'walking', '2.5', '01')
    """
    if re.fullmatch(r"[+-]?\d+\.\d*(?:[eE][+-]?\d{1,2})?|[+-]?\d+[eE][+-]?\d{1,2}", text, re.ASCII):
        value = float(text)
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
    return text


def check_declared(label: str, classes: Sequence[str], where: str, rule: str) -> None:
    """Raise a `DataError` for a class that the header does not name."""
    if classes and label not in classes:
        raise DataError(
            f"the class is {quote_value(label)}",
            where=where,
            expected=rule,
            hint=nearest_name(label, classes),
        )


def without_missing_end(values: Floats) -> Floats:
    """Cut the missing steps at the end: in tables with a case per row they fill up the shorter ones.

    Args:
        values: (T,) or (T, channels), NaN where missing.

    Example:
        >>> without_missing_end(np.array([1.0, np.nan, 2.0, np.nan]))
        array([ 1., nan,  2.])
    """
    known = np.flatnonzero(~np.isnan(values).reshape(len(values), -1).all(axis=1))
    return values[: int(known[-1]) + 1 if len(known) else 0]


def collect(
    cases: list[Floats],
    labels: list[str] | None,
    places: Sequence[int],
    *,
    kind: TargetKind,
    classes: Sequence[str] = (),
    source: str,
    columns: LabelColumns | None = None,
    names: Sequence[str] | None = None,
    times: list[npt.NDArray[Any]] | None = None,
    keys: Sequence[str] | None = None,
) -> LabelledSequences:
    """Join the cases of a file.

    Args:
        cases: each (T_i, channels), NaN where missing.
        labels: the text of each label as written; None without labels.
        places: line of each case.
        kind: what the labels are read as.
        classes: declared ones; none: those that occur.
        source: name of the file.
        columns: kept with the result.
        names: of the channels.
        times: of the steps of each case.
        keys: name of each case.

    Raises:
        DataError: there are no cases, a case has no step, or a target is not a number.
    """
    if not cases:
        raise DataError("there are no cases", where=source, expected="at least one after the header")
    for case, line in zip(cases, places, strict=True):
        if not len(case):
            raise DataError(
                "the case has no values", where=f"{source}, line {line}", expected="one or more steps"
            )
    sequences = Sequences.from_arrays(cases, time=times, names=names, keys=keys)
    if labels is None:
        return LabelledSequences(sequences, source=source, columns=columns)
    if kind == "numbers":
        targets = [
            target_of(label, f"{source}, line {line}, target")
            for label, line in zip(labels, places, strict=True)
        ]
        return LabelledSequences(sequences, targets=np.array(targets), source=source, columns=columns)
    found = np.array(labels)
    every = tuple(classes) or tuple(str(name) for name in np.unique(found))
    return LabelledSequences(sequences, found, classes=every, source=source, columns=columns)
