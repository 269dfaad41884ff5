"""One recurrent layer over a batch, in one direction or in both: the single seam for compiled kernels.

Each function takes a batch-first input, the initial state, the weights of one or two directions and, for a
ragged batch, the lengths. Arguments are trusted: `gatestack.nn` checks them, because its messages can name
the layer.

Shapes, with N batch, T time, C input features, H hidden, D = len(weights) directions, G gates:

- `x` (N, T, C); state `h0` (and `c0`) (D, N, H);
- `weights`, one tuple per direction: `weight_ih` (G·H, C), `weight_hh` (G·H, H), `bias_ih` (G·H,), `bias_hh`
  (G·H,);
- `lengths` (N,) int64 on the CPU, each between 0 and T; None when every step is real;
- output (N, T, D·H), the forward direction first, zero after a row's length; final states (D, N, H).

A row's final state is the state after its last real step, and the reverse direction starts there. A row
without a real step returns its initial state. What x holds after a row's length is never read, so it may be
NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

__all__ = ["Weights", "gru", "lstm", "lstm_cell_states", "rnn_relu", "rnn_tanh"]

Weights: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]


def lstm(
    x: Tensor, h0: Tensor, c0: Tensor, weights: Sequence[Weights], *, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM layer, gates in the order i f g o.

    Returns:
        output (N, T, D·H), h_n (D, N, H), c_n (D, N, H).
    """
    output, (h_n, c_n) = _run(torch.lstm, x, (h0, c0), weights, lengths)
    return output, h_n, c_n


def gru(
    x: Tensor, h0: Tensor, weights: Sequence[Weights], *, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a GRU layer, gates in the order r z n, the reset gate applied after the recurrent product.

    Returns:
        output (N, T, D·H), h_n (D, N, H).
    """
    output, (h_n,) = _run(torch.gru, x, (h0,), weights, lengths)
    return output, h_n


def rnn_tanh(
    x: Tensor, h0: Tensor, weights: Sequence[Weights], *, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a plain recurrent layer with tanh.

    Returns:
        output (N, T, D·H), h_n (D, N, H).
    """
    output, (h_n,) = _run(torch.rnn_tanh, x, (h0,), weights, lengths)
    return output, h_n


def rnn_relu(
    x: Tensor, h0: Tensor, weights: Sequence[Weights], *, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a plain recurrent layer with relu.

    Returns:
        output (N, T, D·H), h_n (D, N, H).
    """
    output, (h_n,) = _run(torch.rnn_relu, x, (h0,), weights, lengths)
    return output, h_n


def lstm_cell_states(
    x: Tensor, h0: Tensor, c0: Tensor, weights: Sequence[Weights], *, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run an LSTM layer and keep the cell state of every step.

    torch's fused operator does not hand out the cell states, so this is a loop over steps, several times
    slower.

    Returns:
        output (N, T, D·H), h_n (D, N, H), c_n (D, N, H), cells (N, T, D·H), zero after a row's length.
    """
    batch, time = x.shape[:2]
    real = None
    if lengths is not None:
        lengths = lengths.to(x.device)
        real = torch.arange(time, device=x.device) < lengths[:, None]  # -> (N, T)
        x = x.masked_fill(~real[:, :, None], 0.0)  # a NaN after the length would reach the weights' gradients
    outputs, cells, finals = [], [], []
    for direction, (weight_ih, weight_hh, bias_ih, bias_hh) in enumerate(weights):
        steps = _reverse_steps(x, lengths) if direction == 1 else x
        h, c = h0[direction], c0[direction]
        hs = [x.new_zeros(batch, 0, weight_hh.shape[1])]
        cs = [x.new_zeros(batch, 0, weight_hh.shape[1])]
        for t in range(time):
            h_new, c_new = torch.lstm_cell(steps[:, t], (h, c), weight_ih, weight_hh, bias_ih, bias_hh)
            if real is not None:
                now = real[:, t, None]
                hs.append(h_new.masked_fill(~now, 0.0)[:, None])
                cs.append(c_new.masked_fill(~now, 0.0)[:, None])
                h, c = torch.where(now, h_new, h), torch.where(now, c_new, c)
            else:
                h, c = h_new, c_new
                hs.append(h[:, None])
                cs.append(c[:, None])
        output, cell = torch.cat(hs, dim=1), torch.cat(cs, dim=1)  # -> (N, T, H)
        outputs.append(_reverse_steps(output, lengths) if direction == 1 else output)
        cells.append(_reverse_steps(cell, lengths) if direction == 1 else cell)
        finals.append((h, c))
    h_n, c_n = (torch.stack(states) for states in zip(*finals, strict=True))
    return torch.cat(outputs, dim=2), h_n, c_n, torch.cat(cells, dim=2)


def _run(
    operator: Callable[..., Any],
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[Weights],
    lengths: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one of torch's recurrent operators -> output (N, T, D·H), final states (D, N, H) each."""
    batch, time = x.shape[:2]
    if batch == 0 or time == 0 or (lengths is not None and not lengths.any()):
        # No step to compute. Sums over nothing keep the results tied to the inputs, so that a loss over an
        # empty batch has a backward pass, and gradients of zero.
        tie = x[:, :0].sum() + sum(parameter[:0].sum() for direction in weights for parameter in direction)
        width = sum(weight_hh.shape[1] for _, weight_hh, _, _ in weights)
        return x.new_zeros(batch, time, width) + tie, tuple(state + tie for state in states)
    if lengths is None:
        return _call(operator, (x,), states, weights, batch_first=True)

    longest, shortest = int(lengths.max()), int(lengths.min())
    if shortest == longest:
        output, finals = _call(operator, (x[:, :longest],), states, weights, batch_first=True)
        if longest == time:
            return output, finals
        return torch.nn.functional.pad(output, (0, 0, 0, time - longest)), finals
    if shortest == 0:
        return _run_without_empty_rows(operator, x, states, weights, lengths)

    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    if order is None or back is None:
        raise RuntimeError("torch packed an unsorted batch without telling the order")
    sorted_states = tuple(state.index_select(1, order) for state in states)
    data, finals = _call(operator, (packed.data, packed.batch_sizes), sorted_states, weights)
    output, _ = pad_packed_sequence(
        PackedSequence(data, packed.batch_sizes, order, back), batch_first=True, total_length=time
    )
    return output, tuple(final.index_select(1, back) for final in finals)


def _run_without_empty_rows(
    operator: Callable[..., Any],
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[Weights],
    lengths: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Leave out the rows without a real step, which torch refuses to pack, and put them back."""
    kept = lengths.nonzero()[:, 0]
    rows = kept.to(x.device)
    some, finals = _run(
        operator,
        x.index_select(0, rows),
        tuple(s.index_select(1, rows) for s in states),
        weights,
        lengths[kept],
    )
    output = some.new_zeros(x.shape[0], *some.shape[1:]).index_copy(0, rows, some)
    merged = (state.to(f.dtype).index_copy(1, rows, f) for state, f in zip(states, finals, strict=True))
    return output, tuple(merged)


def _call(
    operator: Callable[..., Any],
    data: tuple[Tensor, ...],
    states: tuple[Tensor, ...],
    weights: Sequence[Weights],
    *,
    batch_first: bool | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Call a torch operator on a padded batch (batch_first given) or on packed data and its batch sizes."""
    hx = states if operator is torch.lstm else states[0]
    flat = [parameter for direction in weights for parameter in direction]
    layout = () if batch_first is None else (batch_first,)
    # has_biases, num_layers, dropout, train, bidirectional; train asks cuDNN to keep what backward needs.
    output, *finals = operator(
        *data, hx, flat, True, 1, 0.0, torch.is_grad_enabled(), len(weights) == 2, *layout
    )
    return output, tuple(finals)


def _reverse_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turn round the real steps of each row and leave the rest in place.

    With lengths 3, 2 and T = 3: `a b c -> c b a`, `d e . -> e d .`; a flip of the whole row would give `. e
    d`.
    """
    if lengths is None:
        return x.flip(1)
    position = torch.arange(x.shape[1], device=x.device)
    source = torch.where(position < lengths[:, None], lengths[:, None] - 1 - position, position)  # -> (N, T)
    return x.gather(1, source[:, :, None].expand_as(x))
