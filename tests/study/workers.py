"""What tests of several workers share: an empty database, waiting for a file, the end of a process."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


def empty_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Give the place of a new database of a kind; PostgreSQL is started where it is asked for."""
    if kind == "sqlite":
        return str(folder / "studies.db")
    url: str = request.getfixturevalue("postgres_url")
    name = f"study_{os.getpid()}_{time.monotonic_ns()}"
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return url.rsplit("/", 1)[0] + f"/{name}"


def wait_for(path: Path, worker: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 120
    while not path.exists():
        assert worker.poll() is None, worker.communicate()[1]
        assert time.monotonic() < limit, f"{path} was not written"
        time.sleep(0.05)


def end(worker: subprocess.Popen[str]) -> str:
    """Wait for a worker to end well; give what it said on stdout."""
    answer, talk = worker.communicate(timeout=240)
    assert worker.returncode == 0, talk
    return answer or ""
