"""Modules of torch that are taken whole, as layers of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gatestack.convert.layers import (
    BatchNorm,
    BatchNormOptions,
    Dense,
    DenseOptions,
    Dropout,
    DropoutOptions,
    Embedding,
    EmbeddingOptions,
    LayerNorm,
    LayerNormOptions,
    NetworkLayer,
    Pool,
    PoolOptions,
)
from gatestack.convert.torch.functions import FUNCTIONS
from gatestack.convert.torch.moves import MOVES
from gatestack.convert.torch.own_layers import OWN_LAYERS
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.recurrent import read_cell, read_recurrent
from gatestack.convert.torch.values import Wire
from gatestack.errors import nearest_name

__all__ = ["read_module"]

# Modules that call a function, with the attributes that they hand to it.
_FUNCTIONS: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.ELU: ("elu", ("alpha",)),
    nn.GELU: ("gelu", ("approximate",)),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.LogSigmoid: ("logsigmoid", ()),
    nn.LogSoftmax: ("log_softmax", ("dim",)),
    nn.Mish: ("mish", ()),
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("relu6", ()),
    nn.SELU: ("selu", ()),
    nn.SiLU: ("silu", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Softmax: ("softmax", ("dim",)),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softsign: ("softsign", ()),
    nn.Tanh: ("tanh", ()),
}
_MOVES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.Flatten: ("flatten", ("start_dim", "end_dim")),
    nn.Unflatten: ("unflatten", ("dim", "unflattened_size")),
}


def read_module(reader: TreeReader, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Read a call of a module.

    Args:
        reader: of the tree.
        module: that is called.
        args: of the call.
        named: of the call.

    Returns:
        Name of the output, or what a recurrent module gives.

    Raises:
        ArgumentError: there is no layer that does the same.
    """
    kind = type(module)
    reader.check_plain(module)
    if isinstance(module, nn.RNNBase):
        return read_recurrent(reader, module, *args, **_with_x(named))
    if kind in (nn.LSTMCell, nn.GRUCell, nn.RNNCell) and isinstance(module, nn.RNNCellBase):
        return read_cell(reader, module, *args, **_with_x(named))
    if kind in OWN_LAYERS:
        return OWN_LAYERS[kind](reader, module, *args, **named)
    x = args[0] if args else next(iter(named.values()), None)
    if kind in _FUNCTIONS:
        name, attributes = _FUNCTIONS[kind]
        return FUNCTIONS[name](reader, x, *(getattr(module, one) for one in attributes))
    if kind in _MOVES:
        name, attributes = _MOVES[kind]
        return MOVES[name](reader, x, *(getattr(module, one) for one in attributes))
    if kind is nn.Identity:
        return x
    if kind not in _LAYERS:
        known = [one.__name__ for one in (*_LAYERS, *_FUNCTIONS, *_MOVES, nn.LSTM, nn.GRU, nn.RNN)]
        raise reader.refuse(
            f"there is no layer that does what {kind.__name__} does",
            "a layer that networks have",
            nearest_name(kind.__name__, known),
        )
    wire = reader.wire(x, "the input")
    if id(module) not in reader.layers:
        reader.layers[id(module)] = _LAYERS[kind](reader, module, wire).to(reader.dtype)
        for ours, theirs in _weights(reader.layers[id(module)], module):
            with torch.no_grad():
                ours.copy_(theirs)
            if isinstance(ours, nn.Parameter):
                ours.requires_grad_(theirs.requires_grad)
    return reader.add(reader.layers[id(module)], [wire.name])


def _with_x(named: dict[str, Any]) -> dict[str, Any]:
    """Call the input of torch's recurrent modules x, as their readers do."""
    return {"x" if name == "input" else name: one for name, one in named.items()}


def _dense(_: TreeReader, module: Any, __: Wire) -> NetworkLayer:
    options = DenseOptions(
        units=module.out_features, input_size=module.in_features, bias=module.bias is not None
    )
    return Dense(options)


def _embedding(reader: TreeReader, module: Any, _: Wire) -> NetworkLayer:
    if module.max_norm is not None:
        raise reader.refuse(f"max_norm is {module.max_norm}", "None: a table that stays as it is")
    return Embedding(EmbeddingOptions(vocabulary_size=module.num_embeddings, size=module.embedding_dim))


def _dropout(_: TreeReader, module: Any, __: Wire) -> NetworkLayer:
    return Dropout(DropoutOptions(rate=module.p))


def _layer_norm(_: TreeReader, module: Any, __: Wire) -> NetworkLayer:
    options = LayerNormOptions(
        shape=module.normalized_shape,
        epsilon=module.eps,
        center=module.bias is not None,
        scale=module.weight is not None,
    )
    return LayerNorm(options)


def _batch_norm(reader: TreeReader, module: Any, wire: Wire) -> NetworkLayer:
    if not module.track_running_stats or module.momentum is None or wire.rank not in (2, 3):
        raise reader.refuse(
            f"momentum {module.momentum}, track_running_stats {module.track_running_stats}, {wire.rank} axes",
            "a momentum, running statistics, 2 or 3 axes",
        )
    options = BatchNormOptions(
        features=module.num_features,
        axis=1,
        epsilon=module.eps,
        momentum=module.momentum,
        center=module.affine,
        scale=module.affine,
    )
    return BatchNorm(options)


def _pool(operation: str) -> Callable[[TreeReader, Any, Wire], NetworkLayer]:
    def read(reader: TreeReader, module: Any, wire: Wire) -> NetworkLayer:
        if module.output_size not in (1, (1,)) or getattr(module, "return_indices", False) or wire.rank != 3:
            raise reader.refuse(f"output_size is {module.output_size}", "1, of (N, C, T), without indices")
        return Pool(PoolOptions.model_validate({"operation": operation, "axes": (2,), "keep": True}))

    return read


_LAYERS: dict[type[nn.Module], Callable[[TreeReader, Any, Wire], NetworkLayer]] = {
    nn.AdaptiveAvgPool1d: _pool("mean"),
    nn.AdaptiveMaxPool1d: _pool("max"),
    nn.BatchNorm1d: _batch_norm,
    nn.Dropout: _dropout,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _dense,
}


def _weights(layer: NetworkLayer, module: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pair the tensors of a layer, which holds one module of torch, with those of the same name."""
    inner = next(layer.children(), layer).state_dict(keep_vars=True)
    theirs = module.state_dict(keep_vars=True)
    return [(inner[name], tensor) for name, tensor in theirs.items() if name in inner]
