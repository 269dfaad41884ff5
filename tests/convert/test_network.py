"""The hub: networks compute, train, copy, come back from a folder as they were; bad folders are refused."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import WORDS, bidirectional, recurrent, tagger

import gatestack as gs
from gatestack.convert import Network, Node, Port
from gatestack.convert.examples import draw_examples
from gatestack.convert.layers import (
    Combine,
    CombineOptions,
    Constant,
    ConstantOptions,
    Dense,
    DenseOptions,
    Flatten,
    FlattenOptions,
    NetworkLayer,
    Reshape,
    ReshapeOptions,
    Signal,
    layer_from_data,
)
from gatestack.convert.network_folder import proof_difference
from gatestack.errors import ArgumentError, ModelFileError
from gatestack.runtime import read_model_folder, write_model_folder


def same(first: Any, second: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def dense(units: int = 2, input_size: int = 3) -> Dense:
    return Dense(DenseOptions(units=units, input_size=input_size))


def test_a_row_does_not_see_the_padding_of_its_batch() -> None:
    network = tagger().double()
    out, state = network.predict(WORDS)
    assert (out.shape, state.shape) == ((4, 2), (4, 5))
    for row, length in enumerate([4, 2, 5]):
        alone, alone_state = network.predict(WORDS[row : row + 1, :length])
        np.testing.assert_allclose(alone, out[row : row + 1], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(alone_state, state[row : row + 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))], ids=["copy", "pickle"]
)
def test_a_copy_gives_the_same_and_is_its_own(again: Callable[[Network], Network]) -> None:
    network = tagger()
    before = network.predict(WORDS)
    other = again(network)
    assert same(other.predict(WORDS), before)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert same(network.predict(WORDS), before)
    assert not other.predict(WORDS)[0].any()


def test_it_trains_in_torch() -> None:
    network = tagger().train()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    words = torch.as_tensor(WORDS)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        out, state = network(words)
        loss = (out - 1).square().mean() + state.square().mean()
        loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_folder_gives_back_the_same_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    network = tagger().to(dtype)
    assert network.save(tmp_path / "model") == tmp_path / "model"
    for read in (Network.load(tmp_path / "model"), gs.load(tmp_path / "model")):
        assert isinstance(read, Network)
        assert read.dtype == dtype
        assert not read.training
        assert same(read.predict(WORDS), network.predict(WORDS))
        assert read.to_data()[0] == network.to_data()[0]
        assert read.parameter_count == network.parameter_count > 0


def test_weights_stay_shared() -> None:
    layer = dense(3, 3)
    network = Network([Port("x", (3,))], [Node("a", layer, ("x",)), Node("b", layer, ("a",))], ["b"])
    model, weights = network.to_data()
    assert [entry.get("shares") for entry in model["nodes"]] == [None, "a"]
    assert set(weights) == {"a/linear.weight", "a/linear.bias"}
    again = Network.from_data(model, weights)
    assert again.nodes[0].layer is again.nodes[1].layer
    assert again.parameter_count == 12


def test_an_example_proves_what_drawn_inputs_cannot(tmp_path: Path) -> None:
    halves = Reshape(ReshapeOptions(shape=(0, 2, 29)))
    network = Network([Port("x", (None,))], [Node("halves", halves, ("x",))], ["halves"])
    with pytest.raises(ArgumentError, match="example="):
        network.save(tmp_path / "model")
    network.save(tmp_path / "model", example=[np.ones((1, 58), np.float32)])
    assert Network.load(tmp_path / "model").predict(np.ones((2, 58))).shape == (2, 2, 29)


def test_outputs_are_called_by_number_and_names_may_hold_colons() -> None:
    layer = recurrent(return_state=True)
    nodes = [Node("a:b", layer, ("x",)), Node("d", dense(2, 4), ("a:b:2",))]
    network = Network([Port("x", (None, 3))], nodes, ["d", "a:b", "a:b:1"])
    d, y, h = network(torch.ones(2, 5, 3))
    assert (d.shape, y.shape, h.shape) == ((2, 2), (2, 5, 4), (2, 4))
    assert torch.equal(y[:, -1], h)


def test_a_stateful_network_goes_on_until_it_forgets() -> None:
    layer = recurrent("gru", stateful=True)
    network = Network([Port("x", (None, 3))], [Node("r", layer, ("x",))], ["r"]).double()
    x = np.random.default_rng(0).standard_normal((2, 8, 3))
    whole = network.predict(x)
    network.reset_state()
    parts = np.concatenate([network.predict(x[:, :3]), network.predict(x[:, 3:])], axis=1)
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-12)
    assert not np.allclose(network.predict(x), whole)
    with pytest.raises(ArgumentError, match=r"node 'r'.*x has 1 rows.*kept from the last call has 2"):
        network.predict(x[:1])


def test_a_returned_state_may_be_changed_in_place() -> None:
    layer = recurrent("gru", stateful=True, return_state=True)
    network = Network([Port("x", (None, 3))], [Node("r", layer, ("x",))], ["r", "r:1"])
    x = np.ones((2, 5, 3), np.float32)
    _, state = network.predict(x)
    undisturbed = network.predict(x)[0]
    network.reset_state()
    network.predict(x)[1][:] = 7
    assert np.array_equal(network.predict(x)[0], undisturbed)
    assert state.shape == (2, 4)


@pytest.mark.parametrize(
    ("nodes", "outputs", "said"),
    [
        ([Node("a", dense(), ("y",))], ["a"], "node 'a': there is no 'y' above it"),
        (
            [Node("a", dense(), ("b",)), Node("b", dense(), ("x",))],
            ["a"],
            "node 'a': there is no 'b' above it",
        ),
        ([Node("x", dense(), ("x",))], ["x"], "the name 'x' — expected one that nothing else has"),
        ([Node("a", dense(), ("x", "x"))], ["a"], "node 'a': 2 inputs — expected 1"),
        ([Node("a", dense(), ("x",))], ["a:1"], "outputs: the input 'a:1' — expected one of 1 outputs"),
        ([Node("a", dense(), ("x",))], [], "1 inputs and 0 outputs — expected one of each or more"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(nodes: list[Node], outputs: list[str], said: str) -> None:
    with pytest.raises(ArgumentError) as error:
        Network([Port("x", (3,))], nodes, outputs)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(2, 4, 5), "input 'x': it has shape (2, 4, 5) — expected (batch, any, 3)"),
        (torch.zeros(2, 3), "input 'x': it has shape (2, 3) — expected (batch, any, 3)"),
        ([1.0], "input 'x': it is of type list — expected a torch.Tensor"),
    ],
)
def test_an_input_that_does_not_fit_names_its_axes(value: Any, said: str) -> None:
    network = Network([Port("x", (None, 3))], [Node("r", recurrent(), ("x",))], ["r"])
    with pytest.raises(ArgumentError) as error:
        network(value)
    assert said in str(error.value)


def test_a_layer_that_does_not_fit_names_its_node() -> None:
    network = Network(
        [Port("x", (None,))],
        [Node("flat", Flatten(FlattenOptions()), ("x",)), Node("out", dense(), ("flat",))],
        ["out"],
    )
    with pytest.raises(ArgumentError, match=r"node 'out', dense layer: x has shape \(2, 5\)"):
        network(torch.zeros(2, 5))
    with pytest.raises(ArgumentError, match=r"2 inputs — expected 1: x \(batch, any\) float32"):
        network(torch.zeros(2, 3), torch.zeros(2, 3))


def test_whole_numbers_come_as_whole_floats_or_not_at_all() -> None:
    network = tagger()
    assert same(network.predict(WORDS.astype(np.float32)), network.predict(WORDS))
    with pytest.raises(ArgumentError, match="input 'words': it holds numbers that are not whole"):
        network.predict(WORDS + 0.5)
    with pytest.raises(
        ArgumentError, match=r"node 'embedding'.*x holds 9 — expected whole numbers from 0 to 8"
    ):
        network.predict(WORDS + 1)


def mistakes() -> list[Any]:
    """Changes to the model.json of `tagger`, and what must be said about each."""

    def at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
        *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]

        def change(model: dict[str, Any]) -> None:
            place: Any = model
            for part in way:
                place = place[part]
            place[last] = value

        return change

    gru = "nodes[2] 'last'"
    return [
        ("an unknown kind", at("nodes.2.kind", "lambda"), [gru, "no layer of the kind 'lambda'"]),
        ("a kind like ours", at("nodes.3.kind", "dens"), ["nodes[3]", "did you mean 'dense'?"]),
        ("an unknown option", at("nodes.2.options.code", "import os"), [gru, "no option 'code'"]),
        ("an option of another type", at("nodes.2.options.hidden_size", "6"), [gru, "hidden_size is '6'"]),
        ("a negative size", at("nodes.2.options.hidden_size", -6), [gru, "hidden_size is '-6'"]),
        (
            "another size",
            at("nodes.2.options.hidden_size", 7),
            ["last/", "shape (18, 10)", "expected (21, 10)"],
        ),
        (
            "a size that takes all memory",
            at("nodes.3.options.units", 2**31 - 1),
            ["out/", "expected (2147483647"],
        ),
        ("sizes that overflow", at("nodes.2.options.input_size", 2**31 - 1), ["last/core.weight_ih_l0"]),
        ("an unknown cell", at("nodes.2.options.cell", "xlstm"), [gru, "cell is 'xlstm'"]),
        ("a number for a node", at("nodes.1", 3), ["nodes.1"]),
        ("no options", at("nodes.3.options", None), ["nodes[3] 'out'", "no kind or no options"]),
        ("a name twice", at("nodes.3.name", "last"), ["nodes[3] 'last'", "twice"]),
        ("a circle", at("nodes.1.inputs", ["out"]), ["node 'both'", "there is no 'out' above it"]),
        ("an input that is not there", at("nodes.1.inputs", ["x"]), ["node 'both'", "there is no 'x'"]),
        ("an output that is not there", at("outputs", ["out:4"]), ["outputs", "'out:4'"]),
        (
            "a share of nothing",
            at("nodes.3", {"name": "o", "inputs": ["last"], "shares": "x"}),
            ["shares 'x'"],
        ),
        ("a negative axis", at("inputs.0.shape", [-1]), ["inputs.0.shape.0"]),
        ("another dtype", at("inputs.0.dtype", "object"), ["inputs.0.dtype"]),
        ("an unknown field", at("hook", "x"), ["hook"]),
        ("no nodes", at("nodes", []), ["no layer has the weight"]),
    ]


@pytest.mark.parametrize(("name", "change", "said"), mistakes(), ids=[name for name, *_ in mistakes()])
def test_a_bad_model_json_is_refused(
    tmp_path: Path, name: str, change: Callable[[dict[str, Any]], None], said: list[str]
) -> None:
    network = tagger()
    model, weights = network.to_data()
    model = json.loads(json.dumps(model))
    change(model)
    write_model_folder(
        tmp_path / "model", model={"kind": "network", "network": model}, weights=weights, proof={}
    )
    with pytest.raises(ModelFileError) as error:
        gs.load(tmp_path / "model")
    for part in [str(tmp_path / "model"), *said]:
        assert part in str(error.value), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop("out/linear.bias"), "'out/linear.bias' is missing"),
        (lambda weights: weights.update(more=np.ones(2)), "no layer has the weight 'more'"),
        (lambda weights: weights.update({"out/linear.bias": np.ones(2)}), "weights of float32 and float64"),
        (lambda weights: weights.update({"out/linear.bias": np.ones(2, int)}), "has dtype int64"),
    ],
)
def test_bad_weights_are_refused(change: Callable[[dict[str, Any]], None], said: str) -> None:
    model, weights = tagger().to_data()
    change(weights)
    with pytest.raises(ModelFileError, match=said):
        Network.from_data(model, weights)


def test_a_changed_weight_contradicts_the_proof(tmp_path: Path) -> None:
    network = tagger()
    network.save(tmp_path / "model")
    folder = read_model_folder(tmp_path / "model")
    assert proof_difference(network, folder.proof, where="") == 0
    folder.weights["last/core.weight_hh_l0"][3, 2] += 0.5
    write_model_folder(tmp_path / "other", model=folder.model, weights=folder.weights, proof=folder.proof)
    with pytest.raises(ModelFileError, match="differ from its proof by"):
        gs.load(tmp_path / "other")
    proofs: list[dict[str, Any]] = [
        {},
        folder.proof | {"more": np.ones(1)},
        folder.proof | {"input.0": np.ones((1, 2, 3))},
    ]
    for number, proof in enumerate(proofs):
        path = tmp_path / str(number)
        write_model_folder(path, model=folder.model, weights=network.to_data()[1], proof=proof)
        with pytest.raises(ModelFileError, match=r"proof\.safetensors"):
            gs.load(path)


def test_only_a_network_is_loaded_as_one(tmp_path: Path) -> None:
    write_model_folder(tmp_path / "m", model={"kind": "forecaster"}, weights={}, proof={})
    with pytest.raises(ModelFileError, match="of the kind 'forecaster'"):
        Network.load(tmp_path / "m")


def test_every_kind_of_layer_comes_back_from_its_data() -> None:
    samples: list[NetworkLayer] = [
        recurrent(reversed=True, masked_output="hold"),
        bidirectional("gru", "average"),
        Combine(CombineOptions(operation="add")),
        Constant(ConstantOptions(shape=(2, 3), trainable=True)),
    ]
    for layer in samples:
        again = layer_from_data(**json.loads(json.dumps(layer.to_data())))
        assert type(again) is type(layer)
        assert again.options == layer.options
        assert {n: t.shape for n, t in again.state_dict().items()} == {
            n: t.shape for n, t in layer.state_dict().items()
        }


def test_drawn_inputs_fit_and_have_rows_that_end() -> None:
    (words,) = draw_examples(tagger())
    assert words.min() == 0
    assert words.max() < 9
    assert (words[1::2, -1] == 0).all()


def test_signals_carry_masks_from_outside() -> None:
    network = Network([Port("x", (None, 3))], [Node("r", recurrent(), ("x",))], ["r"])
    x, mask = torch.ones(1, 3, 3), torch.tensor([[True, False, True]])
    (found,) = network.run([Signal(x, mask)])
    assert found.mask is mask
    assert not found.value[0, 1].any()
    assert found.value[0, 2].any()
