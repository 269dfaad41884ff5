"""One call of `torch.nn.LSTM`, `GRU` or `RNN`, brought to the form of the kernels and back.

Whatever the kernels do not take goes to torch's own `forward`, which computes it, or refuses it in the words
that people know. So there are no checks with messages here: a call that does not fit is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatestack.compat.packed_batch import PackedBatch
from gatestack.compat.specs import spec_of
from gatestack.kernels.backend import choose_backend, say_once
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import DirectionWeights, StackResult
from gatestack.nn.recurrent import draw_seed
from gatestack.nn.runs import MOST_LAYERS

__all__ = ["run_module"]

_UNDER_AUTOCAST = (torch.float32, torch.bfloat16)

# What torch takes for hx: (h, c), or h alone.
_HX: dict[str, tuple[type, ...]] = {
    "LSTM": (tuple, list),
    "GRU": (Tensor,),
    "RNN_TANH": (Tensor,),
    "RNN_RELU": (Tensor,),
}


def run_module(module: nn.RNNBase, own: Callable[..., Any], given: Any, hx: Any) -> Any:
    """Run a module of torch on the kernels where they can, else on its own code.

    Args:
        module: of class `torch.nn.LSTM`, `GRU` or `RNN`.
        own: torch's `forward` of that class.
        given: (T, N, C), (N, T, C) with `batch_first`, (T, C) for one row, or a `PackedSequence`.
        hx: h or (h, c), (L·D, N, ·), without N for one row; None for zeros.

    Returns:
        What torch's `forward` returns.
    """
    weights = _weights(module)
    reason = _why_not(module, given, hx, weights)
    if reason is not None:
        if reason and not torch.compiler.is_compiling():
            say_once(f"an accelerated module runs on torch's own code, because {reason}")
        return own(module, given, hx)
    states = _states(hx)
    if isinstance(given, PackedSequence):
        return _run_packed(module, given, states, weights)
    x: Tensor = given
    if x.dim() == 2:
        alone = [state.unsqueeze(1) for state in states]
        result = _run(module, x.unsqueeze(0), alone, weights, None)
        return result.output.squeeze(0), _finals(result, lambda state: state.squeeze(1))
    if module.batch_first:
        result = _run(module, x, states, weights, None)
        return result.output, _finals(result)
    result = _run(module, x.transpose(0, 1), states, weights, None)
    # Contiguous as torch's output is: people call view on it.
    return result.output.transpose(0, 1).contiguous(), _finals(result)


def _run_packed(
    module: nn.RNNBase, given: PackedSequence, states: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[PackedSequence, Any]:
    batch = PackedBatch.of(given.batch_sizes)
    order, back = given.sorted_indices, given.unsorted_indices
    if order is not None:
        states = [state.index_select(1, order) for state in states]
    result = _run(module, batch.padded(given.data), states, weights, batch.lengths)
    # Over rows of different lengths torch's LSTM, and nothing else, gives the dtype of x also under autocast.
    ragged = module.mode == "LSTM" and batch.places is not None
    dtype = given.data.dtype if ragged else result.output.dtype
    output = PackedSequence(batch.packed(result.output).to(dtype), given.batch_sizes, order, back)
    if back is None:
        return output, _finals(result, lambda state: state.to(dtype))
    return output, _finals(result, lambda state: state.index_select(1, back).to(dtype))


def _run(
    module: nn.RNNBase,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
) -> StackResult:
    """Run over x (N, T, C) from states (L·D, N, ·)."""
    directions = 2 if module.bidirectional else 1
    dropout = module.dropout if module.training and module.num_layers > 1 else 0.0
    spec = spec_of(
        module.mode.lower(),
        module.input_size,
        module.hidden_size,
        module.num_layers,
        directions,
        module.proj_size,
        dropout,
    )
    initial: list[tuple[Tensor, ...] | None] = [None] * module.num_layers
    if states:
        initial = list(zip(*(torch.split(state, directions) for state in states), strict=True))
    return run_stack(
        spec,
        x,
        initial,
        _directions(module, weights, directions),
        lengths=lengths,
        training=module.training,
        seed=draw_seed() if dropout else 0,
    )


def _weights(module: nn.RNNBase) -> list[Tensor]:
    """Give the weights as torch's `forward` would: direction by direction, layer by layer."""
    if torch.compiler.is_compiling():
        return [getattr(module, name) for name in module._flat_weights_names]
    module._update_flat_weights()  # the weights may have been exchanged, as torch.func.functional_call does
    return cast("list[Tensor]", module._flat_weights)


def _directions(
    module: nn.RNNBase, weights: Sequence[Tensor], directions: int
) -> list[list[DirectionWeights]]:
    """Give the weights the form of the kernels: per layer, per direction."""
    each = 2 + 2 * module.bias + (module.proj_size > 0)
    every = []
    for first in range(0, len(weights), each):
        weight_ih, weight_hh, *rest = weights[first : first + each]
        bias_ih, bias_hh = rest[:2] if module.bias else (None, None)
        projection = rest[-1] if module.proj_size > 0 else None
        every.append(DirectionWeights(weight_ih, weight_hh, bias_ih, bias_hh, projection))
    return [every[first : first + directions] for first in range(0, len(every), directions)]


def _finals(result: StackResult, formed: Callable[[Tensor], Tensor] = lambda state: state) -> Any:
    """Give the final states as torch does: h_n (L·D, N, P), or (h_n, c_n)."""
    parts = [
        formed(of_layers[0] if len(of_layers) == 1 else torch.cat(of_layers))
        for of_layers in zip(*result.finals, strict=True)
    ]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _why_not(module: nn.RNNBase, given: Any, hx: Any, weights: Sequence[Any]) -> str | None:
    """Say why a call is not for the kernels: "" where torch's own code or the backend says it, else None."""
    packed = isinstance(given, PackedSequence)
    x = given.data if packed else given
    if not isinstance(x, Tensor) or not isinstance(hx, (*_HX[module.mode], type(None))):
        return ""
    if x.dim() not in ((2,) if packed else (2, 3)) or x.shape[-1] != module.input_size or x.numel() == 0:
        return ""
    rows: tuple[int, ...] = () if x.dim() == 2 else (x.shape[0 if module.batch_first else 1],)
    if packed:
        rows = (int(given.batch_sizes[0]),)
    if not _agree(x, weights, _states(hx)) or not _have_shapes(module, _states(hx), rows):
        return ""
    if choose_backend(x) == "torch":
        return ""
    if module.num_layers > MOST_LAYERS:
        return f"it has {module.num_layers} layers and the kernels take {MOST_LAYERS}"
    if module.training and module.dropout == 1 and module.num_layers > 1:
        return "the dropout between its layers is 1"
    return None


def _states(hx: Any) -> tuple[Any, ...]:
    if hx is None:
        return ()
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def _agree(x: Tensor, weights: Sequence[Any], states: Sequence[Any]) -> bool:
    """Whether all are tensors of one device and dtype; under autocast both its dtypes may meet."""
    every = (x, *weights, *states)
    if not all(isinstance(tensor, Tensor) and tensor.device == x.device for tensor in every):
        return False
    if all(tensor.dtype == x.dtype for tensor in every):
        return True
    return torch.is_autocast_enabled("cpu") and all(tensor.dtype in _UNDER_AUTOCAST for tensor in every)


def _have_shapes(module: nn.RNNBase, states: Sequence[Tensor], rows: tuple[int, ...]) -> bool:
    """Whether states, if there are any, have the shapes that torch asks for, over `rows`, (N,) or ()."""
    if not states:
        return True
    count = module.num_layers * (2 if module.bidirectional else 1)
    widths = (module.proj_size or module.hidden_size, module.hidden_size)
    expected = [(count, *rows, width) for width in widths[: 2 if module.mode == "LSTM" else 1]]
    return [tuple(state.shape) for state in states] == expected
