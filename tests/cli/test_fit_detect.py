"""`gatestack fit detect`, then predict, evaluate and report of what it saved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from numpy.testing import assert_allclose
from tests.tasks.detect.test_detector import LEARNED, SHIFT, SPIKE, waves
from typer.testing import CliRunner

from gatestack.cli.main import app
from gatestack.tasks.detect import AnomalyDetector

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


def test_no_score_is_cut_off_where_the_table_is_wide(model: Path, table: Path) -> None:
    scored = CliRunner().invoke(app, ["evaluate", str(model), str(table)])
    assert "…" not in scored.stdout
    for name in ("gatestack", "moving_z_score", "isolation_forest", "NAB, few false alarms", "range recall"):
        assert name in scored.stdout
    assert max(map(len, scored.stdout.splitlines()[:-1])) <= 100


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
        (["--layers", "many"], "--layers"),
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_saves_and_resume_gives_the_undisturbed_detector(table: Path, tmp_path: Path) -> None:
    # Long enough that the signal meets a training, short enough to finish twice.
    size = ["--hidden-size", "96", "--window", "48", "--max-steps", "300"]
    words = ["fit", "detect", str(table), "--train", str(LEARNED), *size]
    whole = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "whole")])
    assert whole.exit_code == 0, whole.output
    command = [sys.executable, "-c", "from gatestack.cli.main import run; run()", *words]
    with subprocess.Popen(
        [*command, "--out", tmp_path / "cut"], stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(6000):
            if (tmp_path / "cut.training" / "lock").exists():
                break
            time.sleep(0.01)
        time.sleep(1)
        os.kill(process.pid, signal.SIGINT)
        _, talk = process.communicate(timeout=120)
    assert process.returncode == 130, talk
    assert "interrupted: the best model so far is saved" in talk
    assert "go on with --resume --overwrite" in talk
    found = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "cut"), "--resume", "--overwrite"])
    assert found.exit_code == 0, found.output
    assert not (tmp_path / "cut.training").exists()
    undisturbed, resumed = (AnomalyDetector.load(tmp_path / name) for name in ("whole", "cut"))
    assert resumed.predict_frame(table).equals(undisturbed.predict_frame(table))


def test_checkpoints_of_an_unfinished_fit_are_gone_on_with_or_thrown_away_only_when_asked(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = ["fit", "detect", str(table), "--train", str(LEARNED), "--out", str(tmp_path / "m"), *QUICK]
    with monkeypatch.context() as patch:
        # After the training and its checkpoints, before the model is saved.
        patch.setattr("gatestack.tasks.detect.fitting.find_usual", stop)
        found = CliRunner().invoke(app, words)
    assert found.exit_code == 130
    assert "go on with --resume" in found.stderr
    assert not (tmp_path / "m").exists()
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 2
    assert "pass --resume to go on with that run, or --restart" in found.stderr
    found = CliRunner().invoke(app, [*words, "--resume", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["training"]["steps"] == 40
    assert not (tmp_path / "m.training").exists()


def test_several_channels_with_gaps_from_file_to_alarm(tmp_path: Path) -> None:
    table = waves(channels=3).with_columns(
        v1=pl.when(pl.int_range(pl.len()) % 7 == 3).then(None).otherwise("v1"),
        v2=pl.when(pl.int_range(pl.len()).is_between(SPIKE - 30, SPIKE - 10)).then(None).otherwise("v2"),
    )
    path, out = tmp_path / "gaps.csv", tmp_path / "m"
    # Whole rows are missing too.
    pl.concat([table[:300], table[310:]]).write_csv(path)
    found = CliRunner().invoke(
        app, ["fit", "detect", str(path), "--train", str(LEARNED), "--out", str(out), *QUICK, "--json"]
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["channels"] == ["v0", "v1", "v2"]
    assert told["scores"]["scores"][0]["found"] == 2
    predicted = CliRunner().invoke(app, ["predict", str(out), str(path), "--json"])
    rows = json.loads(predicted.stdout)
    assert len(rows) == table.height
    assert rows[305]["score"] is None
    assert rows[SPIKE - 20]["v2"] is None
    spiked = next(row for row in rows[SPIKE:] if row["alarm"])
    assert spiked["channel"] == "v2"
    shifted = next(row for row in rows[SHIFT:] if row["alarm"])
    assert shifted["channel"] == "v0"
    report = (out / "report.html").read_text()
    assert shifted["explanation"] in report


def test_a_stream_over_a_saved_model_and_a_saved_state_is_the_batch_of_the_command(
    table: Path, tmp_path: Path
) -> None:
    first, out = tmp_path / "first.csv", tmp_path / "m"
    whole = pl.read_csv(table)
    whole[:650].write_csv(first)
    found = CliRunner().invoke(app, ["fit", "detect", str(first), "--out", str(out), *QUICK])
    assert found.exit_code == 0, found.output
    batch = json.loads(CliRunner().invoke(app, ["predict", str(out), str(table), "--json"]).stdout)
    stream, scores, alarms = AnomalyDetector.load(out).stream(), [], []
    for number in range(650, 800):
        if number % 40 == 0:  # the process ends, and another one goes on
            stream = AnomalyDetector.load(out).stream(state=stream.state)
        step = stream.step({"v0": whole[number, "v0"]}, datetime.fromisoformat(whole[number, "time"]))
        scores.append(step.score)
        alarms.append((step.alarm, step.explanation))
    assert_allclose(scores, [row["score"] for row in batch[650:800]], atol=1e-8)
    assert alarms == [(row["alarm"], row["explanation"]) for row in batch[650:800]]
    assert any(raised for raised, _ in alarms)


TIMES = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(120)]


def csv(cell: Callable[[int], object]) -> str:
    return "time,y\n" + "".join(f"{time},{cell(number)}\n" for number, time in enumerate(TIMES))


USUAL = csv(lambda number: number % 5 / 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("time,y\n", "no rows"),
        ("\n".join(USUAL.split("\n")[:2]) + "\n", "pass --frequency"),
        (csv(lambda _: ""), "no column of numbers"),
        (csv(lambda number: "warm" if number == 7 else number), "line 9, column 'y': 'warm'"),
        (csv(lambda number: "inf" if number == 7 else number), "line 9, column 'y': 'inf'"),
        (
            csv(lambda number: "-1e200" if number == 70 else number),
            "line 72, column 'y': '-1e200' is too large",
        ),
        (csv(lambda number: number if number > 70 else ""), "no value in the training part"),
        (USUAL.replace("2024-01-02 03", "2024-01-02 02"), "the time repeats"),
        ("time,y\n" + "\n".join(sorted(USUAL.split("\n")[1:-1], reverse=True)), "the time goes back"),
        (USUAL.replace("time,y", "time,\u00e9").encode("latin-1"), "encoded in Windows-1252"),
        (USUAL.replace(",", ";"), "separated by ';'"),
        ("\n".join(USUAL.split("\n")[:40]) + "\n", "at least 30, 3 windows"),
    ],
)
def test_files_that_cannot_be_learned_from_are_refused_with_their_place(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = CliRunner().invoke(
        app,
        ["fit", "detect", str(path), "--out", str(tmp_path / "m"), "--train", "0.5", "--window", "10"],
    )
    assert found.exit_code == 2, found.output
    assert message in found.stderr
    assert "bad.csv" in found.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "content",
    [
        USUAL.replace("\n", "\r\n"),
        "\ufeff" + USUAL.rstrip(),
        USUAL.replace(":00,", ":00+02:00,"),
        csv(lambda _: 5),
        csv(lambda number: 5 if number < 60 else 6),
        csv(lambda number: f"{number % 5}e-200"),
        csv(lambda number: number % 5 if number % 20 == 0 else ""),
    ],
    ids=["Windows line ends", "mark of UTF-8", "zone", "constant", "new constant", "tiny", "mostly gaps"],
)
def test_files_that_are_odd_are_learned_from(tmp_path: Path, content: str) -> None:
    path, out = tmp_path / "odd.csv", tmp_path / "m"
    path.write_bytes(content.encode())
    small = ["--hidden-size", "4", "--window", "10", "--max-steps", "3", "--train", "0.5", "--quiet"]
    found = CliRunner().invoke(app, ["fit", "detect", str(path), "--out", str(out), *small])
    assert found.exit_code == 0, found.output
    found = CliRunner().invoke(app, ["predict", str(out), str(path), "--json"])
    assert found.exit_code == 0, found.output
    assert len(json.loads(found.stdout)) == 120


def test_a_step_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_text(USUAL)
    words = ["fit", "detect", str(path), "--out", str(tmp_path / "m"), "--window", "10", "--max-steps", "1"]
    found = CliRunner().invoke(app, [*words, "--frequency", "30m", "--json"])
    assert found.exit_code == 0, found.output
    assert AnomalyDetector.load(tmp_path / "m").fitted_.frequency.label == "30 minutes"
    found = CliRunner().invoke(app, [*words, "--frequency", "sometimes", "--overwrite"])
    assert found.exit_code == 2
    assert "sometimes" in found.stderr
