"""A tree of torch modules as a network."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import rnn

from gatestack.convert.network import Network
from gatestack.convert.ports import Port
from gatestack.convert.simplified import simplified
from gatestack.convert.torch.draw import Drawer
from gatestack.convert.torch.functions import FUNCTIONS
from gatestack.convert.torch.indexing import read_index
from gatestack.convert.torch.last_step import with_last_steps
from gatestack.convert.torch.modules import read_module
from gatestack.convert.torch.moves import MOVES
from gatestack.convert.torch.packing import read_pack, read_pad
from gatestack.convert.torch.ports import check_ports, port_type, told_ports
from gatestack.convert.torch.proof import prove
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.trace import MADE_TENSOR, Alone, is_ours, place_of, traced
from gatestack.convert.torch.values import Packed
from gatestack.errors import ArgumentError, nearest_name
from gatestack.nn import SequenceLayer

__all__ = ["from_torch"]

_TRACED = ((2, 7), (3, 11))  # rows and steps of the two runs in which sizes are told apart
_FEWER = ((2, 5), (3, 5))  # where every axis but the batch is fixed, the steps do not matter
_SEQUENCE_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    rnn.pack_padded_sequence: read_pack,
    rnn.pad_packed_sequence: read_pad,
}
_READERS: dict[str, Callable[..., Any]] = {**FUNCTIONS, **MOVES, "getitem": read_index}
_FIRST = {"input": "x", "axis": "dim", "other": "b", "exponent": "b"}  # torch's names of arguments


def from_torch(module: nn.Module, inputs: Sequence[Port] | None = None) -> Network:
    """Make a network of a tree of torch modules with recurrent ones in it.

    The code of `forward` is followed by `torch.fx`: modules of torch and layers of `gatestack.nn` become
    layers, functions of tensors become layers or operators, packed sequences become lengths. Then the network
    and the module are computed on drawn inputs of several batches and lengths, and must agree.

    Args:
        module: with weights of float32 or float64. It is not changed.
        inputs: a port for each tensor that `forward` takes, named as its parameter; "state.0" and "state.1"
            for a parameter `state` that is a pair. None tells them by the layers that read them; parameters
            with a default are then left at it.

    Returns:
        The network, in eval mode, with weights of its own. Its outputs are those of `forward`, pairs
        unfolded.

    Raises:
        ArgumentError: `forward` does something that a network cannot say: a decision that depends on a
            tensor, a function or a module without a layer, code out of sight; with module and line. Or what
            was made gives other numbers than the module.

    Example:
        >>> class Tagger(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.words = nn.Embedding(100, 8)
        ...         self.lstm = nn.LSTM(8, 16, num_layers=2, batch_first=True, bidirectional=True)
        ...         self.out = nn.Linear(32, 5)
        ...
        ...     def forward(self, words):
        ...         output, (h, c) = self.lstm(self.words(words))
        ...         return self.out(torch.relu(output[:, -1]))
        >>> network = from_torch(Tagger())
        >>> [port.described for port in network.inputs], network.outputs
        (['words (batch, any) int64'], ('out',))
        >>> [node.layer.kind for node in network.nodes]
        ['embedding', 'bidirectional', 'bidirectional', 'take', 'activation', 'dense']
    """
    if not isinstance(module, nn.Module):
        raise ArgumentError(
            f"it is of type {type(module).__name__}", where="from_torch", expected="a torch.nn.Module"
        )
    module = _unwrapped(module)
    dtype = _dtype(module)
    tree = Alone.of(module) if _is_leaf(module) else module
    with _evaluated(tree):
        given = told_ports(tree, port_type(dtype)) if inputs is None else check_ports(tree, inputs)
        graph = traced(tree, [port.name for port in given])
        _drop_unread(graph)
        drawer = Drawer(tree, graph, given)
        open_axes = any(None in port.shape for port in given)
        sizes = _TRACED if open_axes else _FEWER
        reader = TreeReader(
            tree, dtype, (_run(tree, graph, drawer, *sizes[0]), _run(tree, graph, drawer, *sizes[1]))
        )
        outputs = _read(reader, graph, given)
        network = simplified(Network(given, reader.made, outputs, name=type(tree).__name__))
        nodes, outputs = with_last_steps(network.nodes, network.outputs)
        made = Network(given, nodes, outputs, name=network.name).to(dtype).eval()
        prove(tree, made, drawer)
    return made


def _unwrapped(module: nn.Module) -> nn.Module:
    """Give what torch.compile and data-parallel wrappers hold."""
    inner = getattr(module, "_orig_mod", None)
    if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = module.module
    return inner if isinstance(inner, nn.Module) else module


def _drop_unread(graph: fx.Graph) -> None:
    for node in reversed(graph.nodes):
        if node.op not in ("placeholder", "output") and not node.users:
            graph.erase_node(node)


def _dtype(module: nn.Module) -> torch.dtype:
    found = {tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()}
    if any(isinstance(parameter, nn.UninitializedParameter) for parameter in module.parameters()):
        raise ArgumentError("it has parameters without a size", where=type(module).__name__,
                            hint="call the module once")  # fmt: skip
    for name, one in module.named_modules():
        if isinstance(one, SequenceLayer) and one.input_size is None:
            raise ArgumentError(
                f"the layer {name or type(one).__name__} is without input_size",
                where=type(module).__name__,
                hint="layer.build(input_size) makes its weights",
            )
    if len(found) > 1 or not found <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(str(dtype) for dtype in found))
        raise ArgumentError(
            f"its weights are {names}",
            where=type(module).__name__,
            expected="all float32, or all float64",
            hint="module.float() converts them",
        )
    return found.pop() if found else torch.float32


def _is_leaf(module: nn.Module) -> bool:
    torchs = type(module).__module__.startswith("torch.nn.modules.")
    return is_ours(module) or (torchs and not isinstance(module, nn.Sequential))


@contextmanager
def _evaluated(module: nn.Module) -> Iterator[None]:
    """Have every module in eval mode, and as it was afterwards, without what the trace keeps in it."""
    before = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for one, training in before:
            one.training = training
        for name in [name for name in vars(module) if name.startswith(MADE_TENSOR)]:
            delattr(module, name)


def _run(module: nn.Module, graph: fx.Graph, drawer: Drawer, rows: int, steps: int) -> dict[fx.Node, Any]:
    """Run the graph -> what each node gave."""
    recorder = _Recorder(module, graph)
    try:
        recorder.run(*drawer.draw(rows, steps))
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        where = type(module).__name__
        if recorder.reached is not None:
            where += f", {place_of(recorder.reached)}"
        raise ArgumentError(
            f"it fails on drawn inputs of {rows} rows and {steps} steps: {str(error).splitlines()[0][:300]}",
            where=where,
            hint="say the shapes that it takes: inputs=[Port(name, shape), …]",
        ) from None
    return recorder.found


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what every node gave."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, garbage_collect_values=False, graph=graph)
        self.extra_traceback = False
        self.found: dict[fx.Node, Any] = {}
        self.reached: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        self.reached = n
        self.found[n] = super().run_node(n)
        return self.found[n]


def _read(reader: TreeReader, graph: fx.Graph, inputs: Sequence[Port]) -> list[str]:
    """Read every node of the graph -> names of the outputs."""
    ports = {port.name: port for port in inputs}
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        reader.node = node
        if node.op == "placeholder":
            values[node] = reader.begin(node, ports[str(node.target)])
            continue
        args = fx.node.map_aggregate(node.args, lambda one: values[one] if isinstance(one, fx.Node) else one)
        named = fx.node.map_aggregate(
            node.kwargs, lambda one: values[one] if isinstance(one, fx.Node) else one
        )
        if node.op == "output":
            return [reader.wire(one, "an output").name for one in _flat(reader, args[0])]
        try:
            found = _value(reader, node, tuple(args), dict(named))
        except ArgumentError as error:
            if error.where and error.where.startswith(type(reader.module).__name__):
                raise
            raise reader.refuse(f"{error.where}: {error.what}" if error.where else error.what,
                                error.expected or "what a layer takes") from None  # fmt: skip
        values[node] = reader.formed(found, *reader.results(node))
    raise RuntimeError("a graph without outputs")


def _value(reader: TreeReader, node: fx.Node, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(reader.module)
    if node.op == "call_module":
        return read_module(reader, reader.module.get_submodule(str(node.target)), args, named)
    if node.target in _SEQUENCE_FUNCTIONS:
        read = _SEQUENCE_FUNCTIONS[node.target]
    else:
        name = node.target if isinstance(node.target, str) else _function_name(node.target)
        found = _READERS.get(name.removeprefix("__") if name else "")
        if found is None:
            raise reader.refuse(
                f"there is no layer that does what {_shown(node.target)} does",
                "functions that networks have",
                nearest_name(name or "", _READERS),
            )
        read = found
    named = {_FIRST.get(name, name): value for name, value in named.items()}
    try:
        inspect.signature(read).bind(reader, *args, **named)
    except TypeError as error:
        raise reader.refuse(f"arguments of {_shown(node.target)}: {error}", "those that are known") from None
    return read(reader, *args, **named)


def _function_name(target: Any) -> str:
    """Give the name of a function of torch; "" for any other function."""
    name = str(getattr(target, "__name__", ""))
    homes = (torch, nn.functional, operator)
    known = target is getattr or any(getattr(home, name, None) is target for home in homes)
    return name if known else ""


def _shown(target: Any) -> str:
    return f"the method {target!r}" if isinstance(target, str) else f"{getattr(target, '__name__', target)!r}"


def _flat(reader: TreeReader, found: Any) -> list[Any]:
    if isinstance(found, tuple | list):
        return [one for part in found for one in _flat(reader, part)]
    if isinstance(found, dict | Packed):
        raise reader.refuse(f"forward returns a {type(found).__name__}", "tensors, or tuples of them")
    return [found]
