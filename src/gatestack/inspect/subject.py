"""What offers itself to inspection: a network, what it reads, and what its answers are worth.

This is all that inspection knows of a task. An estimator, or a network that was imported, makes a `Subject`
of itself; everything in this folder works on that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from gatestack.errors import ArgumentError

__all__ = ["Outcome", "Subject", "Truth", "evenly"]


class Outcome(NamedTuple):
    """What a network says about N sequences.

    answer (N,), the number that the inputs are asked to explain; loss (N,), or None where no truth is known;
    late (N,), the loss of what is said after the last step, or None where that is all of `loss`.

    Example:
        >>> import torch
        >>> Outcome(torch.zeros(3), torch.ones(3)).flows_back
        tensor([1., 1., 1.])
    """

    answer: Tensor
    loss: Tensor | None = None
    late: Tensor | None = None

    @property
    def flows_back(self) -> Tensor:
        """What gradients flow back from: the loss after the last step; the answer where there is no loss."""
        if self.late is not None:
            return self.late
        return self.answer if self.loss is None else self.loss


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of the sequences, for the linear probes.

    Args:
        values: (N,) classes from 0 on, or (N, K) numbers.
        kind: `"classes"` or `"numbers"`.
        ordered: whether neighbouring sequences overlap in time, so that folds must be blocks.

    Example:
        >>> Truth(np.array([0, 1, 1]), "classes").ordered
        False
    """

    values: npt.NDArray[np.generic]
    kind: Literal["classes", "numbers"]
    ordered: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A network with recurrent layers, offered for inspection.

    Args:
        title: of the model.
        network: any module; it stays as it is, inspection works on a copy in float64 and in eval mode.
        inputs: (N, T, C) floats, or (N, T) whole numbers, such as words; what stands after a row's last real
            step is not read.
        run: computes the network, or a changed copy of it, on such inputs, in float64.
        features: C names; columns of the same name are taken together.
        sequences: N names.
        lengths: (N,) real steps of each row; None means all.
        truth: of the sequences, for the probes; None leaves the probes out.
        answer: what `Outcome.answer` is, in words, with its unit.
        loss: what `Outcome.loss` is, in words, with its unit.
        steps: what a step of the inputs is, in the singular.
        backwards: names of modules in which a layer reads its input from the end, because something around
            it has turned the input round; those in `gatestack.nn.Bidirectional` are known.

    Raises:
        ArgumentError: shapes that do not fit each other, or no sequence.

    Example:
        >>> import torch
        >>> from gatestack.nn import GRU, Stack
        >>> subject = Subject(
        ...     title="a stack",
        ...     network=Stack(GRU(4), input_size=1),
        ...     inputs=torch.zeros(2, 9, 1),
        ...     run=lambda network, x: Outcome(network(x)[0][:, -1, 0]),
        ...     features=("rain",),
        ...     sequences=("spring", "autumn"),
        ... )
        >>> subject.real_lengths.tolist()
        [9, 9]
    """

    title: str
    network: nn.Module
    inputs: Tensor
    run: Callable[[nn.Module, Tensor], Outcome]
    features: tuple[str, ...]
    sequences: tuple[str, ...]
    lengths: Tensor | None = None
    truth: Truth | None = None
    answer: str = "answer"
    loss: str = "loss"
    steps: str = "step"
    backwards: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.inputs.dim() not in (2, 3) or 0 in self.inputs.shape:
            raise ArgumentError(
                f"the inputs have shape {tuple(self.inputs.shape)}",
                where="inspect",
                expected="(sequences, steps, features), at least one of each",
            )
        if len(self.sequences) != len(self.inputs):
            raise ArgumentError(
                f"{len(self.sequences)} names of {len(self.inputs)} sequences", where="inspect"
            )
        if self.continuous and len(self.features) != self.inputs.shape[2]:
            raise ArgumentError(
                f"{len(self.features)} names of {self.inputs.shape[2]} features", where="inspect"
            )

    @property
    def continuous(self) -> bool:
        """Whether the inputs are floats, which can be changed a little."""
        return self.inputs.is_floating_point()

    @property
    def real_lengths(self) -> npt.NDArray[np.int64]:
        """Real steps of each row, (N,)."""
        if self.lengths is None:
            return np.full(len(self.inputs), self.inputs.shape[1], dtype=np.int64)
        found: npt.NDArray[np.int64] = self.lengths.cpu().numpy().astype(np.int64)
        return found


def evenly(available: int, wanted: int) -> npt.NDArray[np.int64]:
    """Choose at most `wanted` of `available` places, spread evenly from the first to the last.

    Example:
        >>> evenly(10, 4).tolist(), evenly(3, 8).tolist()
        ([0, 3, 6, 9], [0, 1, 2])
    """
    if available <= wanted:
        return np.arange(available)
    return np.linspace(0, available - 1, wanted).round().astype(np.int64)
