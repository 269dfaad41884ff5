"""Bad input and bad luck: a short message that says what to do, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

import gatestack as gs

from .conftest import SMALL, start

Run = Callable[..., Result]

GOOD = "date,temp\n" + "".join(f"2024-01-{day:02},{day}\n" for day in range(1, 29))
DOWN = sorted(GOOD.splitlines()[1:], reverse=True)
BAD_FILES = {
    "empty": ("", "empty"),
    "header only": ("date,temp\n", "no rows"),
    "wrong delimiter": (GOOD.replace(",", "|"), "temp"),
    "word in a number column": (GOOD.replace("2024-01-05,5", "2024-01-05,warm"), "warm"),
    "unparsable time": (GOOD.replace("2024-01-05", "someday"), "someday"),
    "duplicate times": (GOOD.replace("2024-01-05", "2024-01-04"), "2024-01-04"),
    "unsorted times": ("\n".join(["date,temp", *DOWN]), "date"),
    "infinite value": (GOOD.replace("2024-01-05,5", "2024-01-05,inf"), "inf"),
    "mixed frequencies": (GOOD + "2024-01-28T06:00,3\n2024-01-28T07:00,3\n", "date"),
    "too short": (GOOD[: GOOD.index("2024-01-08")], "too short"),
    "short row": (GOOD.replace("2024-01-05,5", "2024-01-05"), "line 6"),
}


def fit(*more: str, file: str = "data.csv", target: str = "temp") -> list[str]:
    return ["fit", "forecast", file, "--target", target, "--horizon", "3", "--out", "m", *SMALL, *more]


def assert_refused(done: Result, folder: Path, *words: str, code: int = 2) -> None:
    """The command says what is wrong, without a traceback, and leaves nothing behind."""
    assert done.exit_code == code, done.output
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert {path.name for path in folder.iterdir()} <= {"data.csv"}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(gatestack: Run, tmp_path: Path, name: str) -> None:
    content, word = BAD_FILES[name]
    (tmp_path / "data.csv").write_text(content)
    assert_refused(gatestack(*fit()), tmp_path, "error: ", "data.csv", word)


def test_absent_file(gatestack: Run, tmp_path: Path) -> None:
    assert_refused(gatestack(*fit(file="none.csv")), tmp_path, "none.csv")


def test_misspelt_column(gatestack: Run, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(GOOD)
    assert_refused(gatestack(*fit(target="tempp")), tmp_path, "tempp", "did you mean 'temp'?")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--horizon", "0"], "--horizon"),
        (["--horizn", "3"], "--horizon"),
        (["--layers", "two"], "--layers"),
        (["--season", "weekly"], "--season"),
        (["--calendar", "day_of_wek"], "day_of_week"),
        (["--test", "lots"], "--test"),
        (["--test", "1.5"], "test"),
        (["--dropout", "7"], "--dropout"),
        (["--learning-rate", "-1"], "learning_rate"),
        (["--frequency", "sometimes"], "sometimes"),
        (["--mode", "fast"], "--mode"),
        (["--resume", "--restart"], "--restart"),
    ],
)
def test_bad_option(gatestack: Run, tmp_path: Path, words: list[str], hint: str) -> None:
    (tmp_path / "data.csv").write_text(GOOD)
    assert_refused(gatestack(*fit(*words)), tmp_path, hint)


def test_unknown_command_offers_the_nearest(gatestack: Run, tmp_path: Path) -> None:
    assert_refused(gatestack("predit"), tmp_path, "'predict'")


def test_hints_are_written_as_options(gatestack: Run, tmp_path: Path) -> None:
    rows = "".join(f"a,{line}\n" for line in GOOD.splitlines()[1:]) + "b,2024-01-01,3\n"
    (tmp_path / "data.csv").write_text("key,date,temp\n" + rows)
    done = gatestack(*fit("--series", "key"))
    assert_refused(done, tmp_path, "too short", "--short-series skip")
    assert gatestack(*fit("--series", "key", "--short-series", "skip", "--no-backtest")).exit_code == 0


def test_a_hint_with_a_placeholder_is_an_option_too(gatestack: Run, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("temp\n" + "1\n2\n" * 20)
    assert_refused(gatestack(*fit()), tmp_path, "no time column", "--time <column>")


@pytest.mark.parametrize(
    "failure", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 4 EB")], ids=repr
)
def test_too_little_memory_is_a_failure_with_a_hint(
    gatestack: Run, table: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(gs.Forecaster, "fit", fail)
    done = gatestack(*fit(file=str(table)))
    assert done.exit_code == 1
    assert "not enough memory" in done.stderr
    assert "--hidden-size" in done.stderr


def test_constant_series_works(gatestack: Run, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(
        "".join(f"{line.split(',')[0]},5\n" for line in GOOD.splitlines()).replace("date,5", "date,temp")
    )
    done = gatestack(*fit())
    assert done.exit_code == 0, done.output
    assert (tmp_path / "m" / "report.html").exists()


@pytest.mark.parametrize("command", [["predict"], ["evaluate"], ["report"]])
def test_absent_or_damaged_model(
    gatestack: Run, tmp_path: Path, model: Path, table: Path, command: list[str]
) -> None:
    more = [str(table)] if command == ["evaluate"] else []
    assert_refused(gatestack(*command, "none", *more), tmp_path, "none")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes()[:-1])
    done = gatestack(*command, "copy", *more)
    assert done.exit_code == 2
    assert "copy" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_predict_names_a_missing_column(gatestack: Run, tmp_path: Path, model: Path) -> None:
    (tmp_path / "data.csv").write_text(GOOD.replace("temp", "heat"))
    assert_refused(gatestack("predict", model, "data.csv"), tmp_path, "temp")


def test_unfinished_run_is_not_thrown_away_unasked(gatestack: Run, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(GOOD)
    (tmp_path / "m.training").mkdir()
    checkpoint = tmp_path / "m.training" / "checkpoint-000010.safetensors"
    checkpoint.write_bytes(b"cut")
    done = gatestack(*fit())
    assert done.exit_code == 2
    assert "--resume" in done.stderr
    assert checkpoint.exists()
    assert gatestack(*fit("--restart", "--no-backtest")).exit_code == 0
    assert not checkpoint.exists()


def fit_on_a_small_disk(folder: Path, table: Path, limit: int) -> tuple[int, str, str]:
    """Fit where no file can be longer than `limit` bytes; give exit code, output and talk."""
    import resource

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start(fit(file=str(table)), folder, preexec_fn=small_files)
    output, talk = process.communicate(timeout=200)
    return process.returncode, output, talk


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_full_disk_at_the_first_checkpoint_leaves_nothing(tmp_path: Path, table: Path) -> None:
    code, output, talk = fit_on_a_small_disk(tmp_path, table, 1_000)
    assert code == 1, talk
    assert "no space left" in talk
    assert not output
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_full_disk_while_saving_leaves_no_model(tmp_path: Path, table: Path) -> None:
    # Room for a checkpoint, not for the report.
    code, output, talk = fit_on_a_small_disk(tmp_path, table, 150_000)
    assert code == 1, talk
    assert "no space left" in talk
    assert "Traceback" not in talk
    assert not output
    # The finished training is kept, so that nothing needs to be computed again.
    assert [path.name for path in tmp_path.iterdir()] == ["m.training"]
    assert "--resume" in talk


def wait_for(path: Path, process: subprocess.Popen[str], pattern: str) -> None:
    for _ in range(1000):
        if list(path.glob(pattern)) or process.poll() is not None:
            return
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_saves_the_best_model_and_names_the_checkpoint(tmp_path: Path, table: Path) -> None:
    words = fit(file=str(table))
    words[words.index("--max-steps") + 1] = "1000000"
    process = start([*words, "--patience", "100000"], tmp_path)
    wait_for(tmp_path, process, "m.training/lock")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=200)
    assert process.returncode == 130, talk
    assert "Traceback" not in talk
    assert "saved in m" in talk
    assert "m.training/checkpoint-" in talk
    assert gs.load(tmp_path / "m").predict().height == 3
    assert list((tmp_path / "m.training").glob("checkpoint-*"))


def test_ctrl_c_in_the_backtest_keeps_the_fitted_model(
    gatestack: Run, tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gs.Forecaster, "backtest", interrupted)
    done = gatestack(*fit(file=str(table)))
    assert done.exit_code == 130
    assert "not backtested" in done.stderr
    assert "The model was not evaluated" in (tmp_path / "m" / "report.html").read_text()


def test_a_loss_that_is_not_finite_fails(gatestack: Run, tmp_path: Path, table: Path) -> None:
    done = gatestack(*fit("--learning-rate", "1e30", file=str(table)))
    assert_refused(done, tmp_path, "error: ", "step", code=1)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_closed_pipe_ends_quietly(tmp_path: Path, model: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    program = "from gatestack.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program, "predict", str(model)],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.returncode == 1
    assert not done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_takes_nothing_is_an_error(tmp_path: Path, model: Path) -> None:
    program = "from gatestack.cli.main import run; run()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, "predict", str(model)],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output: cannot write")
    assert "Traceback" not in done.stderr


def test_two_series_with_other_columns(
    gatestack: Run, tmp_path: Path, model: Path, frame: pl.DataFrame
) -> None:
    frame.rename({"date": "day"}).write_csv(tmp_path / "data.csv")
    assert_refused(gatestack("predict", model, "data.csv"), tmp_path, "date")
