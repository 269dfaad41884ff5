"""`gatestack tune`: each task, the table, the page, the lines that repeat the winner, going on."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import Result

import gatestack as gs
from gatestack.cli.repeat import fit_command, python_of

from .conftest import start

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
    assert "at most 8 fits: 2 of the settings as given, 2 of each of 2 trials, 2 of the check" in found.stderr
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


def test_the_table_names_its_rows_and_has_a_column_for_each_setting(
    gatestack: Run, table: Path, tmp_path: Path
) -> None:
    page = tmp_path / "tune.html"
    found = gatestack("tune", "forecast", table, *FORECAST, "--out", page)
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    head = next(line for line in lines if line.startswith("  trial"))
    assert head.split("  ")[1:] != []
    assert [
        word for word in ("MASE", "zoneout", "learning rate", "folds", "seconds") if word not in head
    ] == []
    assert any(line.startswith("  baseline: ") for line in lines)
    assert any(line.lstrip("* ").startswith("as given") for line in lines)
    assert len([line for line in lines if line.startswith("* ")]) == 1
    text = page.read_text()
    assert "The check: a part that the search never looked at" in text
    assert "searched in 0-0.3" in text
    assert ">baseline: " in text
    # With all settings there are too many for columns of their own.
    words = [word for word in FORECAST if word not in ("zoneout", "learning_rate", "--search")]
    compact = gatestack("tune", "forecast", table, *words, "--trials", "1", "--out", page, "--overwrite")
    assert compact.exit_code == 0, compact.output
    assert "seconds  settings" in compact.stdout
    assert "weight decay" in page.read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_keeps_the_finished_fits_and_the_same_command_goes_on(
    gatestack: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["tune", "forecast", str(table), *FORECAST, "--trials", "4", "--study", "kept.db", "--json"]
    words[words.index("--max-steps") + 1] = "20"
    process = start(words, tmp_path)
    limit = time.monotonic() + 120
    while finished_fits(tmp_path / "kept.db") < 6 and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    answer, talk = process.communicate(timeout=200)
    assert process.returncode == 130, talk
    assert not answer
    assert "Traceback" not in talk
    assert "all finished fits are kept in kept.db; the same command goes on from there" in talk
    kept = finished_fits(tmp_path / "kept.db")
    assert kept >= 6

    from gatestack.tasks.forecast.folded import ForecastFolds

    done = []
    for name in ("network", "plain"):
        own = getattr(ForecastFolds, name)
        monkeypatch.setattr(ForecastFolds, name, lambda *given, own=own: (done.append(given), own(*given))[1])
    found = gatestack(*words)
    assert found.exit_code == 0, found.output
    fits = finished_fits(tmp_path / "kept.db")
    assert kept + len(done) == fits  # none was done twice
    # It finds what it would have found without the stop.
    done.clear()
    words[words.index("kept.db")] = "other.db"
    straight = gatestack(*words)
    assert len(done) == fits
    values, expected = (json.loads(run.stdout) for run in (found, straight))
    for value in (values, expected):
        del value["study"]
        for row in (value["given"], *value["rows"]):
            del row["seconds"]
    assert values == expected


def finished_fits(database: Path) -> int:
    """Count the fits, not the trials, that are in a study."""
    if not database.exists():
        return 0
    question = (
        "select count(*) from trials join studies using (study_id) "
        "where state = 'COMPLETE' and study_name like 'search-fits-%'"
    )
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
        ) as connection:
            return int(connection.execute(question).fetchone()[0])
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0


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
        (["--search", "dropout=0.5-0.1"], "write it as 0.1-0.5"),
        (["--search", "layers=1.5-2"], "the range '1.5-2' of layers"),
        (["--search", "zoneout"], "zoneout is searched twice"),
        (["--search", "layer_norm=1-2"], "layer_norm alone"),
        (["--study", "mysql://me@host/x"], "postgresql://user@host/database"),
        (["--measure", "maes"], "did you mean 'mae'?"),
        (["--folds", "90"], "fewer folds"),
    ],
)
def test_what_cannot_be_is_told(gatestack: Run, table: Path, options: list[str], text: str) -> None:
    found = gatestack("tune", "forecast", table, *FORECAST, *options)
    assert found.exit_code == 2, found.output
    assert text in found.output
    assert "Traceback" not in found.output


def test_windows_that_are_longer_than_the_data_are_said(gatestack: Run, table: Path) -> None:
    found = gatestack("tune", "forecast", table, *FORECAST[:-4], "--search", "window=500-900")
    assert found.exit_code == 0, found.output
    assert "2 trials of 2 could not be fitted; the first: " in found.stdout
    assert "every series is too short: 'temp' (72 steps)" in found.stdout
    assert "None of 2 trials is better than the settings as given" in found.stdout


def test_a_study_that_cannot_be_kept_there_is_said(gatestack: Run, table: Path) -> None:
    found = gatestack("tune", "forecast", table, *FORECAST, "--study", ".")
    assert found.exit_code == 1
    assert "error: .: the study is a folder" in found.stderr


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
