"""Small networks to look into, and the same layers in the NumPy reference."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gatestack.inspect import Outcome, Subject, Truth
from gatestack.kernels.spec import DirectionWeights, LayerSpec
from gatestack.nn import GRU, LSTM, RNN, LSTMForm, Regularisation, Stack
from gatestack.nn.recurrent import Recurrent
from gatestack.reference import GRUCell, LSTMCell, RNNCell
from gatestack.reference.cell import Cell

N, T, C = 7, 9, 3
LENGTHS = (9, 5, 9, 1, 7, 8, 3)

LAYERS = {
    "lstm": lambda: LSTM(5),
    "lstm, both ways": lambda: LSTM(4, bidirectional=True),
    "lstm, summed": lambda: LSTM(4, bidirectional=True, merge="sum"),
    "peepholes": lambda: LSTM(5, form=LSTMForm(peepholes=True)),
    "projection": lambda: LSTM(5, form=LSTMForm(projection_size=2)),
    "layer norm": lambda: LSTM(5, form=LSTMForm(layer_norm=True)),
    "everything": lambda: LSTM(5, form=LSTMForm(peepholes=True, projection_size=3, layer_norm=True)),
    "zoneout": lambda: LSTM(5, regularisation=Regularisation(zoneout_hidden=0.2, zoneout_cell=0.1)),
    "trained start": lambda: LSTM(5, initial_state="trained"),
    "gru": lambda: GRU(5),
    "gru, both ways": lambda: GRU(4, bidirectional=True),
    "gru, reset before": lambda: GRU(5, reset="before"),
    "gru, layer norm": lambda: GRU(5, layer_norm=True),
    "gru, zoneout": lambda: GRU(5, regularisation=Regularisation(zoneout_hidden=0.3)),
    "rnn": lambda: RNN(5),
    "rnn, relu": lambda: RNN(5, activation="relu"),
}


def randomised(module: nn.Module, seed: int = 0, scale: float = 0.4) -> nn.Module:
    """Move every parameter, biases too, and go into float64 and eval mode."""
    torch.manual_seed(seed)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def reference_cell(spec: LayerSpec, weights: DirectionWeights) -> Cell:
    """The cell of the NumPy reference with the weights of a layer."""
    arrays = {name: part.detach().numpy() for name, part in weights._asdict().items() if part is not None}
    if spec.cell == "lstm":
        return LSTMCell(**arrays)
    if spec.cell in ("gru", "gru_reset_before"):
        return GRUCell(**arrays, **({"reset": "before"} if spec.cell == "gru_reset_before" else {}))
    return RNNCell(**arrays, activation=spec.cell.removeprefix("rnn_"))


class Reader(nn.Module):
    """A stack and a linear head that answers from the last real step of each row."""

    def __init__(self, *layers: Recurrent, features: int = C, seed: int = 0, residual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stack = Stack(*layers, input_size=features, residual=residual)
        self.head = nn.Linear(self.stack.output_size or 0, 1)
        randomised(self, seed, 0.2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        hidden, _ = self.stack(x, lengths=lengths)
        return self.head(hidden[torch.arange(len(x)), lengths - 1])[:, 0]


def subject_of(
    reader: Reader,
    *,
    rows: int = N,
    steps: int = T,
    lengths: tuple[int, ...] | None = None,
    features: tuple[str, ...] = ("a", "b", "c"),
    seed: int = 1,
    truth: bool = True,
) -> Subject:
    """Random inputs; the truth is the sum of the first feature over the last two steps."""
    torch.manual_seed(seed)
    x = torch.randn(rows, steps, len(features), dtype=torch.float64)
    real = torch.tensor(lengths if lengths is not None else [steps] * rows)
    known = torch.stack([x[row, max(0, n - 2) : n, 0].sum() for row, n in enumerate(real.tolist())])

    def run(network: nn.Module, inputs: Tensor) -> Outcome:
        answer = network(inputs, real)
        return Outcome(answer, (answer - known).square() if truth else None)

    return Subject(
        title="a reader",
        network=reader,
        inputs=x,
        run=run,
        features=features,
        sequences=tuple(f"row {row}" for row in range(rows)),
        lengths=real,
        truth=Truth(known.numpy(), "numbers") if truth else None,
    )


def close(found: object, wanted: object, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)
