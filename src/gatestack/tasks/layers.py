"""The recurrent layers of all tasks: what regularises them, by name, and how they are stacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gatestack.errors import ArgumentError, check_share
from gatestack.nn import GRU, LSTM, RNN, LSTMForm, Regularisation, Stack
from gatestack.tasks.choices import Choices

__all__ = ["RegularisedChoices", "make_stack"]

_CELLS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
_SHARES = ("dropout", "variational_dropout", "recurrent_dropout", "zoneout")


@dataclass(frozen=True, kw_only=True)
class RegularisedChoices(Choices):
    """Base of the architectures of all tasks: what keeps the layers from fitting noise.

    Args:
        dropout: share of units dropped between layers and before the head, in [0, 1), drawn anew at each
            step.
        variational_dropout: share of units dropped between layers, with one draw per sequence, in [0, 1);
            above 0 it takes the place of `dropout` there. One layer has nothing between.
        recurrent_dropout: share of the units of h that a layer does not see of its last step, with one draw
            per sequence, in [0, 1).
        zoneout: share of the units of h, and of c in an LSTM, that keep their last value, in [0, 1), drawn
            anew at each step.
        layer_norm: normalise the gates' sums and the cell state of an LSTM.

    Raises:
        ArgumentError: a share outside its range, or layer normalisation of another cell.

    Source:
        Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks"
        (variational and recurrent dropout); Krueger et al. 2017, "Zoneout"; Ba, Kiros & Hinton 2016, "Layer
        Normalization".
    """

    dropout: float = 0.0
    variational_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0
    layer_norm: bool = False

    def _check_regularisation(self, cell: str) -> None:
        """Refuse what the layers of a cell cannot have."""
        for name in _SHARES:
            check_share(name, getattr(self, name), owner="Architecture")
        self._check_switches("layer_norm")
        if self.layer_norm and cell != "lstm":
            raise ArgumentError(
                f"layer_norm=True with cell={cell!r}",
                where="Architecture",
                expected="cell='lstm', the one whose layers can be normalised",
            )


def make_stack(
    widths: tuple[int, ...],
    choices: RegularisedChoices,
    *,
    input_size: int,
    cell: Literal["lstm", "gru", "rnn"] = "lstm",
    bidirectional: bool = False,
    initial_state: Literal["zeros", "trained"] = "zeros",
    residual: bool = False,
) -> Stack:
    """Make the stack of a task's network.

    Args:
        widths: of each layer, lowest first.
        choices: what regularises them; what acts between layers is left out where there is one.
        input_size: columns that the lowest layer reads.
        cell: of all layers.
        bidirectional: run each layer in both directions.
        initial_state: `"zeros"` or `"trained"`.
        residual: add the input of each layer but the lowest to its output.

    Example:
        >>> stack = make_stack((4, 4), RegularisedChoices(zoneout=0.1, layer_norm=True), input_size=2)
        >>> stack.layers[1].regularisation
        Regularisation(zoneout_hidden=0.1, zoneout_cell=0.1)
    """
    regularisation = Regularisation(
        recurrent_dropout=choices.recurrent_dropout,
        zoneout_hidden=choices.zoneout,
        zoneout_cell=choices.zoneout if cell == "lstm" else 0.0,
    )
    options: dict[str, Any] = {"form": LSTMForm(layer_norm=True)} if choices.layer_norm else {}
    layers = [
        _CELLS[cell](
            width,
            bidirectional=bidirectional,
            initial_state=initial_state,
            regularisation=regularisation,
            **options,
        )
        for width in widths
    ]
    deep = len(layers) > 1
    return Stack(
        *layers,
        input_size=input_size,
        dropout=choices.dropout if deep and not choices.variational_dropout else 0.0,
        variational_dropout=choices.variational_dropout if deep else 0.0,
        residual=residual and deep,
    )
