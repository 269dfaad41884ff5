"""Drawn configurations of torch's recurrent modules; `draw(137)` gives the case of a message "seed 137"."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

__all__ = ["Case", "draw", "flat"]


@dataclass
class Case:
    """What is drawn: the class, arguments for its constructor, the input in one of its forms, the state.

    `leaves` are the tensors, beside the parameters, whose gradients are to agree.
    """

    seed: int
    kind: str
    arguments: dict[str, Any]
    form: str
    given: Tensor | PackedSequence
    hx: Any
    leaves: list[Tensor]

    def __str__(self) -> str:
        shape = tuple(self.leaves[0].shape)
        state = "with" if self.hx is not None else "without"
        return f"seed {self.seed}: {self.kind}({self.arguments}) over {self.form} {shape} {state} a state"


def draw(seed: int) -> Case:
    """Draw a case."""
    chosen = random.Random(seed)
    torch.manual_seed(seed)
    kind = chosen.choice(["LSTM", "GRU", "RNN"])
    dtype = chosen.choice([torch.float32, torch.float64])
    inputs, hidden, layers = chosen.choice([1, 3, 8]), chosen.choice([2, 7, 16]), chosen.choice([1, 1, 2, 3])
    arguments: dict[str, Any] = {"input_size": inputs, "hidden_size": hidden, "num_layers": layers}
    if kind == "RNN":
        arguments["nonlinearity"] = chosen.choice(["tanh", "relu"])
    if kind == "LSTM" and chosen.random() < 0.4:
        arguments["proj_size"] = chosen.randint(1, hidden - 1)
    for name, share in {"bias": 0.8, "batch_first": 0.5, "bidirectional": 0.5}.items():
        arguments[name] = chosen.random() < share
    arguments["dtype"] = dtype
    form = chosen.choice(["batch", "alone", "packed", "packed unsorted", "packed whole"])
    rows, steps = chosen.choice([1, 2, 5]), chosen.choice([1, 2, 9])
    first = arguments["batch_first"]
    shape = (steps,) if form == "alone" else (rows, steps) if first else (steps, rows)
    x = torch.randn(*shape, inputs, dtype=dtype, requires_grad=True)
    given: Tensor | PackedSequence = x
    if form.startswith("packed"):
        lengths = [steps if form == "packed whole" else chosen.randint(1, steps) for _ in range(rows)]
        unsorted = form == "packed unsorted"
        lengths = lengths if unsorted else sorted(lengths, reverse=True)
        given = pack_padded_sequence(x, torch.tensor(lengths), batch_first=first, enforce_sorted=not unsorted)
    leaves, hx = [x], None
    if chosen.random() < 0.6:
        count = layers * (2 if arguments["bidirectional"] else 1)
        widths = [arguments.get("proj_size", hidden), hidden] if kind == "LSTM" else [hidden]
        batch = () if form == "alone" else (rows,)
        states = [torch.randn(count, *batch, width, dtype=dtype, requires_grad=True) for width in widths]
        hx = tuple(states) if kind == "LSTM" else states[0]
        leaves += states
    return Case(seed, kind, arguments, form, given, hx, leaves)


def flat(results: object) -> list[Tensor]:
    """Give the tensors of what a module returned."""
    if isinstance(results, Tensor):
        return [results]
    if isinstance(results, PackedSequence):
        return [results.data]
    return [tensor for part in results for tensor in flat(part)]
