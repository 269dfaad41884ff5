"""Inputs drawn for a module tree, to run it and to compare it with what was made of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from gatestack.convert.ports import Port
from gatestack.convert.torch.ports import lengths_of, vocabulary_of

__all__ = ["Drawer"]


class Drawer:
    """Draws inputs of any size.

    Args:
        module: the tree.
        graph: of it.
        inputs: of the tree.

    Example:
        >>> from gatestack.convert.torch.trace import traced
        >>> lstm = nn.Sequential(nn.LSTM(3, 4, batch_first=True))
        >>> drawer = Drawer(lstm, traced(lstm, ["input"]), [Port("input", (None, 3))])
        >>> [tuple(tensor.shape) for tensor in drawer.draw(2, 5)]
        [(2, 5, 3)]
    """

    def __init__(self, module: nn.Module, graph: fx.Graph, inputs: Sequence[Port]) -> None:
        self._inputs = inputs
        self._lengths = lengths_of(graph)
        self._vocabulary = vocabulary_of(module, graph)
        parameter = next(iter(module.parameters()), None)
        self._device = None if parameter is None else parameter.device

    def draw(self, rows: int, steps: int) -> list[Tensor]:
        """Draw a tensor for each input: standard normal, or whole numbers that an embedding knows.

        Args:
            rows: N.
            steps: size of every open axis.

        Returns:
            Tensors of the shapes of the inputs; lengths are 1 to `steps`, one of them `steps`.
        """
        random = torch.Generator().manual_seed(rows * 1000 + steps)
        return [self._drawn(port, rows, steps, random).to(self._device) for port in self._inputs]

    def _drawn(self, port: Port, rows: int, steps: int, random: torch.Generator) -> Tensor:
        shape = [steps if size is None else size for size in port.shape]
        shape.insert(port.batch_axis, rows)
        if port.name in self._lengths:
            # A third of the steps is left out of the longest row too: what follows it must not matter.
            most = max(1, steps - steps // 3)
            lengths = torch.randint(1, most + 1, (rows,), generator=random)
            lengths[rows // 2] = most
            return lengths.sort(descending=True).values if self._lengths[port.name] else lengths
        if port.dtype == "int64":
            return torch.randint(0, self._vocabulary, shape, generator=random)
        return torch.randn(shape, generator=random, dtype=getattr(torch, port.dtype))
