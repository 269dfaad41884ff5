"""Opening the gates of a layer that was run: all quantities at all steps, in the order in which it reads.

A layer of the kernels is run once more on them with all its states; every step's old state is then known, so
that the gates of all steps are computed at once. Any other layer is taken step by step. Either way the states
that the gates give are compared with the output of the layer itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gatestack.inspect.equations import Gates, cell_step
from gatestack.inspect.opened import OpenLayer, open_layer
from gatestack.inspect.recording import LayerCall, Place
from gatestack.inspect.subject import evenly
from gatestack.kernels.spec import LayerSpec
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.steps import Steps

__all__ = ["DirectionRun", "open_gates"]

# Numbers of one quantity that are kept, where a layer has images: 32 MB.
_MOST_NUMBERS = 4_000_000
# Recomputed from the same numbers in float64, states of about 1 agree to 1e-12.
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class DirectionRun:
    """One direction of one layer over N sequences, each in the order in which the direction reads it.

    The units of a convolutional layer are its channels, and each of S positions of its images is a row of its
    own: N·S rows, those of the first sequence first. These are all positions, or, where that would be too
    many numbers, some spread evenly over the image, and the one in the middle. S is 1 for other layers.

    Args:
        place: the layer.
        direction: `"forward"`, or `"reverse"` for one that reads from the last real step to the first.
        opened: what the layer is.
        gates: name → (N·S, T, H), see `equations.QUANTITIES`; anything at steps that are not real.
        real: (N·S, T), True at real steps.
        lengths: (N·S,), number of real steps.
        final: (N, P), h after the last step; of images the mean over the positions.
        difference: the largest distance between an output of the layer and the one of the opened gates.
        space: size of the images, () for other layers.
        chosen: (S,) which positions, of the image as a row of numbers.
    """

    place: Place
    direction: str
    opened: OpenLayer
    gates: Gates
    real: Tensor
    lengths: Tensor
    final: Tensor
    difference: float
    space: tuple[int, ...] = ()
    chosen: tuple[int, ...] = (0,)

    @property
    def spec(self) -> LayerSpec:
        """Of the layer."""
        return self.opened.spec

    @property
    def positions(self) -> int:
        """S."""
        return len(self.chosen)

    @property
    def shown(self) -> int:
        """Which of the positions is shown step by step: the one in the middle of the image."""
        return self.chosen.index(_middle(self.space))

    @property
    def carried(self) -> Tensor:
        """What is carried along a unit, (N·S, T, H): the cell state of an LSTM, else the state."""
        return self.gates["cell" if self.opened.carries_cell else "hidden"]

    @property
    def kept(self) -> Tensor | None:
        """The share of it that is kept at each step; None for a plain layer, which has no gate."""
        if self.opened.carries_cell:
            share, gate = self.spec.zoneout_cell, self.gates["forget"]
        elif "update" in self.gates:
            share, gate = self.spec.zoneout_hidden, self.gates["update"]
        else:
            return None
        return (1 - share) * gate + share

    def in_time(self, values: Tensor) -> Tensor:
        """Bring values (N·S, T, …) into the order of time."""
        if self.direction == "forward":
            return values
        return Steps(self.lengths, None).turned(values)


@torch.no_grad()
def open_gates(place: Place, call: LayerCall) -> list[DirectionRun]:
    """Run a layer as it was called, and compute its gates at all steps.

    Returns:
        One run for each direction of the layer.

    Raises:
        RuntimeError: the gates do not give the output of the layer.
    """
    opened = open_layer(place.layer)
    if isinstance(place.layer, Recurrent):
        runs = _at_once(place, place.layer, opened, call)
    else:
        runs = [_by_steps(place, opened, call)]
    for run in runs:
        size = max(1.0, float(run.gates["hidden"].abs().max())) if run.real.any() else 1.0
        if not run.difference <= _TOLERANCE * size:
            raise RuntimeError(
                f"{place.path}: the gates give a state that is {run.difference:.3g} from the layer's"
            )
    return [_packed(run) for run in runs]


def _at_once(place: Place, layer: Recurrent, opened: OpenLayer, call: LayerCall) -> list[DirectionRun]:
    x, steps = call.x, call.steps
    carries = opened.carries_cell
    _, result = layer._run(x, call.state, steps.lengths, steps.mask, cells=carries)
    start = opened.start(x, call.state)
    found = []
    for number, weights in enumerate(layer.weights()):
        width, cells = layer.spec.output_size, layer.spec.hidden_size
        here = steps if number == 0 else steps.reversed()
        every = [result.output[..., number * width : (number + 1) * width]]
        if result.cells is not None:
            every.append(result.cells[0][..., number * cells : (number + 1) * cells])
        read = steps.cleared(x)
        if number == 1:
            read, every = steps.turned(read), [steps.turned(part) for part in every]
        real = _real(here, x)
        before = tuple(_before(part, first[number], real) for part, first in zip(every, start, strict=True))
        gates, after = cell_step(layer.spec, weights, read, before, opened.functions)
        found.append(
            DirectionRun(
                place,
                _direction(place, number),
                opened,
                gates,
                real,
                real.sum(dim=1),
                result.finals[0][0][number],
                _distance(after[0], every[0], real),
            )
        )
    return found


def _by_steps(place: Place, opened: OpenLayer, call: LayerCall) -> DirectionRun:
    x, steps = call.x, call.steps
    real, read = _real(steps, x), steps.cleared(x)
    state = tuple(part[0] for part in opened.start(x, call.state))
    space = tuple(state[0].shape[2:])
    chosen = _chosen(space, x.shape[0] * x.shape[1] * state[0].shape[1])
    outputs: list[Tensor] = []
    every: list[Gates] = []
    for t in range(x.shape[1]):
        gates, new = opened.step(0, read[:, t], state)
        now = real[:, t].view(-1, *(1,) * (state[0].dim() - 1))
        state = tuple(torch.where(now, a, b) for a, b in zip(new, state, strict=True))
        outputs.append(gates["hidden"])
        every.append({name: gate.flatten(2)[..., chosen] if space else gate for name, gate in gates.items()})
    output, _ = place.layer(x, call.state, lengths=steps.lengths, mask=steps.mask)
    if place.layer.return_sequences:
        difference = _distance(torch.stack(outputs, dim=1), output, real)
    else:
        difference = float((state[0] - output).abs().max())
    return DirectionRun(
        place,
        _direction(place, 0),
        opened,
        {name: _positions_apart([gates[name] for gates in every]) for name in every[0]},
        real.repeat_interleave(len(chosen), dim=0),
        real.sum(dim=1).repeat_interleave(len(chosen)),
        state[0].flatten(2).mean(dim=2) if space else state[0],
        difference,
        space,
        tuple(chosen),
    )


def _middle(space: tuple[int, ...]) -> int:
    place = 0
    for size in space:
        place = place * size + size // 2
    return place


def _chosen(space: tuple[int, ...], each: int) -> list[int]:
    """Choose positions of images by how many numbers a quantity has at each."""
    count = int(torch.Size(space).numel())
    spread = evenly(count, max(1, _MOST_NUMBERS // max(1, each))).tolist()
    return sorted({*spread, _middle(space)})


def _direction(place: Place, number: int) -> str:
    return "reverse" if (number == 1) != place.backwards else "forward"


def _real(steps: Steps, x: Tensor) -> Tensor:
    real = steps.real(x)
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if real is None else real


def _distance(found: Tensor, given: Tensor, real: Tensor) -> float:
    away = (found - given)[real].abs()
    return float(away.max()) if away.numel() else 0.0


def _positions_apart(steps: list[Tensor]) -> Tensor:
    """Join T steps, (N, F), or (N, F, S) with each position as a row of its own -> (N·S, T, F)."""
    if steps[0].dim() == 2:
        return torch.stack(steps, dim=1)
    return torch.stack([step.transpose(1, 2) for step in steps], dim=2).flatten(0, 1)


def _before(states: Tensor, first: Tensor, real: Tensor) -> Tensor:
    """Give the state before each step: that of the last real step before it, or the initial one.

    Args:
        states: (N, T, S), after each step; anything where a step is not real.
        first: (N, S).
        real: (N, T).
    """
    joined = torch.cat([first[:, None], states], dim=1)  # -> (N, 1 + T, S)
    count = torch.arange(1, states.shape[1] + 1, device=states.device)
    last = (real * count).cummax(dim=1).values  # the place in `joined` of the last real step up to here
    place = torch.nn.functional.pad(last[:, :-1], (1, 0))
    return joined.gather(1, place[..., None].expand(-1, -1, states.shape[2]))


def _packed(run: DirectionRun) -> DirectionRun:
    """Bring the real steps of each row to its front, where gaps or padding stand before them."""
    count = torch.arange(run.real.shape[1], device=run.real.device)
    if bool((run.real == (count < run.lengths[:, None])).all()):
        return run
    order = torch.argsort((~run.real).to(torch.int8), dim=1, stable=True)  # -> (N·S, T)
    gates = {name: values.gather(1, order[..., None].expand_as(values)) for name, values in run.gates.items()}
    return replace(run, gates=gates, real=run.real.gather(1, order))
