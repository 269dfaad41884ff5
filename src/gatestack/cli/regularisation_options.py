"""Options of `gatestack fit …` for what regularises a network, and for how fast it learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

__all__ = [
    "REGULARISATION",
    "Dropout",
    "LayerNorm",
    "LearningRate",
    "RecurrentDropout",
    "VariationalDropout",
    "WeightDecay",
    "Zoneout",
    "architecture_given",
    "training_given",
]

_MODEL, _TRAINING = "Model", "Training"
REGULARISATION = ("dropout", "variational_dropout", "recurrent_dropout", "zoneout", "layer_norm")


def _share(text: str) -> Any:
    return typer.Option(metavar="SHARE", min=0.0, max=0.99, help=text, rich_help_panel=_MODEL)


Dropout = Annotated[
    float,
    _share("Share of units dropped in training, between layers and before the head."),
]
VariationalDropout = Annotated[float, _share("The same between layers, with one draw per sequence.")]
RecurrentDropout = Annotated[float, _share("Share of a layer's own last output that it does not see.")]
Zoneout = Annotated[float, _share("Share of the state that keeps its last value.")]
LayerNorm = Annotated[
    bool,
    typer.Option("--layer-norm", help="Normalise the gates of LSTM layers.", rich_help_panel=_MODEL),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help="Highest learning rate, above 0.  [default: by the task and its data]",
        rich_help_panel=_TRAINING,
    ),
]
WeightDecay = Annotated[
    float,
    typer.Option(
        metavar="RATE",
        min=0.0,
        help="Decay of the weight matrices per update and unit of learning rate.",
        rich_help_panel=_TRAINING,
    ),
]


def training_given(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Give what the user asked of a `Training`: how fast it learns, and `names`.

    Args:
        given: arguments of the command, by name.
        names: other fields that the command has an option for.
    """
    from gatestack.training import Training

    fields, default = ("learning_rate", "weight_decay", *names), Training()
    found = {name: given[name] for name in fields if given[name] is not None}
    return {name: value for name, value in found.items() if value != getattr(default, name)}


def architecture_given(given: Mapping[str, Any], kind: type[Any], *names: str) -> dict[str, Any]:
    """Give what the user asked of an architecture: what regularises it, and `names`.

    Args:
        given: arguments of the command, by name.
        kind: of the architecture; what is its default is left out.
        names: other fields that the command has an option for.
    """
    default = kind()
    found = {name: given[name] for name in (*REGULARISATION, *names) if given[name] is not None}
    return {name: value for name, value in found.items() if value != getattr(default, name)}
