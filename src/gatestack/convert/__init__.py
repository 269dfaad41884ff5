"""Models of Keras, torch and ONNX, in and out, through one hub: a `Network` of layers that are data.

Example:
    >>> import torch
    >>> from gatestack.convert import Network, Node, Port
    >>> from gatestack.convert.layers import Dense, DenseOptions
    >>> layer = Dense(DenseOptions(units=2, input_size=3))
    >>> network = Network([Port("x", (3,))], [Node("out", layer, ("x",))], ["out"])
    >>> network(torch.zeros(4, 3)).shape
    torch.Size([4, 2])
"""

from gatestack.convert.export import export_model
from gatestack.convert.keras import read_keras, read_keras_weights, write_keras
from gatestack.convert.network import Network
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx_import.reader import read_onnx
from gatestack.convert.ports import Node, Port
from gatestack.convert.read_model import read_model
from gatestack.convert.torch import from_torch, read_torch_weights, to_torch
from gatestack.convert.verify import verify

__all__ = [
    "Network",
    "Node",
    "Port",
    "export_model",
    "export_onnx",
    "from_torch",
    "read_keras",
    "read_keras_weights",
    "read_model",
    "read_onnx",
    "read_torch_weights",
    "to_torch",
    "verify",
    "write_keras",
]
