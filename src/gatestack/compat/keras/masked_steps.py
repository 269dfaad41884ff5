"""What Keras gives at masked steps, made of what the kernels give there.

Over a row `a b . d` (`.` is masked), forwards:

    kernels        output A B 0 D        last output: the last real one
    Keras          output A B B D        last output: that of the last place; zero before the first real step
    zero_output_for_mask=True    A B 0 D
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["as_keras_gives", "real_steps"]


def real_steps(mask: Tensor | None) -> Tensor | None:
    """Give a mask (N, T) as the kernels take it, bool; None where every step is real.

    Example:
        >>> real_steps(torch.tensor([[1, 1]])) is None, real_steps(torch.tensor([[1, 0]]))
        (True, tensor([[ True, False]]))
    """
    if mask is None:
        return None
    real = mask.bool()
    return None if not torch.compiler.is_compiling() and bool(real.all()) else real


def as_keras_gives(
    layer: Any, y: Tensor, finals: Sequence[Tensor], real: Tensor | None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Bring the results of the kernels to what a layer of Keras gives from its loop.

    Args:
        layer: says `return_sequences` and `zero_output_for_mask`.
        y: outputs (N, T, ·), zero at masked steps; not read without `return_sequences`.
        finals: states (N, ·) after each row's last real step, h first.
        real: (N, T), in the order in which the steps were taken; None where every step is real.

    Returns:
        The last output (N, ·); the outputs (N, T, ·), or (N, 1, ·) without `return_sequences`; the states.
    """
    last = finals[0]
    if real is not None:
        counted = real[:, -1] if layer.zero_output_for_mask else real.any(dim=1)
        last = last.masked_fill(~counted.view(-1, *[1] * (last.dim() - 1)), 0.0)
    if not layer.return_sequences:
        return last, last.unsqueeze(1), list(finals)
    return last, y if real is None or layer.zero_output_for_mask else _held(y, real), list(finals)


def _held(y: Tensor, real: Tensor) -> Tensor:
    """Give each masked step of y (N, T, ·) the output of the last real one; zero where there is none."""
    rows, steps = real.shape
    place = torch.arange(steps, device=y.device)
    # 0 before the first real step, where y is zero because step 0 is masked then.
    latest = (real * place).cummax(dim=1).values  # -> (N, T)
    flat = latest + steps * torch.arange(rows, device=y.device).unsqueeze(1)
    return y.flatten(0, 1).index_select(0, flat.flatten()).view(y.shape)
