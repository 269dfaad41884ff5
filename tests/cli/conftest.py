"""A small table, a small model, and a way to run the command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from gatestack.cli.main import app

SMALL = ["--hidden-size", "4", "--max-steps", "5", "--window", "8", "--device", "cpu"]


@pytest.fixture(scope="session")
def frame() -> pl.DataFrame:
    day = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 4, 29), eager=True)
    steps = np.arange(len(day))
    noise = np.random.default_rng(0).normal(size=len(day))
    rain = np.random.default_rng(1).exponential(size=len(day))
    return pl.DataFrame({"date": day, "temp": 10 + 5 * np.sin(steps * 2 * np.pi / 7) + noise, "rain": rain})


@pytest.fixture(scope="session")
def table(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "weather.csv"
    frame.write_csv(path)
    return path


@pytest.fixture
def gatestack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session")
def model(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the first hundred days."""
    folder = tmp_path_factory.mktemp("models")
    first = folder / "first.csv"
    pl.read_csv(table).head(100).write_csv(first)
    words = [
        "fit",
        "forecast",
        str(first),
        "--target",
        "temp",
        "--horizon",
        "3",
        "--out",
        str(folder / "model"),
    ]
    done = CliRunner().invoke(app, [*words, *SMALL])
    assert done.exit_code == 0, done.output
    return folder / "model"


def start(words: list[str], folder: Path, **options: object) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    program = "from gatestack.cli.main import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
