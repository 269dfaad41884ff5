"""The compiled kernels and torch's operators behind one seam, and the handle that steps streams.

Everything in `gatestack.nn` computes through `gatestack.kernels.recurrent.run_stack` and through nothing
else; which backend does it is chosen in `gatestack.kernels.backend`. A stream of single steps goes through
`StackStepper`, without torch. Names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatestack.kernels.backend import use_backend
    from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec
    from gatestack.kernels.step import StackStepper

__all__ = ["DirectionWeights", "LayerSpec", "StackSpec", "StackStepper", "use_backend"]

_HOMES = {
    "DirectionWeights": "spec",
    "LayerSpec": "spec",
    "StackSpec": "spec",
    "StackStepper": "step",
    "use_backend": "backend",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
