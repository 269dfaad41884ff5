"""One search, many workers: each fit once, each trial taken up, the same winner, whoever dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tune_worker
from tune_worker import FOLDS, TRIALS, found_by
from workers import KINDS, empty_database, end, wait_for

ALONE = ("random", "none")  # what a worker proposes depends on nobody else
TOGETHER = ("tpe", "median")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return empty_database(request.param, request, tmp_path)


def start(place: str, log: Path, how: tuple[str, str], *, hang_at: int = -1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, tune_worker.__file__, place, str(log), str(hang_at), *how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begun(*logs: Path) -> Counter[str]:
    return Counter(line for log in logs if log.exists() for line in log.read_text().splitlines())


def killed_and_taken_up(place: str, folder: Path, how: tuple[str, str]) -> dict[str, Any]:
    """Kill one of two workers in the middle of its second trial; give what the other found."""
    killed, heir = folder / "killed", folder / "heir"
    victim = start(place, killed, how, hang_at=4)
    wait_for(killed.with_suffix(".hangs"), victim)
    other = start(place, heir, how)
    wait_for(heir, other)  # both are at work
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    found: dict[str, Any] = json.loads(end(other))
    # The fit that the worker died in was begun again, unless the pruner left the trial; no other was.
    lost = killed.read_text().splitlines()[-1]
    twice = begun(killed, heir) - Counter(set(begun(killed, heir)))
    assert twice == Counter([lost]) or (how == TOGETHER and not twice)
    # Its trial was taken up with the settings that it had.
    _, _, _, settings = json.loads(lost)
    assert any(settings.items() <= row["settings"].items() for row in found["rows"])
    assert len(found["rows"]) == TRIALS
    assert {row["number"] for row in found["rows"]} == set(range(1, TRIALS + 1))
    return found


def test_a_killed_workers_trial_is_taken_up_and_one_alone_finds_the_same(place: str, tmp_path: Path) -> None:
    found = killed_and_taken_up(place, tmp_path, ALONE)
    sampler, pruner = ALONE
    alone = found_by(None, tmp_path / "alone", sampler=sampler, pruner=pruner)
    assert found == json.loads(json.dumps(alone))
    assert found["best"]
    # One worker that is not killed begins the same fits, each once.
    assert begun(tmp_path / "alone") == Counter(set(begun(tmp_path / "killed", tmp_path / "heir")))


@pytest.mark.slow
def test_what_is_proposed_by_what_is_finished_gives_all_workers_the_same_winner(
    place: str, tmp_path: Path
) -> None:
    found = killed_and_taken_up(place, tmp_path, TOGETHER)
    late = json.loads(end(start(place, tmp_path / "late", TOGETHER)))
    assert late == found
    assert not (tmp_path / "late").exists()  # nothing was left to fit
    whole = [row for row in (found["given"], *found["rows"]) if row["state"] == "complete"]
    assert found["best"] == min(whole, key=lambda row: row["score"])["settings"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [ALONE, TOGETHER], ids=["random", "tpe"])
def test_two_workers_share_the_trials(place: str, tmp_path: Path, how: tuple[str, str]) -> None:
    logs = [tmp_path / name for name in ("a", "b")]
    answers = [end(worker) for worker in [start(place, log, how) for log in logs]]
    assert answers[0] == answers[1]
    assert all(count == 1 for count in begun(*logs).values())
    assert all(log.exists() for log in logs)
    found = json.loads(answers[0])
    fits = (FOLDS - 1) * 2 + sum(len(row["scores"]) for row in found["rows"]) + 1 + 2 * 2
    assert sum(begun(*logs).values()) == fits


@pytest.mark.slow
def test_a_database_that_is_taken_away_ends_the_search_with_words(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    import psycopg

    place = empty_database("postgresql", request, tmp_path)
    worker = start(place, tmp_path / "log", ALONE)
    wait_for(tmp_path / "log", worker)
    server, name = place.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
    _, talk = worker.communicate(timeout=120)
    assert worker.returncode != 0
    assert "StorageError: postgresql+psycopg://study@127.0.0.1" in talk
    assert "the study cannot be read or written: " in talk
    assert "hint: " in talk
