"""`LSTM`, `GRU` and `RNN` with the signatures of `torch.nn`, on the compiled kernels.

They are torch's own classes with another `forward` and nothing else: arguments, parameters, `state_dict`,
results and errors are torch's. `gatestack.accelerate` gives the modules of a finished model these classes.

Example:
    >>> import torch
    >>> from gatestack.compat.torch import LSTM
    >>> model = torch.nn.Sequential(LSTM(3, 8, batch_first=True))
    >>> plain = torch.nn.Sequential(torch.nn.LSTM(3, 8, batch_first=True))
    >>> model.load_state_dict(plain.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(4, 10, 3)
    >>> torch.allclose(model(x)[0], plain(x)[0], atol=1e-5)
    True
"""

from __future__ import annotations

from typing import Any

from torch import nn

from gatestack.compat.module_call import run_module
from gatestack.kernels.backend import shown_backend

# They stand at module level, under a name, so that a model that has them can be pickled and copied.
__all__ = ["GRU", "LSTM", "RNN"]


class LSTM(nn.LSTM):
    """`torch.nn.LSTM` on the kernels: constructor, equations, parameters and errors are those of torch.

    Dropout between layers draws other random numbers than torch does, from the same generator. What the
    kernels do not take (another device than the CPU, float16, an empty batch) is computed by torch's code.

    Example:
        >>> import torch
        >>> layer = LSTM(3, 8, num_layers=2, batch_first=True, bidirectional=True)
        >>> output, (h, c) = layer(torch.randn(4, 10, 3))
        >>> output.shape, h.shape, isinstance(layer, torch.nn.LSTM)
        (torch.Size([4, 10, 16]), torch.Size([4, 4, 8]), True)
    """

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 (torch's name, which callers use)
        """Run over input (T, N, C), (N, T, C) with `batch_first`, (T, C), or a `PackedSequence`."""
        return run_module(self, nn.LSTM.forward, input, hx)

    def extra_repr(self) -> str:
        """What torch shows, that it is accelerated, and the backend where it is not native."""
        return super().extra_repr() + _shown(self)


class GRU(nn.GRU):
    """`torch.nn.GRU` on the kernels: constructor, equations, parameters and errors are those of torch.

    Dropout and what runs on torch's code are as in `LSTM`.

    Example:
        >>> import torch
        >>> output, h = GRU(3, 8)(torch.randn(10, 4, 3))
        >>> output.shape, h.shape
        (torch.Size([10, 4, 8]), torch.Size([1, 4, 8]))
    """

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
        """Run over input (T, N, C), (N, T, C) with `batch_first`, (T, C), or a `PackedSequence`."""
        return run_module(self, nn.GRU.forward, input, hx)

    def extra_repr(self) -> str:
        """What torch shows, that it is accelerated, and the backend where it is not native."""
        return super().extra_repr() + _shown(self)


class RNN(nn.RNN):
    """`torch.nn.RNN` on the kernels: constructor, equations, parameters and errors are those of torch.

    Dropout and what runs on torch's code are as in `LSTM`.

    Example:
        >>> import torch
        >>> output, h = RNN(3, 8, nonlinearity="relu")(torch.randn(10, 4, 3))
        >>> output.shape, h.shape
        (torch.Size([10, 4, 8]), torch.Size([1, 4, 8]))
    """

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
        """Run over input (T, N, C), (N, T, C) with `batch_first`, (T, C), or a `PackedSequence`."""
        return run_module(self, nn.RNN.forward, input, hx)

    def extra_repr(self) -> str:
        """What torch shows, that it is accelerated, and the backend where it is not native."""
        return super().extra_repr() + _shown(self)


def _shown(module: nn.RNNBase) -> str:
    backend = shown_backend(getattr(module, module._flat_weights_names[0]))
    return ", accelerated" + ("" if backend is None else f", backend={backend!r}")
