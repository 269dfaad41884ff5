"""Our training loop against a loop written by hand: the same network, loss, batches and optimiser.

    python benchmarks/speed/loop_cost.py [--rounds 12] [--updates 60] [--threads 1]

Both loops run in this process, block after block, the first place changing hands every round, so that a
change in the machine's speed meets both. The clock is read where the loop asks for its batch: once per update
in either. Before anything is timed, both must have arrived at the same weights. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor, nn

from gatestack.training import Training, train

WINDOW, HORIZON, HIDDEN_SIZE, LAYERS, BATCH = 96, 24, 64, 2, 32

Batch = tuple[Tensor, Tensor]
Loop = Callable[[int], "tuple[PlainForecaster, Windows]"]


class PlainForecaster(nn.Module):
    """Two LSTM layers and a linear map from the final state to all steps of the horizon."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, HIDDEN_SIZE, LAYERS, batch_first=True)
        self.head = nn.Linear(HIDDEN_SIZE, HORIZON)

    def forward(self, past: Tensor) -> Tensor:
        """(N, T, 1) -> (N, horizon)."""
        output, _ = self.lstm(past)  # -> (N, T, H)
        return self.head(output[:, -1])


def make_network() -> PlainForecaster:
    """The network of both loops, with the same first weights each time."""
    torch.manual_seed(0)
    return PlainForecaster()


def loss(network: nn.Module, batch: Batch) -> Tensor:
    """Mean absolute error."""
    past, future = batch
    return (network(past) - future).abs().mean()


class Windows:
    """Random windows of one series; the batch is a function of the step. Notes when it was asked for one."""

    def __init__(self, steps: int = 10_000) -> None:
        generator = torch.Generator().manual_seed(1)
        daily = torch.sin(torch.arange(steps) * (2 * math.pi / 24))
        series = daily + 0.3 * torch.randn(steps, generator=generator)
        self.windows = series.unfold(0, WINDOW + HORIZON, 1)
        self.ticks: list[tuple[float, float]] = []

    def __call__(self, step: int) -> Batch:
        """Give the batch of an update."""
        self.ticks.append((time.perf_counter(), time.thread_time()))
        generator = torch.Generator().manual_seed(step)
        chosen = self.windows[torch.randint(len(self.windows), (BATCH,), generator=generator)]
        return chosen[:, :WINDOW, None], chosen[:, WINDOW:]


def by_hand(updates: int) -> tuple[PlainForecaster, Windows]:
    """The loop that a careful user writes: nothing in it but the update and the learning rate."""
    network, sampler = make_network(), Windows()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    warmup = math.ceil(0.05 * updates)
    network.train()
    for step in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / warmup)
        value = loss(network, sampler(step))
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network, sampler


def by_gatestack(updates: int) -> tuple[PlainForecaster, Windows]:
    """The same updates by `gatestack.training.train`."""
    network, sampler = make_network(), Windows()
    options = Training(weight_decay=0.0, schedule="constant", device="cpu")
    train(network, loss, sampler, options=options, max_steps=updates, seed=0, progress=False)
    return network, sampler


def seconds_per_update(loop: Loop, updates: int) -> tuple[float, float]:
    """Seconds from one batch to the next, without the first five: by the clock, and of this thread alone."""
    ticks = loop(updates)[1].ticks[5:]
    return tuple(median(b[clock] - a[clock] for a, b in pairwise(ticks)) for clock in (0, 1))


def check_equal() -> None:
    """Refuse to time two loops that do not do the same.

    Raises:
        ValueError: their weights differ after 20 updates.
    """
    weights = [nn.utils.parameters_to_vector(loop(20)[0].parameters()) for loop in (by_hand, by_gatestack)]
    if not torch.allclose(*weights, rtol=1e-4, atol=1e-6):
        raise ValueError(f"the weights differ by up to {(weights[0] - weights[1]).abs().max():.2g}")


def main() -> None:
    """Time both loops."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # `train` takes denormal numbers as zero by itself; the loop by hand gets the same.
    torch.set_flush_denormal(True)
    check_equal()
    hand: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    for turn in range(arguments.rounds):
        pair = [(by_hand, hand), (by_gatestack, ours)]
        for loop, seconds in pair if turn % 2 == 0 else reversed(pair):
            seconds.append(seconds_per_update(loop, arguments.updates))
    print(json.dumps({"by_hand": hand, "gatestack": ours, "updates_per_block": arguments.updates}))


if __name__ == "__main__":
    main()
