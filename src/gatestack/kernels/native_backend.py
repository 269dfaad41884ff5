"""Stacks on the compiled kernels: inference, training, bfloat16 at the edges, second derivatives elsewhere.

Without gradients a call goes to the library with as little between as possible; with them it is one node of
autograd. What a compiler traces goes through `operators.py`. Arguments are trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, cast

import torch
from torch import Tensor

from gatestack.kernels import torch_backend
from gatestack.kernels.abi import Flag
from gatestack.kernels.backend import say_once
from gatestack.kernels.native_call import plan_of
from gatestack.kernels.packed_weights import Packed, packed_weights
from gatestack.kernels.spec import DirectionWeights, StackResult, StackSpec, States

__all__ = [
    "Job",
    "arrange",
    "backward",
    "exact_dtype",
    "flatten",
    "forward",
    "lowered",
    "modes",
    "pack",
    "run",
    "with_gaps",
]

# Plain numbers: arithmetic on an enumeration takes a microsecond.
_BFLOAT16, _RECOMPUTE, _SAVE, _TRAINING = (
    int(Flag.BFLOAT16),
    int(Flag.RECOMPUTE),
    int(Flag.SAVE),
    int(Flag.TRAINING),
)
_PARTS = len(DirectionWeights._fields)


@dataclass(eq=False, slots=True)
class Job:
    """What a call is about besides its tensors.

    Args:
        spec: the layers.
        flags: of the ABI.
        seed: of the masks.
        cells: whether the cell states of every step are wanted.
        halved: which layers give their results in bfloat16.
        lengths: (N,) int64, or None.
        mask: (N, T) bool, contiguous, or None.
    """

    spec: StackSpec
    flags: int
    seed: int
    cells: bool
    halved: tuple[bool, ...]
    lengths: Tensor | None
    mask: Tensor | None


def run(
    spec: StackSpec,
    x: Tensor,
    states: States,
    weights: Sequence[Sequence[DirectionWeights]],
    *,
    lengths: Tensor | None = None,
    mask: Tensor | None = None,
    training: bool = False,
    seed: int | Tensor = 0,
    cells: bool = False,
    recompute: bool = False,
) -> StackResult:
    """Run a stack; the arguments are those of `gatestack.kernels.recurrent.run_stack`."""
    flat = flatten(spec, states, weights)
    flags, halved = modes(spec, x, training=training, recompute=recompute)
    job = Job(spec, flags, int(seed), cells, halved, contiguous(lengths), contiguous(mask))
    if torch.is_grad_enabled() and _wants_gradient(x, flat):
        job.flags |= _SAVE
        # Copies: the backward pass must see the same real steps, whatever becomes of the caller's tensors.
        job.lengths = None if lengths is None else lengths.clone(memory_format=torch.contiguous_format)
        job.mask = None if mask is None else mask.clone(memory_format=torch.contiguous_format)
        present = [tensor is not None for tensor in flat]
        given = [tensor for tensor in flat if tensor is not None]
        y, *others = cast(
            "tuple[Tensor, ...]",
            _Node.apply(job, present, x, *given),  # type: ignore[no-untyped-call]
        )
    else:
        packed = pack(job, x, flat)
        y, others, _ = forward(job, packed, x, flat)
        y, *others = lowered(spec, halved, y, others)
    return arrange(spec, y, others, cells=cells)


def contiguous(tensor: Tensor | None) -> Tensor | None:
    """Give a tensor the layout of the ABI."""
    return None if tensor is None else tensor.contiguous()


def flatten(
    spec: StackSpec, states: States, weights: Sequence[Sequence[DirectionWeights]]
) -> list[Tensor | None]:
    """Lay states and weights out in one row: each layer's states, then ten weights for each direction."""
    flat: list[Tensor | None] = []
    for layer, state in zip(spec.layers, states, strict=True):
        flat += state if state is not None else (None,) * len(layer.state_sizes)
    for directions in weights:
        for one in directions:
            flat += one
    return flat


def unflatten(
    spec: StackSpec, flat: Sequence[Tensor | None]
) -> tuple[list[tuple[Tensor, ...] | None], list[list[DirectionWeights]]]:
    """Give what `flatten` laid out its form back."""
    rest = iter(flat)
    states = [[next(rest) for _ in layer.state_sizes] for layer in spec.layers]
    weights = [
        [DirectionWeights(*cast("list[Tensor]", list(islice(rest, _PARTS)))) for _ in range(spec.directions)]
        for _ in spec.layers
    ]
    return [
        None if state[0] is None else tuple(t for t in state if t is not None) for state in states
    ], weights


def modes(spec: StackSpec, x: Tensor, *, training: bool, recompute: bool) -> tuple[int, tuple[bool, ...]]:
    """Say how products are computed, what is drawn and kept, and which layers give bfloat16.

    Under autocast the results have the dtype that `torch.nn.LSTM`, `GRU` and `RNN` give there: the GRU keeps
    that of its input.
    """
    flags = (_TRAINING if training else 0) | (_RECOMPUTE if recompute else 0)
    if x.dtype is torch.bfloat16:
        return flags | _BFLOAT16, (True,) * len(spec.layers)
    if x.dtype is torch.float32 and torch.is_autocast_enabled("cpu"):
        # A layer over one that gives bfloat16 gives bfloat16, too.
        halved = tuple(
            any(layer.gates != 3 for layer in spec.layers[: n + 1]) for n in range(len(spec.layers))
        )
        return flags | _BFLOAT16, halved
    return flags, ()


def arrange(spec: StackSpec, y: Tensor, others: Sequence[Tensor], *, cells: bool) -> StackResult:
    """Give final states and cell states, which come in one row, the form of a result."""
    rest = iter(others)
    if spec.state_count == 2 * len(spec.layers):
        pairs = zip(rest, rest, strict=True) if not cells else [(next(rest), next(rest)) for _ in spec.layers]
        return StackResult(y, tuple(pairs), tuple(rest) if cells else None)
    finals = tuple([tuple([next(rest) for _ in layer.state_sizes]) for layer in spec.layers])
    return StackResult(y, finals, None)


def forward(
    job: Job, packed: Packed, x: Tensor, flat: Sequence[Tensor | None], saved_bytes: int = 0
) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """Compute y, then final and cell states, in the plan's dtype; and what the backward pass wants."""
    plan, count = packed.plan, job.spec.state_count
    return plan.forward(
        packed.template,
        _rows(x, plan.dtype),
        _whole_ones(flat[:count], plan.dtype),
        job.lengths,
        job.mask,
        flags=job.flags,
        seed=job.seed,
        cells=job.cells,
        saved_bytes=saved_bytes,
    )


def backward(
    job: Job,
    packed: Packed,
    x: Tensor,
    flat: Sequence[Tensor | None],
    y: Tensor,
    saved: Tensor,
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Compute the gradients of x and of what `flat` holds, where wanted, from those of all results."""
    plan, count, dtype = packed.plan, job.spec.state_count, packed.plan.dtype
    grad_x = torch.empty(x.shape, dtype=dtype) if wanted[0] else None
    layout = torch.contiguous_format
    found = [
        torch.empty_like(t, dtype=dtype, memory_format=layout) if want and t is not None else None
        for t, want in zip(flat, wanted[1:], strict=True)
    ]
    gradients = plan.empty_table()
    for position, gradient in enumerate(found[count:]):
        if gradient is not None:
            gradients[position] = gradient.data_ptr()
    grad_y, *others = grads
    parts = _whole_ones(others, dtype)
    plan.backward(
        packed.template,
        _rows(x, dtype),
        _whole_ones(flat[:count], dtype),
        job.lengths,
        job.mask,
        y,
        saved,
        flags=job.flags,
        seed=job.seed,
        grad_y=None if grad_y is None else _rows(grad_y, dtype),
        grad_finals=parts[:count],
        grad_cells=parts[count:],
        grad_x=grad_x,
        grad_states=found[:count],
        gradients=gradients,
    )
    return [
        gradient if gradient is None or of is None or gradient.dtype is of.dtype else gradient.to(of.dtype)
        for of, gradient in zip((x, *flat), (grad_x, *found), strict=True)
    ]


class _Node(torch.autograd.Function):
    """The stack as one node of autograd; gaps stay outside, for every argument costs time."""

    @staticmethod
    def forward(ctx: Any, job: Job, present: list[bool], x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        flat = with_gaps(given, present)
        packed = pack(job, x, flat)
        y, others, saved = forward(job, packed, x, flat)
        ctx.set_materialize_grads(False)
        ctx.job, ctx.packed, ctx.present = job, packed, present
        # y is saved as what the caller gets, where that is the same: changing it in place is then noticed.
        ctx.save_for_backward(x, y, saved, *given)
        return lowered(job.spec, job.halved, y, others)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, y, saved, *given = ctx.saved_tensors
        flat, present = with_gaps(given, ctx.present), ctx.present
        rest = iter(ctx.needs_input_grad[2:])
        wanted = [next(rest), *[next(rest) if there else False for there in present]]
        if torch.is_grad_enabled():  # the gradients are to be differentiated again
            found = _differentiable_backward(ctx.job, x, flat, grads, wanted)
        else:
            found = backward(ctx.job, ctx.packed, x, flat, y, saved, grads, wanted)
        return None, None, found[0], *[g for g, there in zip(found[1:], present, strict=True) if there]


def with_gaps(given: Sequence[Tensor], present: Sequence[bool]) -> list[Tensor | None]:
    """Put tensors where `present` says that they are, and None elsewhere."""
    rest = iter(given)
    return [next(rest) if there else None for there in present]


def _differentiable_backward(
    job: Job,
    x: Tensor,
    flat: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Compute the gradients as functions that have gradients themselves: the forward pass anew, on torch."""
    say_once("second derivatives (create_graph=True) are computed with the backend 'torch'")
    dtype = exact_dtype(x)
    exact = [None if t is None else t.to(dtype) for t in flat]
    states, weights = unflatten(job.spec, exact)
    result = torch_backend.run(
        job.spec,
        x.to(dtype),
        states,
        weights,
        lengths=job.lengths,
        mask=job.mask,
        training=bool(job.flags & _TRAINING),
        seed=job.seed,
        cells=job.cells,
    )
    outputs = [result.output, *chain.from_iterable(result.finals), *(result.cells or ())]
    pairs = [(output, g.to(dtype)) for output, g in zip(outputs, grads, strict=True) if g is not None]
    inputs = [t for t, want in zip((x, *flat), wanted, strict=True) if want and t is not None]
    found = iter(
        torch.autograd.grad(
            [output for output, _ in pairs],
            inputs,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [
        next(found) if want and t is not None else None for t, want in zip((x, *flat), wanted, strict=True)
    ]


def _wants_gradient(x: Tensor, flat: Sequence[Tensor | None]) -> bool:
    return x.requires_grad or any(tensor is not None and tensor.requires_grad for tensor in flat)


def pack(job: Job, x: Tensor, flat: Sequence[Tensor | None]) -> Packed:
    """Give the weights of a call in the kernels' layout."""
    return packed_weights(plan_of(job.spec, exact_dtype(x)), flat[job.spec.state_count :], job.flags)


def exact_dtype(x: Tensor) -> torch.dtype:
    """The dtype of the arrays of a call: bfloat16 is converted at the edges."""
    return torch.float64 if x.dtype is torch.float64 else torch.float32


def lowered(
    spec: StackSpec, halved: tuple[bool, ...], y: Tensor, others: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Bring the results of a call to the dtype that they are to have."""
    if not any(halved):
        return (y, *others)
    low = [half for half, layer in zip(halved, spec.layers, strict=True) for _ in layer.state_sizes]
    parts = zip(others, (*low, *halved), strict=False)
    return (
        y.to(torch.bfloat16) if halved[-1] else y,
        *(part.to(torch.bfloat16) if half else part for part, half in parts),
    )


def _rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Give x (N, T, F) with features next to each other, as it is where they are."""
    if x.dtype is not dtype or x.is_neg():
        x = x.resolve_neg().to(dtype)
    return x if x.stride(2) == 1 else x.contiguous()


def _whole_ones(tensors: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """Give tensors contiguous and in a dtype, as they are where they are."""
    found = list(tensors)
    for number, tensor in enumerate(found):
        if tensor is not None:
            exact = (
                tensor if tensor.dtype is dtype and not tensor.is_neg() else tensor.resolve_neg().to(dtype)
            )
            found[number] = exact.contiguous()
    return found
