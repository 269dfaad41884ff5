"""A consistent network folder whose options ask for enormous memory is refused before it takes any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import recurrent, tagger

import gatestack as gs
from gatestack.convert import Network, Node, Port
from gatestack.convert.answers import answers_of
from gatestack.convert.budget import Budget
from gatestack.convert.examples import draw_examples
from gatestack.convert.layers import (
    Combine,
    CombineOptions,
    Concatenate,
    ConcatenateOptions,
    Operator,
    OperatorOptions,
    Permute,
    PermuteOptions,
    Repeat,
    RepeatOptions,
)
from gatestack.errors import ArgumentError, ModelFileError
from gatestack.runtime.model_folder import write_model_folder


def repeated() -> Network:
    """A vector at two billion steps, which a layer then reads."""
    nodes = [
        Node("repeat", Repeat(RepeatOptions(times=2**31 - 1)), ("x",)),
        Node("lstm", recurrent(return_sequences=False), ("repeat",)),
    ]
    return Network([Port("x", (3,))], nodes, ["lstm"])


def doubled() -> Network:
    """Side by side with itself, sixty times."""
    nodes = []
    before = "x"
    for number in range(60):
        nodes.append(Node(f"n{number}", Concatenate(ConcatenateOptions(axis=1)), (before, before)))
        before = f"n{number}"
    return Network([Port("x", (None,))], nodes, [before])


def crossed() -> Network:
    """The product of a column and a row, and of what comes out."""
    nodes = []
    before = "x"
    for number in range(3):
        turn = Permute(PermuteOptions(axes=(1, 0)))
        product = Combine(CombineOptions(operation="matrix_product"))
        nodes += [Node(f"t{number}", turn, (before,)), Node(f"p{number}", product, (f"t{number}", before))]
        before = f"p{number}"
    return Network([Port("x", (None,))], nodes, [before])


def tiled() -> Network:
    """A number that an operator reads as a size."""
    nodes = [
        Node("sum", Operator(OperatorOptions(operator="ReduceSum")), ("x",)),
        Node("whole", Operator(OperatorOptions(operator="Cast", attributes={"to": 7})), ("sum",)),
        Node("flat", Operator(OperatorOptions(operator="Flatten", attributes={"axis": 0})), ("whole",)),
        Node("y", Operator(OperatorOptions(operator="ConstantOfShape")), ("flat",)),
        Node("z", Combine(CombineOptions(operation="add")), ("y", "x")),
    ]
    return Network([Port("x", (None,))], nodes, ["z"])


HOSTILE = {
    "repeated": (repeated, np.ones((1, 3), np.float32)),
    "doubled": (doubled, np.ones((1, 2), np.float32)),
    "crossed": (crossed, np.ones((1, 60_000), np.float32)),
    "tiled": (tiled, np.full((1, 1), 2e9, np.float32)),
}


def peak_bytes() -> int:
    resource = pytest.importorskip("resource")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder_that_asks_for_enormous_memory_is_refused(name: str, tmp_path: Path) -> None:
    make, x = HOSTILE[name]
    model, weights = make().to_data()
    write_model_folder(
        tmp_path / "model",
        model={"kind": "network", "network": model},
        weights=weights,
        proof={"input.0": x, "output.0": np.ones(1, np.float32)},
    )
    before = peak_bytes()
    with pytest.raises(
        ModelFileError, match=r"proof\.safetensors: the network cannot be computed on it"
    ) as error:
        gs.load(tmp_path / "model")
    assert "bytes of numbers" in str(error.value) or "elements" in str(error.value)
    assert peak_bytes() - before < 2**30 + 2**28


def test_inputs_are_drawn_within_the_same_bounds() -> None:
    with pytest.raises(ArgumentError, match="it would make"):
        draw_examples(repeated())


def test_within_the_bounds_nothing_changes() -> None:
    network = tagger()
    (words,) = draw_examples(network)
    expected = network.predict(words)
    for ours, theirs in zip(answers_of(network, [words]), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_made_counts_and_views_do_not() -> None:
    x = torch.ones(1000)
    with Budget(10_000) as budget:
        x.view(10, 100).T.expand(5, 100, 10)
        assert budget.made_bytes == 0
        x.clone()
        x + x
        assert budget.made_bytes == 8000
        with pytest.raises(ArgumentError, match="it would make 12000 bytes"):
            x.clone()
