"""The layers of `gatestack.nn` pass every check that the reference passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from reference.checks import CHECKS
from reference.problems import VARIANTS, Implementation, Outcome, Problem

from gatestack.nn import GRU, LSTM, RNN
from gatestack.nn.recurrent import Recurrent

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def make_layer(name: str, bidirectional: bool) -> Recurrent:
    """An untrained layer for the sizes of the problems: two features, three hidden units."""
    kind, _, option = name.partition("-")
    if kind == "lstm":
        return LSTM(3, 2, bidirectional=bidirectional, dtype=torch.float64)
    if kind == "gru":
        return GRU(3, 2, bidirectional=bidirectional, dtype=torch.float64)
    return RNN(3, 2, activation=option, bidirectional=bidirectional, dtype=torch.float64)


def run(problem: Problem, *, cells: bool) -> Outcome:
    """Solve a problem; the reverse direction is the second one of a bidirectional layer."""
    layer = make_layer(problem.variant.name, problem.reverse)
    suffix, side = ("_l0_reverse", slice(3, 6)) if problem.reverse else ("_l0", slice(0, 3))
    weights = {name: getattr(layer, name + suffix) for name in WEIGHTS}
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(torch.as_tensor(problem.weights[name]))
    x = torch.tensor(problem.x, requires_grad=True)
    initial = [torch.tensor(part, requires_grad=True) for part in problem.initial]
    state = [torch.stack([torch.zeros_like(h), h] if problem.reverse else [h]) for h in initial]

    given = {"lengths": problem.lengths, "mask": problem.mask}
    options = {"return_cell_states": True} if cells else {}
    output, final, *every = layer(x, tuple(state) if len(state) == 2 else state[0], **given, **options)
    output = output[:, :, side]
    finals = [part[-1] for part in (final if isinstance(final, tuple) else (final,))]
    pairs = [(output, problem.d_output), *zip(finals, problem.d_final, strict=True)]
    if cells:
        every = [every[0][:, :, side]]
        pairs.append((every[0], problem.d_cells))
    sum((value * torch.as_tensor(gradient)).sum() for value, gradient in pairs).backward()
    return Outcome(
        output=output.detach().numpy(),
        final=tuple(part.detach().numpy() for part in finals),
        cells=every[0].detach().numpy() if cells else None,
        d_x=x.grad.numpy(),
        d_initial=tuple(part.grad.numpy() for part in initial),
        d_weights={name: weight.grad.numpy() for name, weight in weights.items()},
    )


IMPLEMENTATIONS = {
    name: Implementation(partial(run, cells=False), VARIANTS[name], cells=False)
    for name in ("lstm", "gru-after", "rnn-tanh", "rnn-relu")
} | {"lstm with cell states": Implementation(partial(run, cells=True), VARIANTS["lstm"])}


# On the fused path torch.autograd.gradcheck does the same in a tenth of the time (test_layers.py).
BY_GRADCHECK = {"finite_differences"}
CASES = [
    pytest.param(implementation, check, id=f"{name}-{what}")
    for name, implementation in IMPLEMENTATIONS.items()
    for what, check in CHECKS.items()
    if implementation.cells or what not in BY_GRADCHECK
]


@pytest.mark.parametrize(("implementation", "check"), CASES)
def test_layer_passes(implementation: Implementation, check: Callable[[Implementation], None]) -> None:
    check(implementation)
