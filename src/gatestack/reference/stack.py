"""A stack: layers one over the other, each in one or both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatestack.reference.cell import Array, Cell, State
from gatestack.reference.layer import LayerResult, layer_backward, layer_forward
from gatestack.reference.layer_masks import NO_MASKS, LayerMasks
from gatestack.reference.real_steps import real_steps


@dataclass(frozen=True, eq=False)
class StackResult:
    """What `stack_forward` returns. The outer index is the layer, the inner one the direction.

    Args:
        output: of the topmost layer, forward and reverse side by side, (N, T, P·D); P is the width of h.
        final: final states, `final[layer][direction]`, (N, P) and (N, H).
        layers: all that each layer returned, `layers[layer][direction]`, the tapes among it.
        residual: for each layer whether its input was added to its output.
        input_masks: for each layer the factors of its input.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell, stack_forward
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1))
        >>> result = stack_forward([(cell,), (cell, cell)], np.zeros((2, 3, 1)))
        >>> result.output.shape, len(result.final), len(result.final[1])
        ((2, 3, 2), 2, 2)
    """

    output: Array
    final: tuple[tuple[State, ...], ...]
    layers: tuple[tuple[LayerResult, ...], ...]
    residual: tuple[bool, ...]
    input_masks: tuple[Array | float, ...]


@dataclass(frozen=True, eq=False)
class StackGradients:
    """What `stack_backward` returns. The outer index is the layer, the inner one the direction.

    Args:
        x: gradient of the input, (N, T, C).
        initial: gradients of the initial states, `initial[layer][direction]`, (N, P) and (N, H).
        weights: gradients of the weights by name, `weights[layer][direction]`.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell, stack_backward, stack_forward
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1))
        >>> result = stack_forward([(cell,), (cell,)], np.zeros((2, 3, 1)))
        >>> stack_backward(result, d_output=np.ones((2, 3, 1))).weights[1][0]["bias_hh"].shape
        (1,)
    """

    x: Array
    initial: tuple[tuple[State, ...], ...]
    weights: tuple[tuple[dict[str, Array], ...], ...]


def stack_forward(
    layers: Sequence[Sequence[Cell]],
    x: Array,
    states: Sequence[Sequence[State]] | None = None,
    *,
    lengths: Sequence[int] | NDArray[np.integer] | None = None,
    mask: NDArray[np.bool_] | None = None,
    residual: Sequence[bool] | None = None,
    input_masks: Sequence[Array | float] | None = None,
    masks: Sequence[Sequence[LayerMasks]] | None = None,
) -> StackResult:
    """Run layers one over the other: the output of each, at every step, is the input of the next.

    With y^(0)_t = x_t, for layer l = 1 … L, with dropout d^(l)_t of its input, 1 where there is none:

        v^(l)_t = d^(l)_t * y^(l-1)_t
        h^(l)_t = step^(l)(v^(l)_t, h^(l)_{t-1})                                  one direction
        h^(l)_t = (forward step^(l) | reverse step^(l)), side by side, 2P wide    both directions
        y^(l)_t = h^(l)_t, or h^(l)_t + y^(l-1)_t with a residual connection

    The residual connection takes the input before its dropout, and goes to the output alone: the state that
    a layer carries is h. Where a step is not real, y is zero.

    Args:
        layers: the bottom layer first; each is `(cell,)` or `(forward cell, reverse cell)`.
            Widths, kinds and directions may differ from layer to layer.
        x: input, (N, T, C).
        states: initial states, `states[layer][direction]`; zeros (default) where None.
        lengths: (N,), the number of real steps of each row; default all.
        mask: (N, T), True where a step is real; instead of `lengths`.
        residual: for each layer whether it has a residual connection; its input is then as wide as its
            output. Default none has.
        input_masks: for each layer the factors of its input, (N, T, C) or (N, 1, C), or 1.0; both directions
            share them. 1/(1-p) where a feature is kept, 0 where it is dropped.
        masks: of recurrent dropout and zoneout, `masks[layer][direction]`; default none.

    Returns:
        The output of the top layer (N, T, P·D), the final states, and the result of every layer.

    Raises:
        ValueError: no layer, a layer with no or more than two cells, states, masks or residuals that do
            not fit the layers, or a shape that does not fit.

    Notes:
        The paper sends the states of all layers to what follows; here, as in torch, the top layer alone
        is the output. The last step of a bidirectional output is not the final state: its reverse half
        has seen one step only.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import GRUCell, RNNCell
        >>> rng = np.random.default_rng(0)
        >>> gru = GRUCell(rng.normal(size=(12, 3)), rng.normal(size=(12, 4)), np.zeros(12), np.zeros(12))
        >>> rnn = RNNCell(rng.normal(size=(2, 4)), rng.normal(size=(2, 2)), np.zeros(2), np.zeros(2))
        >>> stack_forward([(gru,), (rnn, rnn)], rng.normal(size=(5, 7, 3))).output.shape
        (5, 7, 4)

    Source:
        Pascanu, Gulcehre, Cho & Bengio 2013, "How to Construct Deep Recurrent Neural Networks",
        arXiv 1312.6026, the "stacked RNN"; Graves, Mohamed & Hinton 2013, arXiv 1303.5778
        (stacking, and both directions); residual connections between LSTM layers: Wu et al. 2016,
        "Google's Neural Machine Translation System", arXiv 1609.08144; dropout of the inputs
        of layers: Zaremba, Sutskever & Vinyals 2014, arXiv 1409.2329, a new mask each step; Gal &
        Ghahramani 2016, arXiv 1512.05287, one mask per sequence.
    """
    if not layers:
        raise ValueError("stack_forward: layers is empty — expected one layer or more")
    for index, cells in enumerate(layers):
        if len(cells) not in (1, 2):
            raise ValueError(
                f"stack_forward: layer {index} has {len(cells)} cells — expected 1, or 2 for both directions"
            )
    directions_of = [len(cells) for cells in layers]
    for name, given in (("states", states), ("masks", masks)):
        if given is not None and [len(part) for part in given] != directions_of:
            raise ValueError(f"stack_forward: {name} do not fit — expected one per layer and direction")
    residual = tuple(residual or [False] * len(layers))
    input_masks = tuple(input_masks or [1.0] * len(layers))
    if len(residual) != len(layers) or len(input_masks) != len(layers):
        raise ValueError("stack_forward: residual or input_masks do not fit — expected one per layer")
    if x.ndim != 3:
        raise ValueError(f"stack_forward: x has shape {x.shape} — expected (batch, time, features)")
    real = real_steps(x.shape[0], x.shape[1], lengths, mask)
    y = np.where(real[:, :, None], x, 0.0)  # as in layer_forward: the padding may hold NaN
    results: list[tuple[LayerResult, ...]] = []
    for index, cells in enumerate(layers):
        directions = tuple(
            layer_forward(
                cell,
                input_masks[index] * y,
                None if states is None else states[index][direction],
                mask=real,
                reverse=direction == 1,
                masks=NO_MASKS if masks is None else masks[index][direction],
            )
            for direction, cell in enumerate(cells)
        )
        h = np.concatenate([result.output for result in directions], axis=2)  # -> (N, T, P·D)
        if residual[index] and h.shape != y.shape:
            raise ValueError(
                f"stack_forward: layer {index} has a residual connection from {y.shape[2]} features "
                f"to {h.shape[2]} — expected as many"
            )
        y = h + y if residual[index] else h
        results.append(directions)
    final = tuple(tuple(result.final for result in directions) for directions in results)
    return StackResult(y, final, tuple(results), residual, input_masks)


def stack_backward(
    result: StackResult,
    d_output: Array | None = None,
    d_final: Sequence[Sequence[State]] | None = None,
    d_cells: Sequence[Sequence[Array]] | None = None,
) -> StackGradients:
    """The gradient of `stack_forward`, from the top layer down.

        d_h^(l) = d_y^(l)
        d_y^(l-1) = d^(l) * d_v^(l), and d_y^(l) is added to it where layer l has a residual connection

    d_v^(l) is what `layer_backward` gives for its x, summed over the directions of the layer.

    Args:
        result: of the forward pass.
        d_output: gradient of `output`, (N, T, P·D); zeros where None.
        d_final: gradients of the final states, `d_final[layer][direction]`; zeros where None.
        d_cells: gradients of the cell states at every step, `d_cells[layer][direction]`, (N, T, H), where all
            layers are LSTMs; zeros where None.

    Returns:
        Gradients of x, of the initial states and of the weights.

    Raises:
        ValueError: a gradient has another shape than what it belongs to.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import RNNCell
        >>> cell = RNNCell(np.full((1, 1), 2.0), np.ones((1, 1)), np.zeros(1), np.zeros(1), "relu")
        >>> result = stack_forward([(cell,), (cell,)], np.ones((1, 1, 1)))
        >>> stack_backward(result, d_output=np.ones((1, 1, 1))).x
        array([[[4.]]])

    Source:
        The chain rule applied to the equations of `stack_forward`.
    """
    if d_output is not None and d_output.shape != result.output.shape:
        raise ValueError(
            f"stack_backward: d_output has shape {d_output.shape} — expected {result.output.shape}"
        )
    for name, given in (("d_final", d_final), ("d_cells", d_cells)):
        if given is not None and [len(part) for part in given] != [len(part) for part in result.layers]:
            raise ValueError(f"stack_backward: {name} does not fit — expected one per layer and direction")
    d_y = np.zeros_like(result.output) if d_output is None else d_output
    real = result.layers[0][0].tape.real
    d_y = np.where(real[:, :, None], d_y, 0.0)
    initial: list[tuple[State, ...]] = []
    weights: list[tuple[dict[str, Array], ...]] = []
    for index in range(len(result.layers) - 1, -1, -1):
        directions = result.layers[index]
        edges = np.cumsum([one.output.shape[2] for one in directions])[:-1]
        halves = np.split(d_y, edges, axis=2)
        gradients = [
            layer_backward(
                one.tape,
                d_half,
                None if d_final is None else d_final[index][direction],
                None if d_cells is None else d_cells[index][direction],
            )
            for direction, (one, d_half) in enumerate(zip(directions, halves, strict=True))
        ]
        d_v = sum((gradient.x for gradient in gradients), start=np.zeros_like(gradients[0].x))
        d_below = result.input_masks[index] * d_v
        d_y = d_below + d_y if result.residual[index] else d_below
        initial.insert(0, tuple(gradient.initial for gradient in gradients))
        weights.insert(0, tuple(gradient.weights for gradient in gradients))
    return StackGradients(x=d_y, initial=tuple(initial), weights=tuple(weights))
