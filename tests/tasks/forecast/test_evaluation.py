"""Scores, skill and backtests: right numbers, from the right data."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from utilsforecast import losses

from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.forecast import Forecaster, Origins, Skill
from gatestack.tasks.forecast.evaluation import ErrorTable, evaluate_forecasts, interval_columns
from gatestack.tasks.forecast.split import origins_between, training_ends
from gatestack.tasks.skill import compare, skill_sentence

from .tables import many_series, one_series

Make = Callable[..., Forecaster]


def table_of(truth: list[list[float]], model: list[list[float]], naive: list[list[float]]) -> ErrorTable:
    rows, horizon = np.array(truth).shape
    middle = np.array(model, dtype=float)
    return ErrorTable(
        rows=np.zeros(rows, dtype=np.int64),
        positions=np.arange(rows),
        keys=("a",),
        truth=np.array(truth, dtype=float),
        quantiles=np.stack([middle - 1, middle, middle + 2], axis=-1),
        levels=(0.1, 0.5, 0.9),
        baselines={"last_value": np.array(naive, dtype=float)},
        times=pl.Series("ds", range(rows * horizon)),
        cutoffs=pl.Series("cutoff", np.arange(rows).repeat(horizon)),
    )


TRAINING = pl.DataFrame({"unique_id": ["a"] * 4, "ds": range(4), "y": [1.0, 3.0, 2.0, 6.0]})


def test_scores_by_hand() -> None:
    errors = table_of([[10, 20], [30, 40]], [[11, 20], [27, 43]], [[10, 10], [20, 20]])
    found = evaluate_forecasts(errors, TRAINING, season=1, step=1)
    model, naive = found.scores.rows(named=True)
    assert model["mae"] == pytest.approx((1 + 0 + 3 + 3) / 4)
    assert model["rmse"] == pytest.approx(np.sqrt(19 / 4))
    assert model["mase"] == pytest.approx(1.75 / ((2 + 1 + 4) / 3))
    assert naive["mase"] == pytest.approx(10 / (7 / 3))
    # Intervals: [10, 13], [19, 22], [26, 29], [42, 45].
    assert model["coverage-80"] == pytest.approx(2 / 4)
    assert naive["coverage-80"] is None
    assert found.by_step.rows() == [(1, 2.0, 5.0), (2, 1.5, 15.0)]
    assert found.skill["last_value"].value == pytest.approx(1 - 7 / 40)
    assert found.origins == 2


def test_the_season_scales_mase() -> None:
    errors = table_of([[10, 20]], [[11, 21]], [[10, 10]])
    found = evaluate_forecasts(errors, TRAINING, season=2, step=1)
    assert found.scores["mase"][0] == pytest.approx(1 / ((1 + 3) / 2))


def test_missing_truth_is_left_out() -> None:
    errors = table_of([[10, np.nan], [np.nan, 40]], [[11, 0], [0, 43]], [[10, 0], [0, 20]])
    found = evaluate_forecasts(errors, TRAINING, season=1, step=1)
    assert found.forecasts.height == 2
    assert found.scores["mae"].to_list() == pytest.approx([2.0, 10.0])
    assert found.by_step["gatestack"].to_list() == pytest.approx([1.0, 3.0])


def test_scores_are_those_of_utilsforecast_on_the_forecasts(make: Make) -> None:
    frame = many_series()
    result = make().backtest(frame, static=["size"], origins=Origins(test=12, step=2))
    plain = result.forecasts.drop("cutoff")
    names = result.scores["model"].to_list()
    for metric in (losses.mae, losses.rmse, losses.smape):
        expected = metric(plain, names).select(names).mean().row(0)
        assert result.scores[metric.__name__].to_list() == pytest.approx(expected)
    coverage = losses.coverage(plain, ["gatestack"], 80)["gatestack"].mean()
    assert result.scores["coverage-80"][0] == pytest.approx(coverage)
    training = frame.select("unique_id", "ds", "y").group_by("unique_id", maintain_order=True).head(1000)
    training = pl.concat(
        [part.head(part.height - 12) for part in training.partition_by("unique_id", maintain_order=True)]
    )
    expected = losses.mase(plain, names, 5, training).select(names).mean().row(0)
    assert result.scores["mase"].to_list() == pytest.approx(expected, rel=1e-5)
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.sentence in str(result)


def test_intervals_are_named_in_nixtlas_manner() -> None:
    names = interval_columns((0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995))
    assert [name for name in names if "-lo-" in name] == [
        "gatestack-lo-50",
        "gatestack-lo-90",
        "gatestack-lo-99",
    ]
    assert names["gatestack-lo-99"] == 0
    assert names["gatestack-hi-99"] == 6
    assert len(interval_columns((0.00001, 0.00002, 0.5, 0.99998, 0.99999))) == 4


def errors_of(*levels: float, count: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: level * random.gamma(4.0, 0.25, size=(count, 2))
        for name, level in zip(("gatestack", "drift"), levels, strict=True)
    }


def skill_of(errors: dict[str, np.ndarray], rows: np.ndarray | None = None, block: int = 3) -> Skill:
    rows = np.zeros(len(errors["drift"]), dtype=np.int64) if rows is None else rows
    scale = np.ones(rows.max() + 1)
    return compare(errors, rows=rows, scale=scale, model="gatestack", block=block)["drift"]


def bounds(skill: Skill) -> tuple[float, float]:
    assert skill.low is not None
    assert skill.high is not None
    return skill.low, skill.high


def test_equal_forecasts_have_no_skill() -> None:
    same = errors_of(1.0, 1.0)["drift"]
    assert skill_of({"gatestack": same, "drift": same}) == Skill(0.0, 0.0, 0.0)
    nothing = np.zeros((10, 2))
    assert skill_of({"gatestack": nothing, "drift": nothing}) == Skill(0.0, 0.0, 0.0)


def test_the_interval_holds_the_skill_and_tells_winners_from_losers() -> None:
    better, worse, level = (skill_of(errors_of(size, 1.0)) for size in (0.7, 1.3, 1.0))
    for skill in (better, worse, level):
        assert bounds(skill)[0] < skill.value < bounds(skill)[1]
    assert bounds(better)[0] > 0
    assert bounds(worse)[1] < 0
    assert bounds(level)[0] < 0 < bounds(level)[1]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # True skill 0: both errors have one distribution.
    skills = [skill_of(errors_of(1.0, 1.0, seed=seed), block=1) for seed in range(60)]
    covered = [bounds(skill)[0] <= 0 <= bounds(skill)[1] for skill in skills]
    assert 0.85 <= np.mean(covered) <= 1.0


def test_blocks_widen_the_interval_of_errors_that_hang_together() -> None:
    random = np.random.default_rng(3)
    slow = np.repeat(random.gamma(2.0, 0.5, size=(20, 1)), 10, axis=0)
    errors = {"gatestack": slow, "drift": np.ones_like(slow)}
    wide, narrow = bounds(skill_of(errors, block=10)), bounds(skill_of(errors, block=1))
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_many_series_are_drawn_whole() -> None:
    rows = np.arange(12).repeat(5)
    skill = skill_of(errors_of(0.7, 1.0, count=60), rows)
    assert 0 < bounds(skill)[0] < skill.value


def test_too_few_origins_give_no_interval() -> None:
    assert skill_of(errors_of(0.7, 1.0, count=3)).low is None


def test_a_baseline_without_error_is_never_beaten() -> None:
    errors = errors_of(1.0, 0.0)
    skill = skill_of(errors)
    assert skill == Skill(-np.inf, None, None)
    assert json.loads(json.dumps(skill.to_dict(), allow_nan=False)) == dict.fromkeys(("value", "low", "high"))
    assert "makes no error at all. Use the baseline." in skill_sentence({"drift": skill}, 3)


@pytest.mark.parametrize(
    ("skill", "says"),
    [
        (
            Skill(0.12, 0.05, 0.2),
            "is 12.0 % lower than that of the best baseline, drift (95 % interval: 5.0 to",
        ),
        (Skill(-0.1, -0.2, -0.05), "The model loses: over 9 origins the scaled error is 10.0 % higher"),
        (
            Skill(0.02, -0.1, 0.1),
            "but the two cannot be told apart (95 % interval: 10.0 % higher to 10.0 % lower",
        ),
        (Skill(0.3, None, None), "there are too few origins for an interval"),
    ],
)
def test_the_sentence_says_who_won(skill: Skill, says: str) -> None:
    assert says in skill_sentence({"drift": skill, "last_value": Skill(0.5, 0.4, 0.6)}, 9)


def test_origins_leave_a_whole_horizon() -> None:
    rows, positions = origins_between(np.array([5, 9]), np.array([10, 10]), horizon=3, step=2)
    assert rows.tolist() == [0, 0]
    assert positions.tolist() == [4, 6]
    assert (positions + 3 < 10).all()
    ends = training_ends(np.array([1000, 40, 30]), window=20, horizon=7)
    assert ends.tolist() == [900, 33, 30]


@pytest.mark.parametrize("test", [0, -1, 0.0, 1.0, True, "half", None])
def test_origins_out_of_range_are_refused(test: Any) -> None:
    with pytest.raises(ArgumentError, match="'test' parameter of Origins"):
        Origins(test=test)


def test_a_backtest_holds_out_what_it_says(make: Make) -> None:
    frame = one_series(100)
    result = make().backtest(frame, origins=Origins(test=0.2, step=4))
    cutoffs = result.forecasts["cutoff"].unique().sort().to_list()
    assert cutoffs[0] == frame["ds"][79]
    assert [(b - a).days for a, b in itertools.pairwise(cutoffs)] == [4] * 4
    assert result.forecasts["ds"].max() <= frame["ds"][99]
    assert result.forecasts.height == 3 * result.origins
    truth = dict(frame.select("ds", "y").iter_rows())
    for day, value in result.forecasts.select("ds", "y").iter_rows():
        assert value == pytest.approx(truth[day], rel=1e-6)
    with pytest.raises(ArgumentError, match="at least the horizon, 3 steps"):
        make().backtest(frame, origins=Origins(test=2))
    with pytest.raises(DataError, match="holds out"):
        make().backtest(frame, origins=Origins(test=100))
    with pytest.raises(DataError, match="at least 13 steps"):
        make().backtest(frame, origins=Origins(test=95))


@pytest.mark.usefixtures("validated")
def test_the_held_out_part_does_not_move_the_fit(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = one_series(100)
    late = pl.int_range(pl.len()) >= 80
    changed = frame.with_columns(
        y=pl.when(late).then(pl.col("y") * -5).otherwise("y"),
        rain=pl.when(late).then(77.0).otherwise("rain"),
        open=pl.when(late).then(-3.0).otherwise("open"),
    )
    fits: list[Forecaster] = []
    plain = Forecaster._fit_table

    def noted(self: Forecaster, *arguments: Any, **options: Any) -> Forecaster:
        fits.append(self)
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Forecaster, "_fit_table", noted)
    for given in (frame, changed):
        make(season="auto", window=None).backtest(given, past=["rain"], future=["open"])
    one, other = (fit.fitted_ for fit in fits)
    a, b = one.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert one.autoregression.weight.tolist() == other.autoregression.weight.tolist()
    assert (one.season, one.network.shape) == (other.season, other.network.shape)


def test_refitting_forecasts_each_origin_from_its_own_fit(make: Make) -> None:
    frame = one_series(60)
    result = make(max_steps=2).backtest(frame, origins=Origins(test=7, step=4, refit=True))
    assert result.origins == 2
    last = make(max_steps=2).fit(frame.head(57)).predict()
    np.testing.assert_allclose(
        result.forecasts.filter(pl.col("cutoff") == frame["ds"][56])["gatestack"],
        last["gatestack"],
        rtol=1e-5,
    )
    once = make(max_steps=2).backtest(frame, origins=Origins(test=7, step=4))
    assert once.forecasts["cutoff"].to_list() == result.forecasts["cutoff"].to_list()
    assert once.forecasts["gatestack"].to_list() != result.forecasts["gatestack"].to_list()


def test_refitting_series_of_several_lengths_keeps_their_order(make: Make) -> None:
    frame = many_series()
    origins = {"test": 7, "step": 4}
    refit = make(max_steps=1).backtest(frame, origins=Origins(refit=True, **origins))
    once = make(max_steps=1).backtest(frame, origins=Origins(**origins))
    keys = ["unique_id", "ds", "cutoff", "y", "last_value"]
    assert refit.forecasts.select(keys).equals(once.forecasts.select(keys))


def test_evaluate_scores_only_what_came_after_the_fit(make: Make) -> None:
    frame = one_series(100)
    model = make().fit(frame.head(80))
    result = model.evaluate(frame, step=1)
    assert result.forecasts["cutoff"].min() == frame["ds"][79]
    assert result.origins == 18
    with pytest.raises(DataError, match=r"is a leak(.|\n)*2024-03-20"):
        model.evaluate(frame.head(80))
    with pytest.raises(DataError, match="leak"):
        model.evaluate(frame.head(82))
    not_yet = frame.with_columns(pl.when(pl.int_range(pl.len()) < 80).then("y").alias("y"))
    with pytest.raises(DataError, match="nothing to score"):
        model.evaluate(not_yet)
    for bad in (0, True, 1.5):
        with pytest.raises(ArgumentError, match="'step' parameter of evaluate"):
            model.evaluate(frame, step=bad)


def test_evaluation_from_the_end_of_the_fit_is_the_prediction(make: Make) -> None:
    frame = one_series(100)
    for mode in ("direct", "windows", "recursive"):
        model = make(mode=mode).fit(frame.head(80))
        first = model.evaluate(frame, step=20).forecasts
        np.testing.assert_allclose(
            first.select(pl.selectors.starts_with("gatestack")).to_numpy(),
            model.predict().select(pl.selectors.starts_with("gatestack")).to_numpy(),
            rtol=1e-5,
        )


def test_nothing_is_scored_before_a_series_has_begun(make: Make) -> None:
    frame = many_series({"a": 80, "late": 80}).with_columns(
        y=pl.when((pl.col("unique_id") == "a") | (pl.col("ds") >= date(2024, 3, 12))).then("y")
    )
    result = make().backtest(frame, origins=Origins(test=20, step=1))
    first = result.forecasts.filter(pl.col("unique_id") == "late")["cutoff"].min()
    assert first == date(2024, 3, 12)


def test_a_future_column_that_is_not_known_ahead_is_an_error(make: Make) -> None:
    frame = one_series(100)
    holes = frame.with_columns(open=pl.when(pl.col("ds") != date(2024, 3, 30)).then("open"))
    with pytest.raises(DataError, match=r"future column 'open' is missing at 2024-03-30(.|\n)*past="):
        make().backtest(holes, future=["open"])
    model = make().fit(frame.head(80), future=["open"])
    with pytest.raises(DataError, match="'open' is missing at 2024-03-30"):
        model.evaluate(holes)
