"""Answers from elsewhere: torch's modules, and single steps written by hand in torch.

Gradients come from torch's autograd, so neither half shares anything with `gatestack.reference`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .oracle_steps import Step, gru_reset_before, lstm_with_peepholes, regularised_step
from .problems import Outcome, Problem


def packed_oracle(problem: Problem) -> Outcome:
    """`torch.nn.LSTM`, `GRU` or `RNN` on a packed batch; for lengths, or no padding at all.

    The module runs in both directions with the same weights and one half is taken, so that the reverse
    direction, too, is torch's own. Rows of length 0, which torch refuses, stay out and keep their state.
    """
    leaves = _leaves(problem)
    rows, steps, input_size = problem.x.shape
    hidden_size, width = len(problem.weights["weight_hh"]) // problem.variant.gates, problem.d_output.shape[2]
    options = {"batch_first": True, "bidirectional": True, "dtype": torch.float64}
    if problem.variant.name == "rnn-relu":
        module: torch.nn.RNNBase = torch.nn.RNN(input_size, hidden_size, nonlinearity="relu", **options)
    else:
        kinds = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
        if problem.variant.projection:
            options["proj_size"] = width
        module = kinds[problem.variant.cell](input_size, hidden_size, **options)
    ending = "_l0_reverse" if problem.reverse else "_l0"
    with torch.no_grad():
        for name in problem.weights:
            getattr(module, name + ending).copy_(leaves[name])
    lengths = torch.from_numpy(problem.real.sum(axis=1))
    some = torch.nonzero(lengths > 0)[:, 0]
    packed = pack_padded_sequence(leaves["x"][some], lengths[some], batch_first=True, enforce_sorted=False)
    initial = _initial(problem, leaves)
    state = tuple(part[some].expand(2, -1, -1).contiguous() for part in initial)
    packed_output, last = module(packed, state if problem.variant.state_count == 2 else state[0])
    both, _ = pad_packed_sequence(packed_output, batch_first=True, total_length=steps)
    half = int(problem.reverse)
    own = both[:, :, half * width : (half + 1) * width]
    output = torch.zeros(rows, steps, width, dtype=torch.float64).index_copy(0, some, own)
    last = last if problem.variant.state_count == 2 else (last,)
    final = tuple(old.index_copy(0, some, new[half]) for old, new in zip(initial, last, strict=True))
    for name in problem.weights:
        leaves[name] = getattr(module, name + ending)
    return _outcome(problem, leaves, output, final, None)


def row_oracle(problem: Problem) -> Outcome:
    """Row by row, over the real steps alone, one step at a time: what a mask means, without a mask."""
    leaves = _leaves(problem)
    step = _step(problem, leaves)
    masks = {name: torch.from_numpy(mask) for name, mask in problem.masks.items()}
    outputs, finals, cells = [], [], []
    for row, real in enumerate(problem.real):
        state = tuple(part[row] for part in _initial(problem, leaves))
        output = [torch.zeros_like(state[0]) for _ in real]
        cell = [torch.zeros_like(state[-1]) for _ in real]
        order = np.flatnonzero(real)
        for t in order[::-1] if problem.reverse else order:
            at = {name: m[row] if m.ndim == 2 else m[row, t] for name, m in masks.items()}
            state = step(leaves["x"][row, t], state, at)
            output[t], cell[t] = state[0], state[-1]
        outputs.append(torch.stack(output))
        cells.append(torch.stack(cell))
        finals.append(state)
    final = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    every_c = torch.stack(cells) if problem.d_cells is not None else None
    return _outcome(problem, leaves, torch.stack(outputs), final, every_c)


def _leaves(problem: Problem) -> dict[str, Tensor]:
    arrays = {"x": np.where(problem.real[:, :, None], problem.x, 0.0), **problem.weights}
    arrays |= {f"initial{index}": part for index, part in enumerate(problem.initial)}
    return {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}


def _initial(problem: Problem, leaves: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return tuple(leaves[f"initial{index}"] for index in range(problem.variant.state_count))


def _outcome(
    problem: Problem,
    leaves: dict[str, Tensor],
    output: Tensor,
    final: tuple[Tensor, ...],
    cells: Tensor | None,
) -> Outcome:
    loss = (output * torch.from_numpy(problem.d_output)).sum()
    for part, gradient in zip(final, problem.d_final, strict=True):
        loss = loss + (part * torch.from_numpy(gradient)).sum()
    if cells is not None and problem.d_cells is not None:
        loss = loss + (cells * torch.from_numpy(problem.d_cells)).sum()
    found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    gradients = {name: value.numpy() for name, value in zip(leaves, found, strict=True)}
    return Outcome(
        output=output.detach().numpy(),
        final=tuple(part.detach().numpy() for part in final),
        cells=None if cells is None else cells.detach().numpy(),
        d_x=gradients["x"],
        d_initial=tuple(gradients[f"initial{index}"] for index in range(problem.variant.state_count)),
        d_weights={name: gradients[name] for name in problem.weights},
    )


def _step(problem: Problem, leaves: dict[str, Tensor]) -> Step:
    """One step of one row: by torch where torch has the cell, by hand where it has not."""
    name = problem.variant.name
    if name == "lstm-peephole":
        return lstm_with_peepholes(leaves)
    if name == "gru-before":
        return gru_reset_before(leaves)
    if problem.variant.masks or problem.variant.norm or problem.variant.projection:
        return regularised_step(problem.variant, leaves)
    common = [leaves[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    if name == "lstm":

        def lstm(x: Tensor, state: tuple[Tensor, ...], _: dict[str, Tensor]) -> tuple[Tensor, ...]:
            h, c = torch.lstm_cell(x[None], [part[None] for part in state], *common)
            return h[0], c[0]

        return lstm
    operator = {
        "gru-after": torch.gru_cell,
        "rnn-tanh": torch.rnn_tanh_cell,
        "rnn-relu": torch.rnn_relu_cell,
    }[name]
    return lambda x, state, _: (operator(x[None], state[0][None], *common)[0],)
