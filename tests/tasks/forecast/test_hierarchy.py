"""Forecasts of totals are the sums of their parts, with intervals, scores by level, and a folder."""

from __future__ import annotations

import builtins
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gatestack
from gatestack.errors import ArgumentError, DataError, ModelFileError
from gatestack.tasks.forecast import CoherentForecaster, Forecaster, Origins
from gatestack.tasks.forecast.hierarchy.nodes import Hierarchy
from gatestack.tasks.forecast.hierarchy.projection import METHODS, Projection, fit_projection

PLACES = {"a": ("x", "x1"), "b": ("x", "x1"), "c": ("x", "x2"), "d": ("y", "y1"), "e": ("y", "y1")}
NODES = ("total", "x", "y", "x/x1", "a", "b", "c", "d", "e")


def shop(steps: int = 60, seed: int = 0) -> pl.DataFrame:
    """Five shops in two regions, with a cycle of four days, a price that is known ahead, and rain."""
    parts = []
    for place, (name, (region, town)) in enumerate(PLACES.items()):
        random = np.random.default_rng(seed + place)
        days = [date(2024, 1, 1) + timedelta(days=step) for step in range(steps)]
        sold = 20 * (place + 1) + 5 * np.sin(np.arange(steps) * np.pi / 2) + random.normal(size=steps)
        parts.append(
            pl.DataFrame(
                {
                    "ds": days,
                    "y": sold,
                    "price": random.uniform(1, 2, steps),
                    "rain": random.uniform(size=steps),
                }
            ).with_columns(unique_id=pl.lit(name), region=pl.lit(region), town=pl.lit(town))
        )
    return pl.concat(parts)


def small(
    method: Any = "mint-shrink", sums: tuple[str, ...] = ("region", "town"), **options: Any
) -> CoherentForecaster:
    settings: dict[str, Any] = {"hidden_size": 4, "layers": 1, "max_steps": 3, "window": 8, "season": 4}
    return CoherentForecaster(Forecaster(3, **settings | options), sums, method=method)


def nodes_of(predicted: pl.DataFrame, column: str = "gatestack") -> dict[str, np.ndarray]:
    return {
        part["unique_id"][0]: part[column].to_numpy()
        for part in predicted.partition_by("unique_id", maintain_order=True)
    }


def assert_adds_up(values: dict[str, np.ndarray]) -> None:
    for total, parts in {"total": "xy", "x": "abc", "y": "de", "x/x1": "ab"}.items():
        summed = sum(values[part] for part in parts)
        # Float64: the order of a sum moves its last bits only.
        np.testing.assert_allclose(values[total], summed, rtol=1e-13)


@pytest.fixture(scope="module")
def fitted() -> CoherentForecaster:
    return small().fit(shop())


def test_nodes_are_the_sums_that_the_columns_name() -> None:
    found = Hierarchy.from_frame(shop(), "unique_id", ["region", "town"])
    # x/x2 is c alone and y/y1 is y: the same numbers get no second name.
    assert found.nodes == NODES
    assert found.levels == ("total", "region", "region", "region/town", *["unique_id"] * 5)
    assert found.summing[NODES.index("x/x1")].tolist() == [1, 1, 0, 0, 0]
    np.testing.assert_array_equal(found.summing[4:], np.eye(5))


@pytest.mark.parametrize("method", METHODS)
def test_forecasts_add_up_with_every_method(method: str) -> None:
    predicted = small(method).fit(shop()).predict()
    values = nodes_of(predicted)
    assert tuple(values) == NODES
    assert_adds_up(values)
    low, high = (predicted[f"gatestack-{end}-80"] for end in ("lo", "hi"))
    assert (low < predicted["gatestack"]).all()
    assert (predicted["gatestack"] < high).all()


def test_methods_differ_where_they_say() -> None:
    predicted = {method: nodes_of(small(method).fit(shop()).predict()) for method in METHODS}
    base = small().fit(shop()).model_.predict()
    own = nodes_of(base)
    assert not np.allclose(own["total"], sum(own[name] for name in "abcde"), rtol=1e-6), (
        "the base does not add up"
    )
    np.testing.assert_allclose(predicted["bottom-up"]["a"], own["a"])
    np.testing.assert_allclose(predicted["top-down"]["total"], own["total"])
    assert not np.allclose(predicted["mint-shrink"]["a"], own["a"], rtol=1e-9)
    assert not np.allclose(predicted["mint-shrink"]["a"], predicted["wls"]["a"], rtol=1e-9)


def test_the_projection_is_that_of_the_library() -> None:
    from hierarchicalforecast.methods import MinTrace

    random = np.random.default_rng(0)
    summing = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], *np.eye(3)])
    truth = 1000 * (summing @ random.normal(size=(3, 80)) + 5)
    forecast = truth + 100 * random.normal(size=truth.shape)
    found = fit_projection("mint-shrink", summing, truth, forecast)
    library = MinTrace(method="mint_shrink").fit_predict(
        S=summing, y_hat=forecast[:, -4:], y_insample=truth, y_hat_insample=forecast
    )["mean"]
    made = found.coherent(summing, forecast[None, :, -4:, None])[0, :, :, 0]
    # The library adds 2e-8 to variances, in the unit of the data.
    np.testing.assert_allclose(made, library, rtol=1e-6)
    np.testing.assert_allclose(np.diag(found.correlation), 1.0)


def test_intervals_of_independent_errors_grow_with_the_root() -> None:
    summing = np.vstack([np.ones(4), np.eye(4)])
    bottom_up = Projection(np.hstack([np.zeros((4, 1)), np.eye(4)]), np.eye(5))
    quantiles = np.zeros((1, 5, 2, 3))
    quantiles[..., 0], quantiles[..., 2] = -2.0, 2.0
    quantiles[..., 1] = 1.0
    made = bottom_up.coherent(summing, quantiles + 10.0)
    assert made[0, 0, 0, 1] == pytest.approx(4 * 11)
    # Half widths of the parts are 2, and of a sum of four independent ones 4; the shape stays lopsided.
    np.testing.assert_allclose(made[0, 0, 0] - made[0, 0, 0, 1], [-3 * 2, 0, 1 * 2])
    np.testing.assert_allclose(made[0, 1:], quantiles[0, 1:] + 10.0)
    together = Projection(bottom_up.matrix, np.ones((5, 5))).coherent(summing, quantiles + 10.0)
    np.testing.assert_allclose(together[0, 0, 0] - together[0, 0, 0, 1], [-3 * 4, 0, 1 * 4])


def test_totals_are_sums_and_means_and_missing_with_a_part() -> None:
    frame = shop(20).with_columns(
        y=pl.when((pl.col("unique_id") == "a") & (pl.col("ds") == date(2024, 1, 5))).then(None).otherwise("y")
    )
    hierarchy = Hierarchy.from_frame(frame, "unique_id", ["region", "town"])
    from gatestack.data.table_columns import Columns

    columns = Columns(time="ds", series="unique_id", target="y", past=("rain",))
    totals = hierarchy.add_totals(frame.sample(fraction=1, shuffle=True, seed=0).sort("ds"), columns, "frame")
    values = {name: part for (name,), part in totals.group_by("unique_id", maintain_order=True)}
    assert tuple(values) == NODES
    assert values["x/x1"]["y"].null_count() == values["total"]["y"].null_count() == 1
    assert values["y"]["y"].null_count() == 0
    by_day = (
        frame.filter(pl.col("unique_id").is_in(["d", "e"]))
        .group_by("ds")
        .agg(pl.col("y").sum(), pl.col("rain").mean())
    )
    together = values["y"].join(by_day, on="ds")
    np.testing.assert_allclose(together["y"], together["y_right"])
    np.testing.assert_allclose(together["rain"], together["rain_right"])


def test_newer_data_and_known_future_columns_add_up_too() -> None:
    frame = shop(64)
    known = frame.filter(pl.col("ds") < date(2024, 2, 28))
    model = small().fit(known, past=["rain"], future=["price"])
    ahead = shop(70).filter(pl.col("ds") >= date(2024, 3, 5)).select("unique_id", "ds", "price")
    predicted = model.predict(frame, future=ahead.head(0).vstack(ahead))
    assert predicted["ds"].min() == date(2024, 3, 5)
    assert_adds_up(nodes_of(predicted))
    as_pandas = model.predict(frame.to_pandas(), future=ahead.to_pandas())
    assert type(as_pandas).__module__.startswith("pandas")
    np.testing.assert_allclose(as_pandas["gatestack"], predicted["gatestack"])
    with pytest.raises(DataError, match="missing: 'a'"):
        model.predict(frame.filter(pl.col("unique_id") != "a"), future=ahead)
    with pytest.raises(DataError, match="not known: 'z'"):
        model.predict(frame.with_columns(pl.col("unique_id").replace("a", "z")), future=ahead)


def test_a_backtest_scores_each_level_beside_the_forecasts_that_do_not_add_up() -> None:
    found = small().backtest(shop(80), origins=Origins(test=20, step=2))
    assert found.scores["model"].to_list() == [
        *("gatestack", "last_value", "seasonal_naive", "drift", "linear"),
        "incoherent",
    ]
    levels = ["total", "region", "region/town", "unique_id"]
    assert list(found.levels) == levels
    weights = np.array([1, 2, 1, 5]) / 9
    for row in found.scores.iter_rows(named=True):
        assert row["mase"] == pytest.approx(np.dot(weights, [row[f"mase-{level}"] for level in levels]))
    assert found.scores["coverage-80"][5] is not None, "the model had intervals before it added up"
    assert "Adding up makes the error" in found.sentence
    assert "incoherent" not in found.skill, "it is no baseline"
    for (_, _), part in found.forecasts.group_by("cutoff", "ds"):
        assert_adds_up({row["unique_id"]: np.array(row["gatestack"]) for row in part.iter_rows(named=True)})
    lost = found.forecasts.select((pl.col("gatestack") - pl.col("incoherent")).abs().max()).item()
    assert lost > 1e-6
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(ArgumentError, match="refit"):
        small().backtest(shop(80), origins=Origins(refit=True))


def test_the_held_out_part_does_not_move_the_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Projection] = []
    plain = fit_projection

    def noted(*arguments: Any) -> Projection:
        seen.append(plain(*arguments))
        return seen[-1]

    monkeypatch.setattr("gatestack.tasks.forecast.hierarchy.fitting.fit_projection", noted)
    frame = shop(80)
    late = pl.col("ds") >= date(2024, 3, 1)
    for given in (frame, frame.with_columns(y=pl.when(late).then(pl.col("y") * -4).otherwise("y"))):
        small().backtest(given, origins=Origins(test=20))
    np.testing.assert_array_equal(seen[0].matrix, seen[1].matrix)


def test_evaluate_scores_what_came_after_the_fit(fitted: CoherentForecaster) -> None:
    found = fitted.evaluate(shop(70), step=1)
    assert found.forecasts["cutoff"].min() == shop(60)["ds"].max()
    assert found.origins == 8 * len(NODES)
    with pytest.raises(DataError, match="is a leak"):
        fitted.evaluate(shop(60))


def test_a_saved_model_is_the_same(fitted: CoherentForecaster, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    loaded = gatestack.load(tmp_path / "model")
    assert isinstance(loaded, CoherentForecaster)
    assert loaded.predict().equals(fitted.predict())
    assert loaded.get_params(deep=False)["method"] == "mint-shrink"
    assert list(loaded.sums) == ["region", "town"]
    model, weights, proof = fitted._to_data()
    for broken in (
        (model | {"hierarchy": {"nodes": ["a"], "levels": ["b"]}}, weights, proof),
        (model | {"hierarchy": None}, weights, proof),
        (model, {name: part for name, part in weights.items() if name != "hierarchy.matrix"}, proof),
        (model, weights | {"hierarchy.matrix": weights["hierarchy.matrix"] * 2}, proof),
    ):
        with pytest.raises(ModelFileError):
            CoherentForecaster._from_data(*broken)


def test_predicting_needs_no_library(fitted: CoherentForecaster, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("hierarchicalforecast"):
            raise ImportError(name)
        return plain(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert_adds_up(nodes_of(fitted.predict()))
    with pytest.raises(ArgumentError, match=r"(?s)not installed.*pip install 'gatestack\[hierarchy\]'"):
        small().fit(shop())


@pytest.mark.parametrize(
    ("frame", "sums", "error", "says"),
    [
        (shop(), ("regoin",), ArgumentError, r"(?s)no column 'regoin'.*region"),
        (shop(), ("region", "region"), ArgumentError, "named twice"),
        (shop().with_columns(region=pl.lit(None, pl.String)), ("region",), DataError, "missing in row 1"),
        (
            shop().with_columns(
                region=pl.when(pl.col("ds") < date(2024, 1, 9)).then(pl.lit("q")).otherwise("region")
            ),
            ("region",),
            DataError,
            "series 'a' stands in two places",
        ),
        (shop().with_columns(pl.col("unique_id").replace("a", "total")), (), DataError, "called 'total'"),
        (
            shop().filter((pl.col("unique_id") != "b") | (pl.col("ds") < date(2024, 2, 20))),
            (),
            DataError,
            "series 'b' ends at 2024-02-19, others at 2024-02-29",
        ),
        (shop().filter(pl.col("unique_id") == "a").drop("unique_id"), (), ArgumentError, "no column of keys"),
    ],
)
def test_what_cannot_add_up_is_refused(
    frame: pl.DataFrame, sums: tuple[str, ...], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        small(sums=sums).fit(frame)


def test_a_projection_without_errors_is_refused_and_small_errors_are_not_none() -> None:
    summing = np.vstack([np.ones(2), np.eye(2)])
    truth = summing @ np.random.default_rng(0).normal(size=(2, 40))
    with pytest.raises(DataError, match="no errors to weigh"):
        fit_projection("wls", summing, truth, truth)
    with pytest.raises(DataError, match="known at 5 steps"):
        fit_projection("wls", summing, truth[:, :5], truth[:, :5])
    noise = np.random.default_rng(1).normal(size=truth.shape)
    exact, plain = (
        fit_projection("mint-shrink", summing, truth, truth + size * noise) for size in (1e-6, 1.0)
    )
    np.testing.assert_allclose(exact.matrix, plain.matrix, atol=1e-6)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ArgumentError, match="method"):
        small("magic").fit(shop())
    with pytest.raises(ArgumentError, match="'forecaster' parameter"):
        CoherentForecaster("model").fit(shop())  # type: ignore[arg-type]
