"""Layers of a network as lines of Python that torch computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from gatestack.convert.layers import NetworkLayer, PerStepLayer
from gatestack.convert.ports import Node
from gatestack.convert.torch.source import SourceWriter, literal, tuple_of

__all__ = ["LAYER_LINES"]

Emit = Callable[[SourceWriter, Node], None]

# Of gatestack's names; {x} is what it is applied to.
_ACTIVATIONS = {
    "linear": "{x}",
    "tanh": "torch.tanh({x})",
    "sigmoid": "torch.sigmoid({x})",
    "relu": "torch.relu({x})",
    "relu6": "nn.functional.relu6({x})",
    "leaky_relu": "nn.functional.leaky_relu({x}, {slope})",
    "elu": "nn.functional.elu({x}, {slope})",
    "selu": "nn.functional.selu({x})",
    "gelu": "nn.functional.gelu({x})",
    "gelu_tanh": 'nn.functional.gelu({x}, approximate="tanh")',
    "silu": "nn.functional.silu({x})",
    "mish": "nn.functional.mish({x})",
    "softplus": "nn.functional.softplus({x})",
    "softsign": "nn.functional.softsign({x})",
    "hard_tanh": "nn.functional.hardtanh({x})",
    "hard_sigmoid": "nn.functional.hardsigmoid({x})",
    "hard_sigmoid_2": "torch.clamp(0.2 * {x} + 0.5, 0.0, 1.0)",
    "hard_silu": "nn.functional.hardswish({x})",
    "log_sigmoid": "nn.functional.logsigmoid({x})",
    "exponential": "torch.exp({x})",
    "softmax": "torch.softmax({x}, dim={axis})",
    "log_softmax": "torch.log_softmax({x}, dim={axis})",
    "abs": "torch.abs({x})",
    "negative": "-{x}",
    "square_root": "torch.sqrt({x})",
    "logarithm": "torch.log({x})",
    "erf": "torch.erf({x})",
}
_OPERATIONS = {
    "add": " + ", "subtract": " - ", "multiply": " * ", "divide": " / ", "power": " ** ",
    "matrix_product": " @ ", "average": " + ",
}  # fmt: skip
_POOLED = {"mean": "mean", "sum": "sum", "max": "amax", "min": "amin"}


def _activated(name: str, x: str, axis: int = -1, slope: float | None = None) -> str:
    usual = {"leaky_relu": 0.01, "elu": 1.0}.get(name)
    return _ACTIVATIONS[name].format(x=x, axis=axis, slope=usual if slope is None else slope)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.state_dict(keep_vars=True))


def _activation(writer: SourceWriter, node: Node) -> None:
    options = node.layer.options
    x = writer.value(node.inputs[0])
    writer.give(node.name, _activated(options.function, x, options.axis, options.slope))


def _dense(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    more = "" if options.bias else ", bias=False"
    linear: Any = node.layer.linear
    called = writer.attribute(node, f"nn.Linear({options.input_size}, {options.units}{more})", _state(linear))
    writer.give(node.name, _activated(options.activation, f"{called}({writer.value(node.inputs[0])})"))


def _embedding(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    if options.mask_zero:
        raise writer.refuse(node, "number 0 masks steps, and torch's layers know no masks")
    table: Any = node.layer.table
    called = writer.attribute(node, f"nn.Embedding({options.vocabulary_size}, {options.size})", _state(table))
    writer.give(node.name, f"{called}({writer.value(node.inputs[0])})")


def _masking(writer: SourceWriter, node: Node) -> None:
    raise writer.refuse(node, "it masks steps, and torch's layers know no masks")


def _dropout(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    x = writer.value(node.inputs[0])
    if options.same_over_time:
        called = writer.attribute(node, f"nn.Dropout1d({options.rate})", {})
        writer.give(node.name, f"{called}({x}.transpose(1, 2)).transpose(1, 2)")
    else:
        writer.give(node.name, f"{writer.attribute(node, f'nn.Dropout({options.rate})', {})}({x})")


def _batch_norm(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    norm: Any = node.layer.norm
    made = f"nn.BatchNorm1d({options.features}, eps={options.epsilon}, momentum={options.momentum})"
    called, x = writer.attribute(node, made, _state(norm)), writer.value(node.inputs[0])
    if options.axis == 1:
        writer.give(node.name, f"{called}({x})")
    elif options.axis == -1:
        writer.give(node.name, f"{called}({x}.flatten(0, -2)).view({x}.shape)")
    else:
        raise writer.refuse(node, f"it normalises axis {options.axis}, torch axis 1 or the last one")


def _layer_norm(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    norm: Any = node.layer.norm
    made = f"nn.LayerNorm({tuple(options.shape)}, eps={options.epsilon})"
    writer.give(node.name, f"{writer.attribute(node, made, _state(norm))}({writer.value(node.inputs[0])})")


def _combine(writer: SourceWriter, node: Node) -> None:
    operation = node.layer.options.operation
    operands = [writer.operand(name) for name in node.inputs]
    if operation in ("maximum", "minimum"):
        found = writer.value(node.inputs[0])
        for name in node.inputs[1:]:
            found = f"torch.{operation}({found}, torch.as_tensor({writer.operand(name)}))"
    else:
        found = _OPERATIONS[operation].join(operands)
        if operation == "power" and len(operands) > 2:
            raise writer.refuse(node, f"a power of {len(operands)} operands")
        found = f"({found}) / {len(operands)}" if operation == "average" else found
    writer.give(node.name, found)


def _constant(writer: SourceWriter, node: Node) -> None:
    layer: Any = node.layer
    shape, kind = tuple(layer.options.shape), layer.options.dtype
    if isinstance(layer.value, nn.Parameter):
        called = writer.attribute(node, f"nn.Parameter(torch.zeros({shape}))", {"": layer.value})
    elif layer.value.dim() == 0:
        made = literal(layer.value)
        called = f"torch.tensor({made})"
    elif layer.value.dim() == 1 and kind == "int64" and layer.value.numel() <= 32:
        called = f"torch.tensor({layer.value.tolist()})"
    else:
        more = "" if kind == "float32" else f", dtype=torch.{kind}"
        called = writer.buffer(node, f"torch.zeros({shape}{more})", layer.value)
    writer.stand_for(node.name, called)


def _concatenate(writer: SourceWriter, node: Node) -> None:
    values = tuple_of([writer.value(name) for name in node.inputs])
    writer.give(node.name, f"torch.cat({values}, dim={node.layer.options.axis})")


def _stack(writer: SourceWriter, node: Node) -> None:
    values = [writer.value(name) for name in node.inputs]
    whole = values[0].removesuffix("[0]")
    every = [f"{whole}[{place}]" for place in range(writer.parts.get(whole, 0))]
    if node.layer.options.axis == 0 and values == every:
        writer.stand_for(node.name, whole)
        return
    writer.give(node.name, f"torch.stack({tuple_of(values)}, dim={node.layer.options.axis})")


def _pool(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    axes = options.axes[0] if len(options.axes) == 1 else options.axes
    keep = ", keepdim=True" if options.keep else ""
    x = writer.value(node.inputs[0])
    writer.give(node.name, f"{x}.{_POOLED[options.operation]}(dim={axes}{keep})")


def _flatten(writer: SourceWriter, node: Node) -> None:
    writer.give(node.name, f"{writer.value(node.inputs[0])}.flatten({node.layer.options.first})")


def _reshape(writer: SourceWriter, node: Node) -> None:
    x = writer.value(node.inputs[0])
    wanted = enumerate(node.layer.options.shape)
    sizes = [f"{x}.shape[{place}]" if size == 0 else str(size) for place, size in wanted]
    writer.give(node.name, f"{x}.reshape({', '.join(sizes) or '()'})")


def _permute(writer: SourceWriter, node: Node) -> None:
    writer.give(node.name, f"{writer.value(node.inputs[0])}.permute{tuple(node.layer.options.axes)}")


def _repeat(writer: SourceWriter, node: Node) -> None:
    x, times = writer.value(node.inputs[0]), node.layer.options.times
    writer.give(node.name, f"{x}.unsqueeze(1).expand(-1, {times}, -1)")


def _take(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    x = writer.value(node.inputs[0])
    if options.axis < 0:
        writer.give(node.name, f"{x}.select({options.axis}, {options.index})")
    else:
        writer.give(node.name, f"{x}[{':, ' * options.axis}{options.index}]")


def _slice(writer: SourceWriter, node: Node) -> None:
    options: Any = node.layer.options
    x = writer.value(node.inputs[0])
    if options.step == -1:
        writer.give(node.name, f"{x}.flip({options.axis})")
        return
    part = f"{options.start or ''}:{'' if options.stop is None else options.stop}"
    part += f":{options.step}" if options.step != 1 else ""
    before = "..., " if options.axis < 0 else ":, " * options.axis
    after = ", :" * (-1 - options.axis) if options.axis < 0 else ""
    writer.give(node.name, f"{x}[{before}{part}{after}]")


def _squeeze(writer: SourceWriter, node: Node) -> None:
    writer.give(node.name, f"{writer.value(node.inputs[0])}.squeeze({tuple(node.layer.options.axes)})")


def _unsqueeze(writer: SourceWriter, node: Node) -> None:
    axes = node.layer.options.axes
    if len(axes) > 1 and min(axes) < 0:
        raise writer.refuse(node, f"it adds the axes {axes}", "count them from the front")
    added = "".join(f".unsqueeze({axis})" for axis in sorted(axes))
    writer.give(node.name, f"{writer.value(node.inputs[0])}{added}")


def _per_step(writer: SourceWriter, node: Node) -> None:
    layer = node.layer
    if not isinstance(layer, PerStepLayer):
        raise TypeError("a layer of the kind per_step")
    inner: NetworkLayer = layer.layer
    if inner.kind not in LAYER_LINES or inner.kind == "per_step":
        raise writer.refuse(node, f"a {inner.kind} layer at each step")
    x = writer.value(node.inputs[0])
    rows, done = f"{node.name}\0rows", f"{node.name}\0done"
    writer.give(rows, f"{x}.flatten(0, 1)")
    LAYER_LINES[inner.kind](writer, Node(done, inner, (rows,)))
    writer.give(node.name, f"{writer.value(done)}.unflatten(0, {x}.shape[:2])")


LAYER_LINES: dict[str, Emit] = {
    "activation": _activation,
    "batch_norm": _batch_norm,
    "combine": _combine,
    "concatenate": _concatenate,
    "constant": _constant,
    "dense": _dense,
    "dropout": _dropout,
    "embedding": _embedding,
    "flatten": _flatten,
    "layer_norm": _layer_norm,
    "masking": _masking,
    "per_step": _per_step,
    "permute": _permute,
    "pool": _pool,
    "repeat": _repeat,
    "reshape": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "stack": _stack,
    "take": _take,
    "unsqueeze": _unsqueeze,
}
"""Kind of a layer to what writes it; recurrent layers and operators stand in files of their own."""
