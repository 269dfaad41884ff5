"""A database server of our own for the tests of studies."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_USER = "nobody"  # initdb refuses to run as root


def _as_user() -> list[str]:
    """Give the words before a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(_USER)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start PostgreSQL on loopback in a temporary folder; skip where it is not installed."""
    missing = [name for name in ("initdb", "pg_ctl") if shutil.which(name) is None]
    if missing or (os.geteuid() == 0 and shutil.which("setpriv") is None):
        pytest.skip(f"PostgreSQL is not on this machine: {', '.join(missing) or 'setpriv'} is missing")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="gatestack-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)
    cluster, before = folder / "cluster", _as_user()
    try:
        _run([*before, "initdb", "-D", str(cluster), "-U", "study", "-A", "trust", "--no-sync"], folder)
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        log = str(folder / "log")
        _run([*before, "pg_ctl", "-D", str(cluster), "-l", log, "-o", options, "-w", "start"], folder)
        try:
            yield f"postgresql://study@127.0.0.1:{port}/postgres"
        finally:
            _run([*before, "pg_ctl", "-D", str(cluster), "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    # The server keeps what it is given open; a pipe would never end.
    with (folder / "talk").open("w") as talk:
        done = subprocess.run(command, cwd=folder, stdout=talk, stderr=talk, check=False, timeout=120)
    assert done.returncode == 0, (folder / "talk").read_text()
