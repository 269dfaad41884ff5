"""The gradients of `fused.py`: from the last step to the first, some images at a time as on the way there.

One call of the library makes the gradients of a step's sums, a convolution those of the state before it, and
one convolution over the whole piece its share of each weight's gradient, while the piece is in the caches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatestack.kernels.backend import say_once
from gatestack.kernels.conv_lstm.job import (
    Inputs,
    Job,
    Saved,
    as_images,
    as_rows,
    empty,
    last_channels,
    native_step,
)
from gatestack.kernels.conv_lstm.loop import run_loop
from gatestack.kernels.conv_lstm.spec import ConvWeights

__all__ = ["backward", "differentiable_backward"]


def backward(
    job: Job, inputs: Inputs, saved: Saved, grads: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Compute the gradients of the inputs, where wanted, from those of outputs and final states."""
    wants = Inputs(*wanted)  # type: ignore[arg-type]
    d_y = None if grads[0] is None or not job.sequences else as_rows(grads[0])
    d_h, d_c = (
        as_rows(torch.zeros_like(of) if gradient is None else gradient.clone())
        for of, gradient in zip((inputs.h, inputs.c), grads[1:], strict=True)
    )
    sums = _Sums(job, inputs, saved, wants)
    native = native_step(inputs)
    d_peephole = None if inputs.peephole is None else as_rows(torch.zeros_like(inputs.peephole))
    F, *space = inputs.h.shape[1:]
    weight_hh = last_channels(inputs.weight_hh)
    pieces = job.pieces(4 * inputs.h[0].numel())
    scratch = empty((max(end - begin for begin, end in pieces), *space, 4 * F), inputs.x.dtype)
    for begin, end in reversed(pieces):
        d_sums = scratch[: end - begin]
        for step, low, high in reversed(job.parts(begin, end)):
            span = slice(job.first[step] + low, job.first[step] + high)
            own = d_sums[span.start - begin : span.stop - begin]
            native.backward(
                saved.gates[span],
                job.before(saved.cells, step, low, high),
                None if d_y is None else d_y[span],
                d_h[low:high],
                d_c[low:high],
                own,
                d_peephole,
            )
            if step or wants.h:
                before = as_images(job.before(saved.hidden, step, low, high))
                d_seen, _ = _state_backward(as_images(own), before, weight_hh, (True, False))
                if inputs.factors is not None:
                    d_seen = d_seen * inputs.factors[low:high]
                d_h[low:high] = as_rows(d_seen)
        sums.take(begin, end, as_images(d_sums))
    return [
        sums.d_x,
        as_images(d_h) if wants.h else None,
        as_images(d_c) if wants.c else None,
        sums.d_weight_ih,
        sums.d_weight_hh,
        sums.d_bias,
        None if d_peephole is None or not wants.peephole else as_images(d_peephole),
        None,
    ]


class _Sums:
    """The gradients that are sums over all steps, and that of x, where wanted."""

    def __init__(self, job: Job, inputs: Inputs, saved: Saved, wants: Inputs) -> None:
        self.job, self.saved = job, saved
        self.inputs = inputs._replace(
            weight_ih=last_channels(inputs.weight_ih), weight_hh=last_channels(inputs.weight_hh)
        )
        self.d_x = torch.empty_like(inputs.x) if wants.x else None
        self.d_weight_ih, self.d_weight_hh, self.d_bias = (
            torch.zeros_like(of) if want else None
            for of, want in zip(
                (self.inputs.weight_ih, self.inputs.weight_hh, inputs.bias),
                (wants.weight_ih, wants.weight_hh, wants.bias),
                strict=True,
            )
        )

    def take(self, begin: int, end: int, d_sums: Tensor) -> None:
        """Add what the gradients of the sums (4F channels) of the rows from `begin` to `end` give."""
        self._input(begin, end, d_sums)
        if self.d_weight_hh is None:
            return
        start = max(begin, self.job.first[1]) if self.job.from_zero else begin  # zeros were seen before
        if start < end:
            _, d_weight = _state_backward(
                d_sums[start - begin :], self._seen(start, end), self.inputs.weight_hh, (False, True)
            )
            self.d_weight_hh += d_weight

    def _seen(self, begin: int, end: int) -> Tensor:
        """Give what the recurrent convolutions of some rows saw."""
        rows, hidden = self.job.rows, self.saved.hidden
        previous = rows.previous
        before = hidden[begin:end] if previous is None else hidden.index_select(0, previous[begin:end])
        seen = as_images(before)
        if self.inputs.factors is None:
            return seen
        factors = [self.inputs.factors[low:high] for _, low, high in self.job.parts(begin, end)]
        return seen * torch.cat(factors)

    def _input(self, begin: int, end: int, d_sums: Tensor) -> None:
        spec, weight = self.job.spec, self.inputs.weight_ih
        mask = [gradient is not None for gradient in (self.d_x, self.d_weight_ih, self.d_bias)]
        if not any(mask):
            return
        given = self.inputs.x[begin:end]
        x, padding = spec.padded(given, weight)
        d_padded, d_weight, d_bias = torch.ops.aten.convolution_backward(
            d_sums,
            x,
            weight,
            list(self.inputs.bias.shape),
            list(spec.stride),
            list(padding),
            list(spec.dilation),
            False,
            [0] * len(padding),
            1,
            mask,
        )
        if self.d_x is not None:
            if d_padded.shape != given.shape:
                pairs = spec.padding(tuple(given.shape[2:]), tuple(weight.shape[2:]))
                for axis, (before, _) in enumerate(pairs, start=2):
                    d_padded = d_padded.narrow(axis, before, given.shape[axis])
            self.d_x[begin:end] = d_padded
        for total, share in ((self.d_weight_ih, d_weight), (self.d_bias, d_bias)):
            if total is not None:
                total += share


def _state_backward(
    d_sums: Tensor, seen: Tensor, weight: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of what a recurrent convolution saw, and of its weight, where wanted."""
    ones, zeros = [1] * (seen.dim() - 2), [0] * (seen.dim() - 2)
    padding = [size // 2 for size in weight.shape[2:]]
    mask = [*wanted, False]
    d_seen, d_weight, _ = torch.ops.aten.convolution_backward(
        d_sums, seen, weight, None, ones, padding, ones, False, zeros, 1, mask
    )
    return d_seen, d_weight


def differentiable_backward(
    job: Job, inputs: Inputs, grads: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Compute the gradients as functions that have gradients themselves: the forward pass anew, on torch."""
    say_once("second derivatives (create_graph=True) are computed with the backend 'torch'")
    x, h, c, *parameters, factors = inputs
    weights = ConvWeights(*parameters)  # type: ignore[arg-type]
    results = run_loop(job.spec, x, h, c, weights, factors, job.rows.sizes)
    pairs = [(result, g) for result, g in zip(results, grads, strict=True) if g is not None]
    asked = [tensor for tensor, want in zip(inputs, wanted, strict=True) if want and tensor is not None]
    found = iter(
        torch.autograd.grad(
            [result for result, _ in pairs],
            asked,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if want else None for want in wanted]
