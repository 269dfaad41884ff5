"""The compiled kernels as operators of torch, for what traces: `torch.compile`, `torch.export`, fake tensors.

`gatestack::stack` and `gatestack::stack_backward` compute what `native_backend` computes, and each stays one
node of a graph. An operator takes tensors, numbers and text: the spec goes in as JSON, the seed as a tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gatestack.kernels.abi import Flag
from gatestack.kernels.native_backend import (
    Job,
    arrange,
    backward,
    contiguous,
    exact_dtype,
    flatten,
    forward,
    lowered,
    modes,
    pack,
    with_gaps,
)
from gatestack.kernels.native_call import Plan, plan_of
from gatestack.kernels.spec import DirectionWeights, StackResult, StackSpec, States

__all__ = ["is_traced", "run"]

_PLAIN = (Tensor, torch.nn.Parameter)

# `given` are the states and weights that there are, `present` says which those are: torch differentiates
# lists of tensors, not lists with gaps.
_INPUTS = (
    "Tensor x, Tensor[] given, Tensor? lengths, Tensor? mask, Tensor? seed, bool[] present, str spec, "
    "int flags, bool cells"
)
_LIBRARY = torch.library.Library("gatestack", "DEF")  # type: ignore[no-untyped-call]
for _schema in (
    f"stack({_INPUTS}) -> (Tensor, Tensor[], Tensor)",
    f"stack_backward({_INPUTS}, Tensor y, Tensor saved, Tensor?[] grads, bool[] wanted) -> Tensor[]",
):
    _LIBRARY.define(_schema)  # type: ignore[no-untyped-call]


def is_traced(x: Tensor) -> bool:
    """Whether a call is being traced, or x is no tensor with memory of its own."""
    return torch.compiler.is_compiling() or type(x) not in _PLAIN or torch._C._len_torch_dispatch_stack() > 0


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
    if torch.is_grad_enabled():
        flags |= Flag.SAVE
    drawn = torch.as_tensor(seed) if training and spec.draws else None
    given, present = [t for t in flat if t is not None], [t is not None for t in flat]
    y, others, _ = torch.ops.gatestack.stack(
        x, given, lengths, mask, drawn, present, spec.text, int(flags), cells
    )
    y, *others = lowered(spec, halved, y, others)
    return arrange(spec, y, others, cells=cells)


def _read(
    given: Sequence[Tensor],
    lengths: Tensor | None,
    mask: Tensor | None,
    seed: Tensor | None,
    present: Sequence[bool],
    text: str,
    flags: int,
    cells: bool,
) -> tuple[Job, list[Tensor | None]]:
    """Put the arguments of an operator together again."""
    drawn = 0 if seed is None else int(seed)
    job = Job(_parsed(text), flags, drawn, cells, (), contiguous(lengths), contiguous(mask))
    return job, with_gaps(given, present)


@cache
def _parsed(text: str) -> StackSpec:
    return StackSpec.parse(text)


def _saved_bytes(plan: Plan, flat: Sequence[Tensor | None], flags: int, batch: Any, steps: Any) -> Any:
    """Give the size of what is saved: the most that any lengths need, since a tracer knows no lengths."""
    return plan.most_saved(flat[plan.spec.state_count :], flags, batch, steps) if flags & Flag.SAVE else 0


@torch.library.impl(_LIBRARY, "stack", "CPU")
def _stack(x: Tensor, *inputs: Any) -> tuple[Tensor, list[Tensor], Tensor]:
    job, flat = _read(*inputs)
    packed = pack(job, x, flat)
    room = _saved_bytes(packed.plan, flat, job.flags, x.shape[0], x.shape[1])
    y, others, saved = forward(job, packed, x, flat, room)
    return y, others, torch.empty(0, dtype=torch.uint8) if saved is None else saved


@torch.library.register_fake("gatestack::stack", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _fake_stack(
    x: Tensor,
    given: list[Tensor],
    lengths: Tensor | None,  # noqa: ARG001 (the arguments of the operator)
    mask: Tensor | None,  # noqa: ARG001
    seed: Tensor | None,  # noqa: ARG001
    present: list[bool],
    text: str,
    flags: int,
    cells: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    spec = _parsed(text)
    plan = plan_of(spec, exact_dtype(x))
    batch, steps, _ = x.shape
    directions = spec.directions
    others = [
        x.new_empty((directions, batch, size), dtype=plan.dtype)
        for layer in spec.layers
        for size in layer.state_sizes
    ]
    if cells:
        others += [
            x.new_empty((batch, steps, directions * layer.hidden_size), dtype=plan.dtype)
            for layer in spec.layers
        ]
    room = _saved_bytes(plan, with_gaps(given, present), flags, batch, steps)
    y = x.new_empty((batch, steps, spec.output_size), dtype=plan.dtype)
    return y, others, x.new_empty((room,), dtype=torch.uint8)


@torch.library.impl(_LIBRARY, "stack_backward", "CPU")
def _stack_backward(
    x: Tensor,
    *inputs: Any,
) -> list[Tensor]:
    *call, y, saved, grads, wanted = inputs
    job, flat = _read(*call)
    found = backward(job, pack(job, x, flat), x, flat, y, saved, grads, wanted)
    return [gradient for gradient in found if gradient is not None]


@torch.library.register_fake("gatestack::stack_backward", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _fake_stack_backward(x: Tensor, given: list[Tensor], *rest: Any) -> list[Tensor]:
    wanted = rest[-1]
    all_of = (x, *with_gaps(given, rest[3]))
    return [
        of.new_empty(of.shape) for of, want in zip(all_of, wanted, strict=True) if want and of is not None
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, list[Tensor], Tensor]) -> None:
    """Keep for the backward pass what it reads."""
    x, given, lengths, mask, seed, *ctx.rest = inputs
    y, _, saved = output
    ctx.mark_non_differentiable(saved)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, lengths, mask, seed, y, saved, *given)
    ctx.wanted = [t is not None and t.requires_grad for t in (x, *with_gaps(given, ctx.rest[0]))]


def _differentiate(
    ctx: Any, grad_y: Tensor | None, grad_others: list[Tensor | None], _: Tensor | None
) -> tuple[Any, ...]:
    x, lengths, mask, seed, y, saved, *given = ctx.saved_tensors
    grads = [grad_y, *grad_others]
    call = (x, given, lengths, mask, seed, *ctx.rest)
    found = iter(torch.ops.gatestack.stack_backward(*call, y, saved, grads, ctx.wanted))
    grad_x, *grad_flat = [next(found) if want else None for want in ctx.wanted]
    there = ctx.rest[0]
    return grad_x, [g for g, is_there in zip(grad_flat, there, strict=True) if is_there], *(None,) * 7


torch.library.register_autograd("gatestack::stack", _differentiate, setup_context=_keep, lib=_LIBRARY)
