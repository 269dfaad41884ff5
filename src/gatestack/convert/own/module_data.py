"""Modules of torch without a state as JSON values: what stands in `PerStep`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gatestack.errors import ArgumentError, quote_value

__all__ = ["MODULES", "module_from_data", "module_to_data"]

Data = dict[str, Any]

# Class -> the arguments that make it again, each of which it keeps under the same name.
_CLASSES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Dropout: ("p",),
    nn.ELU: ("alpha",),
    nn.Embedding: ("num_embeddings", "embedding_dim"),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.GELU: ("approximate",),
    nn.Hardsigmoid: (),
    nn.Identity: (),
    nn.LeakyReLU: ("negative_slope",),
    nn.LogSoftmax: ("dim",),
    nn.ReLU: (),
    nn.ReLU6: (),
    nn.SELU: (),
    nn.SiLU: (),
    nn.Sigmoid: (),
    nn.Softmax: ("dim",),
    nn.Softplus: ("beta", "threshold"),
    nn.Softsign: (),
    nn.Tanh: (),
}
MODULES = {one.__name__: one for one in (*_CLASSES, nn.BatchNorm1d, nn.LayerNorm, nn.Linear, nn.Sequential)}
"""Name of a class to the class."""


def module_to_data(module: nn.Module) -> Data:
    """Write a module without its weights.

    Args:
        module: one of `MODULES`, exactly.

    Raises:
        ArgumentError: another class.

    Example:
        >>> module_to_data(nn.Linear(3, 2))
        {'class': 'Linear', 'options': {'in_features': 3, 'out_features': 2, 'bias': True}}
    """
    kind = type(module)
    options: Data
    if isinstance(module, nn.Sequential):
        return {"class": "Sequential", "options": {}, "parts": [module_to_data(one) for one in module]}
    if isinstance(module, nn.Linear):
        options = {"in_features": module.in_features, "out_features": module.out_features}
        options["bias"] = module.bias is not None
    elif isinstance(module, nn.LayerNorm):
        options = {"normalized_shape": list(module.normalized_shape), "eps": module.eps}
        options |= {"elementwise_affine": module.elementwise_affine, "bias": module.bias is not None}
    elif isinstance(module, nn.BatchNorm1d):
        options = {"num_features": module.num_features, "eps": module.eps, "momentum": module.momentum}
        options["affine"] = module.affine
    elif kind in _CLASSES:
        options = {name: getattr(module, name) for name in _CLASSES[kind]}
    else:
        raise ArgumentError(f"a module of the class {kind.__name__}", expected=", ".join(sorted(MODULES)))
    return {"class": kind.__name__, "options": options}


def module_from_data(data: Mapping[str, Any]) -> nn.Module:
    """Make a module of what `module_to_data` gave; its weights are drawn anew.

    Raises:
        ArgumentError: an unknown class, or options that it has not.

    Example:
        >>> module_from_data({"class": "Linear", "options": {"in_features": 3, "out_features": 2}})
        Linear(in_features=3, out_features=2, bias=True)
    """
    kind = MODULES.get(data["class"])
    if kind is None:
        raise ArgumentError(f"the class {quote_value(data['class'])}", expected=", ".join(sorted(MODULES)))
    made: nn.Module = kind(*[module_from_data(one) for one in data.get("parts", [])], **data["options"])
    return made
