"""A save that fails or dies leaves no model or the old model, never a part of one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatestack.errors import ArgumentError, StorageError
from gatestack.runtime import read_model_folder, write_model_folder


def save(path: Path, number: int, *, overwrite: bool = False) -> None:
    write_model_folder(
        path,
        model={"kind": "k", "number": number},
        weights={"w": np.full(1000, number, np.float32)},
        proof={"x": np.arange(4)},
        overwrite=overwrite,
    )


def number_of(path: Path) -> int:
    found = read_model_folder(path)
    assert set(found.weights["w"].tolist()) == {found.model["number"]}
    return int(found.model["number"])


CALLS = ("open", "write", "fsync", "close", "mkdir", "rename")


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, n: int) -> Iterator[list[int]]:
    """Let the n-th call (from 0) of any of CALLS fail with EIO; yields the number of calls made."""
    made = [0]

    def wrap(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made[0] += 1
            if made[0] - 1 == n:
                if name == "close":
                    real(*args, **kwargs)
                raise OSError(errno.EIO, "injected")
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(getattr(os, name), name))
        yield made


@pytest.mark.parametrize("replacing", [False, True])
def test_whichever_call_fails_the_model_is_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: bool
) -> None:
    for n in range(200):
        above = tmp_path / str(n)
        above.mkdir()
        path = above / "m"
        if replacing:
            save(path, 1)
        with failing(monkeypatch, n) as made:
            try:
                save(path, 2, overwrite=replacing)
                failed = None
            except StorageError as error:
                failed = str(error)
        assert failed is None or "injected" in failed
        left = {entry.name for entry in above.iterdir()}
        assert left <= {"m", ".m.old"}, left
        if path.exists() or replacing:
            assert number_of(path) in ((1, 2) if replacing else (2,))
        if failed is None:
            assert number_of(path) == 2
        save(path, 3, overwrite=path.exists() or replacing)
        assert number_of(path) == 3
        assert {entry.name for entry in above.iterdir()} == {"m"}
        if made[0] <= n:
            assert failed is None
            break
    else:
        pytest.fail("no save passed")
    assert n > 10  # the loop reached every call of a whole save


def test_a_save_killed_between_its_two_renames_keeps_the_old_model(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save(path, 1)
    path.rename(tmp_path / ".m.old")  # the state after the first of the two renames
    assert number_of(path) == 1
    with pytest.raises(ArgumentError, match="exists already"):
        save(path, 2)
    assert number_of(path) == 1
    path.rename(tmp_path / ".m.old")
    save(path, 2, overwrite=True)
    assert number_of(path) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


KILLED = """
import sys
from pathlib import Path
import numpy as np
from gatestack.runtime import write_model_folder
number = 1
while True:
    number += 1
    write_model_folder(sys.argv[1], model={"kind": "k", "number": number}, proof={"x": np.arange(4)},
                       weights={"w": np.full(1000, number, np.float32)}, overwrite=True)
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_model(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save(path, 1)
    rng = np.random.default_rng(0)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        printed = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        assert number_of(path) >= max(map(int, printed), default=1)


@pytest.mark.parametrize("replacing", [False, True])
def test_a_full_disk_is_named_and_the_old_model_stays(tmp_path: Path, replacing: bool) -> None:
    path = tmp_path / "m"
    if replacing:
        save(path, 1)
    script = f"""
import resource, numpy as np
from gatestack.errors import StorageError
from gatestack.runtime import write_model_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_model_folder({str(path)!r}, model={{"kind": "k"}}, weights={{"w": np.zeros(10_000)}}, proof={{}},
                       overwrite={replacing})
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "no space" in done.stdout
    assert str(path) in done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == (["m"] if replacing else [])
    if replacing:
        assert number_of(path) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="no permission"):
            save(tmp_path / "m", 1)
    finally:
        tmp_path.chmod(0o700)
