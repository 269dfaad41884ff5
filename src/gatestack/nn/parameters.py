"""Parameters of layers and cells: declared before the size of the input is known, made and drawn after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_whole

__all__ = [
    "build_from_state_dict",
    "check_size",
    "declare_parameters",
    "draw_parameter",
    "like_of",
    "make_parameters",
]


class _Buildable(Protocol):
    @property
    def input_size(self) -> int | None: ...

    def build(self, input_size: int) -> object: ...


def declare_parameters(module: nn.Module, names: Iterable[str], dtype: torch.dtype | None) -> None:
    """Name the parameters of an unbuilt layer or cell, and note in `_like` where they will belong.

    Args:
        module: that has `input_size` and `build`.
        names: of its parameters.
        dtype: of the parameters; None takes torch's default.
    """
    for name in names:
        module.register_parameter(name, None)
    # Follows .to(), .double() and the like, so that what is built later lands where the user sent it.
    module.register_buffer("_like", torch.empty(0, dtype=dtype), persistent=False)
    module.register_load_state_dict_pre_hook(build_from_state_dict)  # type: ignore[no-untyped-call]


def check_size(input_size: object, built: int | None, owner: str) -> int:
    """Give the size of an input as an int, unless the layer or cell was built for another one.

    Args:
        input_size: C, as it was given.
        built: C of what is built already, else None.
        owner: whose input it is, for the message.

    Raises:
        ArgumentError: no whole number of 1 or more, or not the one that `built` says.

    Example:
        >>> check_size(3, None, "LSTM")
        3
    """
    size = check_whole("input_size", input_size, owner=owner)
    if built not in (None, size):
        raise ArgumentError(f"input_size {size}", where=owner, expected=f"{built}, for which it was built")
    return size


def make_parameters(module: nn.Module, like: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Make parameters, not drawn yet, of the dtype and on the device of `like`.

    Args:
        module: gets them.
        like: any shape.
        shapes: name to shape.
    """
    for name, shape in shapes.items():
        module.register_parameter(name, nn.Parameter(like.new_empty(shape)))


def like_of(module: nn.Module) -> Tensor | None:
    """Give a tensor of the dtype and on the device in which a module computes; None where it has none.

    Example:
        >>> from gatestack.nn import GRUCell
        >>> like_of(GRUCell(4, dtype=torch.float64)).dtype, like_of(nn.ReLU())
        (torch.float64, None)
    """
    every = chain(module.parameters(), module.buffers())
    return next((tensor for tensor in every if tensor.is_floating_point()), None)


@torch.no_grad()
def draw_parameter(name: str, parameter: Tensor, gates: int) -> None:
    """Draw a parameter of a recurrent cell anew, gate by gate, from torch's random state.

    Args:
        name: torch's; `weight_hh…` becomes orthogonal, another `weight…` Glorot uniform, `gain…` one, and
            everything else zero.
        parameter: (gates · H, …) of `weight_ih` and `weight_hh`; any shape otherwise.
        gates: G.

    Example:
        >>> import torch
        >>> weight = torch.empty(8, 2)
        >>> draw_parameter("weight_hh_l0", weight, 4)
        >>> torch.allclose(weight[:2] @ weight[:2].T, torch.eye(2), atol=1e-6)
        True

    Source:
        Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", Eq.
        16; Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks" (orthogonal).
    """
    if name.startswith("weight_hh"):
        for block in parameter.chunk(gates):
            if parameter.dtype in (torch.bfloat16, torch.float16):  # torch has no QR decomposition for these
                block.copy_(nn.init.orthogonal_(torch.empty_like(block, dtype=torch.float32)))
            else:
                nn.init.orthogonal_(block)
    elif name.startswith("weight"):
        for block in parameter.chunk(gates if name.startswith("weight_ih") else 1):
            nn.init.xavier_uniform_(block)
    elif name.startswith("gain"):
        parameter.fill_(1.0)
    else:
        parameter.zero_()


def build_from_state_dict(
    layer: _Buildable,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],  # noqa: ARG001 (torch calls the hook with seven arguments)
    strict: bool,  # noqa: ARG001
    missing_keys: list[str],
    unexpected_keys: list[str],  # noqa: ARG001
    error_msgs: list[str],
) -> None:
    """Let an unbuilt layer or cell take its input size from the weights it is about to load."""
    weight = state_dict.get(prefix + "weight_ih_l0")
    if layer.input_size is None and weight is None:
        missing_keys.append(prefix + "weight_ih_l0")
    elif layer.input_size is None and isinstance(weight, Tensor) and weight.dim() >= 2:
        layer.build(weight.shape[1])
    if prefix + "weight_ih_l1" in state_dict:
        error_msgs.append(
            f"the weights have several layers ({prefix}weight_ih_l1), {type(layer).__name__} is one layer; "
            "gatestack.nn.Stack takes several."
        )
