"""`gatestack update`, and the tables of forecasts that `fit` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

import gatestack as gs

from .conftest import SMALL

Run = Callable[..., Result]


@pytest.fixture
def parts(gatestack: Run, table: Path, tmp_path: Path) -> tuple[Path, Path, pl.DataFrame]:
    """A model of all rows but the last five, the file of these, and all rows."""
    whole = pl.read_csv(table)
    whole.head(-5).write_csv(tmp_path / "old.csv")
    whole.tail(5).write_csv(tmp_path / "new.csv")
    words = ["fit", "forecast", tmp_path / "old.csv", "--target", "temp", "--horizon", 3, "--out", "m"]
    done = gatestack(*words, "--no-backtest", *SMALL)
    assert done.exit_code == 0, done.output
    return tmp_path / "m", tmp_path / "new.csv", whole


def test_an_update_replaces_the_model(gatestack: Run, parts: tuple[Path, Path, pl.DataFrame]) -> None:
    model, new, whole = parts
    wanted = gs.load(model).predict(whole)
    page = (model / "report.html").read_text(encoding="utf-8")
    done = gatestack("update", model, new)
    assert done.exit_code == 0, done.output
    assert not done.stdout
    assert "1 series, up to" in done.stderr
    assert "its report.html is that of the fit" in done.stderr
    found = gs.load(model).predict()
    assert found.columns == wanted.columns
    assert found[wanted.columns[0]].cast(pl.String).equals(wanted[wanted.columns[0]].cast(pl.String))
    assert (found["gatestack"] - wanted["gatestack"]).abs().max() < 1e-4  # type: ignore[operator]
    assert (model / "report.html").read_text(encoding="utf-8") == page


def test_an_update_writes_beside_and_says_it_as_json(
    gatestack: Run, parts: tuple[Path, Path, pl.DataFrame], tmp_path: Path
) -> None:
    model, new, _ = parts
    before = gs.load(model).predict()
    done = gatestack("update", model, new, "--out", "later", "--json")
    found = json.loads(done.stdout)
    assert (found["series"], found["new_series"]) == (1, 0)
    assert gs.load(model).predict().equals(before)
    assert gs.load(tmp_path / "later").predict()["date"][0] > before["date"][0]
    again = gatestack("update", model, new, "--out", "later")
    assert again.exit_code == 2
    assert "it exists already" in again.stderr


def test_an_update_that_fails_leaves_the_model(
    gatestack: Run, parts: tuple[Path, Path, pl.DataFrame], tmp_path: Path
) -> None:
    model, _, whole = parts
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    whole.tail(9).with_columns(pl.col("temp") + 1).write_csv(tmp_path / "other.csv")
    done = gatestack("update", model, tmp_path / "other.csv")
    assert done.exit_code == 2
    assert "when the model saw it" in done.stderr
    assert "error: " in done.stderr
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_fit_writes_the_scored_forecasts(gatestack: Run, table: Path, tmp_path: Path, ending: str) -> None:
    words = ["fit", "forecast", table, "--target", "temp", "--horizon", 3, "--out", "m"]
    done = gatestack(*words, "--forecasts", f"cv{ending}", "--intervals", "conformal", *SMALL)
    assert done.exit_code == 0, done.output
    path = tmp_path / f"cv{ending}"
    found = pl.read_csv(path) if ending == ".csv" else pl.read_parquet(path)
    assert found.columns[:5] == ["unique_id", "ds", "cutoff", "y", "gatestack"]
    assert gs.load(tmp_path / "m").intervals == "conformal"
    assert "interval held the truth in" in done.stdout


def test_a_table_of_another_kind_is_refused_before_the_fit(
    gatestack: Run, table: Path, tmp_path: Path
) -> None:
    done = gatestack(
        "fit", "forecast", table, "--target", "temp", "--horizon", 3, "--out", "m", "--forecasts", "cv.txt"
    )
    assert done.exit_code == 2
    assert "the ending is '.txt'" in done.stderr
    assert not (tmp_path / "m").exists()


def test_scored_forecasts_are_not_promised_where_nothing_is_scored(
    gatestack: Run, table: Path, tmp_path: Path
) -> None:
    words = ["fit", "forecast", table, "--target", "temp", "--horizon", 3, "--out", "m", "--no-backtest"]
    done = gatestack(*words, "--forecasts", "cv.csv", *SMALL)
    assert done.exit_code == 2
    assert "--forecasts and --no-backtest exclude each other" in done.stderr
    assert not (tmp_path / "m").exists()
