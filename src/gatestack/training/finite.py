"""The watch over loss and gradients: what is not finite stops the run, with its place and likely cause."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gatestack.errors import TrainingError
from gatestack.training.batches import tensors_in

__all__ = ["LossWatch", "explain_validation"]

# Reading a number from a GPU waits for all its work, so there the losses of several steps are read at once.
_STEPS_BETWEEN_READINGS = 16


class LossWatch:
    """Collects loss and gradient norm of each step, and raises when one of them is not finite.

    On the CPU every step is looked at before the weights change. On other devices it happens every 16 steps
    and before each validation, so that no bad weights are ever validated or stored.

    Args:
        network: whose tensors are named when something is wrong.
        device: where it is.

    Example:
        >>> watch = LossWatch(nn.Linear(1, 1), torch.device("cpu"))
        >>> watch.add(0, 1e-3, torch.tensor(0.5), torch.tensor(1.0), None)
        >>> watch.take_mean()
        0.5
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._every = 1 if device.type == "cpu" else _STEPS_BETWEEN_READINGS
        self._unread: list[tuple[int, float, Tensor, Tensor]] = []
        self.last = math.nan
        self.total = 0.0
        self.count = 0

    def add(self, step: int, learning_rate: float, loss: Tensor, norm: Tensor, batch: Any) -> None:
        """Note one step, after its gradients and before its update.

        Args:
            step: number of the update, from 0.
            learning_rate: of this update.
            loss: scalar.
            norm: Euclidean norm of all gradients, scalar.
            batch: looked at only when something is wrong.

        Raises:
            TrainingError: loss or norm is NaN or infinite.
        """
        self._unread.append((step, learning_rate, loss.detach(), norm))
        if len(self._unread) >= self._every:
            self.read(batch)

    def read(self, batch: Any = None) -> None:
        """Read what was noted; raises like `add`."""
        if not self._unread:
            return
        if self._every == 1:
            values = [self._unread[0][2].item(), self._unread[0][3].item()]
        else:
            values = torch.stack([row[2] for row in self._unread] + [row[3] for row in self._unread]).tolist()
        steps = len(self._unread)
        for (step, rate, _, _), loss, norm in zip(self._unread, values[:steps], values[steps:], strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._explain(step, rate, loss, norm, batch)
            self.total += loss
            self.last = loss
        self.count += steps
        self._unread.clear()

    def take_mean(self) -> float | None:
        """Return the mean loss since the last call, None if there was no step."""
        self.read()
        mean = self.total / self.count if self.count else None
        self.total, self.count = 0.0, 0
        return mean

    def _explain(self, step: int, rate: float, loss: float, norm: float, batch: Any) -> TrainingError:
        lower = f"try a lower learning rate, such as {rate / 10:.1g}"
        named = next((name for name, tensor in tensors_in(batch) if not _is_finite(tensor)), None)
        if named:
            culprit = f"the first tensor that is not finite is {named}, before the network"
            hint = "the data hold NaN or infinite values that no mask hides: fill, mask or remove them"
        elif named := _bad_parameter(self._network):
            culprit = f"the first tensor that is not finite is the parameter {named}"
            hint = f"the weights grew without bound: {lower}"
        elif not math.isfinite(loss):
            culprit = "all weights and the batch are finite, the loss is not"
            hint = f"the outputs are too large: standardise the values, or {lower}"
        else:
            gradients = ((n, p.grad) for n, p in self._network.named_parameters() if p.grad is not None)
            named = next(
                (n for n, gradient in gradients if not _is_finite(gradient)), "of all parameters together"
            )
            culprit = f"the first tensor that is not finite is the gradient of {named}"
            hint = f"the gradients overflow: standardise the values, shorten the sequences, or {lower}"
        what = (
            f"the loss is {loss:g}" if not math.isfinite(loss) else f"the norm of the gradients is {norm:g}"
        )
        return TrainingError(
            f"{what} at learning rate {rate:.3g}; {culprit}", where=f"step {step + 1}", hint=hint
        )


def explain_validation(step: int, value: float, network: nn.Module) -> TrainingError:
    """Return the error for a validation loss that is not finite.

    Args:
        step: updates so far.
        value: the loss.
        network: a parameter of it that is not finite is named.

    Example:
        >>> print(explain_validation(0, math.inf, nn.Linear(1, 1)))
        step 0: the validation loss is inf
        <BLANKLINE>
        hint: look for NaN or infinite values in the validation data and in the initial weights
    """
    named = _bad_parameter(network)
    return TrainingError(
        f"the validation loss is {value:g}" + (f"; the parameter {named} is not finite" if named else ""),
        where=f"step {step}",
        hint="look for NaN or infinite values in the validation data"
        + (", or try a lower learning rate" if step else " and in the initial weights"),
    )


def _bad_parameter(network: nn.Module) -> str | None:
    return next((name for name, tensor in network.named_parameters() if not _is_finite(tensor)), None)


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
