"""The check for copies of the last value on a bare table of forecasts, whichever package made them."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.frames import Frame, as_polars
from gatestack.errors import ArgumentError, DataError, nearest_name
from gatestack.tasks.forecast.baselines import BASELINES
from gatestack.tasks.forecast.checks.copying import Copying, find_copying

__all__ = ["copies_last_value"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_OWNER = "copies_last_value"
_KEY, _TIME, _CUTOFF, _TARGET = "unique_id", "ds", "cutoff", "y"
_LAST = "last_value"
_BOUND = re.compile(r"-(lo|hi)-[\d.]+$")


def copies_last_value(frame: Frame, model: str | None = None, *, history: Frame | None = None) -> Copying:
    """Say whether the forecasts in a table are the last value in disguise.

    The table is in the layout of Nixtla's `cross_validation`; the columns of keys and cutoffs may be missing:

    | column | holds | without it |
    |---|---|---|
    | `unique_id` | the key of the series | there is one series |
    | `ds` | the time that is forecast | an error |
    | `cutoff` | the last time that was known | each row was forecast from the row before it |
    | `y` | what came true | an error |
    | any other | the forecast of a model | an error |

    Args:
        frame: path of a file, or a pandas, Polars or Arrow frame.
        model: the column to look at; None takes the only one that is neither a baseline of ours nor the
            bound of an interval (`-lo-`, `-hi-`).
        history: `unique_id`, `ds`, `y` of what was known before the forecasts; None looks for the value at
            each cutoff in `frame` itself. Origins whose last value is not found are left out.

    Returns:
        The measures and the verdict.

    Raises:
        DataError: a column is missing, or no last value is found.
        ArgumentError: there is no such model, or several and none was named.

    Example:
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=200))
        >>> frame = pl.DataFrame({"ds": range(199), "y": walk[1:], "keras": 0.98 * walk[:-1] + 0.1})
        >>> print(copies_last_value(frame).sentence)  # doctest: +ELLIPSIS
        The forecast is the last value in disguise: ...
    """
    table = as_polars(frame)
    _check_columns(table, (_TIME, _TARGET), "frame")
    models = _models_of(table)
    name = _chosen(model, models)
    if _KEY not in table.columns:
        table = table.with_columns(pl.lit("").alias(_KEY))
    if _CUTOFF not in table.columns:
        before = pl.col(_TIME).shift(1).over(_KEY)
        table = table.sort(_KEY, _TIME).with_columns(before.alias(_CUTOFF))
    table = _with_last(table, history).drop_nulls(_CUTOFF).sort(_KEY, _CUTOFF, _TIME)
    origin = table.select(origin=pl.struct(_KEY, _CUTOFF).rle_id())["origin"].to_numpy()
    step = np.arange(len(origin)) - np.searchsorted(origin, origin)
    first = np.flatnonzero(step == 0)

    def grid(column: str) -> FloatArray:
        values = np.full((len(first), int(step.max()) + 1), np.nan)
        values[origin, step] = table[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values

    return find_copying(
        grid(name),
        grid(_TARGET),
        grid(_LAST)[:, 0],
        rows=table[_KEY].rle_id().gather(first).to_numpy().astype(np.int64),
        block=_overlap(table),
        others={other: grid(other) for other in models if other != name},
    )


def _check_columns(table: pl.DataFrame, needed: tuple[str, ...], where: str) -> None:
    for name in needed:
        if name not in table.columns:
            raise DataError(
                f"there is no column '{name}'",
                where=f"{_OWNER}, {where}",
                expected="unique_id (with several series), ds, y"
                + (", cutoff (with several steps ahead) and the forecasts" if where == "frame" else ""),
                hint=nearest_name(name, table.columns),
            )


def _models_of(table: pl.DataFrame) -> list[str]:
    """Name the columns that hold point forecasts."""
    return [
        name
        for name, kind in table.schema.items()
        if kind.is_numeric()
        and name not in (_KEY, _TIME, _CUTOFF, _TARGET, _LAST)
        and not _BOUND.search(name)
    ]


def _chosen(model: str | None, models: list[str]) -> str:
    own = [name for name in models if name not in BASELINES]
    if model is not None and model not in models:
        raise ArgumentError(
            f"there is no model {model!r}", where=_OWNER, expected=f"one of {', '.join(models) or 'none'}"
        )
    if model is None and len(own) != 1:
        raise ArgumentError(
            f"the table has {len(own)} columns of forecasts: {', '.join(own) or 'none'}",
            where=_OWNER,
            expected="one, or the name of the one that is meant",
            hint=f"copies_last_value(frame, {(own or ['LSTM'])[0]!r})",
        )
    return model or own[0]


def _with_last(table: pl.DataFrame, history: Frame | None) -> pl.DataFrame:
    """Add the last value that was known at each origin; rows of origins without one are left out."""
    if _LAST in table.columns and history is None:
        return table
    keys = [_KEY, _TIME]
    known = table.select(*keys, pl.col(_TARGET).cast(pl.Float64))
    if history is not None:
        past = as_polars(history, "history")
        _check_columns(past, (_TIME, _TARGET), "history")
        if _KEY not in past.columns:
            past = past.with_columns(pl.lit("").alias(_KEY))
        kinds = {_KEY: table.schema[_KEY], _TIME: table.schema[_TIME], _TARGET: pl.Float64()}
        known = pl.concat([past.select([*keys, _TARGET]).cast(kinds), known])  # type: ignore[arg-type]
    known = known.drop_nulls().unique(keys).rename({_TIME: _CUTOFF, _TARGET: _LAST})
    table = table.drop(_LAST, strict=False).with_columns(pl.col(_CUTOFF).cast(table.schema[_TIME]))
    table = table.join(known, on=[_KEY, _CUTOFF], how="inner")
    if table.is_empty():
        raise DataError(
            "no value at a cutoff is in the table, so that the last known values are not known",
            where=_OWNER,
            expected="rows with ds at the cutoffs, or history=",
            hint="give what was known before the forecasts as history=, with unique_id, ds and y",
        )
    return table


def _overlap(table: pl.DataFrame) -> int:
    """Count how many origins of the first series lie inside one forecast: their errors are alike."""
    key = table[_KEY][0]
    spans = table.filter(pl.col(_KEY) == key).group_by(_CUTOFF, maintain_order=True).agg(pl.col(_TIME).max())
    inside = spans[_CUTOFF].search_sorted(spans[_TIME], side="left").to_numpy() - np.arange(spans.height)
    return int(max(inside.max(), 1))
