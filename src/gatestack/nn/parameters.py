"""How parameters of layers and cells begin, and how an unbuilt one learns its size from weights."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["build_from_state_dict", "draw_parameter"]


class _Buildable(Protocol):
    @property
    def input_size(self) -> int | None: ...

    def build(self, input_size: int) -> object: ...


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
    elif layer.input_size is None and isinstance(weight, Tensor) and weight.dim() == 2:
        layer.build(weight.shape[1])
    if prefix + "weight_ih_l1" in state_dict:
        error_msgs.append(
            f"the weights have several layers ({prefix}weight_ih_l1), {type(layer).__name__} is one layer; "
            "gatestack.nn.Stack takes several."
        )
