"""A network as JSON values and named arrays, and back; sizes are compared before memory is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from gatestack.convert.layers.base import NetworkLayer
from gatestack.convert.layers.made import layer_from_data
from gatestack.convert.ports import NetworkLike, Node, Port, PortType
from gatestack.errors import ArgumentError, ModelFileError, quote_value

__all__ = ["NetworkParts", "empty_weights", "network_from_data", "network_to_data"]

_Name = Annotated[str, Field(min_length=1, max_length=1000)]
_Axis = Annotated[int, Field(strict=True, ge=0)]
_MODEL, _WEIGHTS = "model.json", "weights.safetensors"


class _Port(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: _Name
    shape: list[_Axis | None]
    dtype: PortType
    batch_axis: _Axis


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: _Name
    inputs: list[_Name]
    kind: str | None = None
    options: dict[str, Any] | None = None
    shares: _Name | None = None


class _Network(BaseModel):
    """The part of `model.json` that belongs to a network."""

    model_config = ConfigDict(extra="forbid")

    name: str
    inputs: list[_Port]
    nodes: list[_Node]
    outputs: list[_Name]


class NetworkParts(NamedTuple):
    """What the constructor of a network takes."""

    inputs: list[Port]
    nodes: list[Node]
    outputs: list[str]
    name: str


def network_to_data(network: NetworkLike) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Write a network as JSON values and arrays.

    Args:
        network: to be written.

    Returns:
        Architecture, and "node/parameter" to array.
    """
    first: dict[int, str] = {}
    nodes: list[dict[str, Any]] = []
    weights: dict[str, npt.NDArray[Any]] = {}
    for node in network.nodes:
        entry: dict[str, Any] = {"name": node.name, "inputs": list(node.inputs)}
        if id(node.layer) in first:
            nodes.append(entry | {"shares": first[id(node.layer)]})
            continue
        first[id(node.layer)] = node.name
        nodes.append(entry | node.layer.to_data())
        for name, tensor in node.layer.state_dict().items():
            weights[f"{node.name}/{name}"] = np.asarray(tensor.detach().cpu().numpy(), order="C")
    model = {
        "name": network.name,
        "inputs": [
            {"name": p.name, "shape": list(p.shape), "dtype": p.dtype, "batch_axis": p.batch_axis}
            for p in network.inputs
        ],
        "nodes": nodes,
        "outputs": list(network.outputs),
    }
    return model, weights


def network_from_data(model: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]]) -> NetworkParts:
    """Make the parts of a network of what `network_to_data` gave.

    Args:
        model: JSON values.
        weights: "node/parameter" to array, of the shapes that the layers have.

    Raises:
        ModelFileError: what is wrong, and in which node or weight.
    """
    read = _read(model)
    layers = _empty_layers(read)
    wanted = _weights_of(layers)
    _check_weights(wanted, weights)
    for name, layer in layers.items():
        _fill(layer, {key: weights[f"{name}/{key}"] for key, _ in _tensors(layer)})
    try:
        inputs = [Port(p.name, tuple(p.shape), p.dtype, p.batch_axis) for p in read.inputs]
    except ArgumentError as error:
        raise ModelFileError(str(error), where=_MODEL) from None
    nodes = [Node(n.name, layers[n.shares or n.name], tuple(n.inputs)) for n in read.nodes]
    return NetworkParts(inputs, nodes, read.outputs, read.name)


def empty_weights(model: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Say which weights a network has, without memory for them.

    Args:
        model: JSON values, as `network_to_data` gives them.

    Returns:
        "node/parameter" to a tensor that has a shape and a dtype, and no numbers.

    Raises:
        ModelFileError: what is wrong, and in which node.
    """
    return _weights_of(_empty_layers(_read(model)))


def _read(model: Mapping[str, Any]) -> _Network:
    try:
        return _Network.model_validate(model)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ModelFileError(f"{place}: {problem['msg']}", where=_MODEL) from None


def _weights_of(layers: Mapping[str, NetworkLayer]) -> dict[str, torch.Tensor]:
    return {f"{name}/{key}": tensor for name, layer in layers.items() for key, tensor in _tensors(layer)}


def _empty_layers(read: _Network) -> dict[str, NetworkLayer]:
    """Make every layer without memory for its weights."""
    layers: dict[str, NetworkLayer] = {}
    for number, node in enumerate(read.nodes):
        where = f"{_MODEL}, nodes[{number}] {quote_value(node.name)}"
        if node.shares is not None and (node.kind is not None or node.shares not in layers):
            raise ModelFileError(
                f"it shares {quote_value(node.shares)}", where=where, expected="a node above"
            )
        if node.shares is not None:
            continue
        if node.kind is None or node.options is None:
            raise ModelFileError("it has no kind or no options", where=where)
        if node.name in layers:
            raise ModelFileError("the name is there twice", where=where)
        try:
            with torch.device("meta"):
                layers[node.name] = layer_from_data(node.kind, node.options)
        except ArgumentError as error:
            raise ModelFileError(str(error), where=where) from None
        except (RuntimeError, OverflowError) as error:
            # Shapes whose product overflows are refused by torch, whatever the device.
            raise ModelFileError(f"its sizes cannot be: {str(error).splitlines()[0]}", where=where) from None
    return layers


def _tensors(layer: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(layer.state_dict().items())


def _check_weights(wanted: Mapping[str, torch.Tensor], weights: Mapping[str, npt.NDArray[Any]]) -> None:
    for name in sorted(wanted.keys() - weights.keys()):
        raise ModelFileError(f"the weight {quote_value(name)} is missing", where=_WEIGHTS)
    for name in sorted(weights.keys() - wanted.keys()):
        raise ModelFileError(f"no layer has the weight {quote_value(name)}", where=_WEIGHTS)
    for name, tensor in wanted.items():
        array = weights[name]
        if tuple(array.shape) != tuple(tensor.shape):
            raise ModelFileError(
                f"the weight {quote_value(name)} has shape {tuple(array.shape)}",
                where=_WEIGHTS,
                expected=f"{tuple(tensor.shape)}, the sizes of its layer in {_MODEL}",
            )
        floats = array.dtype.kind == "f"
        if floats != tensor.is_floating_point() or (not floats and array.dtype != _numpy_type(tensor)):
            raise ModelFileError(
                f"the weight {quote_value(name)} has dtype {array.dtype}",
                where=_WEIGHTS,
                expected="a float" if tensor.is_floating_point() else str(_numpy_type(tensor)),
            )
    kinds = sorted({str(weights[name].dtype) for name, t in wanted.items() if t.is_floating_point()})
    if len(kinds) > 1:
        raise ModelFileError(
            f"weights of {' and '.join(kinds)}", where=_WEIGHTS, expected="one dtype of floats"
        )


def _numpy_type(tensor: torch.Tensor) -> np.dtype[Any]:
    return np.dtype(str(tensor.dtype).removeprefix("torch."))


def _fill(layer: nn.Module, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    layer.to_empty(device="cpu")
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    for tensor in tensors.values():
        if tensor.is_floating_point():
            layer.to(tensor.dtype)
            break
    layer.load_state_dict(tensors)
