"""The convolutional LSTM on the CPU: torch's convolutions, and the compiled kernels for all between them.

Everything stands in memory with channels last: "rows" are (S, *space, F), the steps one behind the other,
"images" the same memory seen as (S, F, *space). One call computes the input convolutions of as many steps as
a cache holds. Each step then computes its recurrent convolution, and one call of the library makes gates and
states of the sums. The backward pass gives the gradients of every step's sums, and one convolution over all
steps makes those of the weights of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from gatestack.kernels.backend import say_once
from gatestack.kernels.conv_lstm.loop import run_loop
from gatestack.kernels.conv_lstm.rows import RealRows
from gatestack.kernels.conv_lstm.spec import ConvSpec, ConvWeights, convolve_state, odd_sized
from gatestack.kernels.conv_lstm.step import NativeStep
from gatestack.kernels.rooms import room

__all__ = ["run_fused"]

_MOST_SUMS = 1 << 20  # elements of the input convolutions at a time: 4 MiB of float32


@dataclass(frozen=True, eq=False)
class _Job:
    """What a call is about besides its tensors.

    Args:
        spec: the geometry.
        rows: the real steps.
        from_zero: whether h is zero at first, so that the first step needs no convolution.
        sequences: whether the outputs of all steps are wanted.
    """

    spec: ConvSpec
    rows: RealRows
    from_zero: bool
    sequences: bool
    first: list[int] = field(init=False)  # where the rows of each step begin, and the end of the last

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", [0, *accumulate(self.rows.sizes)])

    def before(self, states: Tensor, step: int) -> Tensor:
        """Give the states before a step, of the rows that take it.

        `states` are those of all steps behind the initial ones, or, N of them, the newest of each row.
        """
        N, whole = self.rows.batch, len(states) > self.rows.batch
        begin = N + self.first[step - 1] if whole and step else 0
        return states[begin : begin + self.rows.sizes[step]]

    def after(self, states: Tensor, step: int) -> Tensor:
        """Give the states after a step, likewise."""
        N, whole = self.rows.batch, len(states) > self.rows.batch
        begin = N + self.first[step] if whole else 0
        return states[begin : begin + self.rows.sizes[step]]

    def final(self, states: Tensor) -> Tensor:
        """Give the state after each row's last step, in memory of its own."""
        N = self.rows.batch
        if len(states) == N:
            return states
        return states[-N:].clone() if self.rows.last is None else states.index_select(0, self.rows.last)

    def states(self, initial: Tensor, *, whole: bool) -> Tensor:
        """Make room for the states of all steps, or for the newest; the initial ones are there already."""
        N = self.rows.batch
        by_position = initial.movedim(1, -1)
        states = _empty((N + (self.first[-1] if whole else 0), *by_position.shape[1:]), initial.dtype)
        states[:N] = by_position
        return states

    def chunks(self, elements: int) -> Iterator[tuple[int, int]]:
        """Cut the steps into runs whose input convolutions fit; `elements` are those of one row."""
        begin = 0
        for step in range(1, len(self.rows.sizes)):
            if (self.first[step + 1] - self.first[begin]) * elements > _MOST_SUMS:
                yield begin, step
                begin = step
        yield begin, len(self.rows.sizes)


class _Inputs(NamedTuple):
    """The tensors of a call, in the order in which autograd knows them."""

    x: Tensor
    h: Tensor
    c: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    peephole: Tensor | None
    factors: Tensor | None


class _Saved(NamedTuple):
    """What the backward pass reads: gates, and states behind the initial ones; rows."""

    gates: Tensor
    hidden: Tensor
    cells: Tensor


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
    job = _Job(spec, rows, from_zero, sequences)
    peephole = weights.peephole
    if peephole is not None:
        peephole = peephole.expand(3, *state[0].shape[1:])
    weight_hh = odd_sized(weights.weight_hh)
    inputs = _Inputs(x, *state, weights.weight_ih, weight_hh, weights.bias, peephole, factors)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        return cast("tuple[Tensor, Tensor, Tensor]", _Node.apply(job, *inputs))  # type: ignore[no-untyped-call]
    return _forward(job, inputs, keep=False)[0]


def _rows(images: Tensor) -> Tensor:
    """See (S, F, *space) as (S, *space, F); a copy where it does not stand in memory like that."""
    return images.movedim(1, -1).contiguous()


def _images(rows: Tensor) -> Tensor:
    """See (S, *space, F) as (S, F, *space)."""
    return rows.movedim(-1, 1)


def _result(rows: Tensor) -> Tensor:
    """See rows as images that autograd takes for no view, so that they may be changed in place."""
    images = _images(rows)
    made: Tensor = images.new_empty(0)
    return made.set_(images.untyped_storage(), images.storage_offset(), images.shape, images.stride())


def _empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Give memory with anything in it."""
    return room(math.prod(shape) * dtype.itemsize).view(dtype).view(*shape)


def _last_channels(weight: Tensor) -> Tensor:
    """Give a weight in the layout of the images, so that a convolution does not have to."""
    layout = torch.channels_last if weight.dim() == 4 else torch.channels_last_3d
    return weight.contiguous(memory_format=layout)


def _native_step(inputs: _Inputs) -> NativeStep:
    _, F, *space = inputs.h.shape
    peephole = None if inputs.peephole is None else _rows(inputs.peephole)
    return NativeStep(inputs.h, tuple(space), F, peephole)


def _forward(
    job: _Job, inputs: _Inputs, *, keep: bool
) -> tuple[tuple[Tensor, Tensor, Tensor], _Saved | None]:
    """Compute outputs and final states; with `keep`, also what the backward pass reads."""
    x, weight_ih, weight_hh = inputs.x, _last_channels(inputs.weight_ih), _last_channels(inputs.weight_hh)
    hidden = job.states(inputs.h, whole=keep or job.sequences)
    cells = job.states(inputs.c, whole=keep)
    F, *space = inputs.h.shape[1:]
    gates = _empty((job.first[-1], *space, 4 * F), x.dtype) if keep else None
    native = _native_step(inputs)
    for begin, end in job.chunks(4 * inputs.h[0].numel()):
        start = job.first[begin]
        sums = _rows(job.spec.convolve_input(x[start : job.first[end]], weight_ih, inputs.bias))
        for step in range(begin, end):
            sums_hidden = None
            if step or not job.from_zero:
                seen = _seen(job.before(hidden, step), inputs.factors)
                sums_hidden = _rows(convolve_state(seen, weight_hh))
            here, after = job.first[step], job.first[step + 1]
            native.forward(
                sums[here - start : after - start],
                sums_hidden,
                job.before(cells, step),
                job.after(cells, step),
                job.after(hidden, step),
                None if gates is None else gates[here:after],
            )
    y = _result(hidden[job.rows.batch :]) if job.sequences else x.new_empty(0)
    results = (y, _result(job.final(hidden)), _result(job.final(cells)))
    return results, None if gates is None else _Saved(gates, hidden, cells)


def _seen(h: Tensor, factors: Tensor | None) -> Tensor:
    """Give what the recurrent convolution sees of the states of some rows, as images."""
    return _images(h) if factors is None else _images(h) * factors[: len(h)]


class _Node(torch.autograd.Function):
    """A layer as one node of autograd."""

    @staticmethod
    def forward(ctx: Any, job: _Job, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        given = _Inputs(*inputs)  # type: ignore[arg-type]
        results, saved = _forward(job, given, keep=True)
        ctx.set_materialize_grads(False)
        ctx.job = job
        # The output lies in the memory of what is saved. It is saved as what the caller gets, too:
        # changing it in place is then noticed.
        ctx.save_for_backward(results[0], *given, *cast("_Saved", saved))
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        _, *given = ctx.saved_tensors
        inputs, saved = _Inputs(*given[:-3]), _Saved(*given[-3:])
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # the gradients are to be differentiated again
            return None, *_differentiable_backward(ctx.job, inputs, grads, wanted)
        return None, *_backward(ctx.job, inputs, saved, grads, wanted)


def _backward(
    job: _Job, inputs: _Inputs, saved: _Saved, grads: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Compute the gradients of the inputs, where wanted, from those of outputs and final states."""
    wants = _Inputs(*wanted)  # type: ignore[arg-type]
    d_y = None if grads[0] is None or not job.sequences else _rows(grads[0])
    d_h, d_c = (
        _rows(torch.zeros_like(of) if gradient is None else gradient.clone())
        for of, gradient in zip((inputs.h, inputs.c), grads[1:], strict=True)
    )
    weight_hh = _last_channels(inputs.weight_hh)
    native = _native_step(inputs)
    d_gates = _empty(saved.gates.shape, saved.gates.dtype)
    d_peephole = None if inputs.peephole is None else _rows(torch.zeros_like(inputs.peephole))
    first = job.first
    for step in reversed(range(len(job.rows.sizes))):
        rows, span = job.rows.sizes[step], slice(first[step], first[step + 1])
        native.backward(
            saved.gates[span],
            job.before(saved.cells, step),
            None if d_y is None else d_y[span],
            d_h[:rows],
            d_c[:rows],
            d_gates[span],
            d_peephole,
        )
        if step or wants.h:
            before = _images(job.before(saved.hidden, step))
            d_seen, _ = _state_backward(_images(d_gates[span]), before, weight_hh, (True, False))
            d_before = _rows(d_seen if inputs.factors is None else d_seen * inputs.factors[:rows])
            if rows == len(d_h):
                d_h = d_before
            else:
                d_h[:rows] = d_before
    d_x, d_weight_ih, d_bias = _input_backward(job.spec, inputs, _images(d_gates), wants)
    return [
        d_x,
        _images(d_h) if wants.h else None,
        _images(d_c) if wants.c else None,
        d_weight_ih,
        _weight_backward(job, inputs, saved, d_gates) if wants.weight_hh else None,
        d_bias,
        None if d_peephole is None or not wants.peephole else _images(d_peephole),
        None,
    ]


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


def _weight_backward(job: _Job, inputs: _Inputs, saved: _Saved, d_gates: Tensor) -> Tensor:
    """Compute the gradient of the recurrent weights over all steps at once."""
    begin = job.first[1] if job.from_zero else 0  # steps that saw zeros add nothing
    end = job.first[-1]
    if begin == end:
        return torch.zeros_like(inputs.weight_hh)
    previous = job.rows.previous
    before = saved.hidden[begin:end] if previous is None else saved.hidden.index_select(0, previous[begin:])
    seen = _images(before)
    if inputs.factors is not None:
        rank = torch.cat([torch.arange(size) for size in job.rows.sizes])[begin:]
        seen = seen * inputs.factors.index_select(0, rank)
    weight = _last_channels(inputs.weight_hh)
    return _state_backward(_images(d_gates[begin:]), seen, weight, (False, True))[1]


def _input_backward(
    spec: ConvSpec, inputs: _Inputs, d_sums: Tensor, wants: _Inputs
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Compute the gradients of x, of the input weights and of the bias, where wanted."""
    mask = [bool(wants.x), bool(wants.weight_ih), bool(wants.bias)]
    if not any(mask):
        return None, None, None
    x, padding = spec.padded(inputs.x, inputs.weight_ih)
    d_padded, d_weight, d_bias = torch.ops.aten.convolution_backward(
        d_sums,
        x,
        _last_channels(inputs.weight_ih),
        list(inputs.bias.shape),
        list(spec.stride),
        list(padding),
        list(spec.dilation),
        False,
        [0] * len(padding),
        1,
        mask,
    )
    if d_padded is not None and d_padded.shape != inputs.x.shape:
        pairs = spec.padding(tuple(inputs.x.shape[2:]), tuple(inputs.weight_ih.shape[2:]))
        for axis, (before, _) in enumerate(pairs, start=2):
            d_padded = d_padded.narrow(axis, before, inputs.x.shape[axis])
    return d_padded, d_weight, d_bias


def _differentiable_backward(
    job: _Job, inputs: _Inputs, grads: Sequence[Tensor | None], wanted: Sequence[bool]
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
