"""Every kind of imported network offers itself: Keras files, modules of torch, ONNX graphs, by a table."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inspected import close

from gatestack.convert import Network, Node, Port, export_onnx, from_torch, read_keras, read_onnx
from gatestack.convert.layers import (
    BidirectionalLayer,
    BidirectionalOptions,
    Dense,
    DenseOptions,
    RecurrentOptions,
)
from gatestack.errors import ArgumentError

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts" / "keras"

# File → what its layers over time are, in the order in which they run; both directions of one layer count.
KERAS: dict[str, list[str]] = {
    "keras_attention.h5": ["gru", "lstm", "gru", "lstm"],
    "keras_bfloat16.h5": ["lstm"] * 2,
    "keras_bidirectional_options.h5": [
        *["lstm"] * 2,
        *["gru"] * 2,
        *["rnn_tanh"] * 2,
        *["lstm"] * 2,
        *["gru"] * 2,
    ],
    "keras_cells.keras": ["lstm", "gru_reset_before", "rnn_tanh", "gru", "lstm", "lstm", *["rnn_tanh"] * 2],
    "keras_conv_lstm_options.keras": ["conv_lstm"] * 3,
    "keras_convolutions.h5": ["lstm"],
    "keras_gru_options.h5": ["gru", *["gru_reset_before"] * 3, "gru"],
    "keras_images.h5": [*["conv_lstm"] * 3, "gru", *["conv_lstm"] * 2, "lstm"],
    "keras_lstm_options.keras": ["lstm"] * 6,
    "keras_masks.h5": [*["lstm"] * 4, *["gru"] * 3, "lstm"],
    "keras_nested.h5": ["lstm", "lstm", "gru", "lstm"],
    "keras_simple_rnn_options.h5": ["rnn_tanh", "rnn_relu", "rnn_softplus"],
    "keras_stateful.h5": ["lstm", "gru"],
    "keras_told_masks.keras": ["gru", "lstm"],
    "keras_words.keras": ["lstm", "gru"],
    "old_keras_gru_options.keras": ["gru", *["gru_reset_before"] * 3, "gru"],
    "tf_keras_bidirectional_parts.h5": ["lstm"] * 6,
    "tf_keras_cells.h5": ["lstm", "gru_reset_before", "rnn_tanh", "gru", "lstm", "lstm", *["rnn_tanh"] * 2],
    "tf_keras_conv_lstm_options.h5": ["conv_lstm"] * 3,
    "tf_keras_lstm_options.keras": ["lstm"] * 6,
    "tf_keras_masks.h5": [*["lstm"] * 4, *["gru"] * 3, "lstm"],
    "tf_keras_nested.keras": ["lstm", "lstm", "gru", "lstm"],
    "tf_keras_told_masks.h5": ["gru", "lstm"],
}
# File → why it cannot be looked into.
REFUSED = {
    "keras_averages.keras": "no layer to look into",
    "keras_functions.h5": "without time",
    "keras_shapes_and_sums.h5": "no layer to look into",
}
# The others differ in what they are written with alone.
QUICK = (
    "keras_cells.keras",
    "keras_images.h5",
    "keras_stateful.h5",
    "keras_told_masks.keras",
)


def inputs_of(network: Network, rows: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    arrays = {}
    for port in network.inputs:
        shape = (rows, *[6 if size is None else size for size in port.shape])
        words = port.dtype == "int64"
        arrays[port.name] = random.integers(0, 4, shape) if words else random.normal(size=shape)
    return arrays


def test_the_table_names_every_file_of_keras() -> None:
    files = {path.name for path in ARTIFACTS.iterdir() if path.suffix in (".h5", ".keras")}
    assert files - {"keras_words.weights.h5"} == set(KERAS) | set(REFUSED)


@pytest.mark.parametrize(
    "file", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KERAS]
)
def test_networks_from_keras_are_looked_into(file: str) -> None:
    """With words and images, kept states, layers that read backwards, masks, and other functions."""
    network = read_keras(ARTIFACTS / file)
    inputs = inputs_of(network)
    before = network.predict(*inputs.values())
    found = network.inspect(inputs)
    layers = found.tables["layers"]
    assert layers["cell"].to_list() == KERAS[file]
    assert layers["difference"].max() < 1e-12
    assert not any("not opened" in note for note in found.notes)
    assert {"gates", "time_scales", "gradient_flow", "attributions", "occlusion"} <= set(found.tables)
    assert (f", of {len(network.outputs)}" in found.words["answer"]) == (len(network.outputs) > 1)
    network.reset_state()
    after = network.predict(*inputs.values())
    for one, other in zip(listed(before), listed(after), strict=True):
        np.testing.assert_array_equal(one, other)


def listed(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("file", REFUSED)
def test_networks_without_time_or_states_say_so(file: str) -> None:
    network = read_keras(ARTIFACTS / file)
    with pytest.raises(ArgumentError, match=REFUSED[file]):
        network.inspect(inputs_of(network))


def torch_model(cell: type[torch.nn.RNNBase], **options: object) -> torch.nn.Module:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.rnn = cell(3, 5, num_layers=2, batch_first=True, **options)
            self.head = torch.nn.Linear(
                10 if options.get("bidirectional") else options.get("proj_size", 5), 4
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0][:, -1])

    return Model().eval()


MODULES: dict[str, tuple[type[torch.nn.RNNBase], dict[str, object], list[str]]] = {
    "lstm": (torch.nn.LSTM, {}, ["lstm"] * 2),
    "both ways": (torch.nn.LSTM, {"bidirectional": True}, ["lstm"] * 4),
    "projection": (torch.nn.LSTM, {"proj_size": 4}, ["lstm"] * 2),
    "gru": (torch.nn.GRU, {}, ["gru"] * 2),
    "rnn": (torch.nn.RNN, {"nonlinearity": "relu"}, ["rnn_relu"] * 2),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch, of its own layer
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("by", ["torch", "onnx"])
def test_a_network_from_torch_or_onnx_is_looked_into(name: str, by: str, tmp_path: Path) -> None:
    cell, options, cells = MODULES[name]
    model = torch_model(cell, **options)
    random = np.random.default_rng(0)
    x = random.normal(size=(12, 7, 3)).astype(np.float32)
    network = from_torch(model, [Port("x", (None, 3))])
    if by == "onnx":
        export_onnx(network, tmp_path / "model.onnx")
        network = read_onnx(tmp_path / "model.onnx")
    classes = np.tile(np.arange(4), 3)
    found = network.inspect(x, classes)
    assert found.words["loss"] == "cross-entropy of logits", "the outputs are no probabilities"
    assert found.tables["layers"]["cell"].to_list() == cells
    assert found.tables["layers"]["layer"].n_unique() == 2
    assert found.tables["layers"]["difference"].max() < 1e-12
    model = copy.deepcopy(model).double()
    with torch.no_grad():
        logits = model(torch.from_numpy(x).double())
        output, _ = model.rnn(torch.from_numpy(x).double())
    wanted = torch.nn.functional.cross_entropy(logits, torch.from_numpy(classes))
    close(found.tables["layer_worth"]["loss"][0], wanted, 1e-6)
    if name == "projection":
        return
    # The hidden states are those of torch.
    top = found.tables["gates"].filter(layer=2, sequence="sequence 0")
    shown = np.concatenate(
        [
            top.filter(direction=direction)["hidden"].to_numpy().reshape(7, 5)
            for direction in top["direction"].unique(maintain_order=True)
        ],
        axis=1,
    )
    close(shown, output[0], 1e-6)


def test_a_bidirectional_layer_of_a_network_runs_apart_while_it_is_looked_into() -> None:
    one = RecurrentOptions(cell="lstm", input_size=3, hidden_size=4, return_sequences=False)
    both = BidirectionalLayer(
        BidirectionalOptions(forward=one, backward=one.model_copy(update={"reversed": True}))
    )
    network = Network(
        [Port("x", (None, 3))],
        [Node("both", both, ("x",)), Node("out", Dense(DenseOptions(units=1, input_size=8)), ("both",))],
        ["out"],
    ).eval()
    x = np.random.default_rng(0).normal(size=(6, 6, 3))
    found = network.inspect(x, np.zeros(6))
    assert found.tables["layers"]["direction"].to_list() == ["forward", "reverse"]
    close(found.tables["layer_worth"]["loss"][0], (network.predict(x) ** 2).mean(), 1e-5)
    assert both._together


def test_the_output_and_the_input_to_look_at_are_chosen_by_name() -> None:
    network = read_keras(ARTIFACTS / "keras_cells.keras")
    x = inputs_of(network)["input_layer"]
    answers = network.predict(x)
    second = network.outputs[1]
    found = network.inspect(x, answers[1], output=second)
    assert found.tables["layer_worth"]["loss"][0] < 1e-10, "scored against what this output says"
    assert network.inspect(x, answers[1] + 1, output=second).tables["layer_worth"]["loss"][0] > 0.9
    assert repr(second) in found.words["answer"]
    with pytest.raises(ArgumentError, match="no output 'gates'"):
        network.inspect(x, output="gates")

    network = read_keras(ARTIFACTS / "keras_nested.h5")
    both = inputs_of(network)
    one = network.inspect(both)
    other = network.inspect({"two": both["two"], "one": both["one"]})
    close(one.tables["gates"]["hidden"], other.tables["gates"]["hidden"])
    for found, name in ((one, "one"), (other, "two")):
        inputs = found.tables["attributions"].filter(sequence="sequence 0")["input"]
        close(inputs.to_numpy().reshape(6, 4), both[name][0])
    with pytest.raises(ArgumentError, match="an array for each"):
        network.inspect(both["one"])
    with pytest.raises(ArgumentError, match="no array for two"):
        network.inspect({"one": both["one"]})
    with pytest.raises(ArgumentError, match="no input 'three'"):
        network.inspect({**both, "three": both["one"]})
    with pytest.raises(ArgumentError, match="4 rows of 'two'"):
        network.inspect({"one": both["one"], "two": both["two"][:4]})


def test_words_are_looked_at_as_their_vectors() -> None:
    network = read_keras(ARTIFACTS / "keras_words.keras")
    words = np.array([[1, 2, 3, 0, 0, 0], [3, 1, 2, 2, 1, 0], [2, 2, 1, 3, 1, 2]])
    found = network.inspect(words)
    vectors = network.nodes[0].layer.table.weight.detach().double()
    inputs = found.tables["attributions"].filter(sequence="sequence 0")
    assert inputs["step"].to_list() == [0, 1, 2], "the zeros fill up, and are no steps"
    close(inputs["input"], vectors[words[0, :3]].sum(dim=1), 1e-6)
    assert found.tables["occlusion"]["feature"].drop_nulls().unique().to_list() == ["vector of the word"]
    assert found.tables["time_scales"].filter(layer=1)["change_steps"].null_count() < 3


def test_shares_that_add_up_to_one_are_explained_by_the_largest() -> None:
    class Shares(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.rnn = torch.nn.GRU(3, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.rnn(x)[0][:, -1], dim=1)

    model = Shares().eval()
    network = from_torch(model, [Port("x", (None, 3))])
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    found = network.inspect(x)
    assert found.words["answer"] == "largest output"
    mean = torch.from_numpy(x).double().flatten(0, 1).mean(dim=0).expand(6, 5, 3)
    with torch.no_grad():
        model.double()
        said, plain = model(torch.from_numpy(x).double()), model(mean)
    largest = said.argmax(dim=1, keepdim=True)
    close(
        found.tables["completeness"]["change"],
        (said.gather(1, largest) - plain.gather(1, largest))[:, 0],
        1e-6,
    )


def test_networks_refuse_what_does_not_fit() -> None:
    network = from_torch(torch_model(torch.nn.LSTM), [Port("x", (None, 3))])
    x = np.zeros((5, 7, 3))
    with pytest.raises(ArgumentError, match="targets"):
        network.inspect(x, np.zeros(4))
    with pytest.raises(ArgumentError, match="the target has shape"):
        network.inspect(x, np.zeros((5, 3)))
    with pytest.raises(ArgumentError, match="loss"):
        network.inspect(x, np.zeros(5), loss="cross-entropy")
    with pytest.raises(ArgumentError, match="loss"):
        network.inspect(x, loss="hinge")
    x[3, 4, 1] = np.nan
    with pytest.raises(ArgumentError, match=r"'x' holds nan at \[3, 4, 1\]"):
        network.inspect(x)
    x[3, 4, 1] = 0
    with pytest.raises(ArgumentError, match="classes from 0 to 3"):
        network.inspect(x, np.full(5, 4))
    for wrong in (np.float64(3), np.array(["a", "b"])):
        with pytest.raises(ArgumentError, match="numbers, a row for each sequence"):
            network.inspect(wrong)
    late = from_torch(torch_model(torch.nn.GRU), [Port("x", (None, 3))])
    late.inputs = (Port("x", (None, 3), batch_axis=1),)
    with pytest.raises(ArgumentError, match="the batch first"):
        late.inspect(x)
