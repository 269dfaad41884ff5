"""AdamW with decay on matrices only, and the learning rate as a function of the step number."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gatestack.training.options import Training

__all__ = ["learning_rate_at", "make_optimizer", "optimizer_tensors", "restore_optimizer"]

_DEFAULT_LEARNING_RATE = 1e-3


def learning_rate_at(step: int, max_steps: int, options: Training) -> float:
    r"""Return the learning rate of one update.

    With `w = ceil(warmup · max_steps)` and the full rate `r`:

        (step + 1) / w · r                                       while step < w
        r                                                        after, schedule "constant"
        ½ (1 + cos(π (step − w) / (max_steps − w))) · r          after, schedule "cosine"

    Args:
        step: number of the update, from 0.
        max_steps: updates in all.
        options: gives `r` (None: 0.001), warm-up and schedule.

    Example:
        >>> options = Training(learning_rate=1.0)
        >>> [round(learning_rate_at(step, 100, options), 3) for step in (0, 4, 5, 52, 99)]
        [0.2, 1.0, 1.0, 0.508, 0.0]
    """
    full = _full_rate(options)
    warmup = math.ceil(options.warmup * max_steps)
    if step < warmup:
        return full * (step + 1) / warmup
    if options.schedule == "constant":
        return full
    done = (step - warmup) / (max_steps - warmup)
    return full * 0.5 * (1.0 + math.cos(math.pi * done))


def _full_rate(options: Training) -> float:
    return _DEFAULT_LEARNING_RATE if options.learning_rate is None else options.learning_rate


def make_optimizer(network: nn.Module, options: Training) -> torch.optim.AdamW:
    """Build AdamW over the parameters that are trained; those with two or more axes decay.

    Args:
        network: on its device already.
        options: gives learning rate and decay.

    Example:
        >>> groups = make_optimizer(nn.Linear(3, 2), Training(weight_decay=0.1)).param_groups
        >>> [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in groups]
        [(0.1, [(2, 3)]), (0.0, [(2,)])]
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trained)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=_full_rate(options), fused=fused or None
    )


def optimizer_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what the optimiser remembers, named `<parameter>/<what>`.

    Args:
        network: gives the names of the parameters.
        optimizer: over some of them.

    Example:
        >>> network = nn.Linear(3, 2)
        >>> optimizer = make_optimizer(network, Training())
        >>> network(torch.ones(1, 3)).sum().backward()
        >>> optimizer.step()
        >>> sorted(optimizer_tensors(network, optimizer))[:3]
        ['bias/exp_avg', 'bias/exp_avg_sq', 'bias/step']
    """
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimiser the memory that `optimizer_tensors` returned.

    Args:
        network: with the same parameters.
        optimizer: made by `make_optimizer` for this network.
        tensors: name to tensor.

    Example:
        >>> network = nn.Linear(3, 2)
        >>> optimizer = make_optimizer(network, Training())
        >>> restore_optimizer(network, optimizer, {"bias/step": torch.tensor(7.0)})
        >>> optimizer_tensors(network, optimizer)
        {'bias/step': tensor(7.)}
    """
    remembered: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter_name, _, key = name.rpartition("/")
        remembered.setdefault(parameter_name, {})[key] = value
    names = {parameter: name for name, parameter in network.named_parameters()}
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()
    state["state"] = {
        index: remembered[names[parameter]]
        for index, parameter in enumerate(ordered)
        if names[parameter] in remembered
    }
    optimizer.load_state_dict(state)
