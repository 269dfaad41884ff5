"""Models as people write them in torch, drawn: cells, directions, depths, states, heads."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

STARTS = ("none", "given", "zeros", "learnt", "encoder")
HEADS = (
    "every step", "last step", "last state", "both last states", "mean", "largest", "attention",
    "two ways apart", "all states", "norms", "unrolled states",
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """What a model is made of, drawn from a seed."""

    cell: str
    layers: int
    directions: int
    batch_first: bool
    bias: bool
    start: str
    head: str
    words: bool
    packed: bool
    residual: bool
    opset: int
    open_axes: str

    @classmethod
    def of(cls, seed: int) -> Drawn:
        draw = random.Random(seed)
        packed = draw.random() < 0.2
        return cls(
            cell=("LSTM", "GRU", "RNN")[seed % 3],
            layers=draw.choice((1, 1, 2, 3)),
            directions=1 + seed // 3 % 2,
            batch_first=draw.random() < 0.6,
            bias=draw.random() < 0.8,
            start=STARTS[seed % len(STARTS)],
            head=HEADS[seed % len(HEADS)],
            words=draw.random() < 0.3,
            packed=packed,
            residual=draw.random() < 0.2,
            opset=draw.choice((11, 13, 15, 17, 18)),
            open_axes="both" if packed else draw.choice(("both", "both", "both", "batch", "time", "none")),
        )


class Model(nn.Module):
    """A model of these parts."""

    def __init__(self, drawn: Drawn) -> None:
        super().__init__()
        self.drawn = drawn
        size, features = 5, 4
        kind = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}[drawn.cell]
        options: dict[str, Any] = {"batch_first": drawn.batch_first, "bias": drawn.bias}
        if drawn.cell == "RNN" and drawn.layers == 2:
            options["nonlinearity"] = "relu"
        if drawn.layers > 1:
            options["dropout"] = 0.1
        both = drawn.directions == 2
        self.words = nn.Embedding(11, features) if drawn.words else nn.Identity()
        if drawn.start == "encoder":
            self.encoder = kind(features, size, drawn.layers, bidirectional=both, **options)
        self.layers = kind(features, size, drawn.layers, bidirectional=both, **options)
        width = size * drawn.directions
        if drawn.residual:
            self.again = kind(width, width, batch_first=drawn.batch_first)
        if drawn.start == "learnt":
            count = drawn.layers * drawn.directions
            self.start = nn.ParameterList([nn.Parameter(torch.randn(count, 1, size)) for _ in range(2)])
        self.score = nn.Linear(width, 1)
        self.norm, self.batch_norm = nn.LayerNorm(width), nn.BatchNorm1d(width)
        self.out = nn.Linear(width, 3)
        self.narrow = nn.Linear(size, 3)

    def states(self, x: Tensor, given: tuple[Tensor, ...]) -> Any:
        drawn = self.drawn
        batch = x.size(0 if drawn.batch_first else 1)
        if drawn.start == "none":
            return None
        if drawn.start == "given":
            parts = given
        elif drawn.start == "learnt":
            parts = tuple(part.expand(-1, batch, -1).contiguous() for part in self.start)
        elif drawn.start == "zeros":
            count = drawn.layers * drawn.directions
            parts = tuple(torch.zeros(count, batch, 5, device=x.device) for _ in range(2))
        else:
            state = self.encoder(x)[1]
            parts = state if drawn.cell == "LSTM" else (state,)
        return tuple(parts[:2]) if drawn.cell == "LSTM" else parts[0]

    def forward(self, x: Tensor, lengths: Tensor | None = None, *given: Tensor) -> Any:
        drawn = self.drawn
        x = self.words(x)
        start = self.states(x, given)
        time = 1 if drawn.batch_first else 0
        if drawn.packed and lengths is not None:
            rows = pack_padded_sequence(x, lengths, batch_first=drawn.batch_first, enforce_sorted=False)
            packed, final = self.layers(rows, start)
            y, _ = pad_packed_sequence(packed, batch_first=drawn.batch_first)
        else:
            y, final = self.layers(x, start)
        if drawn.residual:
            y = y + self.again(torch.tanh(y))[0]
        h = final[0] if drawn.cell == "LSTM" else final
        return self.headed(drawn.head, y, h, final, time)

    def headed(self, head: str, y: Tensor, h: Tensor, final: Any, time: int) -> Any:
        drawn = self.drawn
        if head == "every step":
            return self.out(torch.relu(y))
        if head == "last step":
            return torch.softmax(self.out(y[:, -1] if time else y[-1]), -1)
        if head == "last state":
            return self.narrow(h[-1])
        if head == "both last states":
            return self.narrow(h[-1]) + self.narrow(h[0])
        if head == "mean":
            return self.out(y.mean(dim=time))
        if head == "largest":
            return self.out(y.max(dim=time).values)
        if head == "attention":
            weight = torch.softmax(self.score(y), dim=time)
            return self.out((weight * y).sum(dim=time))
        if head == "two ways apart":
            split = y.view(y.size(0), y.size(1), drawn.directions, 5)
            return self.narrow(split[:, :, 0] + split[:, :, -1])
        if head == "all states":
            parts = final if drawn.cell == "LSTM" else (final,)
            return (self.out(y), *parts)
        if head == "norms":
            z = self.norm(y)
            last = z[:, -1] if time else z[-1]
            return torch.sigmoid(self.out(self.batch_norm(last)))
        split = h.view(drawn.layers, drawn.directions, -1, 5)
        return self.out(split[-1].transpose(0, 1).reshape(-1, drawn.directions * 5))

    def inputs(self, rows: int, time: int, seed: int) -> dict[str, Tensor]:
        """Draw inputs by the names of the exported graph."""
        draw = torch.Generator().manual_seed(seed)
        drawn = self.drawn
        sizes = (rows, time) if drawn.batch_first else (time, rows)
        x = torch.randn(*sizes, 4, generator=draw)
        if drawn.words:
            x = torch.randint(0, 11, sizes, generator=draw)
        found = {"x": x}
        if drawn.packed:
            lengths = torch.randint(1, time + 1, (rows,), generator=draw)
            lengths[0] = time
            found["lengths"] = lengths
        if drawn.start == "given":
            for name in ("h", "c")[: 2 if drawn.cell == "LSTM" else 1]:
                found[name] = torch.randn(drawn.layers * drawn.directions, rows, 5, generator=draw)
        return found

    def called(self, given: dict[str, Tensor]) -> Any:
        states = [given[name] for name in ("h", "c") if name in given]
        return self(given["x"], given.get("lengths"), *states)


def axes_of(drawn: Drawn, names: list[str]) -> dict[str, dict[int, str]]:
    """Say which axes are open."""
    batch, time = (0, 1) if drawn.batch_first else (1, 0)
    every = {
        "x": {batch: "batch", time: "time"},
        "lengths": {0: "batch"},
        "h": {1: "batch"},
        "c": {1: "batch"},
    }
    kept = {"both": ("batch", "time"), "batch": ("batch",), "time": ("time",), "none": ()}[drawn.open_axes]
    return {name: {axis: text for axis, text in every[name].items() if text in kept} for name in names}
