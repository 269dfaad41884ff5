"""A stack as a handle that steps streams, without torch between the steps."""

from __future__ import annotations

from collections.abc import Sequence

from gatestack.errors import ArgumentError
from gatestack.kernels.step import StackStepper
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.runs import MOST_LAYERS, Between, cut_into_runs

__all__ = ["make_stepper"]


def make_stepper(layers: Sequence[SequenceLayer], *, residual: bool, streams: int) -> StackStepper:
    """Make the handle; see `Stack.stepper`.

    Args:
        layers: of the stack, the lowest first.
        residual: add the input of each layer but the lowest to its output.
        streams: N, how many step side by side.

    Raises:
        ArgumentError: the layers are not those that the kernels can step.
        KernelError: there are no compiled kernels.
    """
    inside = [layer for layer in layers if isinstance(layer, Recurrent)]
    if len(inside) < len(layers) or len(inside) > MOST_LAYERS:
        raise ArgumentError(
            f"{len(layers)} layers, {len(inside)} of them LSTM, GRU or RNN",
            where="Stack",
            expected=f"at most {MOST_LAYERS}, all of them LSTM, GRU or RNN",
            hint="Stateful(stack) steps a stack of any layers, more slowly",
        )
    if any(layer.looks_ahead for layer in inside):
        raise ArgumentError(
            "a layer has two directions",
            where="Stack",
            expected="one direction",
            hint="the reverse direction starts at the last step, which a stream has not seen yet",
        )
    dtypes = sorted({str(layer.dtype).removeprefix("torch.") for layer in inside})
    if len(dtypes) > 1:
        raise ArgumentError(
            f"layers of {' and '.join(dtypes)}", where="Stack", expected="one dtype for all layers"
        )
    between = Between(residual=residual)  # dropout does nothing in eval mode
    run = cut_into_runs(inside, between, (False,) * len(inside))[0]
    if run.spec is None:
        raise RuntimeError("layers side by side were not cut into one run")
    weights = [layer.weights(dropped=False) for layer in inside]
    return StackStepper(run.spec, weights, streams=streams, dtype=dtypes[0])
