"""Adaptive intervals learn from what came true, never before, and the same in a stream as in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from gatestack.tasks.forecast import Architecture, Forecaster, Origins
from gatestack.tasks.forecast.intervals.adaptive import RATE, AdaptiveShares

from .tables import many_series, one_series, values_of

Make = Callable[..., Forecaster]

LEVELS = (0.1, 0.5, 0.9)


def calm_then_wild(steps: int, change: int) -> pl.DataFrame:
    """A series whose noise grows threefold at a step."""
    random = np.random.default_rng(11)
    size = np.where(np.arange(steps) < change, 0.5, 1.5)
    return one_series(steps).select("ds", y=pl.Series(20 + size * random.normal(size=steps)))


def test_the_share_moves_by_hand() -> None:
    shares = AdaptiveShares.start(1, horizon=2, levels=LEVELS)
    interval = np.array([[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]])
    # Nothing was given yet: nothing is learned.
    assert shares.after_truth(np.array([9.0]), LEVELS) is shares
    shares = shares.after_forecast(interval).after_truth(np.array([9.0]), LEVELS)
    np.testing.assert_allclose(shares.share.ravel(), [0.2 - RATE * 0.8, 0.2])
    # The next truth is the first step ahead of the second forecast, the second of the first.
    shares = shares.after_forecast(interval + 10).after_truth(np.array([2.0]), LEVELS)
    moved = [0.2 - 2 * RATE * 0.8, 0.2 + RATE / 2 * 0.2]
    np.testing.assert_allclose(shares.share.ravel(), moved)
    same = shares.after_forecast(interval).after_truth(np.array([np.nan]), LEVELS)
    assert (same.share == shares.share).all()


def test_over_a_long_run_intervals_miss_what_they_say_whatever_comes(make: Make) -> None:
    frame = calm_then_wild(1100, 400)
    settings = {"horizon": 1, "layers": 1, "architecture": Architecture(scaling="series")}
    model = make(intervals="adaptive", **settings).fit(frame.head(400))
    fixed = make(intervals="conformal", **settings).fit(frame.head(400))
    found, before = (one.evaluate(frame).intervals["coverage"][0] for one in (model, fixed))
    assert before < 0.5
    assert found > 0.7
    # All that was missed beyond what may be has moved the share: Gibbs & Candès 2021, proposition 4.1.
    shares = model.update(frame.tail(700)).fitted_.shares
    assert shares is not None
    missed = 1 - found * 700 / 699  # the first forecast is that of the fit, and teaches nothing
    assert abs((0.2 - shares.share.item()) / (RATE * 699) - (missed - 0.2)) < 2 / 699


@pytest.mark.parametrize("mode", ["direct", "windows"])
def test_nothing_after_an_origin_moves_its_intervals(make: Make, mode: str) -> None:
    frame = one_series(260)
    model = make(mode=mode, intervals="adaptive").fit(frame.head(220))
    wild = frame.with_columns(pl.when(pl.int_range(pl.len()) < 240).then("y").otherwise(pl.lit(1e3)))
    usual, changed = (model.evaluate(part).forecasts for part in (frame, wild))
    known = pl.col("cutoff") <= frame["ds"][239]
    assert values_of(usual.filter(known)).shape[0] > 50
    assert np.array_equal(values_of(usual.filter(known)), values_of(changed.filter(known)))
    later = pl.col("cutoff") > frame["ds"][242]
    assert not np.array_equal(values_of(usual.filter(later)), values_of(changed.filter(later)))


def test_a_truth_teaches_only_when_it_has_come(make: Make) -> None:
    frame = one_series(260)
    model = make(intervals="adaptive").fit(frame.head(220))
    # One value far off, and nothing else changed: what the network reads is changed from it on, not before.
    shares = []
    for step in range(225, 232):
        part = frame.head(step)
        update = Forecaster._from_data(*model._to_data()).update(part[215:])
        assert update.fitted_.shares is not None
        shares.append(update.fitted_.shares.share[0, :, 0])
    for step in range(6):
        stream = model.stream()
        for value in frame["y"][220 : 226 + step]:
            stream.step({"y": value})
        assert stream.shares is not None
        assert (stream.shares.share[0, :, 0] == shares[step + 1]).all()


def test_the_stream_and_the_batch_have_the_same_shares_to_the_last_bit(make: Make) -> None:
    frame = one_series(300).with_columns(pl.when(pl.int_range(pl.len()) % 11 != 7).then("y").alias("y"))
    model = make(intervals="adaptive", calendar=["day_of_week"]).fit(frame.head(260))
    stream = model.stream()
    found = []
    for row in frame[260:].iter_rows(named=True):
        forecast = stream.step({"y": row["y"]})
        found.append(np.stack([forecast[f"gatestack{side}"] for side in ("-lo-80", "", "-hi-80")], axis=-1))
    batch = model.evaluate(frame).forecasts
    first = batch.filter(pl.col("cutoff") == frame["ds"][263])
    known = [row for row in range(3) if frame["y"][264 + row] is not None]
    columns = ["gatestack-lo-80", "gatestack", "gatestack-hi-80"]
    # The network's own numbers are the same up to float32 sums in another order.
    np.testing.assert_allclose(first[columns].to_numpy(), found[3][known], rtol=1e-5)
    whole = Forecaster._from_data(*model._to_data()).update(frame[260:])
    assert whole.fitted_.shares is not None
    assert stream.shares is not None
    assert (stream.shares.share == whole.fitted_.shares.share).all()
    assert (stream.shares.share != model.fitted_.shares.share).any()  # type: ignore[union-attr]


@pytest.mark.parametrize("step", [1, 2, 5])
def test_what_is_scored_does_not_change_what_is_learned(make: Make, step: int) -> None:
    frame = one_series(280)
    model = make(intervals="adaptive").fit(frame.head(240))
    every, some = model.evaluate(frame).forecasts, model.evaluate(frame, step=step).forecasts
    both = every.join(some.select("ds", "cutoff"), on=["ds", "cutoff"], how="semi")
    assert both.height == some.height
    np.testing.assert_allclose(values_of(both), values_of(some), rtol=1e-5)


def test_series_learn_each_for_themselves(make: Make) -> None:
    frame = many_series({"a": 150, "b": 150, "c": 150})
    rows = pl.int_range(pl.len()).over("unique_id")
    model = make(intervals="adaptive").fit(frame.filter(rows < 130))
    wild = frame.with_columns(
        y=pl.when((rows > 135) & (pl.col("unique_id") == "a")).then(pl.col("y") * 9).otherwise("y")
    )
    usual, changed = (model.predict(part) for part in (frame, wild))
    other = pl.col("unique_id") != "a"
    assert usual.filter(other).equals(changed.filter(other))
    assert not usual.filter(~other).equals(changed.filter(~other))


def test_refitting_starts_the_shares_anew(make: Make) -> None:
    frame = one_series(160)
    origins = Origins(test=6, step=3, refit=True)
    settings: dict[str, Any] = {"quantiles": (0.4, 0.5, 0.6), "max_steps": 2}
    found, fixed = (
        make(intervals=intervals, **settings).backtest(frame, origins=origins).forecasts
        for intervals in ("adaptive", "conformal")
    )
    assert found.equals(fixed)
