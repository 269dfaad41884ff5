"""`gatestack depth`: each task, the table, the page, resuming, Ctrl-C, and `--layers auto` of a fit."""

from __future__ import annotations

import html
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import Result

import gatestack as gs
from gatestack.study import DepthPlan, DepthRange, depth
from gatestack.tasks import estimator
from gatestack.tasks.labelled import folded

Run = Callable[..., Result]

FEW = ["--folds", "2", "--seeds", "1", "--layers", "1-2"]
TINY = ["--hidden-size", "4", "--max-steps", "2"]
FORECAST = ["--target", "temp", "--horizon", "3", "--season", "none", "--window", "8", *TINY, *FEW]


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve series, a row each, with their class and a number."""
    random = np.random.default_rng(0)
    waves = [np.sin(np.arange(10) * (1 + case % 2)) + 0.2 * random.normal(size=10) for case in range(12)]
    frame = pl.DataFrame(waves, schema=[str(case) for case in range(12)]).transpose()
    path = tmp_path_factory.mktemp("cases") / "waves.csv"
    frame.with_columns(label=pl.Series(["slow", "fast"] * 6)).write_csv(path)
    return path


def test_a_forecasts_study_prints_table_and_sentence(gatestack: Run, table: Path) -> None:
    found = gatestack("depth", "forecast", table, *FORECAST)
    assert found.exit_code == 0, found.output
    assert "MASE by depth, equal width, 2 folds × 1 seed\n" in found.stdout
    last = found.stdout.splitlines()[-1]
    assert last.startswith(("One layer: MASE", "Two layers: "))
    assert "fits are kept in gatestack-studies.db" in found.stderr
    assert Path("gatestack-studies.db").is_file()


def test_the_same_command_fits_nothing_again(
    gatestack: Run, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["depth", "forecast", table, *FORECAST, "--json"]
    first = gatestack(*words)
    from gatestack.tasks.forecast.folded import ForecastFolds

    def fail(*_: object) -> None:
        raise AssertionError("a fit was done twice")

    monkeypatch.setattr(ForecastFolds, "network", fail)
    second = gatestack(*words)
    assert second.exit_code == 0, second.output
    assert json.loads(second.stdout) == json.loads(first.stdout)


def test_json_and_page(gatestack: Run, cases: Path, tmp_path: Path) -> None:
    page, study = tmp_path / "depth.html", tmp_path / "here.db"
    options = [*TINY, "--folds", "2", "--seeds", "1", "--layers", "0-1", "--measure", "log_loss"]
    found = gatestack("depth", "classify", cases, *options, "--study", study, "--out", page, "--json")
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)
    assert [row["layers"] for row in values["rows"]] == [0, 1]
    assert values["measure"]["name"] == "log_loss"
    assert (values["study"], values["report"]) == (str(study), str(page))
    text = page.read_text()
    assert values["sentence"].split(":")[0] in text
    assert text.count("<svg") == 2
    assert "://" not in text
    assert "How many layers? waves.csv" in text
    # The lines of Python that the page shows make the same study.
    lines = html.unescape(text.split("<code>import", 1)[1].split("</code>", 1)[0])
    made: dict[str, object] = {}
    exec(f"import{lines}", made)
    assert [row.score for row in made["study"].rows] == [row["score"] for row in values["rows"]]  # type: ignore[attr-defined]
    again = gatestack("depth", "classify", cases, *options, "--study", study, "--out", page)
    assert again.exit_code == 2
    assert "--overwrite" in again.output


def test_a_page_does_not_give_a_password_away(
    gatestack: Run, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatestack.cli import depth_options

    url = "postgresql://me:secret@127.0.0.1:1/studies"
    monkeypatch.setattr(sys, "argv", ["gatestack", "depth", "classify", "waves.csv", "--study", url])
    found = gatestack(
        "depth", "classify", cases, *TINY, "--folds", "2", "--seeds", "1", "--layers", "1-1", "--json"
    )
    study = gs.study.DepthStudy.from_dict(
        {name: value for name, value in json.loads(found.stdout).items() if name not in ("study", "report")}
    )
    given = dict.fromkeys(("layers", "budget", "measure"), "") | dict.fromkeys(
        ("folds", "seeds", "min_gain"), 1
    )
    run = depth_options.DepthRun(
        file=cases,
        study=url,
        out=Path("d.html"),
        regularisation=(),
        overwrite=False,
        as_json=False,
        quiet=False,
        **given,
    )
    depth_options._write_page("classify", gs.Classifier(), study, run, python=None)
    page = Path("d.html").read_text()
    assert "secret" not in page
    assert "gatestack depth classify waves.csv --study" in page


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_groups_stay_in_one_fold(
    gatestack: Run, cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    people = np.repeat(["ann", "bob", "cy", "dee", "eve", "flo"], 2)
    frame = pl.read_csv(cases).with_columns(person=pl.Series(people), case=pl.int_range(pl.len()))
    options = ["--case", "case"] if layout == "long" else []
    if layout == "long":
        frame = frame.unpivot(index=["case", "label", "person"], value_name="x").drop("variable").sort("case")
    else:
        frame = frame.drop("case")
    path = tmp_path / "people.csv"
    frame.write_csv(path)
    dealt = []
    original = folded.LabelledFolds.__init__

    def note(
        task: folded.LabelledFolds, estimator: object, data: object, own: object, measure: object
    ) -> None:
        dealt.append(own)
        original(task, estimator, data, own, measure)  # type: ignore[arg-type]

    monkeypatch.setattr(folded.LabelledFolds, "__init__", note)
    found = gatestack("depth", "classify", path, *TINY, *FEW, *options, "--group", "person")
    assert found.exit_code == 0, found.output
    assert dealt[0][::2].tolist() == dealt[0][1::2].tolist()
    assert set(dealt[0]) == {0, 1}
    for words, text in (
        (["--group", "persn"], "did you mean 'person'"),
        (["--group", "person", "--folds", "7"], "6 names"),
    ):
        found = gatestack("depth", "classify", path, *TINY, *FEW, *options, *words)
        assert found.exit_code == 2, found.output
        assert text in found.output
    if layout == "long":
        frame.with_columns(person=pl.int_range(pl.len())).write_csv(path)
        found = gatestack("depth", "classify", path, *TINY, *FEW, *options, "--group", "person")
        assert found.exit_code == 2
        assert "case 0 is in 10 groups" in found.output.replace("'", "")


def test_a_regressors_and_a_detectors_study(gatestack: Run, cases: Path, table: Path, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.csv"
    pl.read_csv(cases).with_columns(label=pl.int_range(pl.len())).write_csv(numbers)
    found = gatestack("depth", "regress", numbers, *TINY, *FEW, "--recipe", "plain")
    assert found.exit_code == 0, found.output
    assert "MAE by depth" in found.stdout
    found = gatestack("depth", "detect", table, *TINY, *FEW, "--window", "8", "--budget", "equal-parameters")
    assert found.exit_code == 0, found.output
    assert "deviation by depth, equal parameters" in found.stdout


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--layers", "4-1"], "the depths go from 4 to 1"),
        (["--layers", "many"], "a range of depths such as 0-4"),
        (["--measure", "mape"], "there is no measure 'mape'"),
        (["--budget", "equal-time"], "--budget"),
        (["--folds", "60"], "60 blocks of a horizon"),
        (["--study", "mysql://here/there"], "a study cannot be kept in mysql"),
        (["--target", "tmp"], "'temp'"),
    ],
)
def test_what_cannot_be_is_told(gatestack: Run, table: Path, options: list[str], text: str) -> None:
    found = gatestack("depth", "forecast", table, *FORECAST, *options)
    assert found.exit_code == 2, found.output
    assert text in found.output
    assert "Traceback" not in found.output


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_fits(number: signal.Signals, table: Path, tmp_path: Path) -> None:
    study = tmp_path / "studies.db"
    words = ["depth", "forecast", str(table), *FORECAST, "--max-steps", "30000", "--study", str(study)]
    command = [sys.executable, "-c", "from gatestack.cli.main import run; run()", *words]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    limit = time.monotonic() + 120
    while not study.exists() and time.monotonic() < limit:
        time.sleep(0.2)
    time.sleep(8)  # into a fit
    process.send_signal(number)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert f"all finished fits are kept in {study}; the same command goes on from there" in talk
    assert "Traceback" not in talk
    # What was in work is free again.
    import sqlite3

    with sqlite3.connect(study) as connection:
        states = {state for (state,) in connection.execute("select state from trials")}
    assert "RUNNING" not in states


def test_fit_with_layers_auto(
    gatestack: Run, cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth, "DepthPlan", lambda: DepthPlan(depths=DepthRange(1, 2), seeds=1))
    monkeypatch.setattr(estimator, "_FOLDS", 2)
    out = tmp_path / "model"
    found = gatestack("fit", "classify", cases, *TINY, "--layers", "auto", "--out", out)
    assert found.exit_code == 0, found.output
    model = gs.load(out)
    assert model.depth_ is not None  # type: ignore[union-attr]
    assert model.depth_.sentence in found.stderr  # type: ignore[union-attr]
    page = (out / "report.html").read_text()
    assert "How many layers?" in page
    assert html.escape(model.depth_.sentence) in page  # type: ignore[union-attr]
    # The study is thrown away with the checkpoints; the evidence is in the model.
    assert not (tmp_path / "model.training").exists()


def test_regularisation_is_the_second_axis(gatestack: Run, table: Path, tmp_path: Path) -> None:
    page = tmp_path / "depth.html"
    words = [
        "depth",
        "forecast",
        table,
        *FORECAST,
        "--regularisation",
        "zoneout",
        "--regularisation",
        "layer_norm",
    ]
    found = gatestack(*words, "--out", page)
    assert found.exit_code == 0, found.output
    assert "zoneout=0.1: " in found.stdout
    text = page.read_text()
    assert text.count("<svg") == 3
    assert "gain over without" in text
    assert html.unescape(text).count("regularisation=('zoneout', 'layer_norm')") == 1
    assert "Regularisation: " in found.stdout
    found = gatestack("depth", "forecast", table, *FORECAST, "--regularisation", "zone")
    assert found.exit_code == 2
    assert "there is no regularisation 'zone'" in found.output
