"""`--sums` on the command line: totals that are the sums of their parts, from the fit to the prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import Result

import gatestack as gs
from gatestack.study import DepthPlan, DepthRange, depth
from gatestack.tasks import estimator

from .conftest import SMALL

Run = Callable[..., Result]


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).normal(size=(60, 3)).cumsum(axis=0) + 50
    frame = pl.DataFrame(noise, schema=["a", "b", "c"]).with_row_index("ds")
    frame = frame.unpivot(index="ds", variable_name="unique_id", value_name="y")
    region = pl.when(pl.col("unique_id") == "c").then(pl.lit("south")).otherwise(pl.lit("north"))
    frame.with_columns(region=region).write_csv(tmp_path / "shops.csv")
    return tmp_path / "shops.csv"


def test_fit_evaluate_and_predict_add_up(gatestack: Run, shops: Path, tmp_path: Path) -> None:
    table = pl.read_csv(shops)
    first = tmp_path / "first.csv"
    table.filter(pl.col("ds") < 50).write_csv(first)
    words = ["fit", "forecast", first, "--horizon", 2, "--out", "m", *SMALL]
    done = gatestack(*words, "--sums", "region", "--add-up-by", "wls", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    rows = {row["model"]: row for row in said["backtest"]["scores"]}
    assert {"gatestack", "incoherent", "last_value"} <= set(rows)
    assert "mase-region" in rows["gatestack"]
    assert said["backtest"]["copying"]["sentence"]

    done = gatestack("predict", "m", shops, "--out", "next.csv")
    assert done.exit_code == 0, done.output
    wide = pl.read_csv("next.csv").pivot("unique_id", index="ds", values="gatestack")
    assert wide.columns == ["ds", "total", "north", "a", "b", "c"]
    np.testing.assert_allclose(wide["total"], wide["north"] + wide["c"])
    np.testing.assert_allclose(wide["north"], wide["a"] + wide["b"])

    done = gatestack("evaluate", "m", shops, "--step", 2)
    assert done.exit_code == 0, done.output
    assert "Adding up makes the error" in done.stdout
    assert "region" in done.stdout
    for refused in (["predict", "m", "--paths", 3], ["export", "m", "--to", "onnx", "--out", "m.onnx"]):
        done = gatestack(*refused)
        assert done.exit_code == 2, done.output
        assert "coherentforecaster" in done.stderr.lower().replace(" ", "")


def test_what_sums_exclude_is_an_error(gatestack: Run, shops: Path) -> None:
    words = ["fit", "forecast", shops, "--horizon", 2, "--out", "m", *SMALL, "--sums"]
    done = gatestack(*words, "total", "--static", "region")
    assert done.exit_code == 2
    assert "--static was given with --sums" in done.stderr
    done = gatestack(*words[:-1], "--add-up-by", "wls")
    assert done.exit_code == 2
    assert "--add-up-by was given without --sums" in done.stderr
    done = gatestack(*words, "regoin")
    assert done.exit_code == 2
    assert "no column 'regoin'" in done.stderr
    assert not Path("m").exists()


def test_the_depth_of_forecasts_that_add_up(
    gatestack: Run, shops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["--horizon", 2, "--window", 8, "--season", "none", "--hidden-size", 4, "--max-steps", 2]
    words = ["--sums", "region", "--folds", 2, "--seeds", 1, "--layers", "1-2"]
    done = gatestack("depth", "forecast", shops, *few, *words, "--out", "d.html", "--json")
    assert done.exit_code == 0, done.output
    study = json.loads(done.stdout)
    page = Path("d.html").read_text()
    assert "region" in page
    assert "hidden_size" in page
    monkeypatch.setattr(depth, "DepthPlan", lambda: DepthPlan(depths=DepthRange(1, 2), seeds=1))
    monkeypatch.setattr(estimator, "_FOLDS", 2)
    done = gatestack(
        "fit", "forecast", shops, *few, "--sums", "region", "--layers", "auto", "--no-backtest", "--out", "m"
    )
    assert done.exit_code == 0, done.output
    model = gs.load("m")
    assert [row.score for row in model.depth_.rows] == [row["score"] for row in study["rows"]]  # type: ignore[union-attr]
    assert "How many layers?" in Path("m/report.html").read_text()
    done = gatestack("depth", "forecast", shops, *few, *words, "--static", "region")
    assert done.exit_code == 2
    assert "--static was given with --sums" in done.stderr
