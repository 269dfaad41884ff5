r"""What each input is worth for the answer: integrated gradients, and occlusion, in eval mode.

With x the inputs of a sequence, x′ the average input (the mean of each feature over all sequences and real
steps) and F the answer:

    attribution_i = (x_i − x′_i) ∫₀¹ ∂F/∂x_i (x′ + a (x − x′)) da            integrated gradients
    Σ_i attribution_i = F(x) − F(x′)                                        completeness, which is checked

The integral is taken by Gauss and Legendre's rule in float64, with 32 points, and with 128 where the sum is
further off than a thousandth and the sequences are not long. A network over hundreds of steps may jump on the
way from x′ to x; then no number of points will do, and the sum says so. Occlusion puts the average in
the place of one feature over a stretch of steps and looks at what becomes of the loss (of the answer, where
there is no loss): it needs no gradient, and asks another question, so that the two need not agree.

Source:
    Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks", Eq. 1 and Proposition 1;
    occlusion: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks".
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from gatestack.inspect.subject import Subject

__all__ = ["attribution_tables", "average_input", "integrated_gradients", "occlusion_table"]

_POINTS = (32, 128)
_GOOD_ENOUGH = 1e-3
# Sequences times steps up to which more points are tried: bounds the time.
_MOST_STEPS = 8192
_MOST_CALLS = 400
_MOST_STRETCHES = 12


def average_input(subject: Subject, inputs: Tensor) -> Tensor:
    """Give inputs (N, T, C) that are the mean of each feature over real steps, and the inputs elsewhere."""
    real = _real(subject, inputs)
    mean = inputs[real].mean(dim=0)
    return torch.where(real[..., None], mean, inputs)


def integrated_gradients(
    subject: Subject, network: nn.Module, inputs: Tensor, baseline: Tensor
) -> tuple[Tensor, Tensor]:
    """Attribute the answer of each sequence to its inputs.

    Args:
        subject: with the answer.
        network: in float64 and eval mode.
        inputs: (N, T, C).
        baseline: (N, T, C).

    Returns:
        attributions (N, T, C), and what they should add up to, F(x) − F(x′), (N,).
    """
    with torch.no_grad():
        change = subject.run(network, inputs).answer - subject.run(network, baseline).answer
    short = inputs.shape[0] * inputs.shape[1] <= _MOST_STEPS
    for points in _POINTS if short else _POINTS[:1]:
        found = _integral(subject, network, inputs, baseline, points)
        error = (found.sum(dim=(1, 2)) - change).abs().max()
        if error <= _GOOD_ENOUGH * change.abs().max():
            break
    return found, change


def _integral(subject: Subject, network: nn.Module, inputs: Tensor, baseline: Tensor, points: int) -> Tensor:
    places, weights = np.polynomial.legendre.leggauss(points)
    away = inputs - baseline
    total = torch.zeros_like(inputs)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        point = (baseline + float(place) * away).requires_grad_(True)
        answer = subject.run(network, point).answer
        (slope,) = torch.autograd.grad(answer.sum(), point)
        total += float(weight) * slope
    return away * total


def attribution_tables(
    subject: Subject, network: nn.Module, inputs: Tensor
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the attributions of all sequences, and how well they add up.

    Args:
        subject: with the answer.
        network: in float64 and eval mode.
        inputs: (N, T, C).

    Returns:
        A row per sequence, step and feature, `input` (the sum of the columns of that name) and
        `attribution`; and a row per sequence: `attributed`, the sum; `change`, F(x) − F(x′); `error`, their
        distance.
    """
    found, change = integrated_gradients(subject, network, inputs, average_input(subject, inputs))
    real = _real(subject, inputs)
    names, groups = _groups(subject.features)
    rows, steps = real.nonzero(as_tuple=True)
    total = torch.zeros(len(rows), len(names), dtype=inputs.dtype).index_add(1, groups, found[real])
    values = torch.zeros_like(total).index_add(1, groups, inputs[real])
    count = len(names)
    sequence = np.array(subject.sequences)[rows.numpy()]
    table = pl.DataFrame(
        {
            "sequence": np.repeat(sequence, count),
            "step": np.repeat(steps.numpy(), count),
            "feature": names * len(rows),
            "input": values.reshape(-1).numpy(),
            "attribution": total.reshape(-1).numpy(),
        }
    )
    added = found.masked_fill(~real[..., None], 0.0).sum(dim=(1, 2))
    complete = pl.DataFrame(
        {
            "sequence": subject.sequences,
            "attributed": added.numpy(),
            "change": change.numpy(),
            "error": (added - change).abs().numpy(),
        }
    )
    return table, complete


@torch.no_grad()
def occlusion_table(subject: Subject, network: nn.Module, inputs: Tensor) -> pl.DataFrame:
    """Put the average in the place of each feature, over all steps and over stretches of them.

    Args:
        subject: with a loss, or the answer alone.
        network: in float64 and eval mode.
        inputs: (N, T, C).

    Returns:
        A row per feature and stretch, null for all features together: `first` and `last` step, counted from
        the end of each sequence (0 is its last step), null for all steps; `change`, of the loss, or the mean
        absolute change of the answer.
    """
    real, average = _real(subject, inputs), average_input(subject, inputs)
    names, groups = _groups(subject.features)
    whole = subject.run(network, inputs)
    lengths = torch.from_numpy(subject.real_lengths)
    back = lengths[:, None] - 1 - torch.arange(inputs.shape[1])  # steps before the last one, (N, T)
    longest = int(lengths.max())
    stretches = min(longest, _MOST_STRETCHES, max(1, _MOST_CALLS // (len(names) + 1)))
    edges = np.linspace(0, longest, stretches + 1).round().astype(int)
    spans: list[tuple[int, int] | None] = [None]
    if stretches > 1:
        spans += [(int(a), int(b) - 1) for a, b in pairwise(edges)]
    rows = []
    for number in (None, *range(len(names))):
        columns = torch.ones_like(groups, dtype=torch.bool) if number is None else groups == number
        for span in spans:
            here = real if span is None else real & (back >= span[0]) & (back <= span[1])
            covered = torch.where(here[..., None] & columns, average, inputs)
            found = subject.run(network, covered)
            if found.loss is not None and whole.loss is not None:
                change = float((found.loss - whole.loss).mean())
            else:
                change = float((found.answer - whole.answer).abs().mean())
            rows.append(
                {
                    "feature": None if number is None else names[number],
                    "first": None if span is None else span[0],
                    "last": None if span is None else span[1],
                    "change": change,
                }
            )
    schema = {"feature": pl.String, "first": pl.Int64, "last": pl.Int64, "change": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def _real(subject: Subject, inputs: Tensor) -> Tensor:
    return torch.arange(inputs.shape[1]) < torch.from_numpy(subject.real_lengths)[:, None]


def _groups(features: tuple[str, ...]) -> tuple[list[str], Tensor]:
    """Name the groups of columns in order, and give the group of each column."""
    names = list(dict.fromkeys(features))
    return names, torch.tensor([names.index(name) for name in features])
