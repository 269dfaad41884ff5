"""Inputs of a case, and its answer in float64 from torch's own layers on the CPU."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from kernel_table.cases import Case

__all__ = ["TOLERANCE", "largest_error", "make_inputs", "random_steps", "true_answers"]

Arrays = dict[str, np.ndarray]

TOLERANCE = {"float32": 2e-4, "bfloat16": 0.15, "layer norm": 0.02}
"""The largest error that is accepted, relative to the largest number of the true array.

Wrong gates, lengths or gradients give errors near 1. float32 gradients are sums over up to 12,800 steps;
bfloat16 has 8 bits and rounds the state at every one of up to 168 steps. Layer norm divides by the deviation
of products that are small in the first steps, and magnifies rounding in float32 about a thousand times:
torch's own operators are as far from float64 as the kernels.
"""


def make_inputs(case: Case, seed: int = 0) -> Arrays:
    """Weights (`w.` and torch's names, torch's own initial range), x, lengths, states, the gradient of y."""
    rng = np.random.default_rng(seed)
    shape, directions = case.shape, case.directions
    hidden, rows = shape.hidden_size, {"lstm": 4, "gru": 3}[case.cell] * shape.hidden_size
    arrays: Arrays = {}
    bound = hidden**-0.5
    width = shape.input_size
    for layer in range(shape.layers):
        for suffix in ("", "_reverse")[:directions]:
            sizes = {
                "weight_ih": (rows, width),
                "weight_hh": (rows, hidden),
                "bias_ih": (rows,),
                "bias_hh": (rows,),
            }
            for name, size in sizes.items():
                arrays[f"w.{name}_l{layer}{suffix}"] = rng.uniform(-bound, bound, size)
        width = directions * hidden
    arrays["x"] = rng.normal(size=(shape.batch, shape.steps, shape.input_size))
    arrays["grad_y"] = rng.normal(size=(shape.batch, shape.steps, width))
    for name in ("h0", "c0"):
        arrays[name] = rng.normal(size=(shape.layers, shape.batch, hidden))
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    lengths = np.full(shape.batch, shape.steps)
    if case.ragged:
        lengths = rng.integers(shape.steps // 2, shape.steps + 1, shape.batch)
        lengths[rng.integers(shape.batch)] = (
            shape.steps
        )  # else torch would compute fewer steps than it is given
    return arrays | {"lengths": lengths}


def random_steps(case: Case, calls: int, rng: np.random.Generator) -> list[int]:
    """Numbers of steps for a row of calls, from T/2 to T."""
    return rng.integers(case.shape.steps // 2, case.shape.steps + 1, calls).tolist()


def true_answers(case: Case) -> Arrays:
    """The output (N, T, D·H), and when training the gradients, by the names the workers give them."""
    # Types and threads share one answer; the cases that do follow each other.
    return _true_answers(replace(case, section="", contenders=(), dtype="float32", threads=1, busy=False))


@functools.lru_cache(maxsize=1)
def _true_answers(case: Case) -> Arrays:
    inputs, shape = make_inputs(case), case.shape
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case.cell]
    model = kind(
        shape.input_size,
        shape.hidden_size,
        shape.layers,
        batch_first=True,
        bidirectional=case.directions == 2,
        dtype=torch.float64,
    )
    model.load_state_dict(
        {n.removeprefix("w."): torch.from_numpy(a) for n, a in inputs.items() if n.startswith("w.")}
    )
    x = torch.from_numpy(inputs["x"]).double().requires_grad_(case.mode == "train")
    with torch.set_grad_enabled(case.mode == "train"):
        if case.ragged:
            lengths = torch.from_numpy(inputs["lengths"])
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            y, _ = pad_packed_sequence(model(packed)[0], batch_first=True, total_length=shape.steps)
        elif case.mode == "step":
            y, _ = model(x, tuple(torch.from_numpy(inputs[name]).double() for name in ("h0", "c0")))
        else:
            y, _ = model(x)
    found = {"y": y}
    if case.mode == "train":
        wanted = {"grad_x": x} | {f"grad_{name}": weight for name, weight in model.named_parameters()}
        gradients = torch.autograd.grad(y, list(wanted.values()), torch.from_numpy(inputs["grad_y"]).double())
        found |= dict(zip(wanted, gradients, strict=True))
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def largest_error(answers: Arrays, truth: Arrays) -> float:
    """The largest error of any array, relative to the largest number in it; NaN where there is a NaN.

    Raises:
        KeyError: an answer of a name that the truth lacks.
        ValueError: an answer of another shape, or no answer at all.
    """
    errors = []
    for name, array in answers.items():
        if array.shape != truth[name].shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {truth[name].shape}")
        errors.append(np.abs(array - truth[name]).max() / np.abs(truth[name]).max())
    if "y" not in answers:
        raise ValueError("the answer has no y")
    return float(np.max(errors))
