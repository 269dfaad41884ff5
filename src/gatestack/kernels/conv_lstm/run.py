"""The seam of the convolutional LSTM: one layer over a batch of image sequences, on the backend chosen.

The letters: N batch, T time, C and F channels of the input and of the state. Arguments are trusted;
`gatestack.nn` checks them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatestack.kernels.backend import choose_backend, under_autocast
from gatestack.kernels.conv_lstm.fused import run_fused
from gatestack.kernels.conv_lstm.loop import run_loop
from gatestack.kernels.conv_lstm.rows import RealRows
from gatestack.kernels.conv_lstm.spec import ConvSpec, ConvWeights
from gatestack.kernels.operators import is_traced

__all__ = ["lacking", "run_conv_lstm"]


def run_conv_lstm(
    spec: ConvSpec,
    x: Tensor,
    state: tuple[Tensor, Tensor] | None,
    weights: ConvWeights,
    *,
    lengths: Tensor | None = None,
    mask: Tensor | None = None,
    factors: Tensor | None = None,
    sequences: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer.

    A step that is not real leaves the state as it was, and gives zero; what x holds there is never read, so
    it may be NaN.

    Args:
        spec: the geometry.
        x: (N, T, C, *space), one to three dimensions of space.
        state: (h, c), each (N, F, *space_out); None for zeros.
        weights: of the layer.
        lengths: (N,) int64 on the CPU, from 0 to T; None when every step is real.
        mask: (N, T) bool, True where a step is real; at most one of lengths and mask.
        factors: of recurrent dropout, (N, F, *space_out): what h is multiplied with in every recurrent
            convolution; None for none.
        sequences: whether the outputs of all steps are wanted.

    Returns:
        output (N, T, F, *space_out), or the final h without `sequences`; and the final h and c.

    Raises:
        ArgumentError: the backend that was asked for cannot do it.
        KernelError: the compiled kernels cannot be used.

    Example:
        >>> import torch
        >>> from gatestack.kernels.conv_lstm import ConvSpec, ConvWeights
        >>> weights = ConvWeights(torch.randn(8, 3, 3, 3), torch.randn(8, 2, 3, 3), torch.zeros(8), None)
        >>> spec = ConvSpec(stride=(1, 1), dilation=(1, 1))
        >>> output, h, c = run_conv_lstm(spec, torch.randn(4, 5, 3, 9, 9), None, weights)
        >>> output.shape, torch.equal(output[:, -1], h)
        (torch.Size([4, 5, 2, 9, 9]), True)
    """
    flat = len(spec.stride) == 1
    if flat:  # a row of positions is an image one position high
        spec, x, weights = spec.raised(), x.unsqueeze(-2), weights.raised()
        state = None if state is None else (state[0].unsqueeze(-2), state[1].unsqueeze(-2))
        factors = None if factors is None else factors.unsqueeze(-2)
    output, h, c = _run(spec, x, state, weights, lengths, mask, factors, sequences=sequences)
    return (output.squeeze(-2), h.squeeze(-2), c.squeeze(-2)) if flat else (output, h, c)


def _run(
    spec: ConvSpec,
    x: Tensor,
    state: tuple[Tensor, Tensor] | None,
    weights: ConvWeights,
    lengths: Tensor | None,
    mask: Tensor | None,
    factors: Tensor | None,
    *,
    sequences: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = RealRows.of(x, lengths, mask)
    channels = weights.weight_hh.shape[1]
    space = spec.output_space(tuple(x.shape[3:]), tuple(weights.weight_ih.shape[2:]))
    from_zero = state is None
    if state is None:
        zeros = x.new_zeros((rows.batch, channels, *space))
        state = (zeros, zeros)
    h, c = state
    if not rows.sizes:
        # The results have gradients all the same, zero ones, so that training goes on over such a batch.
        nothing = sum((t.flatten()[:0].sum() for t in (x, *weights) if t is not None), x.new_zeros(()))
        h, c = h + nothing, c + nothing
        return (nothing.expand(rows.batch, rows.steps, channels, *space).clone() if sequences else h), h, c
    steps = rows.taken(x)
    h, c = rows.sorted(h), rows.sorted(c)
    factors = None if factors is None else rows.sorted(factors)
    if choose_backend(x, lacking=lacking(spec, x)) == "native":
        y, h, c = run_fused(
            spec, steps, (h, c), weights, factors, rows, from_zero=from_zero, sequences=sequences
        )
    else:
        y, h, c = run_loop(spec, steps, h, c, weights, factors, rows.sizes)
    h, c = rows.unsorted(h), rows.unsorted(c)
    return (rows.put_back(y) if sequences else h), h, c


def lacking(spec: ConvSpec, x: Tensor) -> str | None:
    """Say what the compiled kernels lack for a layer over x; None for nothing.

    Example:
        >>> import torch
        >>> lacking(ConvSpec(stride=(1,), dilation=(1,)), torch.zeros(1))
        >>> lacking(ConvSpec(stride=(1,), dilation=(1,), activation=torch.relu), torch.zeros(1))
        'a convolutional LSTM has other activations than tanh and the logistic function'
    """
    if not spec.plain:
        return "a convolutional LSTM has other activations than tanh and the logistic function"
    if x.dtype is torch.bfloat16 or under_autocast(x):
        return "a convolutional LSTM in bfloat16 is torch's own"
    if is_traced(x):
        return "a convolutional LSTM is being traced"
    return None
