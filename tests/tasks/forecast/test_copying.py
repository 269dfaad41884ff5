"""A forecast that is the last value in disguise is called one; a forecast with skill is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.forecast import Copying, Forecaster, Origins, copies_last_value
from gatestack.tasks.forecast.checks.copying import find_copying

Make = Callable[..., Forecaster]
SEASON = 5


def walk(steps: int, seed: int = 0) -> np.ndarray:
    return 50 + np.cumsum(np.random.default_rng(seed).normal(size=steps))


def autoregression(steps: int, weight: float, seed: int = 0) -> np.ndarray:
    values = np.zeros(steps)
    for step, noise in enumerate(np.random.default_rng(seed).normal(size=steps - 1)):
        values[step + 1] = weight * values[step] + noise
    return values


def measure(values: np.ndarray, forecast: Callable[[np.ndarray], np.ndarray], horizon: int = 1) -> Copying:
    """Score forecasts of one series from every step, which `forecast` makes, (R, horizon), from l."""
    ahead = np.lib.stride_tricks.sliding_window_view(values[1:], horizon)
    last = values[: len(ahead)]
    rows = np.zeros(len(ahead), dtype=np.int64)
    return find_copying(forecast(last), ahead, last, rows=rows, block=horizon)


def repeated(last: np.ndarray, horizon: int = 1) -> np.ndarray:
    return np.repeat(last[:, None], horizon, axis=1)


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
def test_a_copy_of_a_walk_is_called_one_also_with_noise(horizon: int, noise: float) -> None:
    random = np.random.default_rng(1)
    found = measure(
        walk(300),
        lambda last: repeated(last, horizon) + noise * random.normal(size=(len(last), horizon)),
        horizon,
    )
    assert found.copies is True
    assert found.by_step["shift"].to_list() == list(range(1, horizon + 1)), "nearest to the last value"
    assert "last value in disguise" in found.sentence
    assert found.distance == pytest.approx(
        noise * np.mean([1 / np.sqrt(k + 1) for k in range(horizon)]), abs=0.08
    )


def test_a_copy_that_is_shrunk_to_the_levels_of_training_is_found() -> None:
    found = [
        measure(walk(400, seed) + 40, lambda last: 50 + 0.85 * (repeated(last) - 50)) for seed in range(20)
    ]
    plain = np.abs(0.15 * (walk(400) - 10)).mean() / np.abs(np.diff(walk(400))).mean()
    assert plain > 0.9, "far from the last value itself: the line through it is what tells"
    assert max(part.distance for part in found) < 0.1
    # What it adds to a walk agrees with what happens by chance in one draw of forty, and a little oftener.
    assert sum(part.copies is True for part in found) >= 18


@pytest.mark.parametrize("weight", [0.3, 0.8])
@pytest.mark.parametrize("horizon", [1, 4])
def test_the_best_forecast_of_an_autoregression_is_no_copy(weight: float, horizon: int) -> None:
    found = measure(
        autoregression(400, weight), lambda last: last[:, None] * weight ** np.arange(1, horizon + 1), horizon
    )
    assert found.copies is False
    assert found.low is not None
    assert found.low > 0
    assert "not a copy" in found.sentence


def test_skill_near_the_last_value_is_no_copy() -> None:
    """The distance alone would call this one: a slow series, and a forecast that adds little."""
    found = measure(autoregression(1500, 0.95), lambda last: 0.95 * repeated(last))
    assert found.distance < 0.3
    assert found.copies is False


def test_a_seasonal_forecast_is_no_copy_and_its_copy_is() -> None:
    time = np.arange(300)
    clean = 5 * np.sin(time * 2 * np.pi / 24)
    values = clean + np.random.default_rng(0).normal(size=300)
    assert measure(values, lambda last: clean[1 : len(last) + 1, None]).copies is False
    assert measure(values, repeated).copies is True


def test_a_wild_forecast_is_bad_but_no_copy() -> None:
    found = measure(
        walk(300), lambda last: repeated(last) + 3 * np.random.default_rng(2).normal(size=(len(last), 1))
    )
    assert found.copies is False
    assert "is not shown to bring it nearer" in found.sentence


def test_numbers_by_hand() -> None:
    truth, last = np.array([[1.0], [3.0], [2.0]] * 5), np.array([0.0, 1.0, 3.0] * 5)
    forecast = last[:, None] + np.array([[0.5], [-1.0], [-0.5]] * 5)
    found = find_copying(forecast, truth, last, rows=np.zeros(15, dtype=int))
    # Moves 1, 2, -1; added 0.5, -1, -0.5.
    assert found.distance == pytest.approx((0.5 + 1 + 0.5) / 4)
    assert found.agreement == pytest.approx((0.5 - 2 + 0.5) / np.sqrt(1.5 * 6))
    assert found.gain == pytest.approx(1 - (0.5 + 3 + 0.5) / 4)
    assert found.origins == 15


def test_series_count_alike_whatever_their_unit() -> None:
    small, rows = walk(200), np.repeat([0, 1], 199)
    parts = [small, 1e6 * walk(200, 3)]
    last = np.concatenate([part[:-1] for part in parts])
    truth = np.concatenate([part[1:] for part in parts])[:, None]
    forecast = last[:, None] + np.where(rows[:, None] == 0, 0.2, 0.2e6)
    found = find_copying(forecast, truth, last, rows=rows)
    again = find_copying(forecast * 7, truth * 7, last * 7, rows=rows)
    alone = find_copying(forecast[:199], truth[:199], last[:199], rows=rows[:199])
    assert found.distance == pytest.approx(again.distance)
    assert found.distance == pytest.approx(alone.distance, rel=0.3)


def test_many_short_series_are_measured_together() -> None:
    parts = [autoregression(12, 0.4, seed) * 10.0 ** (seed % 4) for seed in range(60)]
    ahead = np.concatenate([np.lib.stride_tricks.sliding_window_view(part[5:], 3)[::2] for part in parts])
    last = np.concatenate([part[4:9:2] for part in parts])
    rows = np.arange(60).repeat(3)
    assert find_copying(np.repeat(last[:, None], 3, axis=1), ahead, last, rows=rows).copies is True
    assert find_copying(last[:, None] * [0.4, 0.16, 0.064], ahead, last, rows=rows).copies is False


def test_too_few_origins_and_series_that_stand_still_are_told() -> None:
    few = measure(walk(12), repeated)
    assert few.copies is None
    assert "too few" in few.sentence
    still = measure(np.full(50, 3.0), repeated)
    assert (still.copies, still.origins) == (None, 0)
    json.dumps(still.to_dict(), allow_nan=False)


def test_missing_truth_is_left_out() -> None:
    values = walk(200)
    truth = values[1:, None].copy()
    truth[::3] = np.nan
    found = find_copying(values[:-1, None], truth, values[:-1], rows=np.zeros(199, dtype=int))
    assert found.origins == int(np.isfinite(truth).sum())
    assert found.copies is True


def test_a_better_forecast_is_named() -> None:
    values = autoregression(400, 0.3)
    last, truth, rows = values[:-1], values[1:, None], np.zeros(399, dtype=int)
    found = find_copying(last[:, None], truth, last, rows=rows, others={"linear": 0.3 * last[:, None]})
    assert found.better is not None
    error, naive = np.abs(0.3 * last[:, None] - truth).mean(), np.abs(last[:, None] - truth).mean()
    assert found.better == ("linear", pytest.approx(1 - error / naive))
    assert "linear is better than the last value" in found.sentence
    alone = find_copying(last[:, None], truth, last, rows=rows, others={"other": last[:, None] + 1})
    assert alone.better is None
    assert "the last value is as good" in alone.sentence


# A bare table.


def table(values: np.ndarray, forecast: np.ndarray) -> pl.DataFrame:
    days = [date(2020, 1, 1) + timedelta(days=step) for step in range(len(values))]
    return pl.DataFrame({"ds": days[1:], "y": values[1:], "LSTM": forecast})


def test_a_bare_table_of_one_step_ahead() -> None:
    values = walk(200)
    copied = copies_last_value(table(values, values[:-1]))
    # The first row has no row before it.
    assert (copied.copies, copied.origins, copied.distance) == (True, 198, 0.0)
    ar = autoregression(300, 0.5)
    assert copies_last_value(table(ar, 0.5 * ar[:-1])).copies is False


def test_the_layout_of_nixtla_with_steps_ahead_and_history() -> None:
    frame = pl.concat(
        [
            table(walk(90, seed), walk(90, seed)[:-1]).with_columns(unique_id=pl.lit(f"s{seed}"))
            for seed in range(3)
        ]
    )
    parts = [
        part.slice(first, 4).with_columns(
            cutoff=part["ds"][first - 1], AutoARIMA=part["y"][first - 1], other=part["y"][first - 1] + 5.0
        )
        for part in frame.partition_by("unique_id")
        for first in range(10, 84, 2)
    ]
    crossed = pl.concat(parts).drop("LSTM").rename({"AutoARIMA": "LSTM", "other": "other-lo-90"})
    history = frame.select("unique_id", "ds", "y")
    found = copies_last_value(crossed, history=history)
    assert found.origins == len(parts)
    assert found.by_step["shift"].to_list() == [1, 2, 3, 4]
    assert found.copies is True
    assert found.distance == pytest.approx(0)
    # Without a history a cutoff has a value only where it was forecast itself: the first of a series was not.
    assert copies_last_value(crossed).origins == len(parts) - 3
    shuffled = copies_last_value(
        crossed.sample(fraction=1, shuffle=True, seed=1).to_pandas(), history=history
    )
    assert shuffled.to_dict() == found.to_dict()
    assert isinstance(crossed.to_pandas(), pd.DataFrame)


@pytest.mark.parametrize(
    ("frame", "options", "error", "says"),
    [
        (table(walk(30), walk(30)[:-1]).drop("y"), {}, DataError, "no column 'y'"),
        (table(walk(30), walk(30)[:-1]).drop("LSTM"), {}, ArgumentError, "0 columns of forecasts"),
        (table(walk(30), walk(30)[:-1]), {"model": "GRU"}, ArgumentError, "no model 'GRU'"),
        (
            table(walk(30), walk(30)[:-1]).with_columns(GRU="LSTM"),
            {},
            ArgumentError,
            r"2 columns of forecasts: LSTM, GRU",
        ),
        (
            table(walk(30), walk(30)[:-1]).with_columns(cutoff=pl.lit(date(1999, 1, 1))),
            {},
            DataError,
            "no value at a cutoff",
        ),
        (table(walk(30), walk(30)[:-1]), {"history": pl.DataFrame({"ds": [1]})}, DataError, "history"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    frame: pl.DataFrame, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        copies_last_value(frame, **options)


# In an evaluation.


def test_every_evaluation_says_whether_the_model_copies(make: Make) -> None:
    values = walk(400)
    frame = pl.DataFrame({"ds": range(400), "y": values})
    found = make(1, season=None, max_steps=1).backtest(frame, origins=Origins(test=150, step=1))
    assert found.copying.copies is True
    assert found.copying.sentence in found.sentence
    assert json.loads(json.dumps(found.to_dict()))["copying"]["copies"] is True
    wavy = autoregression(400, 0.4)
    skilled = make(1, season=None, max_steps=1).backtest(
        pl.DataFrame({"ds": range(400), "y": wavy}), origins=Origins(test=150, step=1)
    )
    assert skilled.copying.copies is False
    assert "copy" not in skilled.sentence


def test_the_table_of_an_evaluation_gives_the_same_verdict(make: Make) -> None:
    frame = pl.DataFrame({"ds": range(300), "y": walk(300)})
    found = make(3, season=None).backtest(frame, origins=Origins(test=100, step=1))
    again = copies_last_value(found.forecasts)
    assert again.to_dict() == found.copying.to_dict()
