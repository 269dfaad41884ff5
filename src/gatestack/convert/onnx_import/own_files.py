"""ONNX files that Gatestack wrote, as the networks they were.

The file says which layers it was made of (`gatestack.convert.onnx.described`), and the weights stand in the
graph, turned, joined and reordered. Where each of them is, is found out by exporting a network of the same
layers whose weights are numbered. Then the network with the weights of the file is exported once more, and
has to give the graph of the file, number by number. So what the file says of itself need not be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from gatestack.convert.budget import Budget
from gatestack.convert.network import Network
from gatestack.convert.network_data import empty_weights
from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.described import FORMAT, KEY
from gatestack.convert.onnx.layers import layer_graph
from gatestack.convert.onnx.network import draw_calls, network_graph
from gatestack.convert.onnx_import.skeleton import Skeleton, skeleton_of
from gatestack.convert.own.layer import OwnLayer
from gatestack.errors import ArgumentError, ModelFileError
from gatestack.nn import SequenceLayer
from gatestack.runtime.strict_json import read_json

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["NotOursError", "own_network"]

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

_MISFITS = (ArithmeticError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
_LONGEST = 2**22  # bytes of the description
_DIGIT = 2**20  # weights are numbered in two digits, each of which a float32 holds exactly
_FEWEST = 2**22  # weights that may be claimed by any file
_RUN_BYTES = 2**31


class NotOursError(Exception):
    """The graph is not that of the network which the file describes; says why."""


def own_network(model: ModelProto) -> Network | None:
    """Make the network of which a file was exported.

    Args:
        model: checked.

    Returns:
        The network, in eval mode; None where the file describes none.

    Raises:
        NotOursError: it describes one, and the graph is another one.
    """
    texts = [one.value for one in model.metadata_props if one.key == KEY]
    if not texts:
        return None
    try:
        return _same_network(model, texts[0])
    except (ArgumentError, ModelFileError) as error:
        raise NotOursError(error.what) from None
    except _MISFITS as error:
        raise NotOursError((str(error) or type(error).__name__).splitlines()[0]) from None


def _same_network(model: ModelProto, text: str) -> Network:
    if len(text) > _LONGEST:
        raise NotOursError(f"its description has {len(text)} characters, more than {_LONGEST}")
    said = read_json(text.encode())
    if said["format"] != FORMAT:
        raise NotOursError(f"its description is of format {said['format']}, not {FORMAT}")
    opset = next(one.version for one in model.opset_import if one.domain == "")
    wanted = skeleton_of(model)
    numbers = {name: np.asarray(values) for name, values in said["numbers"].items()}
    empty = empty_weights(said["network"])
    _check_claim(empty, wanted)
    floats = [name for name, one in empty.items() if one.is_floating_point() and not _is_statistic(name)]
    shapes = {name: tuple(empty[name].shape) for name in floats}
    kept = {name: _kept(name, one, numbers) for name, one in empty.items() if name not in shapes}

    emit = _emitter(_network(said["network"], {**kept, **_zeros(shapes)}), said["graph"])

    def exported(arrays: Arrays) -> Skeleton:
        b = GraphBuilder()
        emit(_network(said["network"], {**kept, **arrays}), b)
        return skeleton_of(b.model(opset))

    found = _found(shapes, wanted, exported)
    again = exported(found)
    same = again.parts == wanted.parts and len(again.weights) == len(wanted.weights)
    if not same or not all(map(_equal, again.weights, wanted.weights)):
        raise NotOursError("its graph is not the one that its description gives in this version")
    return _network(said["network"], {**kept, **found})


def _emitter(network: Network, graph: str) -> Callable[[Network, GraphBuilder], object]:
    """Say how such a network becomes a graph; what is drawn for it is computed once, within bounds."""
    only = network.nodes[0].layer
    with Budget(_RUN_BYTES):
        if graph == "layer" and isinstance(only, OwnLayer):
            vectors = layer_graph(only.inner, GraphBuilder()).vectors
            return lambda one, b: layer_graph(_inner(one), b, vectors)
        calls = draw_calls(network)
    return lambda one, b: network_graph(one, b, calls)


def _inner(network: Network) -> SequenceLayer:
    inner: SequenceLayer = network.nodes[0].layer.inner  # type: ignore[assignment]
    return inner


def _network(said: Mapping[str, Any], arrays: Arrays) -> Network:
    """Make the network; normalisations over batches shall neither shift nor scale beside their weights."""
    network = Network.from_data(said, arrays)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            module.running_var.fill_(float(np.float32(1) - np.float32(module.eps)))
    return network


def _zeros(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _check_claim(empty: Mapping[str, torch.Tensor], wanted: Skeleton) -> None:
    """Refuse more weights than the file can hold: equal ones are kept once, two biases may be one."""
    claimed = sum(one.numel() for one in empty.values())
    there = sum(array.size for array in wanted.weights)
    if claimed > max(4 * there, _FEWEST):
        raise NotOursError(f"its description claims {claimed} weights, and {there} are there")


def _found(
    shapes: Mapping[str, tuple[int, ...]], wanted: Skeleton, export: Callable[[Arrays], Skeleton]
) -> dict[str, Array]:
    """Find every weight in the file; those that no operator reads stay zero."""
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    units = [1] if total <= _DIGIT else [1, _DIGIT]
    digits = []
    for unit in units:
        numbers = np.arange(total) // unit % _DIGIT + 1
        digits.append(_codes(_split(numbers.astype(np.float32), shapes), wanted, export))
    flat = np.zeros(total, np.float32)
    for array, *codes in zip(wanted.weights, *digits, strict=True):
        chosen = codes[0] > 0
        places = [(code[chosen] - 1).astype(np.int64) * unit for code, unit in zip(codes, units, strict=True)]
        flat[sum(places)] = array[chosen]
    return _split(flat, shapes)


def _codes(arrays: dict[str, Array], wanted: Skeleton, export: Callable[[Arrays], Skeleton]) -> list[Array]:
    """Export weights that are numbers from 1 on, and say which number is where; 0 for what is no weight."""
    seconds = {name: np.zeros_like(one) for name, one in arrays.items() if _is_second(name)}
    nothing = _zeros({name: one.shape for name, one in arrays.items()})
    every = [export(arrays), export({**arrays, **seconds}), export(nothing)]
    if any(one.parts != wanted.parts for one in every):
        raise NotOursError("its graph has other operators than its description gives in this version")
    codes = []
    for both, first, none in zip(*(one.weights for one in every), strict=True):
        if both.dtype != np.float32:
            codes.append(np.zeros(both.shape))
            continue
        code = np.where(both == none, 0, np.where(first > none, first, both))
        if not np.isfinite(code).all() or (code != np.rint(code)).any():
            raise NotOursError("its weights are not found in its graph")
        codes.append(code)
    return codes


def _split(flat: Array, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()], dtype=np.int64)[:-1]
    parts = np.split(flat, ends) if shapes else []
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _is_second(name: str) -> bool:
    """Whether a bias is added to another one before the graph is written, so that only their sum is there."""
    return name.rpartition(".")[2].startswith("bias_hh")


def _is_statistic(name: str) -> bool:
    """Whether it is part of a running mean or variance, which the graph has only within scale and shift."""
    return name.endswith(("running_mean", "running_var"))


def _kept(name: str, tensor: torch.Tensor, numbers: Arrays) -> Array:
    kind = np.dtype(str(tensor.dtype).removeprefix("torch."))
    if _is_statistic(name):
        return np.zeros(tuple(tensor.shape), kind)
    return numbers[name].astype(kind).reshape(tuple(tensor.shape))


def _equal(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
