"""What a training step and a step of a stream cost with each cell: one process, in turn, as ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from gatestack.kernels import library
from gatestack.nn import GRU, LSTM, RNN, Stack
from protocol.layer_video import SIZE, make_video_model

__all__ = ["measure_costs"]

ROWS, STEPS, FEATURES = 16, 96, 4
STREAM_STEPS = 500
ROUNDS = 15
LAYERS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
# Name → cell, width of both layers, two directions. Four have 7,168 to 7,728 parameters.
STACKS = {
    "lstm": ("lstm", 24, False),
    "gru": ("gru", 28, False),
    "rnn": ("rnn", 49, False),
    "gru, equal width": ("gru", 24, False),
    "rnn, equal width": ("rnn", 24, False),
    "bilstm": ("lstm", 14, True),
    "bilstm, equal width": ("lstm", 24, True),
}
VIDEO = ("pixels", "patches", "convlstm")


def measure_costs() -> dict[str, Any]:
    """Milliseconds of every call in every round; each round begins with another."""
    torch.manual_seed(0)
    calls: dict[str, dict[str, Callable[[], None]]] = {"train": {}, "stream": {}, "video": {}}
    parameters = {}
    x = torch.randn(ROWS, STEPS, FEATURES)
    for name, (cell, width, both) in STACKS.items():
        layers = [LAYERS[cell](width, size, bidirectional=both) for size in (FEATURES, width * (1 + both))]
        stack = Stack(*layers)
        parameters[name] = sum(part.numel() for part in stack.parameters())
        calls["train"][name] = _update_of(stack, x)
        if not both:
            calls["stream"][name] = _stream_of(stack)
    frames = torch.randn(8, 10, SIZE, SIZE)
    for name in VIDEO:
        model = make_video_model(name)
        parameters[name] = sum(part.numel() for part in model.parameters())
        calls["video"][name] = _update_of(model, frames)
    times: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in calls[kind]} for kind in calls}
    for kind, callables in calls.items():
        names = list(callables)
        for call in callables.values():
            call()  # what is made once is not counted
        for turn in range(ROUNDS):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                begun = time.process_time()
                for _ in range(3):
                    callables[name]()
                times[kind][name].append((time.process_time() - begun) / 3 * 1e3)
    times["stream"] = {name: [value / STREAM_STEPS for value in row] for name, row in times["stream"].items()}
    return {"times": times, "parameters": parameters, "kernels": library.find() is not None}


def _update_of(network: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Forward, backward, and AdamW."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def update() -> None:
        answer = network(x)
        output = answer[0] if isinstance(answer, tuple) else answer
        output.square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    return update


def _stream_of(stack: Stack) -> Callable[[], None]:
    """Many steps of one stream, one after the other."""
    stepper = stack.eval().stepper()
    x = np.random.default_rng(0).normal(size=(STREAM_STEPS, 1, FEATURES)).astype(np.float32)

    def stream() -> None:
        for step in x:
            stepper.step(step)

    return stream
