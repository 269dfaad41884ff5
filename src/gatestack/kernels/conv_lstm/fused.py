"""The convolutional LSTM on the CPU: torch's convolutions, and the compiled kernels for all between them.

Steps are computed some images at a time, as many as the nearest caches hold: their input convolutions in one
call, their recurrent convolutions added in place, and one call of the library that makes gates and states of
the sums. `fused_backward.py` is the way back.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from gatestack.kernels.conv_lstm.fused_backward import backward, differentiable_backward
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
from gatestack.kernels.conv_lstm.rows import RealRows
from gatestack.kernels.conv_lstm.spec import ConvSpec, ConvWeights, add_convolved_state, odd_sized
from gatestack.kernels.conv_lstm.step import NativeStep

__all__ = ["run_fused"]


def run_fused(
    spec: ConvSpec,
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weights: ConvWeights,
    factors: Tensor | None,
    rows: RealRows,
    *,
    from_zero: bool = False,
    sequences: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer over real steps.

    Args:
        spec: the geometry; `spec.plain`.
        x: (S, C, *space), the real steps in the order of `rows`; two or three dimensions of space.
        state: (h, c), each (N, F, *space_out), in the order of `rows`.
        weights: of the layer.
        factors: (N, F, *space_out), in the order of `rows`, or None.
        rows: the real steps; there is at least one.
        from_zero: whether h is zero.
        sequences: whether the outputs of all steps are wanted.

    Returns:
        The outputs (S, F, *space_out), or without `sequences` nothing, and the final h and c, in the order of
        `rows`.
    """
    job = Job(spec, rows, from_zero, sequences)
    peephole = weights.peephole
    if peephole is not None:
        peephole = peephole.expand(3, *state[0].shape[1:])
    weight_hh = odd_sized(weights.weight_hh)
    inputs = Inputs(x, *state, weights.weight_ih, weight_hh, weights.bias, peephole, factors)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        return cast("tuple[Tensor, Tensor, Tensor]", _Node.apply(job, *inputs))  # type: ignore[no-untyped-call]
    return _forward(job, inputs, keep=False)[0]


def _forward(job: Job, inputs: Inputs, *, keep: bool) -> tuple[tuple[Tensor, Tensor, Tensor], Saved | None]:
    """Compute outputs and final states; with `keep`, also what the backward pass reads."""
    inputs = inputs._replace(
        weight_ih=last_channels(inputs.weight_ih), weight_hh=last_channels(inputs.weight_hh)
    )
    hidden = job.states(inputs.h, whole=keep or job.sequences)
    cells = job.states(inputs.c, whole=keep)
    F, *space = inputs.h.shape[1:]
    gates = empty((job.first[-1], *space, 4 * F), inputs.x.dtype) if keep else None
    native = native_step(inputs)
    pieces = job.pieces(4 * inputs.h[0].numel())
    sums = empty((max(end - begin for begin, end in pieces), *space, 4 * F), inputs.x.dtype)
    for begin, end in pieces:
        _forward_piece(job, inputs, native, (begin, end), sums[: end - begin], hidden, cells, gates)
    y = _result(hidden[job.rows.batch :]) if job.sequences else inputs.x.new_empty(0)
    results = (y, _result(job.final(hidden)), _result(job.final(cells)))
    return results, None if gates is None else Saved(gates, hidden, cells)


def _forward_piece(
    job: Job,
    inputs: Inputs,
    native: NativeStep,
    piece: tuple[int, int],
    sums: Tensor,
    hidden: Tensor,
    cells: Tensor,
    gates: Tensor | None,
) -> None:
    """Compute the rows of a piece: their states, and their gates where these are kept; `sums` is scratch."""
    begin, end = piece
    job.spec.put_convolved_input(as_images(sums), inputs.x[begin:end], inputs.weight_ih, inputs.bias)
    for step, low, high in job.parts(begin, end):
        here = slice(job.first[step] + low - begin, job.first[step] + high - begin)
        sums_hidden = None
        if step or not job.from_zero:
            seen = as_images(job.before(hidden, step, low, high))
            if inputs.factors is not None:
                seen = seen * inputs.factors[low:high]
            sums_hidden = add_convolved_state(as_images(sums[here]), seen, inputs.weight_hh)
        native.forward(
            sums[here],
            None if sums_hidden is None else as_rows(sums_hidden),
            job.before(cells, step, low, high),
            job.after(cells, step, low, high),
            job.after(hidden, step, low, high),
            None if gates is None else gates[begin:end][here],
        )


def _result(rows: Tensor) -> Tensor:
    """See rows as images that autograd takes for no view, so that they may be changed in place."""
    images = as_images(rows)
    made: Tensor = images.new_empty(0)
    return made.set_(images.untyped_storage(), images.storage_offset(), images.shape, images.stride())


class _Node(torch.autograd.Function):
    """A layer as one node of autograd."""

    @staticmethod
    def forward(ctx: Any, job: Job, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        given = Inputs(*inputs)  # type: ignore[arg-type]
        results, saved = _forward(job, given, keep=True)
        ctx.set_materialize_grads(False)
        ctx.job = job
        # The output lies in the memory of what is saved. It is saved as what the caller gets, too:
        # changing it in place is then noticed.
        ctx.save_for_backward(results[0], *given, *cast("Saved", saved))
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        _, *given = ctx.saved_tensors
        inputs, saved = Inputs(*given[:-3]), Saved(*given[-3:])
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # the gradients are to be differentiated again
            return None, *differentiable_backward(ctx.job, inputs, grads, wanted)
        return None, *backward(ctx.job, inputs, saved, grads, wanted)
