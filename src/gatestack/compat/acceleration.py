"""Switching the recurrent modules of a torch or Keras model over to the kernels, and back.

The switch is the class of a module and nothing else: no attribute is added, no parameter moved. What torch
keeps in a module (parameters, hooks, mode, device) is therefore as it was, and so is everything that reads
it: `state_dict`, optimisers, `copy.deepcopy`, `model.to`, pickling. A layer of Keras is a module of torch
where Keras runs on its torch backend.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

from torch import nn

from gatestack.compat.torch import GRU, LSTM, RNN
from gatestack.errors import ArgumentError

__all__ = ["accelerate", "decelerate", "is_accelerated"]

_LOGGER = logging.getLogger("gatestack")

_FASTER: dict[type[nn.Module], type[nn.Module]] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}


def accelerate(model: nn.Module) -> nn.Module:
    """Run every `torch.nn.LSTM`, `GRU` and `RNN` inside a model on the compiled kernels, in place.

    In a model of Keras 3 on its torch backend these are `LSTM`, `GRU`, `SimpleRNN` and `Bidirectional`; what
    is said here of torch's modules then holds as `gatestack.compat.keras` says it.

    The modules keep their parameters, names, `state_dict`, hooks and arguments; `isinstance` says what it
    said, outputs and gradients agree to rounding. What the kernels do not take (other devices than the CPU,
    float16, `torch.jit.trace`, forward-mode derivatives) runs on torch's own code, and so do errors. Dropout
    between layers draws other random numbers than torch does, from the same generator.

    A subclass of these modules, also one made by `torch.nn.utils.parametrize`, is left as it is: it may do
    something else. How many modules were switched is logged at level INFO, each one left at level WARNING.
    An accelerated module shows itself in the `repr` of the model. Calling it again changes nothing.

    Args:
        model: any torch module, or one of the three itself; any model or layer of Keras.

    Returns:
        The same model.

    Raises:
        ArgumentError: the model is no torch module.

    Example:
        >>> import torch
        >>> import gatestack as gs
        >>> model = gs.accelerate(torch.nn.LSTM(3, 8, num_layers=2, batch_first=True))
        >>> isinstance(model, torch.nn.LSTM), gs.compat.is_accelerated(model)
        (True, True)
        >>> output, (h, c) = model(torch.zeros(4, 10, 3))
        >>> output.shape, h.shape
        (torch.Size([4, 10, 8]), torch.Size([2, 4, 8]))
    """
    _check_model(model, "accelerate")
    faster_of, recurrent = _classes()
    switched = 0
    for name, module in _modules(model):
        faster = faster_of.get(type(module))
        if faster is not None:
            module.__class__ = faster
            switched += 1
        elif isinstance(module, recurrent) and not is_accelerated(module):
            _LOGGER.warning(
                "accelerate: %s is left as it is, because its class %s is a subclass that may compute "
                "something else",
                name or "the model",
                type(module).__name__,
            )
    _LOGGER.info("accelerate: %d recurrent modules of %s switched", switched, type(model).__name__)
    return model


def decelerate(model: nn.Module) -> nn.Module:
    """Undo `accelerate`, in place: every module is of the class of torch, or of Keras, that it was of.

    Args:
        model: any torch module, any model or layer of Keras.

    Returns:
        The same model.

    Raises:
        ArgumentError: the model is no torch module; a module was parametrised after it was accelerated. The
            model is unchanged then.

    Example:
        >>> import torch
        >>> import gatestack as gs
        >>> gs.decelerate(gs.accelerate(torch.nn.GRU(3, 8)))
        GRU(3, 8)
    """
    _check_model(model, "decelerate")
    plain_of = {faster: plain for plain, faster in _classes()[0].items()}
    found = [(name, module) for name, module in _modules(model) if is_accelerated(module)]
    for name, module in found:
        if type(module) not in plain_of:
            raise ArgumentError(
                f"{name or 'the model'} is of class {type(module).__name__}",
                where="decelerate",
                expected="the class that accelerate gave it",
                hint="if it was parametrised since, torch.nn.utils.parametrize.remove_parametrizations "
                "comes first",
            )
    for _, module in found:
        module.__class__ = plain_of[type(module)]
    return model


def is_accelerated(module: nn.Module) -> bool:
    """Say whether a module itself, not one inside it, was switched by `accelerate`, or made as such.

    Example:
        >>> import torch
        >>> import gatestack as gs
        >>> model = gs.accelerate(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.GRU(3, 8)))
        >>> [name for name, module in model.named_modules() if gs.compat.is_accelerated(module)]
        ['1']
    """
    return isinstance(module, tuple(_classes()[0].values()))


def _has_keras() -> bool:
    """Whether somebody loaded Keras, on its torch backend; without it there is nothing of Keras to switch."""
    keras = sys.modules.get("keras")
    return keras is not None and hasattr(keras, "backend") and keras.backend.backend() == "torch"


def _classes() -> tuple[dict[type[nn.Module], type[nn.Module]], tuple[type[nn.Module], ...]]:
    """Give the class that replaces each, and the classes that everything recurrent is derived from."""
    if not _has_keras():
        return _FASTER, (nn.RNNBase,)
    from gatestack.compat.keras import switching

    return _FASTER | switching.FASTER, (nn.RNNBase, *switching.RECURRENT)


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name every module inside a model and itself, each once."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        found = [(name, module)]
        if _has_keras():
            from gatestack.compat.keras import switching

            found += switching.layers_of(module)
        for inner, one in found:
            if id(one) not in seen:
                seen.add(id(one))
                yield inner, one


def _check_model(model: object, owner: str) -> None:
    if not isinstance(model, nn.Module):
        raise ArgumentError(
            f"model is of type {type(model).__name__}",
            where=owner,
            expected="a torch.nn.Module",
            hint="a wrapper around a network, as forecasting packages have, names it in an attribute",
        )
