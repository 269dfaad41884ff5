"""A graph of torch on its way to a network: the nodes made so far, and what is known of each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from gatestack.convert.layers import Constant, ConstantOptions, NetworkLayer, Operator, OperatorOptions
from gatestack.convert.ports import Node, Port
from gatestack.convert.torch.trace import place_of
from gatestack.convert.torch.values import Extent, Unusable, Wire, Zeros, pairs_of
from gatestack.errors import ArgumentError

__all__ = ["TreeReader"]

_FLOAT32 = 1  # ONNX' number, which the operator Cast takes


class TreeReader:
    """The network that grows, and the value of every node of the graph that was read.

    Args:
        module: the tree.
        dtype: of its weights.
        runs: of the module on inputs of two sizes: the result of each node.

    Attributes:
        module, dtype: what was given.
        made: the nodes of the network so far.
        layers: what was made of a module of the tree; one that is called twice is made once.
        node: of the graph, which is read now.
    """

    def __init__(
        self, module: nn.Module, dtype: torch.dtype, runs: tuple[dict[fx.Node, Any], dict[fx.Node, Any]]
    ) -> None:
        self.module = module
        self.dtype = dtype
        self.made: list[Node] = []
        self.layers: dict[Any, Any] = {}
        self.node: fx.Node | None = None
        self._runs = runs
        self._names: set[str] = set()
        self._extents: dict[tuple[str, int], Extent] = {}
        self._numbers: dict[tuple[str, Any], str] = {}

    def begin(self, node: fx.Node, port: Port) -> Wire:
        """Take an input of the network."""
        self._names.add(port.name)
        return self._wire(port.name, *self.results(node))

    def results(self, node: fx.Node | None = None) -> tuple[Any, Any]:
        """Give what a node, by default the one that is read now, gave in the two runs."""
        wanted = node or self.current
        return self._runs[0][wanted], self._runs[1][wanted]

    @property
    def current(self) -> fx.Node:
        """The node that is read now."""
        if self.node is None:
            raise RuntimeError("no node is read")
        return self.node

    @property
    def target(self) -> str:
        """Where the module is that is called now, such as "encoder.lstm"."""
        return str(self.current.target)

    def check_plain(self, module: nn.Module) -> None:
        """Refuse a module that does more than its class says."""
        if module._forward_hooks or module._forward_pre_hooks or hasattr(module, "parametrizations"):
            raise self.refuse(
                f"{type(module).__name__} has hooks or parametrizations",
                "a module as torch has it",
                "remove them first, as torch.nn.utils.parametrize.remove_parametrizations does",
            )

    def formed(self, found: Any, first: Any, second: Any) -> Any:
        """Make values of what a reader of a node gives: names become wires with the sizes of the runs."""
        if isinstance(found, str):
            return self._wire(found, first, second)
        if isinstance(found, tuple) and isinstance(first, tuple | list) and len(found) == len(first):
            return tuple(self.formed(*three) for three in zip(found, first, second, strict=True))
        return found

    def add(self, layer: NetworkLayer, inputs: Sequence[str], name: str | None = None) -> str:
        """Add a node to the network -> the name of its output.

        Args:
            layer: already with its weights.
            inputs: names.
            name: of the node, or one like it; None for that of the node that is read.
        """
        wanted = name or self._shown_name()
        free, number = wanted, 1
        while free in self._names:
            number += 1
            free = f"{wanted}_{number}"
        self._names.add(free)
        self.made.append(Node(free, layer, tuple(inputs)))
        return free

    def operate(self, operator: str, inputs: Sequence[str], *, outputs: int = 1, **attributes: Any) -> str:
        """Add an operator of ONNX -> the name of its output."""
        options = OperatorOptions(operator=operator, attributes=attributes, outputs=outputs)
        return self.add(Operator(options), inputs)

    def name(self, value: Any, like: torch.dtype | None = None) -> str:
        """Give the output in the network that holds a value; a number gets a node of its own.

        Args:
            value: a wire, a size, a tensor, a number.
            like: dtype of the tensor that it meets; whole numbers become floats with floats.

        Raises:
            ArgumentError: it is none of these.
        """
        floats = like is not None and like.is_floating_point
        if isinstance(value, Wire):
            return value.name
        if isinstance(value, Extent):
            return self.operate("Cast", [value.name], to=_FLOAT32) if floats else value.name
        if isinstance(value, Zeros):
            return self.operate("ConstantOfShape", [self.vector(value.shape)], value=0.0)
        if isinstance(value, Tensor):
            return self.constant(value)
        if isinstance(value, bool | int | float):
            key = ("float" if floats else type(value).__name__, value)
            if key not in self._numbers:
                tensor = torch.tensor(float(value) if floats else value)
                self._numbers[key] = self.constant(tensor, name="number")
            return self._numbers[key]
        raise self.refuse(_described(value), "a tensor or a number")

    def constant(self, tensor: Tensor, name: str | None = None) -> str:
        """Add a tensor as a node: trainable where it is a parameter, else as it is."""
        kind = "float32" if tensor.is_floating_point() else "int64"
        kind = "bool" if tensor.dtype == torch.bool else kind
        trainable = isinstance(tensor, nn.Parameter) and kind == "float32"
        layer = Constant(
            ConstantOptions.model_validate(
                {"shape": tuple(tensor.shape), "dtype": kind, "trainable": trainable}
            )
        ).to(self.dtype)
        with torch.no_grad():
            layer.value.copy_(tensor)
        return self.add(layer, (), name)

    def extent(self, wire: Wire, axis: int) -> int | Extent:
        """Give the size of an axis: a number where both runs have the same, else what holds it."""
        place = wire.axis(axis)
        size = wire.sizes[place]
        if size[0] == size[1]:
            return size[0]
        if (wire.name, place) not in self._extents:
            name = self.operate("Shape", [wire.name], start=place, end=place + 1)
            self._extents[wire.name, place] = Extent(name, size)
        return self._extents[wire.name, place]

    def vector(self, sizes: Sequence[Any]) -> str:
        """Add the vector of several sizes, each a whole number or an `Extent`."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(torch.tensor(list(sizes), dtype=torch.int64), name="sizes")
        parts = [
            size.name if isinstance(size, Extent) else self.constant(torch.tensor([size]), name="sizes")
            for size in sizes
        ]
        return self.operate("Concat", parts, axis=0)

    def refuse(self, what: str, expected: str, hint: str | None = None) -> ArgumentError:
        """Make the error that names the node that is read."""
        where = type(self.module).__name__
        if self.node is not None:
            where += f", {place_of(self.node)}"
        return ArgumentError(what, where=where, expected=expected, hint=hint)

    def wire(self, value: Any, what: str = "it") -> Wire:
        """Refuse a value that is not a tensor of the network."""
        if isinstance(value, Wire):
            return value
        if isinstance(value, Zeros | Tensor):
            name = self.name(value)
            sizes = value.shape if isinstance(value, Tensor) else [_pair(size) for size in value.shape]
            return Wire(name, tuple(_pair(size) for size in sizes), self.dtype)
        raise self.refuse(f"{what} is {_described(value)}", "a tensor")

    def _wire(self, name: str, first: Any, second: Any) -> Wire:
        return Wire(name, pairs_of(first, second), first.dtype)

    def _shown_name(self) -> str:
        if self.node is None:
            return "node"
        return str(self.node.target) if self.node.op == "call_module" else self.node.name


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, Extent):
        return size.size
    return size if isinstance(size, tuple) else (size, size)


def _described(value: Any) -> str:
    if isinstance(value, Unusable):
        return value.what
    if isinstance(value, Extent):
        return "a size that is known only when it runs"
    return f"of type {type(value).__name__}"
