"""Running a network on its fast path, noting what each recurrent layer reads, and opening the gates after.

A hook notes the input of each layer; the layer itself runs on the kernels as ever. From that input, and from
the states that the layer gives when the kernels run it once more, the gates of all steps are computed at
once: every step's old state is known, so no loop over time is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError
from gatestack.inspect.equations import Gates, cell_step
from gatestack.kernels.spec import LayerSpec
from gatestack.nn import Bidirectional, ConvLSTM, Loop
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.stack import Stack
from gatestack.nn.steps import Steps

__all__ = ["DirectionRun", "LayerCall", "Place", "find_places", "noted_calls", "open_gates", "replaced"]

# Recomputed from the same numbers in float64, states of about 1 agree to 1e-12.
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Place:
    """A recurrent layer in a network.

    Args:
        number: from 1, in the order in which the network runs them; the same for the two layers that are
            the directions of one.
        path: its name in the network, as `named_modules` has it.
        layer: the layer.
        backwards: whether what it reads has been turned round in time by something around it.
        residual: whether its input is added to its output.
    """

    number: int
    path: str
    layer: Recurrent
    backwards: bool
    residual: bool

    @property
    def name(self) -> str:
        """For tables and figures: `layer 2`."""
        return f"layer {self.number}"


@dataclass(frozen=True, eq=False)
class LayerCall:
    """What a layer was called with.

    Args:
        x: (N, T, C).
        state: as it was given, or None.
        steps: the real ones.
    """

    x: Tensor
    state: Any
    steps: Steps


@dataclass(frozen=True, eq=False)
class DirectionRun:
    """One direction of one layer over N sequences, each in the order in which the direction reads it.

    Args:
        place: the layer.
        direction: `"forward"`, or `"reverse"` for one that reads from the last real step to the first.
        spec: of the layer.
        gates: name → (N, T, H), see `equations.QUANTITIES`; anything at steps that are not real.
        real: (N, T), True at real steps.
        lengths: (N,), number of real steps.
        final: (N, P), h after the last step.
        difference: the largest distance between an output of the layer and the one of the opened gates.
    """

    place: Place
    direction: str
    spec: LayerSpec
    gates: Gates
    real: Tensor
    lengths: Tensor
    final: Tensor
    difference: float

    @property
    def carried(self) -> Tensor:
        """What is carried along a unit, (N, T, H): the cell state of an LSTM, else the state."""
        return self.gates["cell" if self.spec.cell == "lstm" else "hidden"]

    @property
    def kept(self) -> Tensor | None:
        """The share of it that is kept at each step, (N, T, H); None for a plain layer, which has no gate."""
        if self.spec.cell == "lstm":
            share, gate = self.spec.zoneout_cell, self.gates["forget"]
        elif "update" in self.gates:
            share, gate = self.spec.zoneout_hidden, self.gates["update"]
        else:
            return None
        return (1 - share) * gate + share

    def in_time(self, values: Tensor) -> Tensor:
        """Bring values (N, T, …) into the order of time."""
        if self.direction == "forward":
            return values
        return Steps(self.lengths, None).turned(values)


def find_places(network: nn.Module, run: Callable[[], object], backwards: frozenset[str]) -> list[Place]:
    """Find the recurrent layers that a run of a network goes through, in the order in which it does.

    Args:
        network: any module.
        run: computes it once.
        backwards: see `Subject`.

    Raises:
        ArgumentError: there is none whose gates can be opened.
    """
    calls: list[str] = []
    layers = {path: layer for path, layer in network.named_modules() if isinstance(layer, Recurrent)}
    with noted_calls(layers, calls.append):
        run()
    order = list(dict.fromkeys(calls))
    if not order:
        closed = closed_layers(network)
        raise ArgumentError(
            f"there is no layer to look into{': ' + ', '.join(closed) if closed else ''}",
            where="inspect",
            expected="an LSTM, GRU or RNN layer with the usual functions, which the network runs",
        )
    reverse = {
        f"{path}.reverse_layer".lstrip(".")
        for path, module in network.named_modules()
        if isinstance(module, Bidirectional)
    } | set(backwards)
    added = _residual(network)
    # The two halves of a layer that reads both ways have one number.
    halves = [re.sub(r"\b(reverse|backward)_layer\b", "forward_layer", path) for path in order]
    numbers = {half: number for number, half in enumerate(dict.fromkeys(halves), start=1)}
    return [
        Place(
            numbers[half],
            path,
            layers[path],
            backwards=any(path == root or path.startswith(root + ".") for root in reverse),
            residual=path in added,
        )
        for half, path in zip(halves, order, strict=True)
    ]


def closed_layers(network: nn.Module) -> list[str]:
    """Name the layers over time that have gates, or states, that are not opened here."""
    return [
        f"{path or 'the network'} ({type(module.cell if isinstance(module, Loop) else module).__name__})"
        for path, module in network.named_modules()
        if isinstance(module, Loop | ConvLSTM)
    ]


@contextmanager
def noted_calls(
    layers: dict[str, Recurrent], note: Callable[[str], None], calls: dict[str, LayerCall] | None = None
) -> Iterator[None]:
    """Note which layers are called, in order, and with what each was called first.

    Args:
        layers: path → layer.
        note: is told the path at each call.
        calls: gets the first call of each.
    """
    handles = []
    for path, layer in layers.items():

        def before(
            module: nn.Module, given: tuple[Any, ...], options: dict[str, Any], path: str = path
        ) -> None:
            note(path)
            if calls is not None and path not in calls:
                x = given[0]
                state = given[1] if len(given) > 1 else options.get("state")
                steps = Steps.read(x, options.get("lengths"), options.get("mask"), type(module).__name__)
                calls[path] = LayerCall(x.detach(), state, steps)

        handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def open_gates(place: Place, call: LayerCall) -> list[DirectionRun]:
    """Run a layer on the kernels as it was called, and compute its gates at all steps.

    Returns:
        One run for each direction of the layer.

    Raises:
        RuntimeError: the gates do not give the output of the layer.
    """
    layer, x, steps = place.layer, call.x, call.steps
    _, result = layer._run(x, call.state, steps.lengths, steps.mask, cells=layer.spec.cell == "lstm")
    start = layer._states(x, call.state)
    if start is None:
        sizes = layer.spec.state_sizes
        start = tuple(x.new_zeros(layer.num_directions, len(x), size) for size in sizes)
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
        real = here.real(x)
        if real is None:
            real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        before = tuple(_before(part, first[number], real) for part, first in zip(every, start, strict=True))
        gates, after = cell_step(layer.spec, weights, read, before)
        away = (after[0] - every[0]).masked_fill(~real[..., None], 0.0).abs()
        difference = float(away.max()) if away.numel() else 0.0
        if not difference <= _TOLERANCE * max(1.0, float(every[0].abs().max())):
            raise RuntimeError(
                f"{place.path}: the gates give a state that is {difference:.3g} from the layer's"
            )
        turned = (number == 1) != place.backwards
        run = DirectionRun(
            place,
            "reverse" if turned else "forward",
            layer.spec,
            gates,
            real,
            real.sum(dim=1),
            result.finals[0][0][number],
            difference,
        )
        found.append(_packed(run))
    return found


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
    order = torch.argsort((~run.real).to(torch.int8), dim=1, stable=True)  # -> (N, T)
    gates = {name: values.gather(1, order[..., None].expand_as(values)) for name, values in run.gates.items()}
    return DirectionRun(
        run.place,
        run.direction,
        run.spec,
        gates,
        run.real.gather(1, order),
        run.lengths,
        run.final,
        run.difference,
    )


@contextmanager
def replaced(network: nn.Module, modules: dict[str, nn.Module]) -> Iterator[None]:
    """Put other modules into the places of some, for as long as the block runs."""
    before = {path: network.get_submodule(path) for path in modules}

    def put(path: str, module: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, module)

    for path, module in modules.items():
        put(path, module)
    try:
        yield
    finally:
        for path, module in before.items():
            put(path, module)


def _residual(network: nn.Module) -> set[str]:
    """Give the paths of the layers whose input their stack adds to their output."""
    found = set()
    for path, module in network.named_modules():
        if isinstance(module, Stack) and module.residual:
            for number in range(1, len(module.layers)):
                found.add(f"{path}.layers.{number}".lstrip("."))
    return found
