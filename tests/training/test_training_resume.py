"""A run that was stopped and resumed ends with the bits of a run that was not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, ModelFileError, TrainingError
from gatestack.training import CheckpointWarning, TrainingRecord

Same = Callable[[dict[str, Tensor], dict[str, Tensor]], bool]


class StoppedError(Exception):
    """Stands for whatever ends a run."""


def train_until(problem: Any, step: int, folder: Path, **changes: Any) -> None:
    """Start a run in `folder` that dies before the update number `step` (from 0)."""
    torch.manual_seed(step)  # what the caller drew before must not matter

    def sampler(number: int) -> Any:
        if number == step:
            raise StoppedError
        return problem.sampler(number)

    with pytest.raises(StoppedError):
        problem.train(folder=folder, sampler=sampler, **changes)


def without_time(record: TrainingRecord) -> dict[str, Any]:
    values = record.to_dict()
    del values["seconds"], values["steps_per_second"]
    for row in values["history"]:
        del row["seconds"]
    return values


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("step", [1, 4, 5, 6, 13, 20, 39])
@pytest.mark.parametrize("validated", [True, False])
def test_a_resumed_run_ends_with_the_same_bits(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path, step: int, validated: bool
) -> None:
    whole, broken = make_problem(), make_problem()
    changes = {} if validated else {"validate": None}
    expected = whole.train(**changes)
    train_until(broken, step, tmp_path, **changes)
    broken.network = broken.fresh_network()
    found = broken.train(folder=tmp_path, resume=True, **changes)
    assert same_weights(broken.weights(), whole.weights())
    assert without_time(found) == without_time(expected)


def test_many_stops_end_with_the_same_bits(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path
) -> None:
    whole, broken = make_problem(), make_problem()
    whole.train()
    for step in (7, 11, 12, 26, 38):
        broken.network = broken.fresh_network()
        train_until(broken, step, tmp_path, resume=True)
    broken.network = broken.fresh_network()
    broken.train(folder=tmp_path, resume=True)
    assert same_weights(broken.weights(), whole.weights())


def test_patience_is_remembered(make_problem: Callable[[], Any], tmp_path: Path) -> None:
    broken = make_problem()
    options = broken.options(patience=3)

    def validate(network: nn.Module) -> float:
        del network
        return 1.0

    train_until(broken, 12, tmp_path, options=options, validate=validate)
    record = broken.train(folder=tmp_path, resume=True, options=options, validate=validate)
    assert (record.stopped_by, record.steps, record.best_step) == ("patience", 15, 0)


def test_a_finished_run_is_not_run_again(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path
) -> None:
    problem, again = make_problem(), make_problem()
    expected = problem.train(folder=tmp_path)

    def loss(*_: Any) -> Tensor:
        raise StoppedError

    found = again.train(folder=tmp_path, resume=True, loss=loss)
    assert same_weights(problem.weights(), again.weights())
    assert without_time(found) == without_time(expected)


def test_tied_weights_are_resumed(make_problem: Callable[[], Any], tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.tanh(self.a(x[:, -1]))).sum(1, keepdim=True)

    def fresh() -> Tied:
        torch.manual_seed(0)
        return Tied()

    problem, whole, broken = make_problem(), fresh(), fresh()
    problem.train(network=whole)
    train_until(problem, 17, tmp_path, network=broken)
    broken = fresh()
    problem.train(network=broken, folder=tmp_path, resume=True)
    assert broken.a.weight is broken.b.weight
    assert torch.equal(broken.a.weight, whole.a.weight)


def test_the_two_newest_checkpoints_are_kept(problem: Any, tmp_path: Path) -> None:
    problem.train(folder=tmp_path / "new" / "run")
    assert names(tmp_path / "new" / "run") == [
        "checkpoint-000035.safetensors",
        "checkpoint-000040.safetensors",
        "lock",
    ]


def test_checkpoints_come_no_faster_than_asked_and_always_at_the_end(problem: Any, tmp_path: Path) -> None:
    problem.train(folder=tmp_path, checkpoint_every_seconds=3600)
    assert names(tmp_path) == ["checkpoint-000040.safetensors", "lock"]


def test_what_a_killed_run_left_half_written_is_removed(problem: Any, tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-000005.safetensors.abc123.tmp").write_bytes(b"half")
    problem.train(folder=tmp_path)
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]


def test_a_folder_with_checkpoints_is_not_trained_in_unasked(problem: Any, tmp_path: Path) -> None:
    problem.train(folder=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ArgumentError, match="resume=True"):
        problem.train(folder=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 8}, "seed was 7 and is 8"),
        ({"learning_rate": 0.02}, "options.learning_rate was 0.01 and is 0.02"),
        ({"max_steps": 80}, "max_steps was 40 and is 80"),
        ({"patience": None}, "options.patience was 10 and is None"),
        ({"validate": None}, "validated was True and is False"),
        ({"network": nn.Linear(2, 1)}, "network.weight was None"),
        ({"sampler": lambda _: (torch.zeros(8, 7, 2), torch.zeros(8, 1))}, "the data differ"),
    ],
)
def test_another_run_is_not_resumed_and_the_difference_is_named(
    problem: Any, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    train_until(problem, 13, tmp_path)
    if next(iter(changes)) in type(problem.options()).model_fields:
        changes = {"options": problem.options(**changes)}
    with pytest.raises(ArgumentError) as caught:
        problem.train(folder=tmp_path, resume=True, **changes)
    assert told in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_nan_loss_leaves_the_checkpoints_before_it(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path
) -> None:
    problem, whole = make_problem(), make_problem()
    whole.train()

    def sampler(step: int) -> Any:
        x, y = problem.sampler(step)
        return (x, y / 0) if step == 33 else (x, y)

    with pytest.raises(TrainingError, match="step 34"):
        problem.train(folder=tmp_path, sampler=sampler)
    assert "checkpoint-000030.safetensors" in names(tmp_path)
    problem.train(folder=tmp_path, resume=True)
    assert same_weights(problem.weights(), whole.weights())


# --- damaged checkpoints ---


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zero_half(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def flip_first(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def flip_header(content: bytes) -> bytes:
    return content[:40] + bytes([content[40] ^ 4]) + content[41:]


def flip_last(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 128])


def empty(content: bytes) -> bytes:
    return content[:0]


DAMAGES = [cut, zero_half, flip_first, flip_header, flip_last, empty]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_said_so(
    make_problem: Callable[[], Any], same_weights: Same, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    whole, broken = make_problem(), make_problem()
    whole.train()
    train_until(broken, 13, tmp_path)
    newest = tmp_path / "checkpoint-000010.safetensors"
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(CheckpointWarning, match=r"checkpoint-000010\.safetensors: damaged"):
        broken.train(folder=tmp_path, resume=True)
    assert same_weights(broken.weights(), whole.weights())
    assert (tmp_path / "checkpoint-000010.damaged").exists()


def test_every_flipped_bit_is_noticed(problem: Any, tmp_path: Path) -> None:
    from gatestack.training.checkpoint import decode_checkpoint

    problem.train(folder=tmp_path)
    content = bytearray((tmp_path / "checkpoint-000040.safetensors").read_bytes())
    decode_checkpoint(content)
    places = torch.randint(0, len(content) * 8, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    for place in [*range(64), *places]:
        content[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"it is cut|no hash|does not match"):
            decode_checkpoint(content)
        content[place // 8] ^= 1 << place % 8


def test_when_no_checkpoint_is_whole_the_run_stops(problem: Any, tmp_path: Path) -> None:
    train_until(problem, 13, tmp_path)
    for path in tmp_path.glob("checkpoint-*"):
        path.write_bytes(b"")
    with (
        pytest.warns(CheckpointWarning, match="damaged"),
        pytest.raises(ModelFileError, match="no checkpoint is whole") as caught,
    ):
        problem.train(folder=tmp_path, resume=True)
    assert str(tmp_path) in str(caught.value)


# --- one run per folder ---


def test_a_second_run_on_the_folder_is_refused_with_the_number_of_the_first(
    make_problem: Callable[[], Any], tmp_path: Path
) -> None:
    first, second = make_problem(), make_problem()

    def sampler(step: int) -> Any:
        if step == 3:
            with pytest.raises(TrainingError, match=f"process {os.getpid()}"):
                second.train(folder=tmp_path)
        return first.sampler(step)

    assert first.train(folder=tmp_path, sampler=sampler).steps == 40


def test_another_process_is_refused_too(problem: Any, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from gatestack.errors import TrainingError
from gatestack.training.lock import hold_folder
try:
    with hold_folder(Path({str(tmp_path)!r})):
        print("held")
except TrainingError as error:
    print(error)
"""
    said: list[str] = []

    def sampler(step: int) -> Any:
        if step == 3:
            asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            said.append(asked.stdout)
        return problem.sampler(step)

    problem.train(folder=tmp_path, sampler=sampler)
    assert f"process {os.getpid()}" in said[0]


def test_the_lock_of_a_dead_run_is_taken_over(problem: Any, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for holder in (gone.pid, os.getpid()):  # the second: a number that was given out again
        (tmp_path / "lock").write_text(str(holder))
        problem.train(folder=tmp_path, resume=True)
    assert (tmp_path / "lock").read_text() == str(os.getpid())
