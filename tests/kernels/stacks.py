"""Random stacks for the tests of the kernels: weights, states, inputs, and every result and gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackResult, StackSpec

CELLS = ("lstm", "gru", "gru_reset_before", "rnn_tanh", "rnn_relu")

# Every option with the cells that have it; the layers above the first are residual where widths allow it.
OPTIONS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "plain": ({}, CELLS),
    "projection": ({"projection_size": 2}, ("lstm",)),
    "peepholes": ({"peepholes": True}, ("lstm",)),
    "layer_norm": ({"layer_norm": True}, ("lstm", "gru", "rnn_tanh", "rnn_relu")),
    "residual": ({"residual": True}, CELLS),
    "input_dropout": ({"input_dropout": 0.3}, CELLS),
    "input_dropout_per_step": ({"input_dropout": 0.3, "input_dropout_per_step": True}, CELLS),
    "hidden_dropout": ({"hidden_dropout": 0.4}, CELLS),
    "candidate_dropout": ({"candidate_dropout": 0.3}, CELLS[:3]),
    "zoneout_hidden": ({"zoneout_hidden": 0.3}, CELLS),
    "zoneout_cell": ({"zoneout_cell": 0.3}, ("lstm",)),
}
CASES = [(cell, option) for option, (_, cells) in OPTIONS.items() for cell in cells]


@dataclass(eq=False)
class Problem:
    """A stack with everything that goes in; x is (N, T, C)."""

    spec: StackSpec
    x: Tensor
    states: list[tuple[Tensor, ...] | None]
    weights: list[list[DirectionWeights]]

    def inputs(self) -> Iterator[Tensor]:
        """All that has a gradient: x, states, weights."""
        yield self.x
        for state in self.states:
            yield from state or ()
        for layer in self.weights:
            for direction in layer:
                yield from (part for part in direction if part is not None)

    def run(self, x: Tensor | None = None, **options: object) -> StackResult:
        return run_stack(self.spec, self.x if x is None else x, self.states, self.weights, **options)


def make_spec(
    cell: str, option: str = "plain", *, layers: int = 2, directions: int = 1, size: int = 4, width: int = 3
) -> StackSpec:
    """Layers of a cell with one option; `width` features in."""
    options = dict(OPTIONS[option][0])
    residual = options.pop("residual", False)
    made: list[LayerSpec] = []
    for number in range(layers):
        made.append(LayerSpec(cell, width, size, **options, residual=residual and number > 0))
        width = directions * made[-1].output_size
    return StackSpec(tuple(made), directions)


def make_problem(
    spec: StackSpec,
    rows: int = 3,
    steps: int = 5,
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    gradients: bool = False,
) -> Problem:
    """Random weights, states and input, none of them zero."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        values = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
        return values.to(dtype).requires_grad_(gradients)

    weights, states = [], []
    for layer in spec.layers:
        G, H, P = layer.gates * layer.hidden_size, layer.hidden_size, layer.output_size
        scale = (3 / (P + H)) ** 0.5
        weights.append(
            [
                DirectionWeights(
                    draw(G, layer.input_size, scale=layer.input_size**-0.5),
                    draw(G, P, scale=scale),
                    draw(G, scale=0.4),
                    draw(G, scale=0.4),
                    weight_hr=draw(P, H, scale=scale) if layer.projection_size else None,
                    peephole=draw(3, H, scale=0.6) if layer.peepholes else None,
                    **{name: draw(G) for name in ("gain_ih", "gain_hh") if layer.layer_norm},
                    **{
                        name: draw(H)
                        for name in ("gain_c", "bias_c")
                        if layer.layer_norm and layer.cell == "lstm"
                    },
                )
                for _ in range(spec.directions)
            ]
        )
        states.append(tuple(draw(spec.directions, rows, size) for size in layer.state_sizes))
    return Problem(spec, draw(rows, steps, spec.layers[0].input_size), states, weights)


def results(result: StackResult) -> list[Tensor]:
    """Every tensor of a result: the output, the final states, the cell states."""
    return [result.output, *(part for final in result.finals for part in final), *(result.cells or ())]


def gradients(problem: Problem, run: Callable[[], StackResult], seed: int = 1) -> list[Tensor]:
    """The gradients of everything that goes in, for random gradients of everything that comes out."""
    generator = torch.Generator().manual_seed(seed)
    found = results(run())
    seeds = [
        torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part.dtype) for part in found
    ]
    inputs = [part for part in problem.inputs() if part.requires_grad]
    given = torch.autograd.grad(found, inputs, seeds, allow_unused=True)
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, given, strict=True)]
