"""The weights of a layer as Keras names, orders and shapes them, each with its place in our layer.

Keras multiplies from the other side, so that its matrices are ours transposed. Its gates are i f c o for the
LSTM, ours i f g o, which are the same; z r h for the GRU, ours r z n. An LSTM has one bias where we, like
torch, have two that are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.convert.layers import (
    Attention,
    BatchNorm,
    BidirectionalLayer,
    ConvLSTMLayer,
    Convolution,
    Dense,
    Embedding,
    LayerNorm,
    NetworkLayer,
    PerStepLayer,
    RecurrentLayer,
    Standardise,
)

__all__ = ["Slot", "slots_of"]

Array = npt.NDArray[Any]
# Made when weights are moved and not before: sizes that a file claims must take no memory.
Order = Callable[[], Tensor]


@dataclass(frozen=True)
class Slot:
    """One weight of a layer, as Keras has it.

    Args:
        path: where it is inside its layer in a `.keras` file, such as "cell" or "forward_layer/cell".
        name: such as "kernel".
        shape: in Keras.
        put: takes an array of this shape into our layer.
        get: gives it from there.
        trained: by gradients. Default True.
        whole: of whole numbers. Default False.

    Example:
        >>> from gatestack.convert.layers import DenseOptions
        >>> [(slot.name, slot.shape) for slot in slots_of(Dense(DenseOptions(units=2, input_size=3)))]
        [('kernel', (3, 2)), ('bias', (2,))]
    """

    path: str
    name: str
    shape: tuple[int, ...]
    put: Callable[[Array], None]
    get: Callable[[], Array]
    trained: bool = True
    whole: bool = False


def slots_of(layer: NetworkLayer) -> list[Slot]:
    """List the weights of a layer in the order of Keras; none for a layer without weights.

    Args:
        layer: one of a `Network`.

    Example:
        >>> from gatestack.convert.layers import RecurrentOptions
        >>> layer = RecurrentLayer(RecurrentOptions(cell="gru", input_size=3, hidden_size=4))
        >>> [(slot.path, slot.name, slot.shape) for slot in slots_of(layer)]
        [('cell', 'kernel', (3, 12)), ('cell', 'recurrent_kernel', (4, 12)), ('cell', 'bias', (2, 12))]
    """
    return list(_slots(layer, ""))


def _slots(layer: NetworkLayer, path: str) -> Iterator[Slot]:
    if isinstance(layer, RecurrentLayer):
        yield from _recurrent(layer, f"{path}cell")
    elif isinstance(layer, ConvLSTMLayer):
        yield from _convolutional(layer, f"{path}cell")
    elif isinstance(layer, BidirectionalLayer):
        yield from _slots(layer.forward_layer, f"{path}forward_layer/")
        yield from _slots(layer.backward_layer, f"{path}backward_layer/")
    elif isinstance(layer, PerStepLayer):
        yield from _slots(layer.layer, f"{path}layer/")
    elif isinstance(layer, Dense):
        yield _turned(path[:-1], "kernel", layer.linear.weight)
        if layer.options.bias:
            yield _plain(path[:-1], "bias", layer.linear.bias)
    elif isinstance(layer, Embedding):
        yield _plain(path[:-1], "embeddings", layer.table.weight)
    elif isinstance(layer, BatchNorm | LayerNorm):
        yield from _norm(layer, path[:-1])
    elif isinstance(layer, Convolution):
        yield _convolution(path[:-1], "kernel", layer.conv.weight)
        if layer.conv.bias is not None:
            yield _plain(path[:-1], "bias", layer.conv.bias)
    elif isinstance(layer, Attention):
        for name, ours in (("scale", layer.scale), ("concat_score_weight", layer.weight)):
            if ours is not None:
                yield _plain(path[:-1], name, ours)
    elif isinstance(layer, Standardise) and layer.options.mean is None:
        yield _plain(path[:-1], "mean", layer.mean, trained=False)
        yield _plain(path[:-1], "variance", layer.variance, trained=False)
        yield _count(path[:-1])


def _norm(layer: BatchNorm | LayerNorm, path: str) -> Iterator[Slot]:
    if layer.options.scale:
        yield _plain(path, "gamma", layer.norm.weight)
    if layer.options.center:
        yield _plain(path, "beta", layer.norm.bias)
    if isinstance(layer, BatchNorm):
        for name in ("mean", "variance"):
            ours = layer.norm.running_mean if name == "mean" else layer.norm.running_var
            if ours is not None:
                yield _plain(path, f"moving_{name}", ours, trained=False)


def _recurrent(layer: RecurrentLayer, path: str) -> Iterator[Slot]:
    options, weights = layer.options, layer.weights
    order = partial(_order, options.cell, options.hidden_size)
    for name, ours in (("kernel", "weight_ih_l0"), ("recurrent_kernel", "weight_hh_l0")):
        yield _turned(path, name, weights.get_parameter(ours), order)
    if not options.bias:
        return
    biases = [weights.get_parameter(name) for name in ("bias_ih_l0", "bias_hh_l0")]
    if options.cell == "gru" and options.reset == "after":
        yield _two_biases(path, biases, order)
    else:
        yield _one_bias(path, biases, order)


def _convolutional(layer: ConvLSTMLayer, path: str) -> Iterator[Slot]:
    weights, order = layer.weights, partial(_order, "lstm", layer.options.channels)
    for name, ours in (("kernel", "weight_ih_l0"), ("recurrent_kernel", "weight_hh_l0")):
        yield _convolution(path, name, weights.get_parameter(ours))
    if layer.options.bias:
        biases = [weights.get_parameter(name) for name in ("bias_ih_l0", "bias_hh_l0")]
        yield _one_bias(path, biases, order)


def _convolution(path: str, name: str, ours: Tensor) -> Slot:
    """Make the slot of a kernel (out, in, *space) that Keras has as (*space, in, out)."""
    space = range(2, ours.dim())
    axes = (*space, 1, 0)
    back = (ours.dim() - 1, ours.dim() - 2, *range(ours.dim() - 2))
    return Slot(
        path,
        name,
        tuple(ours.shape[axis] for axis in axes),
        lambda array: _copy(ours, _tensor(array, ours).permute(back)),
        lambda: _array(ours.permute(axes)),
    )


def _order(cell: str, hidden: int) -> Tensor:
    """For each row of ours, the column of Keras; of the GRU, r z n and z r h."""
    if cell != "gru":
        return torch.arange((4 if cell == "lstm" else 1) * hidden)
    block = torch.arange(hidden)
    return torch.cat((block + hidden, block, block + 2 * hidden))


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _tensor(array: Array, like: Tensor) -> Tensor:
    # A copy: arrays of a file cannot be written to, which torch warns of.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="))).to(like.dtype)


@torch.no_grad()
def _copy(ours: Tensor, value: Tensor) -> None:
    ours.copy_(value)


def _plain(path: str, name: str, ours: Tensor, *, trained: bool = True) -> Slot:
    return Slot(
        path,
        name,
        tuple(ours.shape),
        lambda array: _copy(ours, _tensor(array, ours)),
        lambda: _array(ours),
        trained,
    )


def _count(path: str) -> Slot:
    """Make the slot of how many numbers Keras has seen, which changes nothing."""
    return Slot(path, "count", (), lambda _: None, lambda: np.zeros((), np.int32), trained=False, whole=True)


def _turned(path: str, name: str, ours: Tensor, order: Order | None = None) -> Slot:
    """Make the slot of a matrix (rows, columns) that Keras has as (columns, rows)."""

    def put(array: Array) -> None:
        value = _tensor(array, ours).T
        _copy(ours, value if order is None else value[order()])

    def get() -> Array:
        value = ours.detach().cpu()
        return _array((value if order is None else value[torch.argsort(order())]).T)

    return Slot(path, name, (ours.shape[1], ours.shape[0]), put, get)


def _one_bias(path: str, biases: list[nn.Parameter], order: Order) -> Slot:
    first, second = biases

    def put(array: Array) -> None:
        _copy(first, _tensor(array, first)[order()])
        _copy(second, torch.zeros_like(second))

    def get() -> Array:
        return _array((first + second).detach().cpu()[torch.argsort(order())])

    return Slot(path, "bias", tuple(first.shape), put, get)


def _two_biases(path: str, biases: list[nn.Parameter], order: Order) -> Slot:
    def put(array: Array) -> None:
        for ours, row in zip(biases, _tensor(array, biases[0]), strict=True):
            _copy(ours, row[order()])

    def get() -> Array:
        return _array(torch.stack([ours.detach().cpu()[torch.argsort(order())] for ours in biases]))

    return Slot(path, "bias", (2, biases[0].shape[0]), put, get)
