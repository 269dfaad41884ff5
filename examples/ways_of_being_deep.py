"""Ways of being deep on two problems whose answer is known: where a network is deep decides what it learns.

    python examples/ways_of_being_deep.py

Six recurrent networks of about the same number of parameters read a row of digits 0, 1, 2. In the first
problem each answer is the sum of all digits so far, modulo 3: the state must be taken through a hard step at
every digit. In the second it is a function of the last four digits: keeping them is easy, what to make of
them is hard. The guide docs/guides/ways-of-being-deep.md explains the networks and reads the table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gatestack.nn import (
    RNN,
    DeepOutput,
    DeepTransitionCell,
    Loop,
    SequenceLayer,
    ShortcutStack,
    Stack,
)

DIGITS, STEPS, PARAMETERS = 3, 8, 1200

# h is the width; plain cells, so that depth is the only difference.
WAYS: dict[str, Callable[[int], SequenceLayer]] = {
    "one layer": lambda h: RNN(h),
    "stack of three": lambda h: Stack(RNN(h), RNN(h), RNN(h)),
    "shortcut stack": lambda h: ShortcutStack(RNN(h), RNN(h), RNN(h)),
    "deep transition": lambda h: Loop(DeepTransitionCell(h, depth=3)),
    "  with shortcut": lambda h: Loop(DeepTransitionCell(h, depth=3, shortcut=True)),
    "deep output": lambda h: DeepOutput(RNN(h), h, h),
}


def running_sum(digits: Tensor) -> Tensor:
    """Give the sum of all digits so far, modulo 3: (N, T) -> (N, T)."""
    return digits.cumsum(dim=1) % DIGITS


def last_four(digits: Tensor) -> Tensor:
    """Give d_t + d_{t−1} · d_{t−2} + d_{t−3}, modulo 3, zero before the first digit: (N, T) -> (N, T)."""
    one, two, three = (nn.functional.pad(digits, (back, 0))[:, :STEPS] for back in (1, 2, 3))
    return (digits + one * two + three) % DIGITS


def make_network(way: str, width: int) -> nn.ModuleList:
    """Give the layer, and the linear head that reads its output."""
    layer = WAYS[way](width).build(DIGITS)
    return nn.ModuleList([layer, nn.Linear(layer.output_size or 0, DIGITS)])


def count(network: nn.Module) -> int:
    """Give the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def train(network: nn.ModuleList, task: Callable[[Tensor], Tensor], seed: int, updates: int) -> float:
    """Train on new rows at every update; give the share of right answers on rows drawn apart."""
    layer, head = network
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)

    def answers(rows: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        digits = torch.randint(0, DIGITS, (rows, STEPS), generator=source)
        output, _ = layer(nn.functional.one_hot(digits, DIGITS).float())
        return head(output), task(digits)

    for _ in range(updates):
        given, right = answers(32, generator)
        loss = nn.functional.cross_entropy(given.flatten(0, 1), right.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        given, right = answers(1000, torch.Generator().manual_seed(10**6))
    return float((given.argmax(dim=2) == right).float().mean())


def main() -> None:
    """Train every way with every seed on both problems and print the table."""
    parser = argparse.ArgumentParser(description="Compare ways of being deep on two problems.")
    parser.add_argument("--updates", type=int, default=150, help="of the weights, per network")
    parser.add_argument("--seeds", type=int, default=3, help="networks of each kind")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # the networks are tiny
    for name, task in (("sum of all digits", running_sum), ("function of the last four digits", last_four)):
        print(f"{name}, modulo {DIGITS}: share of right answers, {1 / DIGITS:.2f} by chance")
        print(f"{'':18}width  parameters   mean  lowest  highest  ms per update")
        for way in WAYS:
            width = min(range(4, 60), key=lambda h, way=way: abs(count(make_network(way, h)) - PARAMETERS))
            begun = time.perf_counter()
            scores = []
            for seed in range(asked.seeds):
                torch.manual_seed(seed)
                network = make_network(way, width)
                scores.append(train(network, task, seed, asked.updates))
            spent = 1000 * (time.perf_counter() - begun) / (asked.updates * asked.seeds)
            print(
                f"{way:18}{width:5}{count(network):12,}{statistics.mean(scores):7.3f}"
                f"{min(scores):8.3f}{max(scores):9.3f}{spent:15.1f}"
            )
        print()


main()
