"""Functions of tensors, however they are written: `torch.relu(x)`, `F.relu(x)`, `x.relu()`, `nn.ReLU()(x)`.

Each takes the reader of the tree and the arguments as torch has them, and gives the name of the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gatestack.convert.layers import (
    Activation,
    ActivationOptions,
    Combine,
    CombineOptions,
    Dense,
    DenseOptions,
    Dropout,
    DropoutOptions,
    Permute,
    PermuteOptions,
    Pool,
    PoolOptions,
)
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.values import Extent, Unusable, Wire

__all__ = ["FUNCTIONS", "activation"]

Reader = Callable[..., Any]

_INT64 = 7  # ONNX' number, which the operator Cast takes

# Without arguments of their own; torch's name to ours.
_PLAIN = {
    "abs": "abs", "erf": "erf", "exp": "exponential", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_silu",
    "log": "logarithm", "logsigmoid": "log_sigmoid", "mish": "mish", "neg": "negative", "relu": "relu",
    "relu6": "relu6", "selu": "selu", "sigmoid": "sigmoid", "silu": "silu", "softsign": "softsign",
    "sqrt": "square_root", "tanh": "tanh",
}  # fmt: skip
_COMBINED = {
    "sub": "subtract", "mul": "multiply", "truediv": "divide", "div": "divide", "pow": "power",
    "maximum": "maximum", "minimum": "minimum", "matmul": "matrix_product", "bmm": "matrix_product",
    "mm": "matrix_product",
}  # fmt: skip
_COMPARED = {
    "remainder": "Mod",
    "mod": "Mod",
    "eq": "Equal",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
}
_SIZE_OPERATORS: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "add": ("Add", lambda a, b: a + b),
    "sub": ("Sub", lambda a, b: a - b),
    "mul": ("Mul", lambda a, b: a * b),
    "floordiv": ("Div", lambda a, b: a // b),
}


def activation(reader: TreeReader, value: Any, function: str, **options: Any) -> str:
    """Add a function of each element, or along one axis.

    Args:
        reader: of the tree.
        value: the tensor.
        function: our name of it.
        options: axis, slope.
    """
    layer = Activation(ActivationOptions.model_validate({"function": function, **options}))
    return reader.add(layer, [reader.wire(value).name])


def _plain(function: str) -> Reader:
    def read(reader: TreeReader, x: Any, inplace: bool = False) -> str:  # noqa: ARG001 (torch's argument)
        return activation(reader, x, function)

    return read


def _softmax(function: str) -> Reader:
    def read(reader: TreeReader, x: Any, dim: Any = None, *_: Any, **__: Any) -> str:
        if not isinstance(dim, int):
            raise reader.refuse(f"dim is {dim}", "a whole number")
        return activation(reader, x, function, axis=dim)

    return read


def _sloped(function: str, usual: float) -> Reader:
    def read(reader: TreeReader, x: Any, slope: float = usual, inplace: bool = False, **named: Any) -> str:  # noqa: ARG001
        return activation(reader, x, function, slope=named.get("negative_slope", named.get("alpha", slope)))

    return read


def _gelu(reader: TreeReader, x: Any, approximate: str = "none") -> str:
    return activation(reader, x, "gelu_tanh" if approximate == "tanh" else "gelu")


def _softplus(reader: TreeReader, x: Any, beta: float = 1, threshold: float = 20) -> str:
    if (beta, threshold) != (1, 20):
        raise reader.refuse(f"beta {beta} and threshold {threshold}", "1 and 20")
    return activation(reader, x, "softplus")


def _hardtanh(
    reader: TreeReader,
    x: Any,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,  # noqa: ARG001
) -> str:
    if (min_val, max_val) == (-1, 1):
        return activation(reader, x, "hard_tanh")
    return _clamp(reader, x, min_val, max_val)


def _clamp(reader: TreeReader, x: Any, min: Any = None, max: Any = None) -> str:  # noqa: A002 (torch's names)
    wire = reader.wire(x)
    floats = wire.dtype.is_floating_point
    least, most = (-math.inf, math.inf) if floats else (-(2**63), 2**63 - 1)
    bounds = [
        reader.name(least if min is None else min, wire.dtype),
        reader.name(most if max is None else max, wire.dtype),
    ]
    return reader.operate("Clip", [wire.name, *bounds])


def _joined(operation: str, name: str) -> Reader:
    def read(reader: TreeReader, a: Any, b: Any, *, rounding_mode: Any = None, **more: Any) -> Any:
        if rounding_mode is not None or more:
            raise reader.refuse("it has further arguments", "two operands")
        if not isinstance(a, Wire) and not isinstance(b, Wire):
            sized = _sized(reader, name, a, b)
            if sized is not None:
                return sized
        wires = [value.dtype for value in (a, b) if isinstance(value, Wire | torch.Tensor)]
        like = next((dtype for dtype in wires if dtype.is_floating_point), wires[0] if wires else None)
        if name in ("truediv", "div") and like is not None and not like.is_floating_point:
            like = reader.dtype
        inputs = [reader.name(a, like), reader.name(b, like)]
        for place, (value, other) in enumerate(((a, b), (b, a))):
            # torch converts whole numbers that meet floats by itself, ONNX does not.
            if _is_whole(value) and isinstance(other, Wire) and other.dtype.is_floating_point:
                inputs[place] = reader.operate("CastLike", [inputs[place], other.name])
        return reader.add(Combine(CombineOptions.model_validate({"operation": operation})), inputs)

    return read


def _is_whole(value: Any) -> bool:
    return isinstance(value, Wire) and not value.dtype.is_floating_point


def _add(reader: TreeReader, a: Any, b: Any, alpha: float = 1) -> Any:
    if alpha != 1:
        raise reader.refuse(f"alpha is {alpha}", "1")
    return _joined("add", "add")(reader, a, b)


def _floordiv(reader: TreeReader, a: Any, b: Any) -> Any:
    sized = None if isinstance(a, Wire) or isinstance(b, Wire) else _sized(reader, "floordiv", a, b)
    if sized is None:
        raise reader.refuse("a tensor is divided without a rest", "sizes, which are whole numbers")
    return sized


def _sized(reader: TreeReader, name: str, a: Any, b: Any) -> Any:
    """Compute with sizes -> a size; None where these are no sizes."""
    if name not in _SIZE_OPERATORS or not all(isinstance(value, int | Extent) for value in (a, b)):
        return None
    operator, compute = _SIZE_OPERATORS[name]
    pairs = [value.size if isinstance(value, Extent) else (value, value) for value in (a, b)]
    first, second = (compute(pairs[0][run], pairs[1][run]) for run in (0, 1))
    if not isinstance(a, Extent) and not isinstance(b, Extent):
        return first
    return Extent(reader.operate(operator, [reader.vector([a]), reader.vector([b])]), (first, second))


def _compared(operator: str, negate: bool = False) -> Reader:
    def read(reader: TreeReader, a: Any, b: Any) -> str:
        wires = [value.dtype for value in (a, b) if isinstance(value, Wire)]
        like = next((dtype for dtype in wires if dtype.is_floating_point), None)
        found = reader.operate(operator, [reader.name(a, like), reader.name(b, like)])
        return reader.operate("Not", [found]) if negate else found

    return read


def _logical(operator: str) -> Reader:
    def read(reader: TreeReader, *values: Any) -> str:
        wires = [reader.wire(value) for value in values]
        if any(wire.dtype != torch.bool for wire in wires):
            raise reader.refuse("numbers are taken for yes and no", "booleans, such as x != 0")
        return reader.operate(operator, [wire.name for wire in wires])

    return read


def _where(reader: TreeReader, condition: Any, a: Any, b: Any) -> str:
    wires = [value.dtype for value in (a, b) if isinstance(value, Wire)]
    like = wires[0] if wires else reader.dtype
    return reader.operate("Where", [reader.wire(condition).name, reader.name(a, like), reader.name(b, like)])


def _masked_fill(reader: TreeReader, x: Any, mask: Any, value: Any) -> str:
    return _where(reader, mask, value, x)


def _pooled(operation: str) -> Reader:
    def read(reader: TreeReader, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> str:
        wire = reader.wire(x)
        if dtype is not None:
            raise reader.refuse(f"dtype is {dtype}", "none")
        return _pool(reader, wire, operation, dim, keepdim)

    return read


def _pool(reader: TreeReader, wire: Wire, operation: str, dim: Any, keep: bool) -> str:
    name = wire.name
    if wire.dtype == torch.bool:  # how many are true
        name = reader.operate("Cast", [name], to=_INT64)
    axes = range(wire.rank) if dim is None else dim if isinstance(dim, Sequence) else [dim]
    options = PoolOptions.model_validate({"operation": operation, "axes": tuple(axes), "keep": keep})
    return reader.add(Pool(options), [name])


def _extreme(operation: str) -> Reader:
    """`max` and `min`: of all, of two tensors, or along an axis, which gives the places as well."""

    def read(reader: TreeReader, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        wire = reader.wire(x)
        if isinstance(dim, Wire):
            return _joined(f"{operation}imum", f"{operation}imum")(reader, wire, dim)
        found = _pool(reader, wire, operation, dim, keepdim)
        places = Unusable(f"the places that {operation}(dim=…) gives")
        return found if dim is None else (found, _argmax(reader, x, dim, keepdim)
                                          if operation == "max" else places)  # fmt: skip

    return read


def _argmax(reader: TreeReader, x: Any, dim: Any = None, keepdim: bool = False) -> str:
    if dim is None:
        raise reader.refuse("argmax without dim", "dim")
    return reader.operate("ArgMax", [reader.wire(x).name], axis=dim, keepdims=int(keepdim))


def _cumsum(reader: TreeReader, x: Any, dim: int) -> str:
    return reader.operate("CumSum", [reader.wire(x).name, reader.vector([dim])])


def _dropout(
    reader: TreeReader,
    x: Any,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,  # noqa: ARG001
) -> str:
    if training:
        raise reader.refuse("dropout is on in eval mode too", "training=self.training")
    return reader.add(Dropout(DropoutOptions(rate=p)), [reader.wire(x).name])


def _linear(reader: TreeReader, x: Any, weight: Any, bias: Any = None) -> str:
    if isinstance(weight, torch.nn.Parameter) and (bias is None or isinstance(bias, torch.Tensor)):
        layer = Dense(
            DenseOptions(units=weight.shape[0], input_size=weight.shape[1], bias=bias is not None)
        ).to(reader.dtype)
        with torch.no_grad():
            layer.linear.weight.copy_(weight)
            if bias is not None:
                layer.linear.bias.copy_(bias)
        return reader.add(layer, [reader.wire(x).name])
    turned = reader.add(Permute(PermuteOptions(axes=(1, 0))), [reader.wire(weight).name])
    product = Combine(CombineOptions(operation="matrix_product"))
    found = reader.add(product, [reader.wire(x).name, turned])
    if bias is None:
        return found
    return reader.add(Combine(CombineOptions(operation="add")), [found, reader.wire(bias).name])


FUNCTIONS: dict[str, Reader] = {
    **{name: _plain(ours) for name, ours in _PLAIN.items()},
    **{name: _joined(ours, name) for name, ours in _COMBINED.items()},
    **{name: _compared(ours) for name, ours in _COMPARED.items()},
    "add": _add,
    "amax": _pooled("max"),
    "amin": _pooled("min"),
    "and_": _logical("And"),
    "argmax": _argmax,
    "clamp": _clamp,
    "cumsum": _cumsum,
    "dropout": _dropout,
    "elu": _sloped("elu", 1.0),
    "floordiv": _floordiv,
    "gelu": _gelu,
    "hardtanh": _hardtanh,
    "iadd": _add,
    "imul": _joined("multiply", "mul"),
    "invert": _logical("Not"),
    "leaky_relu": _sloped("leaky_relu", 0.01),
    "linear": _linear,
    "log_softmax": _softmax("log_softmax"),
    "logical_and": _logical("And"),
    "logical_not": _logical("Not"),
    "logical_or": _logical("Or"),
    "masked_fill": _masked_fill,
    "max": _extreme("max"),
    "mean": _pooled("mean"),
    "min": _extreme("min"),
    "multiply": _joined("multiply", "mul"),
    "ne": _compared("Equal", negate=True),
    "or_": _logical("Or"),
    "softmax": _softmax("softmax"),
    "softplus": _softplus,
    "sum": _pooled("sum"),
    "where": _where,
}
"""torch's name of a function, an operator or a method to what reads it."""
