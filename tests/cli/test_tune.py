"""`gatestack tune`: each task, the table, the page, the lines that repeat the winner, going on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import Result

import gatestack as gs
from gatestack.cli.tune_options import fit_command, python_of

Run = Callable[..., Result]

TINY = ["--hidden-size", "4", "--max-steps", "3", "--layers", "1"]
FEW = [
    "--trials",
    "2",
    "--folds",
    "3",
    "--check-seeds",
    "1",
    "--search",
    "zoneout",
    "--search",
    "learning_rate",
]
FORECAST = ["--target", "temp", "--horizon", "3", "--season", "none", "--window", "8", *TINY, *FEW]


def test_a_search_prints_trials_sentence_and_how_to_repeat_it(
    gatestack: Run, table: Path, tmp_path: Path
) -> None:
    page = tmp_path / "tune.html"
    found = gatestack("tune", "forecast", table, *FORECAST, "--out", page)
    assert found.exit_code == 0, found.output
    assert "MASE, 2 trials, 2 folds and one held back" in found.stdout
    assert "the part held back" in found.stdout
    assert "fits are kept in gatestack-studies.db" in found.stderr
    command = next(line for line in found.stdout.splitlines() if line.startswith("gatestack fit forecast"))
    assert "--target temp" in command
    assert "model = gs.Forecaster(" in found.stdout
    text = page.read_text()
    assert "<svg" in text
    assert "://" not in text
    words = [*shlex.split(command)[1:-1], str(tmp_path / "model"), "--no-backtest"]
    again = gatestack(*words)
    assert again.exit_code == 0, again.output
    model = gs.load(tmp_path / "model")
    assert model.window == 8  # type: ignore[union-attr]


def test_json_and_going_on(gatestack: Run, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["tune", "forecast", table, *FORECAST, "--json"]
    first = gatestack(*words)
    assert first.exit_code == 0, first.output
    from gatestack.tasks.forecast.folded import ForecastFolds

    def fail(*_: object) -> None:
        raise AssertionError("a fit was done twice")

    monkeypatch.setattr(ForecastFolds, "network", fail)
    second = gatestack(*words)
    assert second.exit_code == 0, second.output
    values = json.loads(second.stdout)
    assert values == json.loads(first.stdout)
    assert len(values["rows"]) == 2
    assert set(values["held_back"]) == {"best", "given", "baseline", "baseline_score"}


@pytest.mark.parametrize("task", ["classify", "regress", "detect"])
def test_the_other_tasks(gatestack: Run, table: Path, tmp_path: Path, task: str) -> None:
    path, own = table, ["--window", "8"]
    if task != "detect":
        random = np.random.default_rng(0)
        waves = [np.sin(np.arange(10) * (1 + case % 2)) + random.normal(size=10) for case in range(12)]
        frame = pl.DataFrame(waves, schema=[str(case) for case in range(12)]).transpose()
        path, own = tmp_path / "waves.csv", ["--recipe", "plain"]
        labels = ["slow", "fast"] * 6 if task == "classify" else list(range(12))
        frame.with_columns(label=pl.Series(labels)).write_csv(path)
    found = gatestack("tune", task, path, *TINY, *FEW, *own)
    assert found.exit_code == 0, found.output
    assert f"gatestack fit {task}" in found.stdout


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--search", "zonout"], "did you mean 'zoneout'"),
        (["--trials", "0"], "--trials"),
        (["--folds", "2"], "--folds"),
        (["--layers", "auto"], "a number of layers to begin with"),
        (["--minutes", "-1"], "a number above 0"),
    ],
)
def test_what_cannot_be_is_told(gatestack: Run, table: Path, options: list[str], text: str) -> None:
    found = gatestack("tune", "forecast", table, *FORECAST, *options)
    assert found.exit_code == 2, found.output
    assert text in found.output
    assert "Traceback" not in found.output


def test_the_lines_that_repeat_a_winner() -> None:
    from gatestack.cli.fit_forecast import fit_forecast

    best = {"layers": 2, "zoneout": 0.1, "layer_norm": True, "weight_decay": 0.05, "window": 12}
    given = {
        "file": "a.csv",
        "horizon": 3,
        "past": ("rain", "wind"),
        "layers": "1",
        "folds": 4,
        "window": None,
    }
    assert fit_command("forecast", given, best, fit_forecast) == (
        "gatestack fit forecast a.csv --past rain --past wind --horizon 3 --window 12 --zoneout 0.1 "
        "--layer-norm --weight-decay 0.05 --out MODEL"
    )
    # Two layers are what the command has by default.
    lines = python_of(gs.Forecaster(3, layers=1), best)
    space: dict[str, object] = {}
    exec(lines, space)
    model = space["model"]
    assert (model.layers, model.window, model.horizon) == (2, 12, 3)  # type: ignore[attr-defined]
    assert model.architecture.zoneout == 0.1  # type: ignore[attr-defined]
    assert model.architecture.layer_norm  # type: ignore[attr-defined]
    assert model.training.weight_decay == 0.05  # type: ignore[attr-defined]
