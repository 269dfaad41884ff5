"""A linear model of kernel shares and of the coarse shape of a series, fitted in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.tasks.labelled.fcn import resampled
from gatestack.tasks.labelled.kernels import FixedKernels
from gatestack.tasks.labelled.ridge import class_codes, fit_ridge, sharpness
from gatestack.tasks.labelled.scaling import differences, length_batches, real_steps

__all__ = ["LinearPart"]

Floats = npt.NDArray[np.float64]

_MOST_DILATIONS = 32
_MOST_POINTS = 64  # at which the shape of a series is read
# Above, a random part of so many cases is fitted: time and memory grow with the third and second power.
_MOST_CASES = 4000


class LinearPart(nn.Module):
    """Ridge regression on how often fixed kernels respond, and on the series' own values.

    The features are two groups, each centred, divided by its deviations in the training part and by the root
    of its size:

        kernels     shares of `FixedKernels`, of the values and of their differences
        shape       mean, deviation, least, greatest, first and last value of each channel, the logarithm of
                    the length, and the series read at up to 64 evenly spaced points

    Classes are learnt as codes of 1 and −1; what comes out is multiplied by the `sharpness` that makes it
    good logits. Nothing here is trained by gradients.

    Args:
        channels: of the input; flags of missing values, which the kernels do not read, are the last ones.
        flags: how many these are.
        steps: typical length of a series.
        longest: length of the longest series.
        features: number of kernel features that is aimed at.
        outputs: K.
    """

    mean: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(
        self, channels: int, *, flags: int, steps: int, longest: int, features: int, outputs: int
    ) -> None:
        super().__init__()
        self.read = channels - flags
        self.points = min(longest, _MOST_POINTS)

        def kernels(thresholds: int) -> FixedKernels:
            return FixedKernels(self.read, steps, most_dilations=_MOST_DILATIONS, thresholds=thresholds)

        thresholds = max(1, round(features / 2 / kernels(1).output_size))
        self.of_values, self.of_differences = kernels(thresholds), kernels(thresholds)
        self.sizes = (2 * self.of_values.output_size, channels * (6 + self.points) + 1)
        self.register_buffer("mean", torch.zeros(sum(self.sizes)))
        self.register_buffer("weight", torch.zeros(outputs, sum(self.sizes)))
        self.register_buffer("bias", torch.zeros(outputs))

    @torch.no_grad()
    def fit(self, x: Tensor, lengths: Tensor, targets: Tensor, seed: int) -> Tensor:
        """Draw the kernels' thresholds, and find weights and bias.

        Args:
            x: (n, T, channels), scaled, zero in the padding.
            lengths: (n,).
            targets: (n,) int64 classes, or (n, K) standardised targets.
            seed: of what is drawn.

        Returns:
            (n, K) logits or standardised targets of each case, by a fit that has not seen it.
        """
        random = np.random.default_rng((seed, 2))
        rows = np.sort(random.permutation(len(x))[:_MOST_CASES])
        fitted = torch.from_numpy(rows)
        values = x[fitted, :, : self.read]
        self.of_values.fit(values, lengths[fitted], random)
        self.of_differences.fit(differences(values, lengths[fitted]), lengths[fitted], random)
        left_out = self._solve(self._over_batches(self.features, x, lengths, rows), targets[fitted])
        others = np.setdiff1d(np.arange(len(x)), rows)
        start = torch.zeros(len(x), len(self.bias))
        start[fitted] = torch.from_numpy(left_out).to(start)
        if len(others):
            start[torch.from_numpy(others)] = torch.from_numpy(
                self._over_batches(self.forward, x, lengths, others)
            ).to(start)
        return start

    def _over_batches(
        self,
        run: Callable[[Tensor, Tensor], Tensor],
        x: Tensor,
        lengths: Tensor,
        rows: npt.NDArray[np.int64],
    ) -> Floats:
        parts = [rows[part] for part in length_batches(lengths.numpy()[rows])]
        answers = []
        for part in parts:
            some = torch.from_numpy(part)
            answers.append(run(x[some, : int(lengths[some].max())], lengths[some]).double().numpy())
        back = np.argsort(np.concatenate(parts))  # rows are in ascending order
        return np.concatenate(answers)[back]

    def _solve(self, features: Floats, targets: Tensor) -> Floats:
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        roots = np.sqrt(np.repeat(self.sizes, self.sizes))
        varies = deviation > 1e-6 * (1 + np.abs(mean))
        unit = np.where(varies, 1 / (np.where(varies, deviation, 1.0) * roots), 0.0)
        features -= mean  # in place: there may be hundreds of megabytes
        features *= unit
        groups = [features[:, : self.sizes[0]], features[:, self.sizes[0] :]]
        if targets.ndim == 1:
            classes = targets.numpy()
            found = fit_ridge(
                groups, class_codes(classes, len(self.bias)), lambda left_out: sharpness(left_out, classes)[1]
            )
            factor = sharpness(found.left_out, classes)[0]
        else:
            truth = targets.double().numpy()
            found = fit_ridge(groups, truth, lambda left_out: float(np.square(truth - left_out).mean()))
            factor = 1.0
        self.mean.copy_(torch.from_numpy(mean))
        self.weight.copy_(torch.from_numpy(factor * (np.concatenate(found.weights) * unit[:, None]).T))
        self.bias.copy_(torch.from_numpy(factor * found.bias))
        return factor * found.left_out

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Run x (N, T, channels), zero in the padding -> (N, K) logits or standardised targets."""
        return (self.features(x, lengths) - self.mean) @ self.weight.T + self.bias

    def features(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Give the kernel features and the shape of each row -> (N, F)."""
        values = x[..., : self.read]
        return torch.cat(
            [
                self.of_values(values, lengths)[:, 0],
                self.of_differences(differences(values, lengths), lengths)[:, 0],
                self._shape(x, lengths),
            ],
            dim=-1,
        )

    def _shape(self, x: Tensor, lengths: Tensor) -> Tensor:
        real = real_steps(x, lengths)[..., None]
        count = lengths.to(x)[:, None]
        mean = x.sum(dim=1) / count
        variance = (x - mean[:, None]).masked_fill(~real, 0.0).square().sum(dim=1) / count
        rows = torch.arange(len(x), device=x.device)
        return torch.cat(
            [
                mean,
                variance.clamp(min=1e-12).sqrt(),  # the root's gradient at 0 is infinite
                x.masked_fill(~real, torch.inf).amin(dim=1),
                x.masked_fill(~real, -torch.inf).amax(dim=1),
                x[:, 0],
                x[rows, lengths.to(x.device) - 1],
                count.log(),
                resampled(x, lengths, self.points).flatten(1),
            ],
            dim=-1,
        )
