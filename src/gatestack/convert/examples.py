"""Inputs drawn for a network, to prove that it still gives the numbers it gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from gatestack.convert.answers import answers_of
from gatestack.convert.layers import Embedding, Masking, OverTime
from gatestack.convert.layers.bidirectional import BidirectionalLayer
from gatestack.convert.own.layer import OwnLayer
from gatestack.convert.ports import NetworkLike, Port
from gatestack.errors import ArgumentError
from gatestack.nn.states import leaves

__all__ = ["computable", "draw_examples", "draw_inputs"]

_Result = TypeVar("_Result")

# How long a free axis is; the first that the network can be computed with is taken. Images need room.
_STEPS = (7, 1, 16, 32, 64)


def draw_inputs(network: NetworkLike, *, rows: int, steps: int, seed: int = 0) -> list[npt.NDArray[Any]]:
    """Draw one array for each input of a network.

    Numbers are standard normal; whole numbers are in the vocabulary of the embedding, or the lengths of the
    layer, that reads them. Where an input decides which steps are real, the ends of some rows are not.

    Args:
        network: whose inputs are drawn.
        rows: N.
        steps: size of every free axis.
        seed: of the numbers.

    Returns:
        Arrays of the shapes of the inputs, such as (N, T, C).

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> network = Network([Port("x", (None, 3))], [Node("f", Flatten(FlattenOptions()), ("x",))], ["f"])
        >>> [array.shape for array in draw_inputs(network, rows=2, steps=5)]
        [(2, 5, 3)]
    """
    random = np.random.default_rng(seed)
    drawn = {port.name: _drawn(network, port, rows, steps, random) for port in network.inputs}
    for node in network.nodes:
        if isinstance(node.layer, OwnLayer) and all(name in drawn for name in node.inputs):
            drawn |= _states(node.layer, node.inputs, drawn, random)
    return list(drawn.values())


def draw_examples(network: NetworkLike, *, rows: int = 3) -> list[npt.NDArray[Any]]:
    """Draw inputs with which a network can be computed, trying several sizes for free axes.

    Args:
        network: in any mode; it is computed in eval mode, and stateful layers forget what they keep.
        rows: N.

    Raises:
        ArgumentError: it cannot be computed with any of them.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> network = Network([Port("x", (None, 3))], [Node("f", Flatten(FlattenOptions()), ("x",))], ["f"])
        >>> [array.shape for array in draw_examples(network)]
        [(3, 7, 3)]
    """

    def computed(rows: int, steps: int) -> list[npt.NDArray[Any]]:
        inputs = draw_inputs(network, rows=rows, steps=steps)
        answers_of(network, inputs)
        return inputs

    hint = "give inputs that it can be computed with: example=[array, …]"
    sizes = [(rows, steps) for steps in _STEPS]
    return computable(sizes, computed, where=network.name, most=1, hint=hint)[0][0]


def computable(
    sizes: Iterable[tuple[int, int]],
    compute: Callable[[int, int], _Result],
    *,
    where: str,
    least: int = 1,
    most: int | None = None,
    hint: str | None = None,
) -> tuple[list[_Result], str]:
    """Compute with drawn inputs of several sizes; one that does not do, as a small image may, is left out.

    Args:
        sizes: rows, and how long a free axis is.
        compute: compute(rows, steps) draws inputs and computes with them.
        where: what is computed, for errors.
        least: how many sizes have to be computed.
        most: how many are enough; None for all.
        hint: what to do if none can be computed.

    Returns:
        What `compute` gave for each size that can be computed, and what the first of the others met with.

    Raises:
        ArgumentError: too few can be computed.

    Example:
        >>> computable([(1, 2), (3, 4)], lambda rows, steps: rows * steps, where="product")
        ([2, 12], '')
    """
    found: list[_Result] = []
    problem = ""
    for rows, steps in sizes:
        if len(found) == most:
            break
        try:
            found.append(compute(rows, steps))
        except (ArgumentError, RuntimeError) as error:
            problem = problem or str(error).splitlines()[0]
    if len(found) < least:
        raise ArgumentError(f"it cannot be computed with drawn inputs: {problem}", where=where, hint=hint)
    return found, problem


def _states(
    layer: OwnLayer,
    inputs: Sequence[str],
    drawn: Mapping[str, npt.NDArray[Any]],
    random: np.random.Generator,
) -> dict[str, npt.NDArray[Any]]:
    """Draw states of the sizes that follow from x, which of a convolution are others than those of x."""
    names = inputs[len(inputs) - layer.state_count :] if len(inputs) == layer.inputs[-1] else ()
    try:
        start = leaves(layer.inner.start(torch.from_numpy(drawn[inputs[0]])))
    except (ArgumentError, RuntimeError):
        return {}  # x is too small for the layer, which says so when it is computed
    return {
        name: random.standard_normal(tuple(part.shape), np.float32)
        for name, part in zip(names, start, strict=False)
    }


def _drawn(
    network: NetworkLike, port: Port, rows: int, steps: int, random: np.random.Generator
) -> npt.NDArray[Any]:
    shape = [steps if size is None else size for size in port.shape]
    shape.insert(port.batch_axis, rows)
    readers = [node for node in network.nodes if port.name in node.inputs]
    if port.dtype != "int64":
        floats = random.standard_normal(shape)
        for reader in readers:
            if isinstance(reader.layer, Masking):
                floats[1::2, -(shape[1] // 2) :] = reader.layer.options.mask_value
        return floats.astype(port.dtype)
    highest, least = 10, 0
    for reader in readers:
        if isinstance(reader.layer, Embedding):
            highest = min(highest if least else 2**62, reader.layer.options.vocabulary_size)
            least = 1
        elif isinstance(reader.layer, OverTime | BidirectionalLayer | OwnLayer):
            flags = isinstance(reader.layer, OwnLayer) and port.name != reader.inputs[1]
            return random.integers(0, 2, shape) if flags else random.integers(1, steps + 1, shape)
    array = random.integers(0, highest, shape)
    if least and array.ndim > 1:
        array[1::2, -(shape[1] // 2) :] = 0
    return array
