"""ONNX operators on tensors of torch: what a graph computes beside its layers, shapes included."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gatestack.convert.layers.operator_inputs import Attributes, Inputs, bounded, given, needed, numbers
from gatestack.convert.layers.operator_places import PLACES
from gatestack.errors import ArgumentError

__all__ = ["OPERATORS"]

# ONNX' numbers of types; floats that are no double follow the network, and are float32 here.
_TYPES = {
    1: torch.float32,
    10: torch.float32,
    11: torch.float64,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
}


def _axes(inputs: Inputs, attributes: Attributes) -> list[int] | None:
    """Read axes: an attribute until opset 12 or 17, an input since."""
    if "axes" in attributes:
        return [int(axis) for axis in attributes["axes"]]
    return numbers(inputs, 1, "axes") if len(inputs) > 1 and inputs[1] is not None else None


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    """Make an operator of one or more inputs of a function of two."""

    def compute(inputs: Inputs, _: Attributes) -> Tensor:
        found = needed(inputs, 0, "A")
        for place in range(1, len(inputs)):
            found = function(found, needed(inputs, place, "B"))
        return found

    return compute


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _each(function: Callable[[Tensor], Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    return lambda inputs, _: function(needed(inputs, 0, "X"))


def _reduced(function: Callable[..., Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    def compute(inputs: Inputs, attributes: Attributes) -> Tensor:
        x = needed(inputs, 0, "data")
        axes = _axes(inputs, attributes)
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return x
        return function(x, dim=axes or list(range(x.dim())), keepdim=bool(attributes.get("keepdims", 1)))

    return compute


def _product(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    for axis in dim:  # torch multiplies along one axis at a time
        x = x.prod(dim=axis, keepdim=True)
    return x if keepdim else x.squeeze(dim)


def _cast(inputs: Inputs, attributes: Attributes) -> Tensor:
    kind = _TYPES.get(int(attributes["to"]))
    if kind is None:
        raise ArgumentError(f"to={attributes['to']}", expected="a float, a whole number or bool")
    return needed(inputs, 0, "input").to(kind)


def _shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    shape = list(needed(inputs, 0, "data").shape)
    return torch.tensor(shape[attributes.get("start", 0) : attributes.get("end")], dtype=torch.int64)


def _slice(inputs: Inputs, attributes: Attributes) -> Tensor:
    data = needed(inputs, 0, "data")
    if "starts" in attributes:  # opset 9 and before
        starts, ends = list(attributes["starts"]), list(attributes["ends"])
        axes, steps = list(attributes.get("axes", range(len(starts)))), [1] * len(starts)
    else:
        starts, ends = numbers(inputs, 1, "starts"), numbers(inputs, 2, "ends")
        axes = numbers(inputs, 3, "axes") if given(inputs, 3) else list(range(len(starts)))
        steps = numbers(inputs, 4, "steps") if given(inputs, 4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step > 0:
            data = data[(slice(None),) * (axis % data.dim()) + (slice(start, end, step),)]
        else:
            kept = range(data.shape[axis])[slice(start, None if end < -data.shape[axis] else end, step)]
            places = torch.tensor(list(kept), dtype=torch.int64, device=data.device)
            data = data.index_select(axis, places)
    return data


def _split(inputs: Inputs, attributes: Attributes) -> list[Tensor]:
    data, axis = needed(inputs, 0, "input"), attributes.get("axis", 0)
    if "split" in attributes or given(inputs, 1):
        sizes = attributes["split"] if "split" in attributes else numbers(inputs, 1, "split")
        return list(torch.split(data, list(sizes), dim=axis))
    parts = attributes["num_outputs"]
    return list(torch.split(data, math.ceil(data.shape[axis] / parts), dim=axis))


def _reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    data, wanted = needed(inputs, 0, "data"), numbers(inputs, 1, "shape")
    keep = not attributes.get("allowzero", 0)
    shape = [data.shape[place] if size == 0 and keep else size for place, size in enumerate(wanted)]
    if -1 in shape and data.numel() == 0:
        known = math.prod(size for size in shape if size != -1)
        shape = [(0 if known else 1) if size == -1 else size for size in shape]
    return data.reshape(shape)


def _squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    data, axes = needed(inputs, 0, "data"), _axes(inputs, attributes)
    return data.squeeze() if axes is None else data.squeeze(axes)


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    data, axes = needed(inputs, 0, "data"), _axes(inputs, attributes) or []
    for axis in sorted(axis % (data.dim() + len(axes)) for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _flatten(inputs: Inputs, attributes: Attributes) -> Tensor:
    data, axis = needed(inputs, 0, "input"), attributes.get("axis", 1)
    axis = axis if axis >= 0 else axis + data.dim()
    return data.reshape(math.prod(data.shape[:axis]), math.prod(data.shape[axis:]))


def _transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    data = needed(inputs, 0, "data")
    return data.permute(list(attributes.get("perm", range(data.dim())[::-1])))


def _expand(inputs: Inputs, _: Attributes) -> Tensor:
    data, shape = needed(inputs, 0, "input"), numbers(inputs, 1, "shape")
    bounded(math.prod(shape), "Expand")
    grown = data[(None,) * max(len(shape) - data.dim(), 0)]
    kept = shape if len(shape) == grown.dim() else [1] * (grown.dim() - len(shape)) + shape
    return grown.expand([max(a, b) if 1 in (a, b) else b for a, b in zip(grown.shape, kept, strict=True)])


def _tile(inputs: Inputs, _: Attributes) -> Tensor:
    data, repeats = needed(inputs, 0, "input"), numbers(inputs, 1, "repeats")
    bounded(data.numel() * math.prod(repeats), "Tile")
    return data.repeat(repeats)


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    shape = numbers(inputs, 0, "input")
    bounded(math.prod(shape), "ConstantOfShape")
    value = attributes.get("value", 0.0)
    return torch.tensor(value, dtype=None if isinstance(value, bool | float) else torch.int64).expand(shape)


def _range(inputs: Inputs, _: Attributes) -> Tensor:
    start, limit, delta = (needed(inputs, place, "bounds").item() for place in range(3))
    if delta == 0:
        raise ArgumentError("delta is 0", expected="another number")
    bounded(math.ceil((limit - start) / delta), "Range")
    like = needed(inputs, 0, "start").dtype
    return torch.arange(start, max(limit, start) if delta > 0 else min(limit, start), delta, dtype=like)


def _pad(inputs: Inputs, attributes: Attributes) -> Tensor:
    data = needed(inputs, 0, "data")
    if attributes.get("mode", "constant") != "constant":
        raise ArgumentError(f"mode={attributes['mode']!r}", expected="'constant'")
    pads = list(attributes["pads"]) if "pads" in attributes else numbers(inputs, 1, "pads")
    axes = numbers(inputs, 3, "axes") if given(inputs, 3) else list(range(data.dim()))
    value = float(needed(inputs, 2, "value").item()) if given(inputs, 2) else attributes.get("value", 0.0)
    before, after = dict(zip(axes, pads, strict=False)), dict(zip(axes, pads[len(axes) :], strict=True))
    sides = [side for axis in range(data.dim())[::-1] for side in (before.get(axis, 0), after.get(axis, 0))]
    sizes = [size + before.get(axis, 0) + after.get(axis, 0) for axis, size in enumerate(data.shape)]
    bounded(math.prod(sizes), "Pad")
    return torch.nn.functional.pad(data, sides, value=value)


def _clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    x = needed(inputs, 0, "input")
    low = needed(inputs, 1, "min").item() if given(inputs, 1) else attributes.get("min")
    high = needed(inputs, 2, "max").item() if given(inputs, 2) else attributes.get("max")
    return x if low is None and high is None else x.clamp(low, high)


def _argmax(inputs: Inputs, attributes: Attributes) -> Tensor:
    axis, keep = attributes.get("axis", 0), bool(attributes.get("keepdims", 1))
    return needed(inputs, 0, "data").argmax(dim=axis, keepdim=keep)


def _where(inputs: Inputs, _: Attributes) -> Tensor:
    condition, yes, no = (needed(inputs, place, "X") for place in range(3))
    return torch.where(condition, yes, no)


OPERATORS: dict[str, Callable[[Inputs, Attributes], Tensor | list[Tensor]]] = {
    "Abs": _each(torch.abs),
    "Add": _folded(torch.add),
    "And": _folded(torch.logical_and),
    "ArgMax": _argmax,
    "Cast": _cast,
    "CastLike": lambda inputs, _: needed(inputs, 0, "input").to(needed(inputs, 1, "target_type").dtype),
    "Ceil": _each(torch.ceil),
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(
        [needed(inputs, place, "input") for place in range(len(inputs))], dim=attributes["axis"]
    ),
    "ConstantOfShape": _constant_of_shape,
    "CumSum": lambda inputs, _: torch.cumsum(needed(inputs, 0, "x"), numbers(inputs, 1, "axis")[0]),
    "Div": _folded(_divide),
    "Equal": _folded(torch.eq),
    "Exp": _each(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _each(torch.floor),
    "Greater": _folded(torch.gt),
    "GreaterOrEqual": _folded(torch.ge),
    "Less": _folded(torch.lt),
    "LessOrEqual": _folded(torch.le),
    "MatMul": _folded(torch.matmul),
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mod": _folded(torch.remainder),
    "Mul": _folded(torch.mul),
    "Neg": _each(torch.neg),
    "Not": _each(torch.logical_not),
    "Or": _folded(torch.logical_or),
    "Pad": _pad,
    "Pow": _folded(torch.pow),
    "Range": _range,
    "Reciprocal": _each(torch.reciprocal),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(torch.sum),
    "Reshape": _reshape,
    "Round": _each(torch.round),
    "Shape": _shape,
    "Sign": _each(torch.sign),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _each(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _folded(torch.sub),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
    **PLACES,
}
"""Name of an operator to what it computes, as of opset 9 to 22; shapes as ONNX has them."""
