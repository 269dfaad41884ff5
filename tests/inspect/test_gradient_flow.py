"""The gradient over the lag is that of finite differences through the NumPy reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from inspected import LENGTHS, C, Reader, close, reference_cell, subject_of

from gatestack.inspect import Outcome, inspect_subject
from gatestack.inspect.gradient_flow import MODELS
from gatestack.inspect.opened import open_layer
from gatestack.inspect.recording import replaced
from gatestack.inspect.unrolled import Unrolled
from gatestack.nn import GRU, LSTM, RNN, LSTMForm, Stack

CASES = {
    "lstm": lambda: (LSTM(3), LSTM(2)),
    "gru on lstm": lambda: (LSTM(3), GRU(2)),
    "projection": lambda: (LSTM(4, form=LSTMForm(projection_size=2)), RNN(3)),
}


@pytest.mark.parametrize("case", CASES)
def test_norms_are_those_of_finite_differences(case: str) -> None:
    reader = Reader(*CASES[case]())
    steps, rows = 6, 2
    subject = subject_of(reader, rows=rows, steps=steps)
    flow = inspect_subject(subject).tables["gradient_flow"].filter(model="trained")
    cells = [reference_cell(layer.spec, layer.weights()[0]) for layer in reader.stack.layers]
    weight, bias = (part.detach().numpy() for part in (reader.head.weight, reader.head.bias))
    truth = subject.truth.values

    def loss(row: int, layer: int, at: int, change: np.ndarray) -> float:
        """Step through the reference with h of one layer moved after one step."""
        states = [tuple(np.zeros((1, size)) for size in cell.state_sizes) for cell in cells]
        for t in range(steps):
            read = subject.inputs[row : row + 1, t].numpy()
            for number, cell in enumerate(cells):
                new, _ = cell.step(read, states[number])
                if (number, t) == (layer, at):
                    new = (new[0] + change, *new[1:])
                states[number], read = new, new[0]
        return float((read @ weight.T + bias)[0, 0] - truth[row]) ** 2

    for layer, cell in enumerate(cells):
        width = cell.state_sizes[0]
        for lag in range(steps):
            norms = []
            for row in range(rows):
                slopes = [
                    (
                        loss(row, layer, steps - 1 - lag, 1e-6 * unit)
                        - loss(row, layer, steps - 1 - lag, -1e-6 * unit)
                    )
                    / 2e-6
                    for unit in np.eye(width)
                ]
                norms.append(np.linalg.norm(slopes))
            found = flow.filter(layer=layer + 1, lag=lag)["norm"][0]
            assert found == pytest.approx(np.mean(norms), rel=1e-6, abs=1e-9)


def test_rows_of_different_lengths_are_counted_from_their_own_ends() -> None:
    reader = Reader(LSTM(3, bidirectional=True))
    lengths = tuple(max(3, n) for n in LENGTHS)
    whole = inspect_subject(subject_of(reader, lengths=lengths)).tables["gradient_flow"]
    forward = whole.filter(model="trained", direction="forward")
    assert forward["lag"].to_list() == list(range(max(lengths)))
    assert forward["sequences"].to_list() == [sum(n > lag for n in lengths) for lag in range(max(lengths))]
    # The reader looks at the last step, where the reverse direction has read nothing but that step: its state
    # there is the first it reads, whose lag in the order of its reading is the largest of its row.
    reverse = whole.filter(model="trained", direction="reverse")
    reached = reverse.filter(reverse["norm"] > 0)["lag"].to_list()
    assert reached == sorted({n - 1 for n in lengths})


@pytest.mark.parametrize(
    "layer",
    [
        lambda: LSTM(4, bidirectional=True),
        lambda: LSTM(4, bidirectional=True, merge="sum", return_sequences=False),
        lambda: GRU(4, initial_state="trained", return_sequences=False),
        lambda: RNN(4),
    ],
)
def test_an_unrolled_layer_gives_what_the_layer_gives(layer: object) -> None:
    made = Stack(layer(), input_size=C).double().eval()
    torch.manual_seed(0)
    x = torch.randn(len(LENGTHS), max(LENGTHS), C, dtype=torch.float64)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        wanted, states = made(x, lengths=list(LENGTHS))
        with replaced(made, {"layers.0": Unrolled(open_layer(made.layers[0]))}):
            found, others = made(x, lengths=list(LENGTHS))
        again, _ = made(x, lengths=list(LENGTHS))
    close(found, wanted)
    close(again, wanted)
    for one, other in zip(_tensors(states), _tensors(others), strict=True):
        close(one, other)


def test_the_gradient_of_a_step_is_as_large_as_the_step() -> None:
    """That of a slice is as large as the whole, at every step: memory by the square of the length."""
    layer = RNN(4).build(C).double()
    unrolled = Unrolled(open_layer(layer))
    unrolled(torch.zeros(2, 6, C, dtype=torch.float64, requires_grad=True) * 2)
    seen, names, open_ones = set(), set(), [unrolled.hidden[0][-1].grad_fn]
    while open_ones:
        node = open_ones.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(node.name())
            open_ones += [above for above, _ in node.next_functions]
    assert "UnbindBackward0" in names
    assert not {"SelectBackward0", "SliceBackward0"} & names


def _tensors(states: object) -> list[torch.Tensor]:
    if isinstance(states, torch.Tensor):
        return [states]
    return [tensor for part in states for tensor in _tensors(part)]


def test_the_three_models_differ_in_their_recurrent_layers_alone() -> None:
    reader = Reader(LSTM(8), LSTM(8))
    subject = subject_of(reader, steps=40)
    seen = []

    def noted(network: torch.nn.Module, inputs: torch.Tensor) -> Outcome:
        if all(isinstance(layer, Unrolled) for layer in network.stack.layers):
            seen.append((network.head.weight.clone(), [part.opened for part in network.stack.layers]))
        return subject.run(network, inputs)

    flow = inspect_subject(replace(subject, run=noted)).tables["gradient_flow"]
    assert flow["model"].unique(maintain_order=True).to_list() == list(MODELS)
    assert len(seen) == 3
    assert all(torch.equal(head, reader.head.weight) for head, _ in seen)
    own = [layer.weight_hh_l0 for layer in reader.stack.layers]
    trained, initialised, plain = ([one.layer.weight_hh_l0 for one in opened] for _, opened in seen)
    assert all(torch.equal(a, b) for a, b in zip(trained, own, strict=True))
    assert [weight.shape for weight in initialised] == [weight.shape for weight in own]
    assert not any(torch.equal(a, b) for a, b in zip(initialised, own, strict=True))
    assert [one.cell for one in seen[2][1]] == ["rnn_tanh"] * 2
    assert [weight.shape for weight in plain] == [(8, 8)] * 2
    zero = flow.filter(lag=0)
    close(zero["relative"], np.ones(zero.height))


def test_a_plain_layer_is_as_wide_as_what_it_replaces() -> None:
    layer = LSTM(6, 3, bidirectional=True, merge="sum", form=LSTMForm(projection_size=4))
    made = open_layer(layer).plain().layer
    assert (made.output_size, made.input_size, made.num_directions) == (layer.output_size, 3, 2)
