"""torch's recurrent modules with another `forward`, and nothing else of their own.

They stand at module level, under a name, so that a model that has them can be pickled and copied.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from gatestack.compat.module_call import run_module
from gatestack.kernels.backend import shown_backend

__all__ = ["AcceleratedGRU", "AcceleratedLSTM", "AcceleratedRNN"]


class AcceleratedLSTM(nn.LSTM):
    """`torch.nn.LSTM` on the kernels: arguments and results as there."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 (torch's name, which callers use)
        """Run on the kernels, or where they cannot on torch's own code."""
        return run_module(self, nn.LSTM.forward, input, hx)

    def extra_repr(self) -> str:
        """What torch shows, that it is accelerated, and the backend where it is not native."""
        return super().extra_repr() + _shown(self)

    def _get_name(self) -> str:
        return "LSTM"  # some libraries look a class up in torch.nn by this name


class AcceleratedGRU(nn.GRU):
    """`torch.nn.GRU` on the kernels: arguments and results as there."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
        """Run on the kernels, or where they cannot on torch's own code."""
        return run_module(self, nn.GRU.forward, input, hx)

    def extra_repr(self) -> str:
        """What torch shows, that it is accelerated, and the backend where it is not native."""
        return super().extra_repr() + _shown(self)

    def _get_name(self) -> str:
        return "GRU"


class AcceleratedRNN(nn.RNN):
    """`torch.nn.RNN` on the kernels: arguments and results as there."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
        """Run on the kernels, or where they cannot on torch's own code."""
        return run_module(self, nn.RNN.forward, input, hx)

    def extra_repr(self) -> str:
        """What torch shows, that it is accelerated, and the backend where it is not native."""
        return super().extra_repr() + _shown(self)

    def _get_name(self) -> str:
        return "RNN"


def _shown(module: nn.RNNBase) -> str:
    backend = shown_backend(getattr(module, module._flat_weights_names[0]))
    return ", accelerated" + ("" if backend is None else f", backend={backend!r}")
