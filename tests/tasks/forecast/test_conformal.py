"""Conformal intervals: right ranks, right coverage where theory promises it, never crossing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import beta

from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.forecast import CalibrationWarning, Forecaster, Origins
from gatestack.tasks.forecast.intervals.conformal import Calibration, conformity, miscoverage, widened
from gatestack.tasks.forecast.split import training_ends

from .tables import many_series, one_series, values_of

Make = Callable[..., Forecaster]

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
# Standard deviations of numbers that a tail of this size leaves out: four, for a fixed seed that is no luck.
TAIL = 6e-5


def calibration_of(scores: np.ndarray) -> Calibration:
    """Scores (R, horizon, intervals) of all series together."""
    ordered = np.sort(np.moveaxis(scores, 0, -1), axis=-1)[None]
    return Calibration((), ordered, origins=len(scores), pooled_steps=1)


@pytest.mark.parametrize("count", [19, 99, 200])
def test_exchangeable_errors_are_covered_as_often_as_the_rank_says(count: int) -> None:
    # Over calibration and test together the coverage is exactly ⌈(n + 1)(1 - α)⌉ / (n + 1).
    random = np.random.default_rng(7)
    trials, tests = 800, 50
    inside = np.zeros((trials, 3))
    for trial in range(trials):
        # A model whose intervals are wrong: the noise is skewed, and not of the size it believes in.
        truth = 3.0 * random.gamma(2.0, size=(count + tests, 1))
        quantiles = np.tile(np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]) + 4.0, (count + tests, 1, 1))
        scale = random.uniform(0.5, 2.0, count + tests)
        calibration = calibration_of(conformity(quantiles[:count], truth[:count], scale[:count]))
        offsets = calibration.offsets(("a",) * tests, miscoverage(LEVELS))
        found = widened(quantiles[count:], offsets, scale[count:])[:, 0]
        later = truth[count:]
        inside[trial] = ((found[:, [2, 1, 0]] <= later) & (later <= found[:, [4, 5, 6]])).mean(axis=0)
    ranks = np.ceil((count + 1) * (1 - miscoverage(LEVELS)) - 1e-9)
    wanted = ranks / (count + 1)
    # Given one calibration the coverage has the distribution of an order statistic, then comes the binomial.
    spread = np.sqrt(beta.var(ranks, count + 1 - ranks) + wanted * (1 - wanted) / tests) / np.sqrt(trials)
    # Bounds that were pushed apart by a narrower interval cover more, never less.
    assert (inside.mean(axis=0) > wanted - 4 * spread).all()
    assert (inside.mean(axis=0)[0] < wanted + 4 * spread)[0]


def test_a_rank_is_read_off_the_ordered_scores() -> None:
    calibration = calibration_of(np.arange(99.0).reshape(99, 1, 1))
    for share, wanted in [(0.1, 89.0), (0.5, 49.0), (0.01, 98.0)]:
        assert calibration.offsets(("a",), np.array([share])).item() == wanted


def test_beyond_the_scores_the_straight_line_goes_on() -> None:
    calibration = calibration_of(np.array([[[1.0]], [[2.0]], [[5.0]]]))
    shares = [1.2, 1.0, 0.75, 0.25, 0.1, -1.0, -5.0]
    found = [calibration.offsets(("a",), np.array([share])).item() for share in shares]
    assert found == sorted(found)
    assert found[2:4] == [1.0, 5.0]
    # (n + 1)(1 - α) is 3.6, 0.6 above n: 0.6 / 4 of the range of 4.
    assert found[4] == pytest.approx(5.6)
    assert found[0] < 1.0 < 5.0 < found[-1]
    assert not calibration.exact((0.05, 0.5, 0.95))
    assert calibration.exact((0.25, 0.5, 0.75))


def test_a_series_with_scores_of_its_own_reads_them() -> None:
    scores = np.stack([np.full((1, 1, 9), 7.0), np.full((1, 1, 9), 1.0)])
    calibration = Calibration(("b",), scores, origins=18, pooled_steps=1)
    assert calibration.offsets(("a", "b", "c"), np.array([0.5])).ravel().tolist() == [1.0, 7.0, 1.0]


forecasts = hnp.arrays(
    np.float64, (4, 2, 7), elements=st.floats(-1e6, 1e6, allow_subnormal=False), fill=st.nothing()
)
offsets = hnp.arrays(np.float64, (4, 2, 3), elements=st.floats(-1e4, 1e4), fill=st.nothing())


@settings(max_examples=60, deadline=None)
@given(forecasts, offsets)
def test_quantiles_never_cross_and_medians_never_move(quantiles: np.ndarray, by: np.ndarray) -> None:
    ascending = np.sort(quantiles, axis=-1)
    scale = np.array([0.5, 1.0, 2.0, 1e-9])
    found = widened(ascending, by, scale)
    assert (np.diff(found, axis=-1) >= 0).all()
    assert (found[..., 3] == ascending[..., 3]).all()
    # Where nothing had to be pushed apart, each bound moved by its offset; else it moved further out.
    moved = by * scale[:, None, None]
    assert (found[..., 4:] >= ascending[..., 4:] + moved).all()
    assert (found[..., 2::-1] <= ascending[..., 2::-1] - moved).all()


def test_fitting_calibrates_on_what_trained_nothing(make: Make) -> None:
    frame = one_series(160)
    held = int(training_ends(np.array([160]), window=10, horizon=3)[0])
    assert held == 144
    usual = make(intervals="conformal").fit(frame)
    changed = make(intervals="conformal").fit(
        frame.with_columns(pl.when(pl.int_range(pl.len()) >= held).then(pl.col("y") + 50).otherwise("y"))
    )
    one, other = (model.fitted_.network.state_dict() for model in (usual, changed))
    assert all((one[name] == other[name]).all() for name in one)
    widths = [np.ptp(values_of(model.predict()), axis=1) for model in (usual, changed)]
    assert (widths[1] > widths[0]).all()


@pytest.mark.usefixtures("validated")
def test_calibrating_changes_no_weight_and_no_median(make: Make) -> None:
    frame = one_series(160)
    models = [make(intervals=kind).fit(frame) for kind in ("model", "conformal", "adaptive")]
    first, *others = (model.fitted_.network.state_dict() for model in models)
    assert all((first[name] == other[name]).all() for other in others for name in first)
    medians = [model.predict()["gatestack"] for model in models]
    assert medians[0].equals(medians[1])
    assert medians[0].equals(medians[2])
    assert not models[0].predict().equals(models[1].predict())


def test_the_offsets_are_those_of_scores_computed_by_hand(make: Make) -> None:
    frame = one_series(260)
    model = make(intervals="conformal").fit(frame)
    fitted = model.fitted_
    assert fitted.calibration is not None
    assert fitted.calibration.pooled_steps == 3  # 24 origins are too few for one step ahead alone
    table = SeriesTable.from_frame(frame)
    panel = fitted.panel(table)
    positions = np.arange(233, 257)
    quantiles = fitted.quantiles_at(table, panel, np.zeros_like(positions), positions)
    truth = frame["y"].to_numpy()[positions[:, None] + np.arange(1, 4)].astype(np.float32)
    scale = panel.moments[positions, 1].numpy()[:, None]
    scores = np.sort((np.maximum(quantiles[..., 0] - truth, truth - quantiles[..., 2]) / scale).ravel())
    assert len(scores) == 72
    by = scores[int(np.ceil(73 * 0.8)) - 1] * float(fitted.state.moments[0, 1])
    plain = replace(fitted, calibration=None)
    before, after = (fitted_model(make, part).predict() for part in (plain, fitted))
    np.testing.assert_allclose(after["gatestack-lo-80"], before["gatestack-lo-80"] - by, rtol=1e-9)
    np.testing.assert_allclose(after["gatestack-hi-80"], before["gatestack-hi-80"] + by, rtol=1e-9)
    assert after["gatestack"].equals(before["gatestack"])


def fitted_model(make: Make, fitted: Any) -> Forecaster:
    model = make()
    model.fitted_ = fitted
    return model


@pytest.mark.parametrize("mode", ["direct", "windows", "recursive"])
@pytest.mark.parametrize("intervals", ["conformal", "adaptive"])
def test_every_mode_is_scored_predicts_and_comes_back(
    make: Make, mode: str, intervals: str, tmp_path: Any
) -> None:
    frame = many_series({"a": 130, "b": 150}) if mode != "recursive" else one_series(100)
    model = make(mode=mode, intervals=intervals, layers=1)
    evaluation = model.backtest(frame, origins=Origins(test=12, step=4))
    assert evaluation.intervals["coverage"].is_between(0, 1).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        model.fit(frame)
    forecast = model.predict()
    assert (np.diff(values_of(forecast)[:, [1, 0, 2]], axis=1) >= 0).all()
    again = Forecaster.load(model.save(tmp_path / "model"))
    assert again.intervals == intervals
    assert again.predict().equals(forecast)
    assert again.predict(frame).equals(model.predict(frame))


def test_a_model_saved_before_there_were_intervals_loads(make: Make) -> None:
    model = make().fit(one_series())
    data, weights, proof = model._to_data()
    del data["parameters"]["intervals"], data["fitted"]["calibration"]
    again = Forecaster._from_data(data, weights, proof)
    assert again.intervals == "model"
    assert again.predict().equals(model.predict())


@pytest.mark.parametrize("change", ["missing", "shape", "order", "shares"])
def test_scores_that_do_not_fit_the_model_are_refused(make: Make, change: str) -> None:
    data, weights, proof = make(intervals="adaptive").fit(one_series(260))._to_data()
    if change == "missing":
        del weights["calibration.scores"]
    elif change == "shape":
        weights["calibration.scores"] = weights["calibration.scores"][:, :2]
    elif change == "order":
        weights["calibration.scores"] = weights["calibration.scores"][..., ::-1]
    else:
        weights["shares.share"] = weights["shares.share"][:, :1]
    with pytest.raises(ValueError, match=r"calibration\.scores|shares"):
        Forecaster._from_data(data, weights, proof)


def test_few_forecasts_are_pooled_over_series_and_steps_and_said(make: Make) -> None:
    frame = many_series({"a": 40, "b": 40})
    with pytest.warns(CalibrationWarning, match="too few for the widest"):
        model = make(intervals="conformal", quantiles=(0.005, 0.5, 0.995)).fit(frame)
    calibration = model.fitted_.calibration
    assert calibration is not None
    assert (calibration.origins, calibration.pooled_steps, calibration.keys) == (4, 3, ())
    assert np.isfinite(values_of(model.predict())).all()


@pytest.mark.filterwarnings("ignore::gatestack.tasks.forecast.CalibrationWarning")
def test_steps_ahead_that_never_came_true_take_the_scores_of_others(make: Make, tmp_path: Path) -> None:
    # One origin calibrates, and a gap lies over most of its horizon.
    missing = pl.int_range(pl.len()).is_between(265, 290)
    frame = one_series(300).with_columns(pl.when(missing).then(None).otherwise("y").alias("y"))
    model = make(40, intervals="conformal", quantiles=(0.25, 0.5, 0.75)).fit(frame)
    calibration = model.fitted_.calibration
    assert calibration is not None
    assert calibration.counts.min() >= 1
    model.save(tmp_path / "model")
    forecast = Forecaster.load(tmp_path / "model").predict()
    assert np.isfinite(values_of(forecast)).all()


def test_without_a_part_to_calibrate_on_it_is_an_error(make: Make) -> None:
    with pytest.raises(DataError, match="no series has a part that the intervals can be calibrated on"):
        make(intervals="conformal").fit(one_series(14))


def test_a_single_quantile_has_no_interval_to_calibrate(make: Make) -> None:
    with pytest.raises(ArgumentError, match="three quantiles or more, the bounds of intervals"):
        make(intervals="conformal", quantiles=(0.5,)).fit(one_series())


def test_long_series_have_scores_of_their_own(make: Make) -> None:
    frame = pl.concat(
        [
            one_series(2100, seed=seed).select(pl.lit(key).alias("unique_id"), "ds", "y")
            for seed, key in enumerate("ab")
        ]
    )
    noise = np.random.default_rng(3).normal(size=frame.height) * (frame["unique_id"] == "b").to_numpy()
    model = make(intervals="conformal", architecture=None, layers=1).fit(
        frame.with_columns(y=pl.col("y") + pl.Series(5 * noise**3))
    )
    calibration = model.fitted_.calibration
    assert calibration is not None
    assert calibration.keys == ("a", "b")
    assert calibration.pooled_steps == 1
    assert not np.array_equal(calibration.scores[0], calibration.scores[1])
