"""Module trees of torch, read into a network and written of one; files of their weights."""

from gatestack.convert.torch.from_torch import from_torch
from gatestack.convert.torch.to_torch import to_torch
from gatestack.convert.torch.weights import read_torch_weights

__all__ = ["from_torch", "read_torch_weights", "to_torch"]
