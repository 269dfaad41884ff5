"""Running a network on its fast path, and noting what each recurrent layer reads.

A hook notes the input of each layer; the layer itself runs on the kernels as ever, to the same bits. The
gates are opened afterwards (`opening`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gatestack.errors import ArgumentError
from gatestack.inspect.opened import can_be_opened
from gatestack.nn import Bidirectional, Loop, SequenceLayer
from gatestack.nn.stack import Stack
from gatestack.nn.steps import Steps

__all__ = ["LayerCall", "Place", "calls_of", "closed_layers", "find_places", "noted_calls", "replaced"]


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
    layer: SequenceLayer
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
        x: (N, T, C), of a convolutional layer (N, T, C, *space).
        state: as it was given, or None.
        steps: the real ones.
    """

    x: Tensor
    state: Any
    steps: Steps


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
    layers = {
        path: layer
        for path, layer in network.named_modules()
        if isinstance(layer, SequenceLayer) and can_be_opened(layer)
    }
    with noted_calls(layers, calls.append):
        run()
    order = list(dict.fromkeys(calls))
    if not order:
        closed = closed_layers(network)
        raise ArgumentError(
            f"there is no layer to look into{': ' + ', '.join(closed) if closed else ''}",
            where="inspect",
            expected="an LSTM, GRU, RNN or ConvLSTM layer that the network runs",
            hint="cells that are made of several can be looked into as layers of a Stack" if closed else None,
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
    """Name the layers over time whose gates are not opened here: those of a cell made of several."""
    return [
        f"{path or 'the network'} ({type(module.cell).__name__})"
        for path, module in network.named_modules()
        if isinstance(module, Loop) and not can_be_opened(module)
    ]


@contextmanager
def noted_calls(
    layers: dict[str, SequenceLayer], note: Callable[[str], None], calls: dict[str, LayerCall] | None = None
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


def calls_of(
    run: Callable[[nn.Module, Tensor], object], network: nn.Module, places: Sequence[Place], inputs: Tensor
) -> dict[str, LayerCall]:
    """Run a network and give what each of its layers was called with first, by path.

    Args:
        run: see `Subject`.
        network: any.
        places: its layers.
        inputs: what the network reads.
    """
    calls: dict[str, LayerCall] = {}
    with noted_calls({place.path: place.layer for place in places}, lambda _: None, calls):
        run(network, inputs)
    return calls


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
