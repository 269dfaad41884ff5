"""A small problem with dropout that trains in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatestack.training import Training, TrainingRecord, train


class SmallNetwork(nn.Module):
    """A recurrent network with dropout, so that a lost random number would be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 5, num_layers=2, dropout=0.3, batch_first=True)
        self.head = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Problem:
    """Network, loss, sampler and validation; `train` runs them with a few changes."""

    def __init__(self) -> None:
        self.network = self.fresh_network()
        self.x = torch.randn(64, 7, 2, generator=torch.Generator().manual_seed(1))
        self.y = self.x.sum((1, 2))[:, None]

    @staticmethod
    def fresh_network() -> SmallNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return SmallNetwork()

    def sampler(self, step: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(0, 64, (8,), generator=torch.Generator().manual_seed(step))
        return self.x[rows], self.y[rows]

    @staticmethod
    def loss(network: nn.Module, batch: Any) -> Tensor:
        return nn.functional.mse_loss(network(batch[0]), batch[1])

    def validate(self, network: nn.Module) -> float:
        return float(nn.functional.mse_loss(network(self.x[:16]), self.y[:16]))

    def options(self, **changes: Any) -> Training:
        return Training(**{"learning_rate": 0.01, "validate_every": 5, "device": "cpu", **changes})

    def train(self, **changes: Any) -> TrainingRecord:
        options = changes.pop("options", None) or self.options()
        settings: dict[str, Any] = {
            "validate": self.validate,
            "max_steps": 40,
            "seed": 7,
            "checkpoint_every_seconds": 0,
            **changes,
        }
        network = settings.pop("network", self.network)
        loss = settings.pop("loss", self.loss)
        sampler = settings.pop("sampler", self.sampler)
        return train(network, loss, sampler, options=options, **settings)

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.network.state_dict().items()}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads only wait for each other on problems this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def problem() -> Problem:
    return Problem()


@pytest.fixture
def make_problem() -> Callable[[], Problem]:
    return Problem


@pytest.fixture
def same_weights() -> Callable[[dict[str, Tensor], dict[str, Tensor]], bool]:
    """Tell whether two networks agree in every bit."""

    def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    return same
