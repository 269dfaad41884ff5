"""Where a run stands: what changes from step to step, and how it becomes a checkpoint and comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError
from gatestack.training.batches import describe_batch, same_batch
from gatestack.training.optimiser import optimizer_tensors, restore_optimizer
from gatestack.training.options import Training
from gatestack.training.record import HistoryRow, StopReason

__all__ = ["RunState", "check_identity", "identify", "restore", "snapshot"]


@dataclass
class RunState:
    """Where a run stands between two steps.

    Args:
        step: updates done.
        best_step: the step with the lowest validation loss so far.
        best_validation: that loss; None before the first validation.
        best_weights: the network's state then.
        validations_since_best: compared with the patience.
        history: the learning curve so far.
        loss_total: sum of the training losses since the last row of the history.
        loss_count: how many they are.
        seconds: spent in earlier runs and this one.
        stopped_by: why the run ended, None while it goes on.

    Example:
        >>> RunState().step
        0
    """

    step: int = 0
    best_step: int = 0
    best_validation: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    validations_since_best: int = 0
    history: list[HistoryRow] = field(default_factory=list)
    loss_total: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0
    stopped_by: StopReason | None = None


# What a checkpoint's record takes over as it is.
_PLAIN = (
    "step", "best_step", "best_validation", "validations_since_best",
    "loss_total", "loss_count", "seconds", "stopped_by",
)  # fmt: skip


def identify(
    network: nn.Module, options: Training, max_steps: int, seed: int, batch: Any, validated: bool
) -> dict[str, Any]:
    """Describe what must be the same when a run is resumed, as values that JSON can hold.

    The device is not part of it: a run may go on elsewhere, only not with the same bits.

    Args:
        network: names, shapes and types of its tensors count.
        options: all but the device count.
        max_steps: of the run.
        seed: of the run.
        batch: the one of step 0; stands for the data.
        validated: whether there is a validation.

    Example:
        >>> identity = identify(nn.Linear(2, 1), Training(), 100, 0, torch.ones(1), True)
        >>> identity["network"]
        {'weight': 'torch.float32 [1, 2]', 'bias': 'torch.float32 [1]'}
    """
    return {
        "options": options.model_dump(exclude={"device"}),
        "max_steps": max_steps,
        "seed": seed,
        "network": {name: f"{t.dtype} {list(t.shape)}" for name, t in network.state_dict().items()},
        "validated": validated,
        "first_batch": describe_batch(batch),
    }


def check_identity(stored: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Refuse to resume a run that is another one, naming the first thing that differs.

    Raises:
        ArgumentError: options, seed, network or data are not those of the checkpoint.

    Example:
        >>> check_identity({"seed": 1}, {"seed": 2}, "runs/a")
        Traceback (most recent call last):
        gatestack.errors.ArgumentError: runs/a: cannot resume: seed was 1 and is 2
        <BLANKLINE>
        hint: resume with what the run was started with, or train in another folder
    """
    for key in now:
        before, after = stored.get(key), now[key]
        if key == "first_batch" and before is not None:
            if same_batch(before, after):
                continue
            difference = "the data differ: the batch of step 0 is another one"
        elif before == after:
            continue
        elif isinstance(before, dict) and isinstance(after, dict):
            name = next(n for n in [*after, *before] if before.get(n) != after.get(n))
            difference = f"{key}.{name} was {before.get(name)} and is {after.get(name)}"
        else:
            difference = f"{key} was {before} and is {after}"
        raise ArgumentError(
            f"cannot resume: {difference}",
            where=where,
            hint="resume with what the run was started with, or train in another folder",
        )


def snapshot(
    state: RunState, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return record and tensors of a checkpoint.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(network.parameters(), 0.1)
        >>> record, tensors = snapshot(RunState(step=3), network, optimizer, torch.device("cpu"))
        >>> record["step"], sorted(tensors)
        (3, ['network/bias', 'network/weight', 'random/cpu'])
    """
    record = {name: getattr(state, name) for name in _PLAIN}
    record["history"] = [asdict(row) for row in state.history]
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best_weights.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizer_tensors(network, optimizer).items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(device)
    return record, tensors


def restore(
    record: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> RunState:
    """Give network, optimiser and random numbers the state of a checkpoint, and return where the run stands.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(network.parameters(), 0.1)
        >>> saved = snapshot(RunState(step=3), network, optimizer, torch.device("cpu"))
        >>> restore(*saved, network, optimizer, torch.device("cpu")).step
        3
    """

    def part(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    network.load_state_dict(part("network/"))
    restore_optimizer(network, optimizer, part("optimizer/"))
    torch.set_rng_state(tensors["random/cpu"])
    if device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    return RunState(
        **{name: record[name] for name in _PLAIN},
        best_weights={name: tensor.to(device) for name, tensor in part("best/").items()},
        history=[HistoryRow(**row) for row in record["history"]],
    )
