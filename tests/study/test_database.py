"""One study, many workers: nothing is done twice, nothing is lost, whoever dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import study_worker
from optuna.trial import TrialState
from study_worker import ALL, answer, open_study
from workers import KINDS, empty_database, end, wait_for

from gatestack.errors import ArgumentError, StorageError, TrainingError
from gatestack.study.database import Claim, StudyDatabase
from gatestack.study.fits import Fit
from gatestack.study.storage import storage_errors, storage_name, storage_url

FIRST, SECOND = Fit(1, 0, 0), Fit(1, 1, 0)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return empty_database(request.param, request, tmp_path)


def start(place: str, log: Path, *, hang_at: int = -1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, study_worker.__file__, place, str(log), str(hang_at)],
        stderr=subprocess.PIPE,
        text=True,
    )


def claimed(study: StudyDatabase, *fits: Fit) -> Claim:
    claim = study.claim(fits)
    assert claim is not None
    return claim


def starts(*logs: Path) -> Counter[Fit]:
    lines = [line for log in logs if log.exists() for line in log.read_text().splitlines()]
    return Counter(Fit(*map(int, line.split())) for line in lines)


@pytest.mark.slow
def test_workers_share_the_fits(place: str, tmp_path: Path) -> None:
    logs = [tmp_path / name for name in ("a", "b", "c")]
    for worker in [start(place, log) for log in logs]:
        end(worker)
    assert starts(*logs) == Counter(ALL)
    with open_study(place) as study:
        assert study.outcomes() == {fit: answer(fit) for fit in ALL}


def test_a_killed_workers_fit_is_taken_up(place: str, tmp_path: Path) -> None:
    killed, heir = tmp_path / "killed", tmp_path / "heir"
    worker = start(place, killed, hang_at=2)
    wait_for(killed.with_suffix(".hangs"), worker)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    end(start(place, heir))
    # Two fits of the first worker stand; the one it died in, and no other, was begun twice.
    with open_study(place) as study:
        assert study.outcomes() == {fit: answer(fit) for fit in ALL}
    assert starts(killed, heir) == Counter(ALL) + Counter([list(starts(killed))[2]])


def test_a_worker_that_slept_does_not_count_twice(place: str) -> None:
    with open_study(place) as sleeper, open_study(place) as other:
        claim = sleeper.claim([FIRST])  # not entered: it gives one sign of life and no more
        assert claim is not None
        time.sleep(study_worker.GRACE_SECONDS + 1.5)
        found = other.claim([FIRST])
        assert found is not None
        with found:
            assert found.finish(answer(FIRST), loss=1.0)
        assert not claim.finish(answer(SECOND), loss=9.0)
        assert other.outcomes() == {FIRST: answer(FIRST)}


def test_a_claim_in_work_stays_claimed(place: str) -> None:
    with open_study(place) as one, open_study(place) as two:
        with claimed(one, FIRST, SECOND) as claim:
            time.sleep(study_worker.GRACE_SECONDS + 1.5)  # signs of life come all the while
            assert two.claim([FIRST]) is None
            assert claim.finish(answer(FIRST), loss=1.0)
        assert two.claim([FIRST]) is None
        assert claimed(two, FIRST, SECOND).fit == SECOND


def test_an_interrupted_fit_is_given_back(tmp_path: Path) -> None:
    with open_study(str(tmp_path / "studies.db")) as study:
        with pytest.raises(KeyboardInterrupt), claimed(study, FIRST):
            raise KeyboardInterrupt
        assert claimed(study, FIRST).fit == FIRST


def test_a_fit_that_kills_its_workers_is_refused_in_the_end(tmp_path: Path) -> None:
    with open_study(str(tmp_path / "studies.db")) as study:
        for _ in range(3):
            study.end(claimed(study, FIRST).heartbeat.trial_id, TrialState.FAIL)
        with pytest.raises(TrainingError, match="3 workers ended in the middle of the fit with 1 layers"):
            study.claim([FIRST])


def test_studies_in_one_database_are_apart(tmp_path: Path) -> None:
    place = tmp_path / "studies.db"
    with StudyDatabase(place, "one") as one, StudyDatabase(place, "two") as two:
        with claimed(one, FIRST) as claim:
            claim.finish(answer(FIRST), loss=1.0)
        assert FIRST in one.outcomes()
        assert FIRST not in two.outcomes()


def test_a_database_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(StorageError, match=r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/studies") as found:
        open_study("postgresql://me:geheim@127.0.0.1:1/studies")
    assert "geheim" not in str(found.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "the study has no place"),
        ("mysql://me@cluster/studies", "a study cannot be kept in mysql"),
        ("postgresql://me@cluster:port/studies", "the URL of the study cannot be read"),
        ("postgresql://me@cluster", "the URL of the study cannot be read"),
        ("postgresql://me:geh@eim@cluster/studies", "write @ as %40"),
        ("sqlite://", "a study cannot be kept in sqlite"),
    ],
)
def test_places_that_cannot_be_read_are_refused_without_a_password(url: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as found:
        open_study(url)
    assert "eim" not in str(found.value)


def test_a_place_of_another_kind_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the study is of type int"):
        open_study(3)  # type: ignore[arg-type]


def test_files_that_are_no_studies_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the study is a folder — expected a file"):
        open_study(str(tmp_path))
    text = tmp_path / "text.db"
    text.write_text("this is no database, and it is long enough to be seen as such\n" * 20)
    with pytest.raises(StorageError, match=r"text\.db: (.|\n)*move the file away, or name another one"):
        open_study(str(text))
    newer = tmp_path / "newer.db"
    open_study(str(newer)).__exit__(None, None, None)
    with sqlite3.connect(newer) as connection:
        connection.execute("update alembic_version set version_num = 'v99'")
    connection.close()
    with pytest.raises(StorageError, match="written by another version of Optuna"):
        open_study(str(newer))


def test_a_fit_that_another_version_wrote_is_said(tmp_path: Path) -> None:
    with open_study(str(tmp_path / "studies.db")) as study:
        claim = claimed(study, FIRST)
        study.note(claim.heartbeat.trial_id, {"outcome": {"scores": {"gatestack": 1.0}}})
        study.end(claim.heartbeat.trial_id, TrialState.COMPLETE, 1.0)
        with pytest.raises(StorageError, match="lacks 'seconds' — expected fits that this version"):
            study.outcomes()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """The file may not grow: what the limit reports is what a full disk reports."""
    program = (
        "import resource, sys\n"
        "from study_worker import *\n"
        "place = sys.argv[1]\n"
        "study = open_study(place)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (Path(place).stat().st_size,) * 2)\n"
        "for fit in ALL * 99:\n"
        "    study.claim([fit])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "studies.db")],
        cwd=Path(study_worker.__file__).parent,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "StorageError: " in done.stderr
    assert "studies.db: the study cannot be read or written: " in done.stderr
    assert "the same command again" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_waits_for_the_end_of_a_transaction() -> None:
    done = []

    def transaction(times: int, error: Exception | None = None) -> None:
        with storage_errors(None):
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            done.append(times)
            if error is not None:
                raise error

    with pytest.raises(KeyboardInterrupt):
        transaction(1)
    assert done == [1]
    with pytest.raises(KeyboardInterrupt):
        transaction(1, ValueError("it ends in another error"))
    with pytest.raises(KeyboardInterrupt):
        transaction(2)
    assert done == [1, 1]  # the second one came through at once
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_places() -> None:
    assert storage_url("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"
    assert storage_name("runs/a.db") == "runs/a.db"
