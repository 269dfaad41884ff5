r"""What each input is worth for the answer: integrated gradients, and occlusion, in eval mode.

With x the inputs of a sequence, x′ the average input (the mean of each feature over all sequences and real
steps) and F the answer:

    attribution_i = (x_i − x′_i) ∫₀¹ ∂F/∂x_i (x′ + a (x − x′)) da            integrated gradients
    Σ_i attribution_i = F(x) − F(x′)                                        completeness, which is checked

The integral is taken in float64, with points where the way bends (`path_integral`), until the attributions
of every sequence add up to within a thousandth of the largest change, or the calls that a few minutes allow
are used up; then the table `completeness` says by how much they miss. Occlusion puts the average in
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

from gatestack.inspect.path_integral import integrate_gradient
from gatestack.inspect.subject import Subject

__all__ = ["attribution_tables", "average_input", "integrated_gradients", "occlusion_table"]

_GOOD_ENOUGH = 1e-3
# Calls of the network times sequences times steps: bounds the time of integrated gradients.
_MOST_WORK = 4_000_000
_CALLS = (64, 400)
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
    least, most = _CALLS
    calls = min(most, max(least, _MOST_WORK // (inputs.shape[0] * inputs.shape[1])))
    return integrate_gradient(
        lambda values: subject.run(network, values).answer, inputs, baseline, share=_GOOD_ENOUGH, calls=calls
    )


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
        the end of each sequence (0 is its last step), null for all steps; `of`, "loss" or "answer"; `change`,
        of the loss, or the mean absolute change of the answer; `standard_error` over the sequences, null
        with one.
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
                of, change = "loss", found.loss - whole.loss
            else:
                of, change = "answer", (found.answer - whole.answer).abs()
            rows.append(
                {
                    "feature": None if number is None else names[number],
                    "first": None if span is None else span[0],
                    "last": None if span is None else span[1],
                    "of": of,
                    "change": float(change.mean()),
                    "standard_error": float(change.std()) / len(change) ** 0.5 if len(change) > 1 else None,
                }
            )
    whole_numbers = dict.fromkeys(("first", "last"), pl.Int64)
    numbers = dict.fromkeys(("change", "standard_error"), pl.Float64)
    return pl.DataFrame(rows, schema={"feature": pl.String, **whole_numbers, "of": pl.String, **numbers})


def _real(subject: Subject, inputs: Tensor) -> Tensor:
    return torch.arange(inputs.shape[1]) < torch.from_numpy(subject.real_lengths)[:, None]


def _groups(features: tuple[str, ...]) -> tuple[list[str], Tensor]:
    """Name the groups of columns in order, and give the group of each column."""
    names = list(dict.fromkeys(features))
    return names, torch.tensor([names.index(name) for name in features])
