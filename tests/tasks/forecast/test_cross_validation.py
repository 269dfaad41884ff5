"""Forecasts of the last windows, as Nixtla's and Darts' tools take them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import coverage, mae, mase, scaled_crps

from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.forecast import Forecaster, Origins

from .tables import hourly, many_series, one_series

Make = Callable[..., Forecaster]

ROOT = Path(__file__).parents[3]
COLUMNS = ["unique_id", "ds", "cutoff", "y", "gatestack", "gatestack-lo-80", "gatestack-hi-80"]


def test_the_layout_and_the_windows_are_nixtlas(make: Make) -> None:
    frame = many_series({"b": 60, "a": 45}).select("unique_id", "ds", "y")
    found = make().cross_validation(frame, h=4, n_windows=3, step_size=2)
    assert found.columns == COLUMNS
    for key in ("a", "b"):
        days = frame.filter(pl.col("unique_id") == key)["ds"].to_list()
        own = found.filter(pl.col("unique_id") == key)
        for window in range(3):
            # The last window ends with the series, the others `step_size` before each other.
            end = len(days) - 2 * (2 - window)
            part = own[4 * window : 4 * window + 4]
            assert part["cutoff"].unique().to_list() == [days[end - 5]]
            assert part["ds"].to_list() == days[end - 4 : end]
    # Sorted by key, and the target is that of the frame, not of float32.
    assert found["unique_id"].unique(maintain_order=True).to_list() == ["a", "b"]
    assert found.join(frame, on=["unique_id", "ds", "y"], how="anti").height == 0


def test_it_is_the_backtest_with_these_origins(make: Make) -> None:
    frame = one_series(80).select("ds", "y")
    found = make().cross_validation(frame, n_windows=4, step_size=1)
    other = make().backtest(frame, origins=Origins(test=6, step=1)).forecasts
    assert found.drop("y", "unique_id").equals(other.select(found.drop("y", "unique_id").columns))
    refitted = make().cross_validation(frame, n_windows=4, step_size=1, refit=True)
    assert refitted.select("ds", "cutoff").equals(found.select("ds", "cutoff"))
    assert refitted["gatestack"][:3].equals(found["gatestack"][:3])
    assert not refitted["gatestack"][3:].equals(found["gatestack"][3:])


def test_the_model_itself_is_neither_fitted_nor_changed(make: Make) -> None:
    model = make()
    model.cross_validation(one_series(60).select("ds", "y"), h=5)
    assert model.horizon == 3
    assert not hasattr(model, "fitted_")


def test_a_frame_comes_back_as_it_came(make: Make) -> None:
    frame = many_series({"x": 40, "y": 40}, keys={"x": 12, "y": 3})
    own = frame.rename({"unique_id": "shop", "ds": "day", "y": "sales"}).to_pandas()
    own = own.drop(columns=["size", "open"])
    found = make().cross_validation(
        own, id_col="shop", time_col="day", target_col="sales", past=["rain"], level=[80]
    )
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == ["shop", "day", "cutoff", "sales", *COLUMNS[4:]]
    assert found["shop"].tolist() == [3] * 3 + [12] * 3
    assert (found.dtypes[["shop", "day", "sales"]] == own.dtypes[["shop", "day", "sales"]]).all()
    assert found["cutoff"].dtype == own["day"].dtype


def test_zones_and_whole_numbers_keep_their_times(make: Make) -> None:
    zoned = hourly(60, "Europe/Berlin")
    found = make().cross_validation(zoned, n_windows=2)
    assert found["ds"].dtype == found["cutoff"].dtype == zoned["ds"].dtype
    numbered = pl.DataFrame({"ds": range(60), "y": zoned["y"]})
    assert make().cross_validation(numbered)["cutoff"].to_list() == [56] * 3


def test_utilsforecast_evaluates_it(make: Make) -> None:
    frame = many_series().select("unique_id", "ds", "y")
    for given in (frame, frame.to_pandas()):
        found = make().cross_validation(given, n_windows=3)
        table = found.drop(columns="cutoff") if isinstance(found, pd.DataFrame) else found.drop("cutoff")
        scores = evaluate(table, metrics=[mae, partial(mase, seasonality=5)], train_df=given)
        by_interval = evaluate(table, metrics=[coverage], level=[80])
        scores, by_interval = (
            pl.from_pandas(part) if isinstance(part, pd.DataFrame) else part for part in (scores, by_interval)
        )
        assert scores["metric"].unique().sort().to_list() == ["mae", "mase"]
        assert scores["gatestack"].is_finite().all()
        own = pl.DataFrame(found) if isinstance(found, pl.DataFrame) else pl.from_pandas(found)
        inside = own.with_columns(
            hit=pl.col("y").is_between("gatestack-lo-80", "gatestack-hi-80").cast(pl.Float64)
        )
        wanted = inside.group_by("unique_id").agg(pl.col("hit").mean()).sort("unique_id")["hit"]
        got = by_interval.sort("unique_id")["gatestack"]
        np.testing.assert_allclose(got.to_numpy(), wanted.to_numpy())


def test_utilsforecast_evaluates_predictions_joined_with_the_truth(make: Make) -> None:
    frame = many_series({"a": 60, "b": 60}).select("unique_id", "ds", "y")
    rows = pl.int_range(pl.len()).over("unique_id")
    forecast = make().fit(frame.filter(rows < 57)).predict()
    table = forecast.join(frame, on=["unique_id", "ds"])
    scores = evaluate(table, metrics=[mae, scaled_crps], level=[80])
    assert scores["metric"].unique().sort().to_list() == ["mae", "scaled_crps"]
    assert scores["gatestack"].is_finite().all()


def test_gaps_and_missing_targets_leave_their_rows_out(make: Make) -> None:
    frame = one_series(60).select("ds", "y")
    missing = frame.with_columns(pl.when(pl.int_range(pl.len()) != 58).then("y").alias("y"))
    found = make().cross_validation(missing)
    assert found["ds"].to_list() == [frame["ds"][57], frame["ds"][59]]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ({"h": 0}, "'h'"),
        ({"n_windows": 0}, "'n_windows'"),
        ({"step_size": -1}, "'step_size'"),
        ({"level": [95]}, "no interval of 95 % — expected among 80"),
        ({"target_col": "z"}, "z"),
    ],
)
def test_wrong_calls_are_refused(make: Make, call: dict[str, Any], text: str) -> None:
    with pytest.raises((ArgumentError, DataError)) as error:
        make().cross_validation(one_series(60).select("ds", "y"), **call)
    assert text in str(error.value)


NIXTLA = """
import sys, pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import DLinear
frame = pd.read_parquet(sys.argv[1])
model = DLinear(h=4, input_size=8, max_steps=1, enable_progress_bar=False, logger=False, accelerator="cpu",
                enable_checkpointing=False, enable_model_summary=False)
table = NeuralForecast([model], freq="D").cross_validation(frame, n_windows=3, step_size=2)
table.reset_index(drop="unique_id" in table.columns).to_parquet(sys.argv[2])
"""

DARTS = """
import sys, pandas as pd
from darts import TimeSeries
frame = pd.read_csv(sys.argv[1], parse_dates=["ds"])
series = TimeSeries.from_dataframe(frame, time_col="ds", value_cols="y", freq="D")
series.to_dataframe(time_as_index=False).to_csv(sys.argv[2], index=False)
"""

BACK = """
import sys, pandas as pd
from darts import TimeSeries
from darts.metrics import mae
forecast, truth = (pd.read_csv(path, parse_dates=["ds"]) for path in sys.argv[1:])
forecast = TimeSeries.from_dataframe(forecast, time_col="ds", value_cols="gatestack")
print(mae(TimeSeries.from_dataframe(truth, time_col="ds", value_cols="y"), forecast))
"""


def run_in(peer: str, program: str, *arguments: Path) -> str:
    """Run a program in the environment of a peer; it is skipped where there is none."""
    python = ROOT / ".peers" / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{peer} is not installed in .peers/{peer}")
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_neuralforecast_has_the_same_rows(make: Make, tmp_path: Path) -> None:
    frame = many_series({"b": 60, "a": 45}).select("unique_id", pl.col("ds").cast(pl.Datetime), "y")
    frame.write_parquet(tmp_path / "in.parquet")
    run_in("neuralforecast", NIXTLA, tmp_path / "in.parquet", tmp_path / "out.parquet")
    theirs = pl.read_parquet(tmp_path / "out.parquet")
    ours = make().cross_validation(frame, h=4, n_windows=3, step_size=2)
    on = ["unique_id", "ds", "cutoff"]
    same = theirs.select(*(pl.col(name).cast(ours[name].dtype) for name in on))
    assert same.equals(ours.select(on))
    assert np.allclose(theirs["y"], ours["y"])


@pytest.mark.slow
def test_series_of_darts_go_in_and_come_back(make: Make, tmp_path: Path) -> None:
    frame = one_series(80).select(pl.col("ds").cast(pl.Datetime), "y")
    files = [tmp_path / name for name in ("series.csv", "frame.csv", "forecast.csv", "truth.csv")]
    frame.head(77).write_csv(files[0])
    run_in("darts", DARTS, *files[:2])
    forecast = make().fit(pd.read_csv(files[1], parse_dates=["ds"])).predict()
    forecast.write_csv(files[2])
    frame.tail(3).write_csv(files[3])
    found = float(run_in("darts", BACK, *files[2:]))
    assert found == pytest.approx(float((forecast["gatestack"] - frame["y"][77:]).abs().mean()), rel=1e-6)
