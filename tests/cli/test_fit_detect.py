"""`gatestack fit detect`, then predict, evaluate and report of what it saved."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.tasks.detect.test_detector import LEARNED, SPIKE, waves
from typer.testing import CliRunner

from gatestack.cli.main import app

QUICK = ["--hidden-size", "8", "--window", "24", "--max-steps", "40", "--quiet"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detect") / "waves.csv"
    waves().write_csv(path)
    return path


@pytest.fixture(scope="module")
def model(table: Path) -> Path:
    out = table.parent / "model"
    found = CliRunner().invoke(
        app, ["fit", "detect", str(table), "--train", str(LEARNED), "--out", str(out), *QUICK]
    )
    assert found.exit_code == 0, found.output
    assert "found" in found.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "model.json", "proof.safetensors", "report.html", "weights.safetensors",
    ]  # fmt: skip
    return out


def test_the_saved_detector_predicts_and_is_scored(model: Path, table: Path) -> None:
    predicted = CliRunner().invoke(app, ["predict", str(model), str(table), "--json"])
    assert predicted.exit_code == 0, predicted.output
    rows = json.loads(predicted.stdout)
    assert rows[SPIKE]["alarm"]
    assert "expected" in rows[SPIKE]["explanation"]
    scored = CliRunner().invoke(app, ["evaluate", str(model), str(table), "--json"])
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["anomalies"] == 2
    assert "once in" in (model / "report.html").read_text()


def test_without_labels_there_are_no_scores_and_the_model_is_kept(table: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    pl.read_csv(table).drop("label").write_csv(plain)
    found = CliRunner().invoke(
        app,
        [
            "fit",
            "detect",
            str(plain),
            "--out",
            str(tmp_path / "m"),
            "--json",
            *QUICK[:-1],
            "--max-steps",
            "2",
        ],
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["scores"] is None
    assert "no column 'label'" in told["no_scores"]
    assert told["channels"] == ["v0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "much"], "--train"),
        (["--train", "2.0"], "--train is 2.0"),
        (["--layers", "auto"], "--layers"),
        (["--value", "w"], "'w'"),
        (["--false-alarms-per-day", "-1"], "false_alarms_per_day"),
        (["--method", "guess"], "guess"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(
    table: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    found = CliRunner().invoke(app, ["fit", "detect", str(table), "--out", str(tmp_path / "m"), *options])
    assert found.exit_code == 2
    assert message in found.output
    assert not (tmp_path / "m").exists()


def test_a_report_of_data_without_labels_shows_the_alarms(model: Path, table: Path, tmp_path: Path) -> None:
    plain, page = tmp_path / "plain.csv", tmp_path / "page.html"
    pl.read_csv(table).drop("label").write_csv(plain)
    found = CliRunner().invoke(app, ["report", str(model), "--data", str(plain), "--out", str(page)])
    assert found.exit_code == 0, found.output
    assert "there are no scores" in found.stderr
    assert "no column 'label'" in found.stderr
    text = page.read_text()
    assert "No scores" in text
    assert "once in" in text
    # Labels that cannot be read are no missing labels.
    pl.read_csv(table).with_columns(label=pl.lit(7)).write_csv(plain)
    found = CliRunner().invoke(
        app, ["report", str(model), "--data", str(plain), "--out", str(page), "--overwrite"]
    )
    assert found.exit_code == 2
    assert "the label is 7" in found.output
