"""A network, or a layer of `gatestack.nn`, as modules of torch alone."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatestack.convert.examples import computable, draw_inputs
from gatestack.convert.network import Network
from gatestack.convert.proof import TOLERANCE, Array, compare
from gatestack.convert.torch.from_torch import from_torch
from gatestack.convert.torch.own_layers import OWN_LAYERS
from gatestack.convert.torch.source import SourceWriter
from gatestack.convert.torch.source_layers import LAYER_LINES
from gatestack.convert.torch.source_operators import write_operator
from gatestack.convert.torch.source_recurrent import grouped, write_group
from gatestack.errors import ArgumentError
from gatestack.nn import SequenceLayer

__all__ = ["TorchSource", "network_of", "to_torch", "torch_source"]

_PROVED = ((1, 1), (2, 5), (3, 9))


@dataclass(frozen=True)
class TorchSource:
    """A network as Python source for torch.

    Args:
        text: of a module of Python that imports torch, and nothing of Gatestack.
        class_name: of the network in it.
        state: its weights: name in the `state_dict` to tensor of the network's.
        attributes: modules and tensors that it holds.
    """

    text: str
    class_name: str
    state: dict[str, Tensor]
    attributes: tuple[str, ...]

    def make(self) -> nn.Module:
        """Make the network, with weights that are drawn anew; in train mode."""
        name = f"<{self.class_name}, written by Gatestack {id(self)}>"
        # Tracebacks and inspect.getsource find the lines here.
        linecache.cache[name] = (len(self.text), None, self.text.splitlines(True), name)
        space: dict[str, Any] = {"__name__": "gatestack_network", "__file__": name}
        exec(compile(self.text, name, "exec"), space)
        made: nn.Module = space[self.class_name]()
        return made


def to_torch(model: Network | SequenceLayer) -> nn.Module:
    """Make modules of torch that compute what a network or a layer computes.

    No class of Gatestack is inside; recurrent layers of equal size on top of each other become one module
    with `num_layers`, its `state_dict` with torch's names. What is made is compared with the model on drawn
    inputs.

    Args:
        model: a network, or a layer of `gatestack.nn`: `LSTM`, `GRU`, `RNN`, `Stack`.

    Returns:
        For a network a module whose `forward` takes its inputs and gives its outputs. For a layer that one
        `nn.LSTM`, `nn.GRU` or `nn.RNN` computes, this one, with batch_first=True. In eval mode, with weights
        of its own.

    Raises:
        ArgumentError: plain torch does not compute a layer, such as a GRU that resets before the product,
            peepholes, a convolutional LSTM, masks; names the node.

    Example:
        >>> from gatestack.nn import LSTM, Stack
        >>> plain = to_torch(Stack(LSTM(8), LSTM(8), input_size=3, dropout=0.2))
        >>> plain
        LSTM(3, 8, num_layers=2, batch_first=True, dropout=0.2)
        >>> sorted(plain.state_dict())[:2]
        ['bias_hh_l0', 'bias_hh_l1']
    """
    network = network_of(model)
    source = torch_source(network)
    made = source.make().to(network.dtype)
    made.load_state_dict({name: tensor.detach().clone() for name, tensor in source.state.items()})
    made.eval()
    _prove(network, made)
    if isinstance(model, SequenceLayer) and len(source.attributes) == 1 and _whole(network):
        alone = getattr(made, source.attributes[0])
        if isinstance(alone, nn.RNNBase):
            return alone
    return made


def network_of(model: object) -> Network:
    """Give a network as it is, and make one of a layer.

    Args:
        model: a network, or a layer of `gatestack.nn`.

    Raises:
        ArgumentError: it is neither.
    """
    if isinstance(model, Network):
        return model
    if type(model) in OWN_LAYERS and isinstance(model, SequenceLayer):
        return from_torch(model)
    raise ArgumentError(
        f"the model is of type {type(model).__name__}",
        where="to_torch",
        expected="a Network, or LSTM, GRU, RNN, Stack of gatestack.nn",
        hint="ONNX takes a Forecaster and every layer: it has what torch's modules have not",
    )


def torch_source(network: Network) -> TorchSource:
    """Write a network as Python source for torch.

    Args:
        network: with or without memory for its weights.

    Returns:
        The source, and the names of its weights.

    Raises:
        ArgumentError: plain torch does not compute a layer; names the node.

    Example:
        >>> from gatestack.nn import GRU
        >>> source = torch_source(network_of(GRU(4, input_size=3)))
        >>> [line.strip() for line in source.text.splitlines() if "nn.GRU" in line]
        ['self.gru = nn.GRU(3, 4, batch_first=True)']
    """
    writer = SourceWriter(network)
    groups = grouped(writer)
    ends = {group.nodes[-1].name: group for group in groups}
    inside = {node.name for group in groups for node in group.nodes[:-1]}
    inside |= {name for group in groups for name in group.dropouts}
    for node in network.nodes:
        if node.name in ends:
            write_group(writer, ends[node.name])
        elif node.name in inside or writer.is_written(node.name):
            continue
        elif node.layer.kind == "operator":
            write_operator(writer, node)
        elif node.layer.kind in LAYER_LINES:
            LAYER_LINES[node.layer.kind](writer, node)
        else:
            raise writer.refuse(node, f"a layer of the kind {node.layer.kind}")
    return TorchSource(writer.finish(), writer.class_name, writer.state, tuple(writer.modules))


def _whole(network: Network) -> bool:
    """Whether the first output has every step, so that the module alone gives it."""
    kinds = [node.layer for node in network.nodes if node.layer.kind in ("recurrent", "bidirectional")]
    return all(
        getattr(layer.options, "forward", layer.options).return_sequences
        and getattr(layer.options, "merge", "concat") == "concat"
        for layer in kinds
    )


@torch.no_grad()
def _prove(network: Network, made: nn.Module) -> None:
    """Compare on inputs of several sizes."""

    def call(rows: int, steps: int) -> tuple[list[Array], Any]:
        drawn = draw_inputs(network, rows=rows, steps=steps, seed=steps)
        return drawn, network.predict(*drawn)

    for drawn, expected in computable(_PROVED, call, where=network.name)[0]:
        tensors = [torch.as_tensor(array) for array in drawn]
        tensors = [one.to(network.dtype) if one.is_floating_point() else one for one in tensors]
        try:
            found = made(*tensors)
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise ArgumentError(
                f"torch cannot compute it: {str(error).splitlines()[0][:200]}", where=network.name
            ) from None
        pairs = zip(_several(expected), _several(found), strict=True)
        for number, (a, b) in enumerate(pairs):
            gap = compare([np.asarray(a)], [b.numpy()], TOLERANCE)
            if gap.share > 1:
                raise ArgumentError(
                    f"output {number} in torch differs by {gap.largest:.3g}",
                    where=network.name,
                    expected=f"at most {gap.allowed:.3g}",
                )


def _several(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)
