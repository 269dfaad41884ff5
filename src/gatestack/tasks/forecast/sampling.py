"""Sampled paths in the user's own terms: what each series may do over the whole horizon, path by path."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from gatestack.data.frames import Frame, like_input
from gatestack.errors import ArgumentError, check_whole
from gatestack.tasks.evaluation import MODEL
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.prediction import read_history

__all__ = ["sample_frame"]

# Of the table that is made: no machine is to be filled by a slip of the finger.
_MOST_ROWS = 500_000_000


def sample_frame(
    fitted: FittedForecast, frame: Frame | None, future: Frame | None, *, paths: int, seed: int | None
) -> Any:
    """Draw paths that each series may take after its end; see `Forecaster.sample`.

    Args:
        fitted: what fitting found.
        frame: the history, or None for that of the fit.
        future: the future columns of the steps ahead, or None.
        paths: number of paths per series, 1 or more.
        seed: of the draws; None takes that of the model.
    """
    check_whole("paths", paths, owner="sample")
    if seed is not None:
        check_whole("seed", seed, owner="sample", least=0)
    if fitted.mode != "recursive":
        raise ArgumentError(
            f"mode is {fitted.mode!r}, which says how likely the values of each step are, not which belong "
            "together",
            where="sample",
            expected="a forecaster with mode='recursive', which draws each step from the one before it",
            hint="fit again with mode='recursive'; values drawn for each step alone would make sums over the "
            "horizon look surer than they are",
        )
    history = read_history(fitted, frame, future, where="sample")
    table = history.table
    rows = len(table.sequences) * paths * fitted.horizon
    if rows > _MOST_ROWS:
        raise ArgumentError(
            f"{paths} paths of {len(table.sequences)} series are {rows:,} rows",
            where="sample",
            expected=f"at most {_MOST_ROWS:,}",
            hint="draw fewer paths, or give the series in parts",
        )
    drawn = fitted.paths_ahead(
        history.state, table, history.future, paths=paths, seed=fitted.seed if seed is None else seed
    )
    # A series' paths lie one after the other, each step by step: (series, paths, horizon).
    steps = table.forecast_times(fitted.horizon)
    keys = table.key_frame(np.tile(steps, paths))
    number = np.tile(np.repeat(np.arange(paths), fitted.horizon), len(steps))
    result = keys.with_columns(pl.Series("path", number), pl.Series(MODEL, drawn.reshape(-1)))
    return result if frame is None else like_input(result, frame)
