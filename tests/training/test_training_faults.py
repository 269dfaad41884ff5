"""Kills, signals, full disks and failing calls: every checkpoint that can be seen is whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from gatestack.errors import StorageError
from gatestack.training.checkpoint import decode_checkpoint

Same = Callable[[dict[str, Tensor], dict[str, Tensor]], bool]
HERE = Path(__file__).parent


def run_script(script: str, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
        check=False,
    )


def check_all_whole(folder: Path) -> int:
    paths = list(folder.glob("checkpoint-*"))
    for path in paths:
        decode_checkpoint(bytearray(path.read_bytes()))
    return len(paths)


# One process imports torch and forks a child for each run, so that a kill does not cost an import.
# It kills at random moments, and 0 to 3 ms after a file in the folder has changed. A step takes 3 ms at
# least, so that a fast machine is not done before it is killed.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from conftest import Problem
from gatestack.training.device import make_fabric
from gatestack.training.checkpoint import decode_checkpoint
from safetensors.torch import save_file

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(int(sys.argv[3]))

def child(where, out):
    pid = os.fork()
    if pid == 0:
        problem = Problem()
        def sampler(step):
            time.sleep(0.003)
            return problem.sampler(step)
        options = problem.options(patience=None)
        problem.train(folder=where, resume=True, max_steps=200, options=options, sampler=sampler)
        save_file({k: v.contiguous() for k, v in problem.weights().items()}, out)
        os._exit(0)
    return pid

make_fabric(Problem().options())  # imported once, before the forks
if os.waitpid(child(folder / "undisturbed", folder / "undisturbed.safetensors"), 0)[1]:
    sys.exit("the undisturbed run failed")

def names(where):
    return os.listdir(where) if where.exists() else []

where, killed = folder / "killed", 0
for number in range(1000):
    pid = child(where, folder / "killed.safetensors")
    start, before, ended = time.monotonic(), names(where), (0, 0)
    wait_for_file, patience = draw.random() < 0.7, draw.uniform(0, 0.15)
    changes = draw.randint(1, 4)
    while killed < kills and not ended[0]:
        ended = os.waitpid(pid, os.WNOHANG)
        if wait_for_file:
            now = names(where)
            changes -= now != before
            before = now
        if (wait_for_file and changes <= 0) or (not wait_for_file and time.monotonic() - start > patience):
            time.sleep(draw.uniform(0, 0.003))
            break
    if killed >= kills:
        ended = os.waitpid(pid, 0)
    elif not ended[0]:
        os.kill(pid, signal.SIGKILL)
        ended = os.waitpid(pid, 0)
        killed += ended[1] != 0
    for path in where.glob("checkpoint-*"):
        decode_checkpoint(bytearray(path.read_bytes()))
    if ended[1] == 0:
        break
print(killed)
"""


def kill_and_compare(tmp_path: Path, kills: int, seed: int) -> int:
    done = run_script(KILLER, str(tmp_path), str(kills), str(seed))
    assert done.returncode == 0, done.stderr
    undisturbed = (tmp_path / "undisturbed.safetensors").read_bytes()
    assert (tmp_path / "killed.safetensors").read_bytes() == undisturbed
    return int(done.stdout)


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path: Path) -> None:
    assert kill_and_compare(tmp_path, kills=8, seed=0) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_runs_killed_dozens_of_times_end_with_the_same_bits(tmp_path: Path, seed: int) -> None:
    assert kill_and_compare(tmp_path, kills=30, seed=seed) >= 15


SIGNALLED = """
import signal, sys, time
import torch
torch.set_num_threads(1)
from conftest import Problem
problem = Problem()
def sampler(step):
    if step == 3:
        print("ready", flush=True)
    if step >= 3:
        time.sleep(0.02)
    return problem.sampler(step)
record = problem.train(folder=sys.argv[1], sampler=sampler, max_steps=100_000,
                       checkpoint_every_seconds=3600)
print(record.stopped_by, record.steps, record.best_step, record.history[-1].step)
"""


def test_ctrl_c_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    why, steps, best, last = out.split()
    assert why == "interrupt"
    assert 4 <= int(steps) < 100
    assert int(best) <= int(last) == int(steps)
    assert (tmp_path / f"checkpoint-{int(steps):06d}.safetensors").exists()
    assert check_all_whole(tmp_path) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_with_the_same_bits(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path, number: signal.Signals
) -> None:
    whole, broken = make_problem(), make_problem()
    expected = whole.train()

    def sampler(step: int) -> Any:
        if step == 12:
            signal.raise_signal(number)
        return broken.sampler(step)

    handler = signal.getsignal(number)
    record = broken.train(folder=tmp_path, sampler=sampler)
    assert signal.getsignal(number) is handler
    assert (record.stopped_by, record.steps) == ("interrupt", 13)
    assert [row.step for row in record.history] == [0, 5, 10, 13]
    resumed = broken.train(folder=tmp_path, resume=True)
    assert same_weights(broken.weights(), whole.weights())
    # the validation at the interrupt was extra: it is not in the history of the whole run
    assert [row.step for row in resumed.history] == [row.step for row in expected.history]


def test_the_second_signal_ends_the_run_at_once(problem: Any) -> None:
    steps: list[int] = []

    def sampler(step: int) -> Any:
        steps.append(step)
        if step == 12:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return problem.sampler(step)

    with pytest.raises(KeyboardInterrupt):
        problem.train(sampler=sampler)
    assert steps[-1] == 12
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_signals_are_left_alone(problem: Any) -> None:
    found: list[Any] = []

    def sampler(step: int) -> Any:
        found.append(signal.getsignal(signal.SIGINT))
        return problem.sampler(step)

    thread = threading.Thread(target=lambda: problem.train(sampler=sampler))
    thread.start()
    thread.join()
    assert len(found) == 40
    assert set(found) == {signal.default_int_handler}


def test_an_ignored_signal_stays_ignored(problem: Any) -> None:
    earlier = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:

        def sampler(step: int) -> Any:
            if step == 12:
                signal.raise_signal(signal.SIGTERM)
            return problem.sampler(step)

        assert problem.train(sampler=sampler).stopped_by == "max_steps"
    finally:
        signal.signal(signal.SIGTERM, earlier)


# --- disks ---

FULL = """
import resource, sys
import torch
torch.set_num_threads(1)
from conftest import Problem
from gatestack.errors import StorageError
problem = Problem()
def sampler(step):
    if step == 12:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    return problem.sampler(step)
try:
    problem.train(folder=sys.argv[1], sampler=sampler)
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path
) -> None:
    done = run_script(FULL, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "no space" in done.stdout
    assert str(tmp_path / "checkpoint-000015.safetensors") in done.stdout
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-000005.safetensors", "checkpoint-000010.safetensors", "lock"]
    whole, resumed = make_problem(), make_problem()
    whole.train()
    resumed.train(folder=tmp_path, resume=True)
    assert same_weights(resumed.weights(), whole.weights())


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, n: int) -> Iterator[list[int]]:
    """Let the n-th call (from 0) that writes to the disk fail with EIO; yields the number of calls made."""
    made = [0]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made[0] += 1
            if made[0] - 1 == n:
                raise OSError(errno.EIO, "injected")
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("open", "write", "fsync", "replace", "unlink", "ftruncate", "mkdir"):
            patch.setattr(os, name, wrap(getattr(os, name)))
        yield made


def test_whichever_call_fails_every_visible_checkpoint_is_whole(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_problem()
    whole.train(max_steps=12)
    failures = 0
    for n in range(200):
        folder, problem = tmp_path / str(n), make_problem()
        problem.train(max_steps=12)  # warm: what torch opens on its own is open now
        problem.network = problem.fresh_network()
        with failing(monkeypatch, n) as made:
            try:
                problem.train(max_steps=12, folder=folder)
            except StorageError as error:
                failures += 1
                told = str(error)
            else:
                told = ""
        assert not told or ("injected" in told and str(folder) in told)
        if folder.exists():
            check_all_whole(folder)
        problem.network = problem.fresh_network()
        problem.train(max_steps=12, folder=folder, resume=True)
        assert same_weights(problem.weights(), whole.weights())
        assert not list(folder.glob("*.damaged"))
        if made[0] <= n:
            assert not told
            break
    else:
        pytest.fail("no run passed")
    assert failures > 10  # the loop reached every call of three checkpoints


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(problem: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="no permission"):
            problem.train(folder=tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_named(problem: Any, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="a file is in the way"):
        problem.train(folder=tmp_path / "run")
