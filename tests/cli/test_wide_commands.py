"""Files with one series a row on the command line, what came after them, and columns of names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import Result

from gatestack.tasks.forecast import Forecaster

from .conftest import SMALL

Run = Callable[..., Result]
HORIZON = 3


def wide(path: Path, series: dict[str, np.ndarray]) -> Path:
    longest = max(map(len, series.values()))
    lines = [",".join(["id", *(f"V{step}" for step in range(1, longest + 1))])]
    lines += [
        ",".join([key, *map(str, values), *[""] * (longest - len(values))]) for key, values in series.items()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    series = {
        key: (10 + 5 * np.sin(np.arange(steps) * 2 * np.pi / 7) + random.normal(size=steps)).round(3)
        for key, steps in {"a": 70, "b": 90, "c": 5, "d": 60}.items()
    }
    train = wide(tmp_path / "train.csv", {key: values[:-HORIZON] for key, values in series.items()})
    return train, wide(tmp_path / "test.csv", {key: values[-HORIZON:] for key, values in series.items()})


def fit(gatestack: Run, train: Path, *more: object) -> Result:
    words = ["fit", "forecast", train, "--wide", "--horizon", HORIZON, "--short-series", "keep", "--out", "m"]
    return gatestack(*words, *more, *SMALL)


def test_one_command_fits_a_wide_file_and_scores_what_came_after(
    gatestack: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    train, test = files
    done = fit(gatestack, train, "--test", test, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["series"], found["backtest"], found["test"]["origins"]) == (4, None, 4)
    assert {"gatestack", "linear"} <= {row["model"] for row in found["test"]["scores"]}
    assert "report.html" in {path.name for path in (tmp_path / "m").iterdir()}

    again = gatestack("evaluate", "m", test, "--history", train, "--wide", "--step", HORIZON, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["scores"] == found["test"]["scores"]

    stored = gatestack("predict", "m")
    given = gatestack("predict", "m", train, "--wide")
    assert stored.stdout.splitlines()[0] == given.stdout.splitlines()[0]
    ours, theirs = (pl.read_csv(done.stdout.encode()) for done in (stored, given))
    assert ours["unique_id"].to_list() == theirs["unique_id"].to_list()
    np.testing.assert_allclose(ours["gatestack"], theirs["gatestack"], rtol=1e-5)
    assert ours.filter(pl.col("unique_id") == "c")["ds"].to_list() == [3, 4, 5]


def test_a_wide_file_is_backtested_as_any_other(gatestack: Run, files: tuple[Path, Path]) -> None:
    done = fit(gatestack, files[0], "--json")
    assert done.exit_code == 0, done.output
    # Series "c" has two steps, too few to hold three out.
    assert json.loads(done.stdout)["backtest"]["origins"] == 4 + 5 + 3


def test_what_came_after_may_be_a_table_of_rows(gatestack: Run, table: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(table)
    frame.head(100).write_csv(tmp_path / "before.csv")
    frame.tail(20).write_csv(tmp_path / "after.csv")
    words = ["fit", "forecast", "before.csv", "--target", "temp", "--horizon", 3, "--out", "m"]
    done = gatestack(*words, "--test", "after.csv", "--json", *SMALL)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["test"]["origins"] == 6
    frame.tail(20).drop("temp").write_csv(tmp_path / "other.csv")
    done = gatestack(*words, "--test", "other.csv", "--overwrite", *SMALL)
    assert done.exit_code == 2
    assert "other.csv: it lacks the column temp" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--test", "absent.csv"], "a share such as 0.2, a number of steps, or a file that exists"),
        (["--test", "strange.csv"], "strange.csv: 1 series is not in the history: 'z'"),
    ],
)
def test_a_test_file_that_does_not_fit_is_refused_before_the_fit(
    gatestack: Run, files: tuple[Path, Path], tmp_path: Path, words: list[str], expected: str
) -> None:
    wide(tmp_path / "strange.csv", {"z": np.ones(3)})
    done = fit(gatestack, files[0], *words)
    assert done.exit_code == 2
    assert expected in done.stderr
    assert not (tmp_path / "m").exists()


def test_a_test_file_shorter_than_the_horizon_does_not_cost_the_fit(
    gatestack: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    done = fit(gatestack, files[0], "--test", wide(tmp_path / "brief.csv", {"a": np.ones(1)}))
    assert done.exit_code == 0, done.output
    assert "what came after is not scored: frame: no series has a whole horizon" in done.stderr
    assert (tmp_path / "m" / "model.json").is_file()


def test_the_wide_layout_is_for_forecasters(gatestack: Run, model: Path, files: tuple[Path, Path]) -> None:
    done = gatestack("predict", model, files[0], "--wide")
    assert done.exit_code == 2  # the model has other columns
    assert "temp" in done.stderr


def test_static_takes_names(gatestack: Run, tmp_path: Path) -> None:
    steps = np.arange(60)
    parts = [
        pl.DataFrame({"unique_id": key, "ds": steps, "y": level + np.sin(steps), "region": region})
        for key, level, region in (("a", 1.0, "north"), ("b", 5.0, "south"))
    ]
    pl.concat(parts).write_csv(tmp_path / "shops.csv")
    words = [
        "fit",
        "forecast",
        "shops.csv",
        "--static",
        "region",
        "--horizon",
        3,
        "--out",
        "m",
        "--no-backtest",
    ]
    assert gatestack(*words, *SMALL).exit_code == 0
    model = Forecaster.load(tmp_path / "m")
    assert model.fitted_.tail.categories == {"region": ("north", "south")}
    new = pl.DataFrame({"unique_id": "z", "ds": [0], "y": [3.0], "region": "west"})
    new.write_csv(tmp_path / "new.csv")
    done = gatestack("predict", "m", "new.csv")
    assert done.exit_code == 0, done.output
    assert np.isfinite(pl.read_csv(done.stdout.encode())["gatestack"].to_numpy()).all()
