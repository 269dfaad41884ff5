"""Computing a network as its proof needs it: from no kept state, and within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.budget import budget_of
from gatestack.convert.ports import NetworkLike
from gatestack.errors import ArgumentError

__all__ = ["answers_of", "named_answers"]


def answers_of(network: NetworkLike, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Compute a network on arrays; stateful layers start from nothing, and forget it again.

    Args:
        network: maybe from a file whose options say more than its weights show.
        inputs: one array for each input, of its shape.

    Returns:
        One array for each output.

    Raises:
        ArgumentError: the inputs do not fit, or what is computed would exceed `budget_of` the network.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> network = Network([Port("x", (3,))], [Node("f", Flatten(FlattenOptions()), ("x",))], ["f"])
        >>> answers_of(network, [np.zeros((1, 3), np.float32)])
        [array([[0., 0., 0.]], dtype=float32)]
    """
    network.reset_state()
    try:
        with budget_of(network, inputs):
            found = network.predict(*inputs)
    finally:
        network.reset_state()
    return [np.asarray(one, order="C") for one in (found if isinstance(found, tuple) else (found,))]


def named_answers(
    network: NetworkLike, inputs: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Compute a network on `input.0`, `input.1`, … -> `output.0`, …, as proofs name them; see `answers_of`.

    Args:
        network: maybe from a file.
        inputs: name to array, each with its batch, such as (N, T, C).

    Raises:
        ArgumentError: the inputs do not fit, or too much would be computed.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> network = Network([Port("x", (3,))], [Node("f", Flatten(FlattenOptions()), ("x",))], ["f"])
        >>> named_answers(network, {"input.0": np.zeros((1, 3), np.float32)})
        {'output.0': array([[0., 0., 0.]], dtype=float32)}
    """
    names = [f"input.{number}" for number in range(len(network.inputs))]
    if sorted(inputs) != sorted(names):
        raise ArgumentError(f"inputs {', '.join(sorted(inputs))}", expected=", ".join(names))
    found = answers_of(network, [inputs[name] for name in names])
    return {f"output.{number}": array for number, array in enumerate(found)}
