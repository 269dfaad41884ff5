"""What a graph was made of, as a text inside its file, so that a reader can make the same network again.

The text has the layers and their options; the weights stand in the graph, and only there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gatestack.convert.network import Network
from gatestack.convert.onnx.records import Tensor
from gatestack.convert.own.layer import OwnLayer
from gatestack.convert.ports import Node, Port
from gatestack.nn import SequenceLayer

__all__ = ["FORMAT", "KEY", "described", "network_around"]

KEY = "gatestack.network"
"""Name of the text among the metadata of the file."""

FORMAT = 1
_MOST_NUMBERS = 10_000  # whole numbers among the weights, such as the shapes that operators read


def described(network: Network, *, graph: str) -> dict[str, str]:
    """Describe a network for the metadata of its file.

    Args:
        network: of which the graph is made.
        graph: "layer" where the graph is that of its only layer alone, else "network".

    Returns:
        The text under its name; nothing where the network holds too many whole numbers.

    Example:
        >>> from gatestack.nn import GRU
        >>> text = described(network_around(GRU(4, 2), []), graph="layer")[KEY]
        >>> sorted(json.loads(text))
        ['format', 'graph', 'network', 'numbers']
    """
    data, weights = network.to_data()
    whole: dict[str, Any] = {name: array for name, array in weights.items() if array.dtype.kind != "f"}
    if sum(array.size for array in whole.values()) > _MOST_NUMBERS:
        return {}
    numbers = {name: array.tolist() for name, array in whole.items()}
    text = {"format": FORMAT, "graph": graph, "network": data, "numbers": numbers}
    return {KEY: json.dumps(text, separators=(",", ":"))}


def network_around(layer: SequenceLayer, inputs: Sequence[Tensor]) -> Network:
    """Make a network of one layer.

    Args:
        layer: of `gatestack.nn`, built.
        inputs: of its graph; states have the batch on axis 1. None of them: x of any length alone.

    Example:
        >>> from gatestack.nn import GRU
        >>> network_around(GRU(4, 2), []).inputs[0].described
        'x (batch, any, 2) float32'
    """
    ports = [_port(tensor) for tensor in inputs] or [Port("x", (None, layer.input_size))]
    own = OwnLayer.around(layer)
    node = Node("layer", own, tuple(port.name for port in ports))
    outputs = ["layer", *(f"layer:{number}" for number in range(1, own.outputs))]
    return Network(ports, [node], outputs, name=type(layer).__name__).eval()


def _port(tensor: Tensor) -> Port:
    batch = tensor.shape.index("batch")
    shape = [size if isinstance(size, int) else None for size in tensor.shape]
    del shape[batch]
    return Port(tensor.name, tuple(shape), "float32" if tensor.dtype == "float32" else "int64", batch)
