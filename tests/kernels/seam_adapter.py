"""The seam as an implementation that the shared checks of tests/reference can take, whole or broken.

A broken one is broken on the way in or out: what reaches the kernels, or what comes back, is changed as a
faulty kernel would have it. The checks must tell every one of them from the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from reference.problems import EXPECTED_SHARE, VARIANTS, Implementation, Outcome, Problem
from torch import Tensor

from gatestack.kernels.backend import use_backend
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec

# Those whose masks nobody has to give to the kernels, which draw their own.
RUN_BY_KERNELS = [name for name, variant in VARIANTS.items() if variant.expected or not variant.masks]


def spec_of(problem: Problem) -> StackSpec:
    """One layer; the reverse direction is the second one of a layer that has both."""
    variant = problem.variant
    cell = {"lstm": "lstm", "gru": "gru", "rnn": f"rnn_{variant.form}"}[variant.cell]
    if variant.form == "before":
        cell = "gru_reset_before"
    zoneout = {
        name: 1 - EXPECTED_SHARE for name in ("zoneout_hidden", "zoneout_cell") if name in variant.masks
    }
    layer = LayerSpec(
        cell,
        problem.x.shape[2],
        problem.weights["weight_ih"].shape[0] // variant.gates,
        projection_size=problem.weights["weight_hr"].shape[0] if variant.projection else 0,
        peepholes=variant.peephole,
        layer_norm=variant.norm,
        **zoneout,
    )
    return StackSpec((layer,), 2 if problem.reverse else 1)


def solve(problem: Problem, backend: str) -> Outcome:
    """Run a problem forward and backward."""
    spec = spec_of(problem)
    width, H = spec.layers[0].output_size, spec.layers[0].hidden_size
    weights = {name: torch.tensor(part, requires_grad=True) for name, part in problem.weights.items()}
    x = torch.tensor(problem.x, requires_grad=True)
    initial = [torch.tensor(part, requires_grad=True) for part in problem.initial]
    directions = [DirectionWeights(**weights)]
    state = [part[None] for part in initial]
    side, cell_side = slice(0, width), slice(0, H)
    if problem.reverse:
        # The forward half has weights of its own, so that one half taken for the other is seen.
        directions.insert(
            0, DirectionWeights(**{name: 0.5 * part.detach() for name, part in weights.items()})
        )
        state = [torch.stack([torch.zeros_like(part), part]) for part in initial]
        side, cell_side = slice(width, 2 * width), slice(H, 2 * H)
    with use_backend(backend):
        result = run_stack(
            spec,
            x,
            [tuple(state)],
            [directions],
            lengths=None if problem.lengths is None else torch.from_numpy(problem.lengths),
            mask=None if problem.mask is None else torch.from_numpy(problem.mask),
            cells=problem.d_cells is not None,
        )
        output = result.output[:, :, side]
        finals = [part[-1] for part in result.finals[0]]
        cells = None if result.cells is None else result.cells[0][:, :, cell_side]
        pairs: list[tuple[Tensor, np.ndarray]] = [(output, problem.d_output)]
        pairs += list(zip(finals, problem.d_final, strict=True))
        if cells is not None:
            pairs.append((cells, problem.d_cells))
        found = Outcome(
            output=output.detach().numpy(),
            final=tuple(part.detach().numpy() for part in finals),
            cells=None if cells is None else cells.detach().numpy(),
        )
        if problem.results_only:
            return found
        sum((value * torch.from_numpy(gradient)).sum() for value, gradient in pairs).backward()
    return replace(
        found,
        d_x=x.grad.numpy(),
        d_initial=tuple(part.grad.numpy() for part in initial),
        d_weights={name: part.grad.numpy() for name, part in weights.items()},
    )


@dataclass(frozen=True)
class BrokenSeam:
    """A fault of the kernels, played by changing what goes in (`before`) or what comes out (`after`)."""

    name: str
    variants: tuple[str, ...]
    caught_by: tuple[str, ...]
    before: Callable[[Problem], Problem] = field(default=lambda problem: problem)
    after: Callable[[Problem, Outcome], Outcome] = field(default=lambda _, outcome: outcome)

    def implementation(self, variant: str, backend: str) -> Implementation:
        """The broken kernels, ready for the checks."""

        def run(problem: Problem) -> Outcome:
            return self.after(problem, solve(self.before(problem), backend))

        return Implementation(run, VARIANTS[variant])


def whole_seam(variant: str, backend: str) -> Implementation:
    """The kernels as they are."""
    return Implementation(lambda problem: solve(problem, backend), VARIANTS[variant])
