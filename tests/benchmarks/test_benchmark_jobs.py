"""A job goes to a process and comes back; a finished one is not run twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from protocol import jobs
from protocol.jobs import Budget, Contender, JobError, kept_answer, run_job
from protocol.problems import Problem, ProblemSettings, make_problem
from protocol.series_sets import SeriesSet

PEER = """\
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, {peers!r})
from job_io import read_job, write_answer

folder = Path(sys.argv[1])
job = read_job(folder)
if job.options.get("fail"):
    raise RuntimeError("the peer gives up")
last = [job.history(index, origin, job.window)[-1] for index, origin in job.origins]
forecasts = np.array(last)[:, None] + np.arange(job.horizon)
updates = job.options.get("updates", job.updates)
write_answer(folder, forecasts, parameters=1, updates=updates, fit_seconds=0.0, forecast_seconds=0.0,
             loss="none", packages=["numpy"])
"""


@pytest.fixture
def problem() -> Problem:
    settings = ProblemSettings("s", 3, 4, (2,), stride=2, test_steps=8)
    values = (np.arange(30.0), np.array([*np.arange(100.0, 119.0), np.nan]))
    return make_problem("s", "test", SeriesSet(("a", "b"), values, ("2020-01-01",) * 2, "h"), settings)


@pytest.fixture(autouse=True)
def _peer_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = jobs.PEERS_FOLDER
    folder = tmp_path / "peers"
    folder.mkdir()
    (folder / "gatestack_peer.py").write_text(PEER.format(peers=str(real)), encoding="utf-8")
    (folder / "job_io.py").write_text((real / "job_io.py").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(jobs, "PEERS_FOLDER", folder)


def _run(problem: Problem, folder: Path, say: str = "", **options: object) -> jobs.Answer:
    contender = Contender("the peer", "gatestack", "LSTM", dict(options))
    return run_job(
        problem, contender, Budget(updates=7), 0, cache=folder / "cache", environments=folder, say=say
    )


def test_the_peer_sees_the_series_and_the_origins(problem: Problem, tmp_path: Path) -> None:
    answer = _run(problem, tmp_path)
    assert problem.origins[:3].tolist() == [[0, 22], [0, 24], [0, 26]]
    assert answer.forecasts[:3, 0].tolist() == [21.0, 23.0, 25.0]
    assert answer.forecasts[-1].tolist() == [115.0, 116.0, 117.0]
    assert answer.facts["packages"]["numpy"] == np.__version__


def test_a_finished_job_is_read_and_not_run_again(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _run(problem, tmp_path, say="running")
    second = _run(problem, tmp_path, say="running")
    assert capsys.readouterr().out.count("running") == 1
    assert np.array_equal(first.forecasts, second.forecasts)


def test_a_kept_answer_is_found_and_a_missing_one_is_none(problem: Problem, tmp_path: Path) -> None:
    ours, cache = Contender("the peer", "gatestack", "LSTM"), tmp_path / "cache"
    assert kept_answer(problem, ours, Budget(updates=7), 0, cache=cache) is None
    answer = _run(problem, tmp_path)
    kept = kept_answer(problem, ours, Budget(updates=7), 0, cache=cache)
    assert kept is not None
    assert np.array_equal(kept.forecasts, answer.forecasts)
    assert kept_answer(problem, ours, Budget(updates=7), 1, cache=cache) is None


def test_another_option_is_another_job(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(problem, tmp_path, say="running")
    _run(problem, tmp_path, say="running", scaler_type="robust")
    assert capsys.readouterr().out.count("running") == 2


def test_a_failed_process_is_an_error_with_its_last_words(problem: Problem, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="the peer gives up"):
        _run(problem, tmp_path, fail=True)
    with pytest.raises(JobError, match="the peer gives up"):  # and leaves nothing that looks finished
        _run(problem, tmp_path, fail=True)


def test_a_peer_that_made_another_number_of_updates_is_refused(problem: Problem, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="made 6 updates, expected 7"):
        _run(problem, tmp_path, updates=6)
