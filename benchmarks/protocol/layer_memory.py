"""A task of memory: the first of many steps says what the last one is asked."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gatestack.nn import GRU, LSTM, RNN
from gatestack.training import Training, train

__all__ = ["LAGS", "WIDTHS", "remember_once"]

LAGS = (10, 20, 40, 80, 160)
SYMBOLS = 4
CHANNELS = SYMBOLS + 1  # the symbol, shown once, and noise
# One layer of 1,472, 1,482 and 1,470 parameters. "closed" begins with a forget bias of 0, "torch" with the
# recurrent weights that torch draws, uniform in ±1/√H, where ours are orthogonal.
WIDTHS = {"lstm": 16, "gru": 19, "rnn": 35, "lstm, closed": 16, "rnn, torch": 35}
UPDATES, BATCH, TEST = 300, 32, 1000


class Reader(nn.Module):
    """One recurrent layer, and a linear map from its last state to the symbols."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        width = WIDTHS[cell]
        if cell.startswith("lstm"):
            self.layer: nn.Module = LSTM(
                width, CHANNELS, return_sequences=False, forget_bias=float(cell == "lstm")
            )
        else:
            layer = GRU if cell == "gru" else RNN
            self.layer = layer(width, CHANNELS, return_sequences=False)
        if cell == "rnn, torch":
            nn.init.uniform_(self.layer.weight_hh_l0, -(width**-0.5), width**-0.5)  # type: ignore[arg-type]
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, symbols) of x (N, T, channels)."""
        answer: Tensor = self.head(self.layer(x)[0])
        return answer


def batch_of(rows: int, lag: int, key: int) -> tuple[Tensor, Tensor]:
    """A symbol in the first step, then `lag` steps of noise -> inputs (rows, lag + 1, channels), symbols."""
    random = torch.Generator().manual_seed(key)
    symbols = torch.randint(SYMBOLS, (rows,), generator=random)
    x = torch.zeros(rows, lag + 1, CHANNELS)
    x[:, 0, :SYMBOLS] = nn.functional.one_hot(symbols, SYMBOLS).float()
    x[:, 1:, SYMBOLS] = torch.randn(rows, lag, generator=random)
    return x, symbols


def gradient_kept(network: Reader, lag: int) -> float:
    """How much of the gradient of the loss for the last input arrives at the first, median over rows."""
    x, symbols = batch_of(256, lag, 1)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(x), symbols), x)
    norms = gradient.norm(dim=2)
    return float((norms[:, 0] / norms[:, -1]).median())


def loss_of(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The cross-entropy of a batch."""
    return nn.functional.cross_entropy(network(batch[0]), batch[1])


def remember_once(cell: str, lag: int, seed: int) -> dict[str, Any]:
    """Train on fresh sequences, score on a thousand others."""
    torch.manual_seed(seed)
    network = Reader(cell)
    before = gradient_kept(network, lag)
    # A key of its own for every batch of every seed; the test's is none of them.
    keys = partial(_batch, lag, seed)
    options = Training(learning_rate=0.005, schedule="constant", weight_decay=0, device="cpu")
    record = train(network, loss_of, keys, options=options, max_steps=UPDATES, seed=seed, progress=False)
    if record.stopped_by == "interrupt":
        raise KeyboardInterrupt
    x, symbols = batch_of(TEST, lag, 0)
    with torch.no_grad():
        right = (network(x).argmax(dim=1) == symbols).double().mean()
    most_frequent = symbols.bincount().max() / TEST
    return {
        "score": float(right),
        "baselines": {"most frequent symbol": float(most_frequent)},
        "gradient_before": before,
        "gradient_after": gradient_kept(network, lag),
        "parameters": sum(part.numel() for part in network.layer.parameters()),
    }


def _batch(lag: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    return batch_of(BATCH, lag, 1_000_000 * (seed + 1) + step)
