"""`gatestack fit classify` and `fit regress`, from files to model folders, and what follows them."""

from __future__ import annotations

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

from gatestack.tasks.classify import Classifier
from gatestack.tasks.regress import Regressor

Run = Callable[..., Result]

SMALL = ["--recipe", "plain", "--layers", "1", "--hidden-size", "4", "--max-steps", "5", "--device", "cpu"]


def write_ts(path: Path, count: int, seed: int, *, numbers: bool = False) -> Path:
    random = np.random.default_rng(seed)
    lines = ["@targetLabel true" if numbers else "@classLabel true slow fast", "@data"]
    for case in range(count):
        steps = np.arange(random.integers(8, 13))
        size = 1 + random.random()
        values = size * np.sin(steps * (0.4, 2.0)[case % 2]) + 0.1 * random.normal(size=len(steps))
        label = repr(float(size)) if numbers else ("slow", "fast")[case % 2]
        lines.append(f"{','.join(f'{value:.5f}' for value in values)}:{label}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_ts(tmp_path / "waves_TRAIN.ts", 16, 0), write_ts(tmp_path / "waves_TEST.ts", 10, 1)


def test_a_classifier_is_fitted_scored_saved_and_used(gatestack: Run, files: tuple[Path, Path]) -> None:
    train, test = files
    found = gatestack("fit", "classify", train, "--test", test, *SMALL, "--out", "m")
    assert found.exit_code == 0, found.stderr
    assert "Scores, 10 cases" in found.stdout
    assert all(name in found.stdout for name in ("gatestack", "majority", "1-nn", "linear", "named rightly"))
    assert "report.html" in found.stdout
    assert not Path("m.training").exists()
    page = Path("m/report.html").read_text()
    assert "10 cases" in page
    assert "<svg" in page

    model = Classifier.load("m")
    predicted = gatestack("predict", "m", test, "--json")
    rows = json.loads(predicted.stdout)
    assert [row["predicted"] for row in rows] == model.predict(test).tolist()
    assert rows[0].keys() == {"case", "predicted", "probability-fast", "probability-slow"}

    scored = gatestack("evaluate", "m", test, "--json")
    assert json.loads(scored.stdout)["scores"][0]["accuracy"] == model.evaluate(test).scores["accuracy"][0]
    assert gatestack("report", "m", "--data", test, "--out", "page.html").exit_code == 0
    assert "10 cases" in Path("page.html").read_text()
    assert gatestack("report", "m", "--out", "plain.html").exit_code == 0
    assert "not evaluated" in Path("plain.html").read_text()


def test_a_regressor_with_cross_validation(gatestack: Run, tmp_path: Path) -> None:
    train = write_ts(tmp_path / "sizes.ts", 12, 0, numbers=True)
    found = gatestack("fit", "regress", train, "--folds", "3", *SMALL, "--out", "m", "--json")
    assert found.exit_code == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["scores"]["folds"] == 3
    assert [row["model"] for row in result["scores"]["scores"]] == ["gatestack", "mean", "1-nn", "linear"]
    assert result["series"] == 12
    assert "cross-validation" in Path("m/report.html").read_text()
    assert Regressor.load("m").predict(train).shape == (12,)
    later = write_ts(tmp_path / "later.ts", 12, 1, numbers=True)
    assert json.loads(gatestack("evaluate", "m", later, "--json").stdout)["cases"] == 12
    assert "all cases were in the fit" in gatestack("evaluate", "m", train).stderr


def test_without_a_test_file_the_lack_of_scores_is_said(gatestack: Run, files: tuple[Path, Path]) -> None:
    found = gatestack("fit", "classify", files[0], *SMALL, "--out", "m")
    assert found.exit_code == 0
    assert "there are no scores; --test FILE or --folds 5 gives some" in found.stderr


def test_every_option_reaches_the_model(gatestack: Run, files: tuple[Path, Path]) -> None:
    found = gatestack(
        "fit", "classify", files[0], "--recipe", "plain", "--layers", "5,4", "--cell", "gru",
        "--members", "2", "--class-weight", "balanced", "--label-smoothing", "0.1", "--calibrate",
        "--crop", "0.2",
        "--jitter", "0.1", "--max-steps", "4", "--batch-size", "3", "--learning-rate", "0.01", "--seed", "7",
        "--device", "cpu", "--out", "m", "--quiet",
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    assert found.stderr == ""
    model = Classifier.load("m")
    assert (model.layers, model.members, model.seed, model.max_steps) == ((5, 4), 2, 7, 4)
    assert (model.class_weight, model.label_smoothing, model.calibration) == ("balanced", 0.1, "temperature")
    assert model.architecture is not None
    assert (model.architecture.recipe, model.architecture.cell) == ("plain", "gru")
    assert model.augmentation is not None
    assert (model.augmentation.crop, model.augmentation.jitter) == (0.2, 0.1)
    assert model.training is not None
    assert (model.training.batch_size, model.training.learning_rate) == (3, 0.01)
    assert len(model.fitted_.members) == 2
    # The page says how to repeat it; the command gives the same weights.
    page = Path("m/report.html").read_text()
    command = next(line for line in page.splitlines() if "gatestack fit classify" in line)
    words = command.split("<code>")[1].split("</code>")[0].split()[1:-1]
    again = gatestack(*words, "again", "--quiet")
    assert again.exit_code == 0, again.stderr
    assert np.array_equal(Classifier.load("again").predict_proba(files[1]), model.predict_proba(files[1]))


def test_a_long_table_is_read_by_its_columns(gatestack: Run, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "run": np.repeat(np.arange(8), 6),
            "second": np.tile(np.arange(6), 8),
            "x": np.random.default_rng(0).normal(size=48),
            "kind": np.repeat(["a", "b"] * 4, 6),
        }
    )
    frame.write_csv(tmp_path / "long.csv")
    columns = ["--label", "kind", "--case", "run", "--time", "second"]
    found = gatestack("fit", "classify", "long.csv", *columns, *SMALL, "--out", "m")
    assert found.exit_code == 0, found.stderr
    frame.drop("kind").write_csv(tmp_path / "new.csv")
    predicted = gatestack("predict", "m", "new.csv")
    assert predicted.stdout.splitlines()[0] == "case,predicted,probability-a,probability-b"
    assert len(predicted.stdout.splitlines()) == 9


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--test", "no.ts"], "no.ts: there is no such file"),
        (["--test", "waves_TEST.ts", "--folds", "3"], "exclude each other"),
        (["--minirocket"], "scores nothing"),
        (["--recipe", "kernel"], "did you mean 'kernels'"),
        (["--layers", "two"], "--layers"),
        (["--label", "kind"], "names nothing"),
        (["--resume", "--restart"], "exclude each other"),
        (["--out", "taken"], "exists"),
    ],
)
def test_wrong_words_are_refused_before_the_fit(
    gatestack: Run, files: tuple[Path, Path], words: list[str], reason: str
) -> None:
    Path("taken").mkdir()
    out = [] if "--out" in words else ["--out", "m"]
    found = gatestack("fit", "classify", files[0], *SMALL, *words, *out)
    assert found.exit_code == 2
    assert reason in found.stderr
    assert "Traceback" not in found.stderr
    assert not Path("m").exists()


def test_minirocket_is_scored_wherever_there_are_scores(
    gatestack: Run, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = files
    assert gatestack("fit", "classify", train, *SMALL, "--out", "m").exit_code == 0
    monkeypatch.setattr(
        "gatestack.tasks.labelled.baselines.minirocket_answers",
        lambda training, truth, cases, classes: np.eye(classes)[np.arange(len(cases)) % 2],  # noqa: ARG005
    )
    found = gatestack("evaluate", "m", test, "--minirocket", "--json")
    assert [row["model"] for row in json.loads(found.stdout)["scores"]][-1] == "minirocket"
    assert gatestack("report", "m", "--data", test, "--minirocket", "--out", "page.html").exit_code == 0
    assert "minirocket" in Path("page.html").read_text()
    found = gatestack("report", "m", "--minirocket", "--out", "other.html")
    assert found.exit_code == 2
    assert "without --data scores nothing" in found.stderr
    assert not Path("other.html").exists()


def test_a_classifier_leaves_as_onnx_and_is_verified(gatestack: Run, files: tuple[Path, Path]) -> None:
    pytest.importorskip("onnxruntime")
    assert gatestack("fit", "classify", files[0], *SMALL, "--out", "m").exit_code == 0
    found = gatestack("export", "m", "--to", "onnx", "--out", "m.onnx")
    assert found.exit_code == 0, found.stderr
    assert "probabilities" in found.stdout
    assert "log loss" in found.stdout
    assert "verified" in gatestack("verify", "m.onnx").stdout


def test_minirocket_is_no_option_for_a_forecaster(gatestack: Run, model: Path) -> None:
    for words in (["evaluate", model, "x.csv"], ["report", model, "--data", "x.csv", "--out", "p.html"]):
        found = gatestack(*words, "--minirocket")
        assert found.exit_code == 2
        assert "--minirocket was given, and the model is a forecaster" in found.stderr
        assert "a classifier or regressor for this option" in found.stderr


def test_a_bad_file_is_named_with_its_line(gatestack: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.ts").write_text("@classLabel true a b\n@data\n1,2:a\n1,x:b\n")
    found = gatestack("fit", "classify", "bad.ts", *SMALL, "--out", "m")
    assert found.exit_code == 2
    assert "bad.ts, line 4, value 2: 'x' is not a number" in found.stderr
    (tmp_path / "numbers.ts").write_text("@targetLabel true\n@data\n1,2:1\n1,2:2\n")
    found = gatestack("fit", "classify", "numbers.ts", *SMALL, "--out", "m")
    assert "use Regressor (fit regress)" in found.stderr


def test_a_test_file_that_cannot_be_scored_does_not_cost_the_model(
    gatestack: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "other.ts").write_text("@classLabel true slow still\n@data\n1,2,3:still\n")
    found = gatestack("fit", "classify", files[0], "--test", "other.ts", *SMALL, "--out", "m")
    assert found.exit_code == 0
    assert "there are no scores" in found.stderr
    assert "'still'" in found.stderr
    assert Classifier.load("m").classes_.tolist() == ["fast", "slow"]


def test_checkpoints_of_another_run_are_not_thrown_away_unasked(
    gatestack: Run, files: tuple[Path, Path]
) -> None:
    member = Path("m.training/member-0")
    member.mkdir(parents=True)
    (member / "checkpoint-000004.safetensors").write_bytes(b"")
    found = gatestack("fit", "classify", files[0], *SMALL, "--out", "m")
    assert found.exit_code == 2
    assert "pass --resume to go on with that run, or --restart" in found.stderr
    found = gatestack("fit", "classify", files[0], *SMALL, "--out", "m", "--restart")
    assert found.exit_code == 0, found.stderr
    assert not Path("m.training").exists()


@pytest.mark.slow
def test_ctrl_c_saves_and_resume_gives_the_undisturbed_model(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    # Long enough that the signal meets a training, short enough to finish twice.
    run = [sys.executable, "-c", "from gatestack.cli.main import run; run()", "fit", "classify", files[0]]
    start = [*run, *SMALL[:-4], "--max-steps", "150", "--members", "2", "--device", "cpu"]
    whole = subprocess.run([*start, "--out", tmp_path / "whole"], check=False, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen([*start, "--out", tmp_path / "cut"], stderr=subprocess.PIPE, text=True)
    for _ in range(3000):
        if list((tmp_path / "cut.training").glob("member-*/lock")):
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "interrupted" in talk
    found = subprocess.run(
        [*start, "--out", tmp_path / "cut", "--resume", "--overwrite"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    test = files[1]
    undisturbed, resumed = Classifier.load(tmp_path / "whole"), Classifier.load(tmp_path / "cut")
    assert np.array_equal(resumed.predict_proba(test), undisturbed.predict_proba(test))
