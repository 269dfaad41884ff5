"""The single seam: a stack of recurrent layers over a batch, in one call, on the backend that was chosen.

Arguments are trusted: `gatestack.nn` checks them, because its messages can name the layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gatestack.kernels import native_backend, operators, torch_backend
from gatestack.kernels.backend import choose_backend
from gatestack.kernels.spec import DirectionWeights, StackResult, StackSpec, States

__all__ = ["run_stack"]


def run_stack(
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
    """Run a stack of recurrent layers.

    Letters: N batch, T time, C input features, H hidden, P projection (H where there is none), D directions.
    A step that is not real leaves the state as it was, and gives zero; what x holds there is never read, so
    it may be NaN. A row's final state is that after its last real step, and the reverse direction starts
    there. A row without a real step returns its initial state.

    Args:
        spec: the layers.
        x: (N, T, C).
        states: per layer (h0 (D, N, P), c0 (D, N, H)) or (h0,); None for zeros.
        weights: per layer, per direction.
        lengths: (N,) int64 on the CPU, from 0 to T; None when every step is real.
        mask: (N, T) bool, True where a step is real; at most one of lengths and mask.
        training: draw the masks of dropout and zoneout; otherwise dropout does nothing, and zoneout takes the
            expected value.
        seed: of these masks, 0 to 2⁶³ − 1; a tensor of one int64 keeps it out of what a compiler traces.
        cells: also give the cell states of every step; every layer is an LSTM then.
        recompute: keep no gates for the backward pass and compute them again in it: a third of the memory,
            more time. torch's operators keep what they keep.

    Returns:
        output (N, T, D·P) of the last layer, the final states per layer in the form of `states`, and the cell
        states (N, T, D·H) per layer, or None.

    Raises:
        ArgumentError: the backend that was asked for cannot do it.
        KernelError: the compiled kernels cannot be used.

    Example:
        >>> import torch
        >>> from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec
        >>> spec = StackSpec((LayerSpec("lstm", 3, 8),))
        >>> weights = DirectionWeights(torch.randn(32, 3), torch.randn(32, 8), None, None)
        >>> output, ((h, c),), _ = run_stack(spec, torch.randn(2, 5, 3), [None], [[weights]])
        >>> output.shape, h.shape, torch.equal(output[:, -1], h[0])
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]), True)
    """
    if choose_backend(x) == "torch":
        return torch_backend.run(
            spec, x, states, weights, lengths=lengths, mask=mask, training=training, seed=seed, cells=cells
        )
    run = operators.run if operators.is_traced(x) else native_backend.run
    return run(
        spec,
        x,
        states,
        weights,
        lengths=lengths,
        mask=mask,
        training=training,
        seed=seed,
        cells=cells,
        recompute=recompute,
    )
