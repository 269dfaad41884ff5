"""The inputs of a module tree: told by what reads them, where that says enough."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import rnn

from gatestack.convert.ports import Port, PortType
from gatestack.convert.torch.trace import forward_parameters, place_of, traced
from gatestack.errors import ArgumentError, nearest_name
from gatestack.nn import Stack
from gatestack.nn.recurrent import Recurrent

__all__ = ["check_ports", "told_ports"]

# Modules and functions that leave the number of axes and their order as they are.
_KEEP = (nn.Dropout, nn.LayerNorm, nn.Linear, nn.Identity, nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU)
_KEEP_FUNCTIONS = (
    "cpu",
    "long",
    "to",
    "tolist",
    "relu",
    "tanh",
    "sigmoid",
    "dropout",
    "gelu",
    "mul",
    "add",
    "sub",
    "truediv",
)


@dataclass(frozen=True)
class _Told:
    """What the readers of a tensor say of it: its axes without the batch, the place of the batch."""

    shape: tuple[int | None, ...]
    batch_axis: int = 0
    parts: int = 1  # tensors in a state that is one parameter
    whole: bool = False


def told_ports(module: nn.Module, dtype: PortType) -> tuple[Port, ...]:
    """Tell the inputs by the first layers that read them.

    Args:
        module: in eval mode.
        dtype: of inputs that are no whole numbers.

    Raises:
        ArgumentError: what reads an input does not say enough.
    """
    names = [
        name
        for name, parameter in forward_parameters(module).items()
        if parameter.default is inspect.Parameter.empty
    ]
    graph = traced(module, names)
    found: list[Port] = []
    for node in graph.nodes:
        if node.op != "placeholder":
            continue
        told = _told(module, node, 0)
        if told is None:
            users = ", ".join(place_of(user) for user in node.users) or "nothing"
            raise ArgumentError(
                f"the input {node.target!r} is read by {users}, which does not tell its shape",
                where=type(module).__name__,
                expected="inputs=[Port(name, shape), …], one for each parameter of forward",
                hint=f'for example inputs=[Port("{node.target}", (None, 3))]: any number of steps',
            )
        kind: PortType = "int64" if told.whole else dtype
        numbers = [""] if told.parts == 1 else [f".{number}" for number in range(told.parts)]
        found += [Port(f"{node.target}{number}", told.shape, kind, told.batch_axis) for number in numbers]
    return tuple(found)


def check_ports(module: nn.Module, inputs: Sequence[Port]) -> tuple[Port, ...]:
    """Refuse inputs that are not parameters of `forward`, or that leave one out which it needs.

    Args:
        module: whose inputs they are.
        inputs: as the user gave them.
    """
    parameters = forward_parameters(module)
    owner = type(module).__name__
    given = [port.name.rpartition(".")[0] or port.name for port in inputs]
    for port, name in zip(inputs, given, strict=True):
        if name not in parameters:
            raise ArgumentError(
                f"there is no parameter {name!r} of forward for the input {port.name!r}",
                where=owner,
                hint=nearest_name(name, parameters),
            )
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in given:
            raise ArgumentError(f"the parameter {name!r} of forward has no input", where=owner,
                                expected="a Port for it")  # fmt: skip
    return tuple(inputs)


def _told(module: nn.Module, node: fx.Node, depth: int) -> _Told | None:
    """Ask the readers of a node, and those behind readers that keep the axes."""
    for user in node.users:
        found = _told_by(module, node, user, depth) if depth < 20 else None
        if found is not None:
            return found
    return None


def _told_by(module: nn.Module, node: fx.Node, user: fx.Node, depth: int) -> _Told | None:
    if user.op == "call_module":
        return _told_by_module(module, module.get_submodule(str(user.target)), node, user, depth)
    if user.target is rnn.pack_padded_sequence:
        return _told_by_packing(module, node, user, depth)
    name = user.target if isinstance(user.target, str) else getattr(user.target, "__name__", "")
    if name in _KEEP_FUNCTIONS:
        return _told(module, user, depth + 1)
    return None


def _told_by_module(module: nn.Module, called: Any, node: fx.Node, user: fx.Node, depth: int) -> _Told | None:
    first = user.args[0] is node if user.args else True
    if isinstance(called, nn.RNNBase):
        if not first:
            size = called.proj_size or called.hidden_size
            parts = 2 if called.mode == "LSTM" else 1
            if parts == 2 and called.proj_size:
                return None  # h and c are of two sizes
            return _Told((called.num_layers * (1 + called.bidirectional), size), 1, parts)
        return _Told((None, called.input_size), 0 if called.batch_first else 1)
    if isinstance(called, nn.RNNCellBase):
        parts = 2 if isinstance(called, nn.LSTMCell) else 1
        return _Told((called.input_size,)) if first else _Told((called.hidden_size,), 0, parts)
    if isinstance(called, Recurrent | Stack):
        if user.kwargs.get("lengths") is node:
            return _Told((), whole=True)
        return _Told((None, called.input_size)) if first and called.input_size else None
    if isinstance(called, nn.Embedding):
        behind = _told(module, user, depth + 1)
        shape = (None,) if behind is None else behind.shape[:-1]
        return _Told(shape, 0 if behind is None else behind.batch_axis, whole=True)
    if isinstance(called, _KEEP):
        behind = _told(module, user, depth + 1)
        features = getattr(called, "in_features", None)
        if behind is not None and features is not None:
            return replace(behind, shape=(*behind.shape[:-1], features))
        return behind
    return None


def _told_by_packing(module: nn.Module, node: fx.Node, user: fx.Node, depth: int) -> _Told | None:
    names = ("input", "lengths", "batch_first")
    given = dict(zip(names, user.args, strict=False)) | dict(user.kwargs)
    if given.get("lengths") is node:
        return _Told((), whole=True)
    behind = _told(module, user, depth + 1)
    if behind is None or not isinstance(behind.shape[-1], int):
        return None
    return _Told((None, behind.shape[-1]), 0 if given.get("batch_first") else 1)


def lengths_of(graph: fx.Graph) -> dict[Any, bool]:
    """Find the inputs that are lengths of rows -> whether they must come in falling order."""
    found: dict[Any, bool] = {}
    for node in graph.nodes:
        if node.target is rnn.pack_padded_sequence:
            given = dict(zip(("input", "lengths", "batch_first", "enforce_sorted"), node.args, strict=False))
            given |= node.kwargs
            source = given.get("lengths")
            while isinstance(source, fx.Node) and source.op == "call_method" and source.args:
                source = source.args[0]
            if isinstance(source, fx.Node) and source.op == "placeholder":
                found[source.target] = bool(given.get("enforce_sorted", True))
        elif isinstance(node.kwargs.get("lengths"), fx.Node):
            found.setdefault(node.kwargs["lengths"].target, False)
    return found


def vocabulary_of(module: nn.Module, graph: fx.Graph) -> int:
    """Give how many numbers every embedding of a tree knows; 10 where there is none."""
    sizes = [
        called.num_embeddings
        for node in graph.nodes
        if node.op == "call_module"
        and isinstance(called := module.get_submodule(str(node.target)), nn.Embedding)
    ]
    return min(sizes, default=10)


def port_type(dtype: torch.dtype) -> PortType:
    """Give the dtype of inputs to weights of this dtype.

    Example:
        >>> port_type(torch.float64)
        'float64'
    """
    return "float64" if dtype == torch.float64 else "float32"
