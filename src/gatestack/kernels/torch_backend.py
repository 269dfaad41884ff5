"""Stacks on torch's own operators: every option, any device, gradients of any order.

Where a layer is one that torch has (no peepholes, normalisation, zoneout and the like in effect, cell states
not asked for), it runs on torch's fused operator, ragged batches packed; everything else is a loop over steps
(`torch_cells.py`), many times slower. Arguments are trusted.

A mask with holes is run as lengths, because leaving a step out and keeping the state over it are the same
thing: the real steps of each row move to its front, the layers run, and the outputs move back.

    mask      1 0 1 1   ->  a c d .   (length 3)  ->  A 0 C D
    x         a b c d
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatestack.kernels import dropout
from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackResult, StackSpec, States
from gatestack.kernels.torch_cells import Ragged, run_loop

__all__ = ["run"]

_FUSED: dict[str, Callable[..., Any]] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}


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
) -> StackResult:
    """Run a stack; the arguments are those of `gatestack.kernels.recurrent.run_stack`."""
    order = None
    if mask is not None:
        lengths, order = _lengths_of(mask)
        if order is not None:
            x = x.gather(1, order[:, :, None].expand_as(x))
    ragged = Ragged.of(x, lengths)
    y = ragged.cleared(x)
    finals: list[tuple[Tensor, ...]] = []
    every: list[Tensor] = []
    for number, layer in enumerate(spec.layers):
        given = states[number]
        initial = given if given is not None else _zero_states(layer, spec.directions, x)
        below = y
        fed = below
        if training and layer.input_dropout > 0:
            fed = below * _input_mask(layer, number, below, seed)
        if cells or not _is_fused(layer, training):
            y, final, cell = run_loop(
                layer, number, fed, initial, weights[number], ragged, training=training, seed=seed
            )
            if cell is not None:
                every.append(cell)
        else:
            y, final = _run_fused(layer, fed, initial, weights[number], lengths)
        if layer.residual:
            y = ragged.cleared(y + below)
        finals.append(final)
    if order is not None:
        back = torch.argsort(order, dim=1)[:, :, None]
        y = y.gather(1, back.expand_as(y))
        every = [cell.gather(1, back.expand_as(cell)) for cell in every]
    return StackResult(y, tuple(finals), tuple(every) if cells else None)


def _lengths_of(mask: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Bring a mask (N, T) to lengths, on the CPU, and the order of steps that has the real ones first.

    None for lengths where all steps are real, None for the order where it is already so.
    """
    time = mask.shape[1]
    count = mask.sum(dim=1)
    lengths = count.cpu()
    if bool((lengths == time).all()):
        return None, None
    if bool((mask == (torch.arange(time, device=mask.device) < count[:, None])).all()):
        return lengths, None
    return lengths, torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)


def _zero_states(layer: LayerSpec, directions: int, x: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.new_zeros(directions, x.shape[0], size) for size in layer.state_sizes)


def _input_mask(layer: LayerSpec, number: int, x: Tensor, seed: int | Tensor) -> Tensor:
    rows, steps, units = x.shape
    shape = (rows, steps if layer.input_dropout_per_step else 1, units)
    kept = dropout.keep_mask(seed, dropout.INPUT, number, 0, shape, layer.input_dropout, x.device)
    return kept.to(x.dtype) / (1 - layer.input_dropout)


def _is_fused(layer: LayerSpec, training: bool) -> bool:
    """Whether torch has an operator for what the layer does in this call."""
    if layer.cell not in _FUSED or layer.peepholes or layer.layer_norm:
        return False
    if layer.zoneout_hidden or layer.zoneout_cell:
        return False
    return not (training and (layer.hidden_dropout or layer.candidate_dropout))


def _run_fused(
    layer: LayerSpec,
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[DirectionWeights],
    lengths: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one of torch's recurrent operators -> output (N, T, D·P), final states (D, N, ·) each."""
    batch, time = x.shape[:2]
    if batch == 0 or time == 0 or (lengths is not None and not lengths.any()):
        # No step to compute. Sums over nothing keep the results tied to the inputs, so that a loss over an
        # empty batch has a backward pass, and gradients of zero.
        tie = x[:, :0].sum() + sum(part[:0].sum() for one in weights for part in one if part is not None)
        return x.new_zeros(batch, time, len(weights) * layer.output_size) + tie, tuple(
            state + tie for state in states
        )
    if lengths is None:
        return _call(layer, (x,), states, weights, batch_first=True)

    longest, shortest = int(lengths.max()), int(lengths.min())
    if shortest == longest:
        output, finals = _call(layer, (x[:, :longest],), states, weights, batch_first=True)
        if longest == time:
            return output, finals
        return torch.nn.functional.pad(output, (0, 0, 0, time - longest)), finals
    if shortest == 0:
        return _run_without_empty_rows(layer, x, states, weights, lengths)

    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    if order is None or back is None:
        raise RuntimeError("torch packed an unsorted batch without telling the order")
    sorted_states = tuple(state.index_select(1, order) for state in states)
    data, finals = _call(layer, (packed.data, packed.batch_sizes), sorted_states, weights)
    output, _ = pad_packed_sequence(
        PackedSequence(data, packed.batch_sizes, order, back), batch_first=True, total_length=time
    )
    return output, tuple(final.index_select(1, back) for final in finals)


def _run_without_empty_rows(
    layer: LayerSpec,
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[DirectionWeights],
    lengths: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Leave out the rows without a real step, which torch refuses to pack, and put them back."""
    kept = lengths.nonzero()[:, 0]
    rows = kept.to(x.device)
    some, finals = _run_fused(
        layer,
        x.index_select(0, rows),
        tuple(s.index_select(1, rows) for s in states),
        weights,
        lengths[kept],
    )
    output = some.new_zeros(x.shape[0], *some.shape[1:]).index_copy(0, rows, some)
    merged = (state.to(f.dtype).index_copy(1, rows, f) for state, f in zip(states, finals, strict=True))
    return output, tuple(merged)


def _call(
    layer: LayerSpec,
    data: tuple[Tensor, ...],
    states: tuple[Tensor, ...],
    weights: Sequence[DirectionWeights],
    *,
    batch_first: bool | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Call a torch operator on a padded batch (batch_first given) or on packed data and its batch sizes."""
    states = tuple(state.contiguous() for state in states)
    hx = states if layer.cell == "lstm" else states[0]
    has_biases = any(one.bias_ih is not None or one.bias_hh is not None for one in weights)
    flat: list[Tensor] = []
    for one in weights:
        flat += [one.weight_ih, one.weight_hh]
        if has_biases:
            zeros = one.weight_ih.new_zeros(one.weight_ih.shape[0])
            flat += [zeros if bias is None else bias for bias in (one.bias_ih, one.bias_hh)]
        if one.weight_hr is not None:
            flat.append(one.weight_hr)
    layout = () if batch_first is None else (batch_first,)
    # num_layers, dropout, train, bidirectional; train asks cuDNN to keep what backward needs.
    arguments = (*data, hx, flat, has_biases, 1, 0.0, torch.is_grad_enabled(), len(weights) == 2, *layout)
    if layer.projection_size:
        with warnings.catch_warnings():
            # That torch has no fast path here is nothing the user can change.
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            output, *finals = torch.lstm(*arguments)
    else:
        output, *finals = _FUSED[layer.cell](*arguments)
    return output, tuple(finals)
