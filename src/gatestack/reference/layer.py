"""A layer: one cell over time, in one direction, over rows of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatestack.reference.cell import Array, Cell, Record, State, check_state
from gatestack.reference.layer_masks import NO_MASKS, LayerMasks
from gatestack.reference.real_steps import real_steps


@dataclass(frozen=True, eq=False)
class LayerTape:
    """What `layer_forward` keeps for `layer_backward`.

    Args:
        cell: the cell that ran.
        real: mask (N, T), True where a step is real.
        steps: the T positions in the order in which they were visited.
        records: what the cell kept at each visit, T of them.
        masks: of dropout and zoneout.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell, layer_forward
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1))
        >>> layer_forward(cell, np.zeros((2, 3, 1)), reverse=True).tape.steps
        (2, 1, 0)
    """

    cell: Cell
    real: NDArray[np.bool_]
    steps: tuple[int, ...]
    records: tuple[Record, ...]
    masks: LayerMasks


@dataclass(frozen=True, eq=False)
class LayerResult:
    """What `layer_forward` returns.

    Args:
        output: h at every step, zero where a step is not real, (N, T, P).
        final: the state after the last real step visited, (N, P) and (N, H).
        cells: c at every step, zero where a step is not real, (N, T, H); None for a cell without c.
        tape: for `layer_backward`.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell, layer_forward
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1))
        >>> result = layer_forward(cell, np.zeros((2, 3, 1)))
        >>> result.output.shape, result.final[0].shape, result.cells is None
        ((2, 3, 1), (2, 1), True)
    """

    output: Array
    final: State
    cells: Array | None
    tape: LayerTape


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """What `layer_backward` returns.

    Args:
        x: gradient of the input, zero where a step is not real, (N, T, C).
        initial: gradients of the initial state, (N, P) and (N, H).
        weights: gradients of the weights by name, summed over batch and time.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell, layer_backward, layer_forward
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1))
        >>> tape = layer_forward(cell, np.zeros((2, 3, 1))).tape
        >>> sorted(layer_backward(tape, d_output=np.ones((2, 3, 1))).weights)
        ['bias_hh', 'bias_ih', 'weight_hh', 'weight_ih']
    """

    x: Array
    initial: State
    weights: dict[str, Array]


def layer_forward(
    cell: Cell,
    x: Array,
    state: State | None = None,
    *,
    lengths: Sequence[int] | NDArray[np.integer] | None = None,
    mask: NDArray[np.bool_] | None = None,
    reverse: bool = False,
    masks: LayerMasks = NO_MASKS,
) -> LayerResult:
    """Run a cell over time.

    With m_t = 1 where step t of a row is real and 0 elsewhere, k_t the share of zoneout, 1 without it, and
    s_t = (h_t, c_t) or (h_t,):

        s'       = step(x_t, s_{t-1})
        s_t      = m_t * (k_t * s' + (1 - k_t) * s_{t-1}) + (1 - m_t) * s_{t-1}
        output_t = m_t * h_t

    A step that is not real leaves the state as it was, and its output is zero; its input is never looked at.
    So the final state is the one after the last real step, and a row without any returns its initial state.
    `reverse` visits t = T-1 … 0. The padding leaves the state alone, therefore each row starts at its own
    last real step, with its initial state, and ends at its first; output_t stays at position t.

    Args:
        cell: an `LSTMCell`, `GRUCell` or `RNNCell`.
        x: input, (N, T, C). T may be 0.
        state: initial state, (N, P) and (N, H); zeros (default) where None.
        lengths: (N,), the number of real steps of each row, in [0, T]; default all.
        mask: (N, T), True where a step is real, anywhere in the row; instead of `lengths`.
        reverse: from the last step to the first; default False.
        masks: of dropout and zoneout, at their position t in both directions; default none.

    Returns:
        output (N, T, P), final state, cell states (N, T, H) for an LSTM, and the tape.

    Raises:
        ValueError: a shape does not fit, or both `lengths` and `mask` are given.

    Notes:
        Turning a padded batch round with x[:, ::-1] is not `reverse`: it starts with the padding.
        With rows "a b c" and "d _ _" the reverse direction must read "c b a" and "d", not "_ _ d".

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1), "relu")
        >>> x = np.array([[[1.0], [2.0], [4.0]], [[8.0], [9.0], [9.0]]])
        >>> result = layer_forward(cell, x, lengths=[3, 1])
        >>> result.output[:, :, 0]
        array([[1., 3., 7.],
               [8., 0., 0.]])
        >>> result.final[0][:, 0]
        array([7., 8.])
        >>> layer_forward(cell, x, lengths=[3, 1], reverse=True).output[:, :, 0]
        array([[7., 6., 4.],
               [8., 0., 0.]])

    Source:
        Forward and backward direction: Schuster & Paliwal 1997, "Bidirectional Recurrent Neural Networks";
        Graves, Mohamed & Hinton 2013, arXiv 1303.5778.
    """
    if x.ndim != 3 or x.shape[2] != cell.input_size:
        raise ValueError(f"layer_forward: x has shape {x.shape} — expected (batch, time, {cell.input_size})")
    N, T, _ = x.shape
    real = real_steps(N, T, lengths, mask)
    if state is None:
        state = tuple(np.zeros((N, size)) for size in cell.state_sizes)
    check_state("layer_forward: state", state, N, cell.state_sizes)
    x = np.where(real[:, :, None], x, 0.0)  # a NaN in the padding would survive a product with zero
    every = tuple(np.zeros((N, T, size)) for size in cell.state_sizes)
    steps = tuple(range(T - 1, -1, -1)) if reverse else tuple(range(T))
    records = []
    for t in steps:
        m = real[:, t, None]  # -> (N, 1)
        stepped, record = cell.step(x[:, t], state, masks.step(t))
        state = tuple(
            np.where(m, k * new + (1.0 - k) * old, old)
            for k, new, old in zip(masks.shares(t), stepped, state, strict=False)
        )
        for history, part in zip(every, state, strict=True):
            history[:, t] = np.where(m, part, 0.0)
        records.append(record)
    return LayerResult(
        output=every[0],
        final=state,
        cells=every[1] if len(every) == 2 else None,
        tape=LayerTape(cell=cell, real=real, steps=steps, records=tuple(records), masks=masks),
    )


def layer_backward(
    tape: LayerTape,
    d_output: Array | None = None,
    d_final: State | None = None,
    d_cells: Array | None = None,
) -> LayerGradients:
    """Backpropagation through time: from gradients of all that came out to gradients of all that went in.

    The steps are visited in the opposite order. d_s starts as `d_final`; at step t, with m_t as in
    `layer_forward`:

        d_t     = m_t * (d_s + (d_output_t, d_cells_t))
        d_new   = k_t * d_t
        d_s     = (1 - m_t) * d_s + (1 - k_t) * d_t + (gradient of step with respect to s_{t-1}) d_new
        d_x_t   = (gradient of step with respect to x_t) d_new
        d_W     = d_W + (gradient of step with respect to W) d_new

    What is left in d_s is the gradient of the initial state. Nothing is truncated.

    Args:
        tape: of the forward pass.
        d_output: gradient of `output`, (N, T, P); zeros where None.
        d_final: gradients of the final state, (N, P) and (N, H); zeros where None.
        d_cells: gradient of `cells`, (N, T, H), LSTM only; zeros where None.

    Returns:
        Gradients of x, of the initial state and of the weights.

    Raises:
        ValueError: a gradient has another shape than what it belongs to, or `d_cells` is given for a
            cell without c.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell
        >>> cell = RNNCell(np.ones((1, 1)), np.full((1, 1), 3.0), np.zeros(1), np.zeros(1), "relu")
        >>> tape = layer_forward(cell, np.ones((1, 3, 1)), lengths=[2]).tape
        >>> gradients = layer_backward(tape, d_final=(np.ones((1, 1)),))
        >>> gradients.x[0, :, 0]  # the third step is not real
        array([3., 1., 0.])
        >>> gradients.initial[0]
        array([[9.]])

    Source:
        Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It".
    """
    cell = tape.cell
    N, T = tape.real.shape
    sizes = cell.state_sizes
    if d_cells is not None and len(sizes) != 2:
        raise ValueError("layer_backward: d_cells is given — expected None, this cell has no c")
    d_every = []
    for name, gradient, size in zip(("d_output", "d_cells"), (d_output, d_cells), sizes, strict=False):
        d_every.append(np.zeros((N, T, size)) if gradient is None else gradient)
        if d_every[-1].shape != (N, T, size):
            raise ValueError(
                f"layer_backward: {name} has shape {d_every[-1].shape} — expected ({N}, {T}, {size})"
            )
    d_state = tuple(np.zeros((N, size)) for size in sizes) if d_final is None else d_final
    check_state("layer_backward: d_final", d_state, N, sizes)
    d_x = np.zeros((N, T, cell.input_size))
    d_weights = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
    for t, record in zip(reversed(tape.steps), reversed(tape.records), strict=True):
        m = tape.real[:, t, None]  # -> (N, 1)
        shares = tape.masks.shares(t)[: len(sizes)]
        d_t = tuple(np.where(m, d_s + d_e[:, t], 0.0) for d_s, d_e in zip(d_state, d_every, strict=True))
        step = cell.step_backward(record, tuple(k * d for k, d in zip(shares, d_t, strict=True)))
        d_state = tuple(
            np.where(m, (1.0 - k) * d, d_s) + d_p
            for k, d, d_s, d_p in zip(shares, d_t, d_state, step.state, strict=True)
        )
        d_x[:, t] = step.x
        for name, gradient in step.weights.items():
            d_weights[name] += gradient
    return LayerGradients(x=d_x, initial=d_state, weights=d_weights)
