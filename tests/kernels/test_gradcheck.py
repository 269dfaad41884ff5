"""torch.autograd.gradcheck through the kernels themselves, in float64: every cell with every option.

Finite differences of the kernels' own results, so what it sees are gradients that are not the slopes of what
was computed; whether that was the right thing to compute is asked in test_against_reference.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from solvers import needs_kernels
from stacks import CASES, CELLS, make_problem, make_spec, results
from test_against_reference import everything

from gatestack.kernels.backend import use_backend

MASK = np.array([[1, 1, 1], [0, 0, 0], [0, 1, 1], [1, 0, 1]], dtype=bool)


ALL_CASES = [*CASES, *((cell, "everything") for cell in CELLS)]
DRAWING = [
    case for case in ALL_CASES if any(word in case[1] for word in ("dropout", "zoneout", "everything"))
]


@needs_kernels
@pytest.mark.parametrize(
    ("cell", "option", "training"),
    [*((*case, False) for case in ALL_CASES), *((*case, True) for case in DRAWING)],
)
def test_gradients_are_slopes(cell, option, training) -> None:
    sizes = {"layers": 2, "size": 3, "width": 2}
    if option == "everything":
        spec = everything(cell, 2, **sizes)
    else:
        spec = make_spec(cell, option, directions=2, **sizes)
    problem = make_problem(spec, *MASK.shape, gradients=True)
    inputs = tuple(problem.inputs())
    options = {"mask": torch.from_numpy(MASK), "training": training, "seed": 4, "cells": cell == "lstm"}

    def run(*_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(results(problem.run(**options)))

    with use_backend("native"):
        # fast_mode compares along random directions: one pass instead of one per number.
        assert torch.autograd.gradcheck(run, inputs, fast_mode=True, eps=1e-6, atol=1e-6, rtol=1e-4)


@needs_kernels
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_slopes_entry_by_entry(cell) -> None:
    problem = make_problem(make_spec(cell, layers=1, size=3, width=2), 2, 3, gradients=True)

    def run(*_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(results(problem.run(lengths=torch.tensor([3, 1]))))

    with use_backend("native"):
        assert torch.autograd.gradcheck(run, tuple(problem.inputs()))
