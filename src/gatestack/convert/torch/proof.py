"""The proof that a network gives what the module gives of which it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gatestack.convert.network import Network
from gatestack.convert.ports import Port
from gatestack.convert.proof import TOLERANCE, compare
from gatestack.convert.torch.draw import Drawer
from gatestack.errors import ArgumentError

__all__ = ["arguments", "prove"]

_PROVED = ((1, 1), (2, 5), (5, 2), (3, 11), (1, 34))  # rows and steps


def prove(module: nn.Module, network: Network, drawer: Drawer) -> None:
    """Compare the network with the module on several batches and lengths."""
    proved, problem = 0, ""
    for rows, steps in _PROVED:
        drawn = drawer.draw(rows, steps)
        try:
            expected = _tensors(module(**arguments(network.inputs, drawn)))
        except (RuntimeError, ValueError, IndexError) as error:
            problem = str(error).splitlines()[0][:200]
            continue
        found = _tensors(network(*[tensor.cpu() for tensor in drawn]))
        proved += 1
        for number, (a, b) in enumerate(zip(expected, found, strict=True)):
            gap = compare([a.cpu().numpy()], [b.numpy()], TOLERANCE)
            if gap.share > 1:
                raise ArgumentError(
                    f"output {number} of what was made differs by {gap.largest:.3g} with {rows} rows and "
                    f"{steps} steps: shapes {tuple(b.shape)} and {tuple(a.shape)}",
                    where=type(module).__name__,
                    expected=f"at most {gap.allowed:.3g} from the module",
                    hint="a number drawn in forward, a tensor changed in place, or a size that was taken "
                    "for a fixed one",
                )
    if proved < 2:
        raise ArgumentError(f"it fails on drawn inputs of most sizes: {problem}", where=type(module).__name__,
                            hint="say the shapes that it takes: inputs=[Port(name, shape), …]")  # fmt: skip


def arguments(inputs: Sequence[Port], tensors: Sequence[Tensor]) -> dict[str, Any]:
    """Give tensors as the arguments of `forward`.

    Args:
        inputs: "state.0" and "state.1" are a pair.
        tensors: one for each, of its shape.

    Example:
        >>> import torch
        >>> ports = [Port("x", ()), Port("state.0", ()), Port("state.1", ())]
        >>> [type(value).__name__ for value in arguments(ports, [torch.zeros(1)] * 3).values()]
        ['Tensor', 'tuple']
    """
    found: dict[str, Any] = {}
    for port, tensor in zip(inputs, tensors, strict=True):
        name, dot, number = port.name.rpartition(".")
        if dot and number.isdecimal():
            found[name] = (*found.get(name, ()), tensor)
        else:
            found[port.name] = tensor
    return found


def _tensors(found: Any) -> list[Tensor]:
    if isinstance(found, tuple | list):
        return [tensor for part in found for tensor in _tensors(part)]
    return [found]
