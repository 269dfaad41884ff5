"""The network of classifiers and regressors: a recurrent part, and a linear part where the recipe has one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_whole
from gatestack.tasks.labelled.linear import LinearPart
from gatestack.tasks.labelled.options import Architecture
from gatestack.tasks.labelled.scaling import InputScaling
from gatestack.tasks.labelled.trunks import SegmentTrunk, make_trunk

__all__ = ["LabelledNetwork", "NetworkShape", "RecurrentPart"]


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """The sizes of a network, fixed when it is fitted.

    Attributes:
        features: C, of each step of a series.
        outputs: K, classes or targets.
        widths: width of each recurrent layer, lowest first.
        steps: of the longest series of the training part.
        typical_steps: of the median one.
        flags: whether the training part had missing values; then each feature has a channel that says where.
    """

    features: int
    outputs: int
    widths: tuple[int, ...]
    steps: int
    typical_steps: int
    flags: bool

    def to_dict(self) -> dict[str, Any]:
        """Give the sizes as JSON values."""
        return asdict(self) | {"widths": list(self.widths)}

    @classmethod
    def from_dict(cls, sizes: dict[str, Any]) -> NetworkShape:
        """Read what `to_dict` gave.

        Raises:
            ArgumentError: a size is missing, unknown, or not a whole number of 1 or more.

        Example:
            >>> NetworkShape.from_dict({"features": 1})
            Traceback (most recent call last):
            gatestack.errors.ArgumentError: NetworkShape: there is no size 'outputs'
        """
        names = [field.name for field in fields(cls)]
        for name in names:
            if name not in sizes:
                raise ArgumentError(f"there is no size {name!r}", where="NetworkShape")
        for name in sizes:
            if name not in names:
                raise ArgumentError(f"the size {name!r} is not known", where="NetworkShape")
        widths = sizes["widths"]
        if not isinstance(widths, list | tuple) or not widths or not isinstance(sizes["flags"], bool):
            raise ArgumentError(
                f"widths={widths!r}, flags={sizes['flags']!r}",
                where="NetworkShape",
                expected="a list of widths, and True or False",
            )
        for name in ("features", "outputs", "steps", "typical_steps"):
            check_whole(name, sizes[name], owner="NetworkShape")
        for width in widths:
            check_whole("widths", width, owner="NetworkShape")
        return cls(**sizes | {"widths": tuple(widths)})


class RecurrentPart(nn.Module):
    """Scaled inputs, and the trunk that reads them: what is trained by gradients is in the trunk.

    Args:
        shape: the sizes.
        architecture: recipe, cell, pooling, and so on.
    """

    def __init__(self, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__()
        self.scaling = InputScaling(shape.features, architecture.scaling, flags=shape.flags)
        self.trunk = make_trunk(
            architecture,
            shape.widths,
            channels=self.scaling.channels,
            flags=shape.features if shape.flags else 0,
            steps=shape.typical_steps,
            longest=shape.steps,
            outputs=shape.outputs,
        )

    def fit(self, x: Tensor, lengths: Tensor, seed: int) -> Tensor:
        """Fit what is not trained by gradients, and give the scaled steps of x (n, T, C)."""
        self.scaling.fit(x, lengths)
        scaled: Tensor = self.scaling(x, lengths)
        if isinstance(self.trunk, SegmentTrunk):
            self.trunk.reader.fit(scaled, lengths, seed)
        return scaled

    def prepare(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Give what the trunk reads of a batch, and the length of each row of that."""
        return self.trunk.prepare(self.scaling(x, lengths), lengths)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Run a batch as in `LabelledNetwork` -> (N, K) logits or standardised targets."""
        outputs: Tensor = self.trunk(*self.prepare(x, lengths))
        return outputs


class LabelledNetwork(nn.Module):
    """From a batch of series to one row of outputs each: logits of K classes, or K targets in their unit.

        outputs = linear part (x) + trust · recurrent part (x)   in the recipe "kernels"
        outputs = recurrent part (x)                             in the others

    The trust in the recurrent part grows with the number n of training cases, n / (n + 200): what it learnt
    from tens of cases is as likely their noise.

    No row depends on the others of its batch, nor on how far the batch is padded. The whole network is in its
    `state_dict`, with what its scaling was fitted to.

    Args:
        shape: the sizes.
        architecture: recipe, cell, pooling, and so on.

    Example:
        >>> shape = NetworkShape(
        ...     features=2, outputs=3, widths=(4, 4), steps=9, typical_steps=5, flags=False
        ... )
        >>> network = LabelledNetwork(shape, Architecture())
        >>> network(torch.zeros(5, 9, 2), torch.tensor([9, 3, 1, 9, 2])).shape
        torch.Size([5, 3])
    """

    trust: Tensor
    target_mean: Tensor
    target_deviation: Tensor

    def __init__(self, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__()
        self.shape, self.architecture = shape, architecture
        self.recurrent = RecurrentPart(shape, architecture)
        self.linear: LinearPart | None = None
        if architecture.recipe == "kernels":
            self.linear = LinearPart(
                self.recurrent.scaling.channels,
                flags=shape.features if shape.flags else 0,
                steps=shape.typical_steps,
                longest=shape.steps,
                features=architecture.kernels,
                outputs=shape.outputs,
            )
        self.register_buffer("trust", torch.ones(()))
        self.register_buffer("target_mean", torch.zeros(shape.outputs))
        self.register_buffer("target_deviation", torch.ones(shape.outputs))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Run a batch.

        Args:
            x: (N, T, C), NaN where a value is missing; what stands after a row's last real step is not read.
            lengths: (N,) whole numbers from 1 to T.

        Returns:
            (N, K) logits, or targets in the unit of the training part.
        """
        outputs: Tensor = self.recurrent(x, lengths)
        if self.linear is not None:
            outputs = self.trust * outputs + self.linear(self.recurrent.scaling(x, lengths), lengths)
        return self.target_mean + self.target_deviation * outputs
