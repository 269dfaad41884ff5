"""Test vectors of a layer: random numbers, lengths of all kinds, random states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gatestack.convert.onnx.dispatch import Leaf, LeafTree
from gatestack.convert.proof import Array, ProofVector
from gatestack.errors import ArgumentError
from gatestack.nn import (
    Bidirectional,
    ConvLSTM,
    DeepOutput,
    PerStep,
    SequenceLayer,
    ShortcutStack,
    Stack,
    Stateful,
)

__all__ = ["InputForm", "draw_vectors", "flat", "input_form", "state_name"]

_SIZES = ((1, 1), (2, 5), (3, 9), (1, 12))  # batch, time
_MORE_SPACE = (0, 2, 1, 0)  # what is added to the smallest image
_SEED = 20130526


@dataclass(frozen=True)
class InputForm:
    """What x is beside batch and time.

    Args:
        axes: its other axes; a text for an open one.
        dtype: of it.
        space: sizes of the axes of an image with which the layer can be computed, and whether they are open.
        largest: of whole numbers, the first that is too large.
    """

    axes: tuple[int | str, ...]
    dtype: str = "float32"
    space: tuple[int, ...] = ()
    largest: int = 0

    def shape(self, more: int) -> tuple[int, ...]:
        """Give the sizes of the axes after time, images larger by `more`."""
        fixed = [size for size in self.axes[: len(self.axes) - len(self.space)] if isinstance(size, int)]
        grown = zip(self.space, self.axes[len(fixed) :], strict=True)
        return (*fixed, *(size + more if isinstance(name, str) else size for size, name in grown))


def input_form(layer: nn.Module) -> InputForm:
    """Say what a built layer reads.

    Raises:
        ArgumentError: it is not built, or its input cannot be known.

    Example:
        >>> from gatestack.nn import LSTM
        >>> input_form(LSTM(4, 2)).axes
        (2,)
    """
    if isinstance(layer, Stack | ShortcutStack):
        return input_form(layer.layers[0])
    if isinstance(layer, Bidirectional):
        return input_form(layer.forward_layer)
    if isinstance(layer, DeepOutput | Stateful):
        return input_form(layer.layer)
    if isinstance(layer, PerStep) and isinstance(layer.module, nn.Embedding):
        return InputForm((), "int64", largest=layer.module.num_embeddings)
    size = layer.input_size if isinstance(layer, SequenceLayer) else None
    if size is None:
        raise ArgumentError(
            "the layer has no input_size yet", where="export", hint="build it: layer.build(input_size)"
        )
    return _image_form(layer, size) if isinstance(layer, ConvLSTM) else InputForm((size,))


def state_name(leaf: str, way: str) -> str:
    """Name a state as an input ("in") or output ("out") of a graph.

    Example:
        >>> state_name("h_l1_reverse", "in"), state_name("c", "out")
        ('h_in_l1_reverse', 'c_out')
    """
    kind, _, place = leaf.partition("_")
    return f"{kind}_{way}_{place}" if place else f"{kind}_{way}"


def flat(tree: Any) -> Iterator[Any]:
    """Give what nested tuples hold, from left to right."""
    if isinstance(tree, tuple):
        for part in tree:
            yield from flat(part)
    else:
        yield tree


def draw_vectors(model: SequenceLayer, form: InputForm, tree: LeafTree) -> list[ProofVector]:
    """Draw inputs for a layer, and compute it.

    Args:
        model: on the CPU, in eval mode.
        form: of its input.
        tree: its states.

    Returns:
        Vectors with batches of 1 to 3 rows, lengths of 0 to 12.
    """
    draw = np.random.default_rng(_SEED)
    return [
        _drawn(model, form, tree, draw, rows, time, more)
        for (rows, time), more in zip(_SIZES, _MORE_SPACE, strict=True)
    ]


def _drawn(
    model: SequenceLayer,
    form: InputForm,
    tree: LeafTree,
    draw: np.random.Generator,
    rows: int,
    time: int,
    more: int,
) -> ProofVector:
    shape = (rows, time, *form.shape(more))
    x: Array = draw.standard_normal(shape, np.float32)
    if form.dtype == "int64":
        x = draw.integers(0, form.largest, shape)
    lengths = draw.integers(0, time + 1, rows)
    lengths[0] = time
    if rows > 2:
        lengths[1] = 0
    inputs: dict[str, Array] = {"x": x, "lengths": lengths}
    leaves = list(flat(tree))
    with torch.no_grad():
        if model.output_size is None or leaves:
            model(torch.from_numpy(x))  # so that every part knows its sizes
        sizes = [tuple(part.shape) for part in flat(model.start(torch.from_numpy(x)))]
        states = [draw.standard_normal(size, np.float32) for size in sizes]
        names = [leaf.name for leaf in leaves]
        inputs |= {state_name(name, "in"): part for name, part in zip(names, states, strict=True)}
        if any(leaf.trained is not None for leaf in leaves):
            inputs["fresh"] = draw.integers(0, 2, rows).astype(bool)
            pairs = zip(leaves, states, strict=True)
            states = [_started(leaf, part, inputs["fresh"]) for leaf, part in pairs]
        given = _nested(tree, iter(states))
        y, final = model(torch.from_numpy(x), given, lengths=torch.from_numpy(lengths))
    outputs = dict(zip(("y", "y_reverse"), y if isinstance(y, tuple) else (y,), strict=False))
    outputs |= {state_name(name, "out"): part for name, part in zip(names, flat(final), strict=True)}
    return ProofVector(inputs, {name: np.ascontiguousarray(part.numpy()) for name, part in outputs.items()})


def _started(leaf: Leaf, given: Array, fresh: Array) -> Array:
    start = np.zeros_like(given) if leaf.trained is None else leaf.trained[:, None, :]
    new = fresh.reshape(1, -1, *[1] * (given.ndim - 2))
    return np.where(new, start, given).astype(np.float32)


def _nested(tree: LeafTree, values: Iterator[Array]) -> Any:
    """Nest values as a state is nested."""
    if isinstance(tree, tuple):
        return tuple(_nested(part, values) for part in tree)
    return torch.from_numpy(next(values))


def _image_form(layer: ConvLSTM, channels: int) -> InputForm:
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    if layer.form.peepholes == "positions" and layer.peephole_l0 is not None:
        space = tuple(
            size * stride if layer.padding == "same" else (size - 1) * stride + least
            for size, stride, least in zip(layer.peephole_l0.shape[2:], layer.stride, reach, strict=True)
        )
        return InputForm((channels, *space), space=space)
    names = [f"space_{axis}" for axis in range(layer.dimensions)]
    return InputForm((channels, *names), space=tuple(least + 2 for least in reach))
