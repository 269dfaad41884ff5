"""Drawn trees of torch modules, as people write them; each is told by a few choices that can be printed."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatestack.compat import torch as ours
from gatestack.convert import Port

CELLS = ("LSTM", "GRU", "RNN")
HEADS = ("last", "state", "both_ends", "mean", "max", "attention", "steps", "flat")
BETWEEN = ("none", "norm", "dropout", "linear", "batch_norm")


def draw(seed: int) -> dict[str, Any]:
    """Draw the choices of a tree."""
    rng = random.Random(seed)
    blocks = [
        {
            "cell": rng.choice(CELLS),
            "ours": rng.random() < 0.3,
            "hidden": rng.choice([1, 4, 5, 8]),
            "layers": rng.choice([1, 1, 2, 3]),
            "bidirectional": rng.random() < 0.4,
            "bias": rng.random() < 0.8,
            "dropout": rng.choice([0.0, 0.3]),
            "relu": rng.random() < 0.3,
            "projection": rng.random() < 0.25,
            "between": rng.choice(BETWEEN),
        }
        for _ in range(rng.choice([1, 1, 2, 3]))
    ]
    return {
        "seed": seed,
        "words": rng.random() < 0.3,
        "features": rng.choice([1, 3, 6]),
        "batch_first": rng.random() < 0.7,
        "state": rng.choice(["none", "none", "zeros", "given"]),
        "packed": rng.random() < 0.3,
        "residual": rng.random() < 0.4,
        "head": rng.choice(HEADS),
        "returns_state": rng.random() < 0.4,
        "double": rng.random() < 0.5,
        "blocks": blocks,
    }


class Tree(nn.Module):
    """A tree of these choices."""

    def __init__(self, choices: dict[str, Any]) -> None:
        super().__init__()
        self.choices = choices
        width = choices["features"]
        if choices["words"]:
            self.words = nn.Embedding(11, width)
        self.blocks = nn.ModuleList()
        self.between = nn.ModuleList()
        for block in choices["blocks"]:
            self.blocks.append(_recurrent(block, width, choices["batch_first"]))
            width = _width(block)
            self.between.append(_between(block["between"], width))
        self.query = nn.Parameter(torch.randn(width))
        if choices["head"] == "both_ends":
            width = 2 * self.blocks[-1].output
        elif choices["head"] == "state":
            width = self.blocks[-1].output
        self.out = nn.Sequential(nn.Linear(width, 4), nn.GELU(), nn.Linear(4, 2))

    def run(self, x: Tensor, state: Any, lengths: Any) -> Any:
        time = 1 if self.choices["batch_first"] else 0
        if self.choices["words"]:
            x = self.words(x)
        first = self.blocks[0].inner
        if self.choices["state"] == "zeros":
            state = torch.zeros(
                first.num_layers * (2 if first.bidirectional else 1), x.size(1 - time), self.blocks[0].output,
                dtype=self.query.dtype,
            )  # fmt: skip
            if first.mode == "LSTM":
                cell = torch.zeros(
                    first.num_layers * (2 if first.bidirectional else 1),
                    x.shape[1 - time], first.hidden_size, dtype=self.query.dtype,
                )  # fmt: skip
                state = (state, cell)
        for number, (block, between) in enumerate(zip(self.blocks, self.between, strict=True)):
            below = x
            if number == 0 and self.choices["packed"]:
                steps = x.size(time)
                packed = pack_padded_sequence(
                    x, lengths, batch_first=self.choices["batch_first"], enforce_sorted=False
                )
                packed, finals = block(packed, state)
                x, _ = pad_packed_sequence(
                    packed, batch_first=self.choices["batch_first"], total_length=steps
                )
            elif number == 0:
                x, finals = block(x, state)
            else:
                x, finals = block(x, None)
            if isinstance(between, nn.BatchNorm1d):
                order = (0, 2, 1) if time else (1, 2, 0)
                back = (0, 2, 1) if time else (2, 0, 1)
                x = between(x.permute(*order)).permute(*back)
            else:
                x = between(x)
            if self.choices["residual"] and number and block.fits:
                x = x + below
        h = finals[0] if isinstance(finals, tuple) else finals
        y = self.out(self.head(x, h, time))
        return (y, finals) if self.choices["returns_state"] else y

    def head(self, x: Tensor, h: Tensor, time: int) -> Tensor:
        head = self.choices["head"]
        if head == "last":
            return functional.relu(x[:, -1] if time else x[-1])
        if head == "state":
            return torch.tanh(h[-1])
        if head == "both_ends":
            return torch.cat((h[0], h[-1]), dim=1)
        if head == "mean":
            return x.mean(dim=time)
        if head == "max":
            return x.max(dim=time)[0]
        if head == "attention":
            weights = functional.softmax((x * self.query).sum(-1), dim=time)
            return (weights.unsqueeze(-1) * x).sum(dim=time)
        if head == "flat":
            rows, steps, features = x.shape
            return x.reshape(rows * steps, features) * 0.5
        return x - 1


class Block(nn.Module):
    """A recurrent module, and what a tree needs to know of it; with a state as it is wanted."""

    def __init__(self, inner: nn.RNNBase, fits: bool) -> None:
        super().__init__()
        self.inner = inner
        self.fits = fits
        self.output = inner.proj_size or inner.hidden_size

    def forward(self, x: Any, state: Any) -> Any:
        return self.inner(x) if state is None else self.inner(x, state)


class Plain(Tree):
    def forward(self, x: Tensor) -> Any:
        return self.run(x, None, None)


class Ragged(Tree):
    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        return self.run(x, None, lengths)


class Started(Tree):
    def forward(self, x: Tensor, state: Any) -> Any:
        return self.run(x, state, None)


class StartedRagged(Tree):
    def forward(self, x: Tensor, state: Any, lengths: Tensor) -> Any:
        return self.run(x, state, lengths)


def make(choices: dict[str, Any]) -> tuple[Tree, list[Port] | None]:
    """Make the tree, and the inputs where what reads them does not tell."""
    kinds = {
        (False, False): Plain,
        (False, True): Ragged,
        (True, False): Started,
        (True, True): StartedRagged,
    }
    started = choices["state"] == "given"
    torch.manual_seed(choices["seed"])
    tree = kinds[started, choices["packed"]](choices)
    with torch.no_grad():
        for parameter in tree.parameters():
            parameter.uniform_(-0.6, 0.6)
        for buffer in tree.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    if choices["double"]:
        tree = tree.double()
    first = tree.blocks[0].inner
    if not started or first.proj_size == 0:
        return tree.eval(), None
    dtype = "float64" if choices["double"] else "float32"
    axis = 0 if choices["batch_first"] else 1
    x = (
        Port("x", (None,), "int64", axis)
        if choices["words"]
        else Port("x", (None, choices["features"]), dtype, axis)
    )
    count = first.num_layers * (2 if first.bidirectional else 1)
    states = [
        Port("state.0", (count, first.proj_size), dtype, 1),
        Port("state.1", (count, first.hidden_size), dtype, 1),
    ]
    lengths = [Port("lengths", (), "int64")] if choices["packed"] else []
    return tree.eval(), [x, *states, *lengths]


def _recurrent(block: dict[str, Any], width: int, batch_first: bool) -> Block:
    home = ours if block["ours"] else nn
    options: dict[str, Any] = {
        "num_layers": block["layers"],
        "bias": block["bias"],
        "batch_first": batch_first,
        "bidirectional": block["bidirectional"],
        "dropout": block["dropout"] if block["layers"] > 1 else 0.0,
    }
    if block["cell"] == "RNN" and block["relu"]:
        options["nonlinearity"] = "relu"
    if _projected(block):
        options["proj_size"] = block["hidden"] - 1
    return Block(getattr(home, block["cell"])(width, block["hidden"], **options), width == _width(block))


def _projected(block: dict[str, Any]) -> bool:
    return bool(block["cell"] == "LSTM" and block["projection"] and block["hidden"] > 1)


def _width(block: dict[str, Any]) -> int:
    return (block["hidden"] - _projected(block)) * (2 if block["bidirectional"] else 1)


def _between(kind: str, width: int) -> nn.Module:
    made: dict[str, nn.Module] = {
        "none": nn.Identity(),
        "norm": nn.LayerNorm(width),
        "dropout": nn.Dropout(0.2),
        "linear": nn.Sequential(nn.Linear(width, width), nn.Tanh()),
        "batch_norm": nn.BatchNorm1d(width),
    }
    return made[kind]
