"""Each command does what its help says: results to stdout, talk to stderr, nothing replaced unasked."""

from __future__ import annotations

import datetime as dt
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

import gatestack as gs
from gatestack.reports.forecast.repeat import command_to_repeat, python_to_repeat

from .conftest import SMALL

Run = Callable[..., Result]


def test_fit_writes_a_model_with_a_report(gatestack: Run, table: Path, tmp_path: Path) -> None:
    done = gatestack("fit", "forecast", table, "--target", "temp", "--horizon", 3, "--out", "runs/m", *SMALL)
    assert done.exit_code == 0, done.output
    names = {"model.json", "weights.safetensors", "proof.safetensors", "report.html"}
    assert {path.name for path in (tmp_path / "runs" / "m").iterdir()} == names
    assert all(name in done.stdout for name in names)
    assert not (tmp_path / "runs" / "m.training").exists()
    assert "last_value" in done.stdout
    assert "the best baseline" in done.stdout
    assert "fitting" not in done.stdout
    assert gs.load(tmp_path / "runs" / "m").predict().height == 3


def test_fit_writes_json(gatestack: Run, table: Path) -> None:
    words = [
        "fit",
        "forecast",
        table,
        "--target",
        "temp",
        "--horizon",
        3,
        "--out",
        "m",
        "--json",
        "--step",
        1,
    ]
    done = gatestack(*words, "--test", 20, "--past", "rain", *SMALL)
    found = json.loads(done.stdout)
    assert not done.stderr
    assert found["model"] == "m"
    assert found["training"]["steps"] == 5
    assert found["backtest"]["origins"] == 20 - 3 + 1
    assert {"gatestack", "last_value", "drift", "linear"} <= {
        row["model"] for row in found["backtest"]["scores"]
    }


def test_fit_without_a_backtest(gatestack: Run, table: Path, tmp_path: Path) -> None:
    words = ["fit", "forecast", table, "--target", "temp", "--horizon", 3, "--out", "m", "--no-backtest"]
    assert json.loads(gatestack(*words, "--json", *SMALL).stdout)["backtest"] is None
    assert "The model was not evaluated" in (tmp_path / "m" / "report.html").read_text()


def test_a_series_too_short_for_a_backtest_is_fitted_and_says_so(
    gatestack: Run, frame: pl.DataFrame, tmp_path: Path
) -> None:
    frame.head(13).write_csv(tmp_path / "short.csv")
    words = ["fit", "forecast", "short.csv", "--target", "temp", "--horizon", 3, "--out", "m", *SMALL]
    done = gatestack(*words)
    assert done.exit_code == 0, done.output
    assert "there is no backtest" in done.stderr
    assert (tmp_path / "m" / "model.json").exists()


def test_fit_replaces_a_model_only_when_told(gatestack: Run, table: Path, tmp_path: Path) -> None:
    words = [
        "fit",
        "forecast",
        table,
        "--target",
        "temp",
        "--horizon",
        3,
        "--out",
        "m",
        "--no-backtest",
        *SMALL,
    ]
    assert gatestack(*words).exit_code == 0
    before = (tmp_path / "m" / "weights.safetensors").read_bytes()
    refused = gatestack(*words, "--seed", 1)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() == before
    assert gatestack(*words, "--seed", 1, "--overwrite").exit_code == 0
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() != before


def test_overwrite_spares_a_folder_that_is_no_model(gatestack: Run, table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    done = gatestack(
        "fit", "forecast", table, "--target", "temp", "--horizon", 3, "--out", "mine", "--overwrite"
    )
    assert done.exit_code == 2
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    "words",
    [
        ["--layers", "3,2", "--cell", "gru", "--dropout", "0.1", "--mode", "windows"],
        ["--season", "7", "--calendar", "day_of_week", "--calendar", "month", "--past", "rain"],
        ["--season", "none", "--scaling", "series", "--batch-size", "4", "--learning-rate", "0.01"],
        ["--distribution", "spline"],
    ],
)
def test_options_reach_the_model_and_the_report_repeats_them(
    gatestack: Run, table: Path, tmp_path: Path, words: list[str]
) -> None:
    words = [
        "fit",
        "forecast",
        str(table),
        "--target",
        "temp",
        "--horizon",
        "3",
        "--no-backtest",
        *words,
        *SMALL,
    ]
    assert gatestack(*words, "--out", "first").exit_code == 0
    first = gs.load(tmp_path / "first")
    command = command_to_repeat(first, str(table))
    assert command is not None
    again = shlex.split(command)[1:-1]
    assert gatestack(*again, "second", "--no-backtest").exit_code == 0
    second = gs.load(tmp_path / "second")
    assert second.predict().equals(first.predict())
    names: dict[str, object] = {}
    exec(python_to_repeat(first, str(table)), names)
    assert names["model"].predict().equals(first.predict())  # type: ignore[attr-defined]


def test_predict_writes_sampled_paths(gatestack: Run, model: Path, table: Path) -> None:
    words = ["fit", "forecast", table, "--target", "temp", "--horizon", 3, "--no-backtest", *SMALL]
    assert gatestack(*words, "--mode", "recursive", "--out", "paths").exit_code == 0
    done = gatestack("predict", "paths", table, "--paths", 5)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "date,path,gatestack"
    assert len(lines) == 1 + 5 * 3
    refused = gatestack("predict", model, "--paths", 5)
    assert refused.exit_code == 2
    assert "mode='recursive'" in refused.stderr


def test_predict_writes_csv_json_or_a_file(gatestack: Run, model: Path, table: Path, tmp_path: Path) -> None:
    expected = gs.load(model).predict(table)
    printed = gatestack("predict", model, table)
    assert pl.read_csv(io.BytesIO(printed.stdout_bytes), try_parse_dates=True).equals(expected)
    rows = json.loads(gatestack("predict", model, table, "--json").stdout)
    assert [row["gatestack"] for row in rows] == expected["gatestack"].to_list()
    for name in ("a.csv", "b.parquet"):
        done = gatestack("predict", model, table, "--out", f"new/{name}")
        assert done.exit_code == 0
        assert not done.stdout
    assert pl.read_parquet(tmp_path / "new" / "b.parquet").equals(expected)
    assert gatestack("predict", model, table, "--out", "new/a.csv").exit_code == 2
    assert gatestack("predict", model, table, "--out", "new/a.csv", "--overwrite").exit_code == 0
    assert gatestack("predict", model, "--out", "a.xlsx").exit_code == 2


def test_predict_goes_on_from_the_fit(gatestack: Run, model: Path) -> None:
    printed = gatestack("predict", model)
    assert printed.stdout.splitlines()[1].startswith("2024-04-10")


def test_evaluate_scores_what_came_after_the_fit(gatestack: Run, model: Path, table: Path) -> None:
    done = gatestack("evaluate", model, table)
    assert done.exit_code == 0
    assert "18 origins" in done.stdout
    found = json.loads(gatestack("evaluate", model, table, "--json", "--step", 3).stdout)
    assert found["origins"] == 6
    assert found["scores"][0]["model"] == "gatestack"


def test_evaluate_refuses_the_data_of_the_fit(gatestack: Run, model: Path) -> None:
    done = gatestack("evaluate", model, model.parent / "first.csv")
    assert done.exit_code == 2
    assert "leak" in done.stderr


def test_report_makes_a_page(gatestack: Run, model: Path, table: Path, tmp_path: Path) -> None:
    done = gatestack("report", model, "--data", table, "--out", "new/page.html")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == "new/page.html"
    assert "what came after the data of its fit" in (tmp_path / "new" / "page.html").read_text()
    assert gatestack("report", model, "--out", "new/page.html").exit_code == 2


@pytest.mark.slow
def test_demo(gatestack: Run, tmp_path: Path) -> None:
    done = gatestack("demo")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "The report: gatestack-demo/report.html"
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("gatestack-demo/*")}
    assert written == {
        f"gatestack-demo/{name}"
        for name in ("weather.csv", "model", "report.html", "forecast.svg", "forecast.png")
    }
    assert (tmp_path / "gatestack-demo" / "forecast.svg").stat().st_size < 200_000
    assert gatestack("demo").exit_code == 2


def test_a_fit_tells_which_steps_are_missing(gatestack: Run, frame: pl.DataFrame, tmp_path: Path) -> None:
    frame.filter(~pl.col("date").is_in([dt.date(2024, 2, 3), dt.date(2024, 2, 4)])).write_csv(
        tmp_path / "gap.csv"
    )
    call = ["fit", "forecast", "gap.csv", "--target", "temp", "--horizon", "2", "--out", "g", "--no-backtest"]
    done = gatestack(*call, *SMALL)
    assert done.exit_code == 0
    assert "2 steps are missing in 1 places, first in temp between 2024-02-0" in done.stderr
