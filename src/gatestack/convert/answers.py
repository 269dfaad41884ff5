"""Computing a network as its proof needs it: from no kept state, and within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.budget import budget_of
from gatestack.convert.ports import NetworkLike

__all__ = ["answers_of"]


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
