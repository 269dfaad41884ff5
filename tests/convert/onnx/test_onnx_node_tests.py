"""Tests nobody here wrote: every LSTM, GRU and RNN node test of the onnx package, through our importer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatestack.convert import read_onnx

onnx = pytest.importorskip("onnx")


def node_tests() -> dict[str, Any]:
    """Give the tests of the three operators; importing the files that define them collects them."""
    from onnx.backend.test.case import node
    from onnx.backend.test.case.node import gru, lstm, rnn

    assert lstm.LSTM
    assert gru.GRU
    assert rnn.RNN
    names = ("LSTM", "GRU", "RNN")
    return {
        case.name: case
        for case in node._NodeTestCases
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in names
    }


CASES = node_tests()


def test_the_package_has_the_tests_that_are_run() -> None:
    """Count them in another way: the exports of the classes that define them."""
    from onnx.backend.test.case.node import gru, lstm, rnn

    exports = [
        name
        for case in (lstm.LSTM, gru.GRU, rnn.RNN)
        for name, value in vars(case).items()
        if name.startswith("export") and isinstance(value, staticmethod)
    ]
    assert len(CASES) == len(exports) >= 18
    operators = {case.model.graph.node[0].op_type for case in CASES.values()}
    assert operators == {"LSTM", "GRU", "RNN"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_package_knows_no_others() -> None:
    """Let the package collect all its node tests, of every operator."""
    from onnx.backend.test.case.node import collect_testcases

    every = {case.name for name in ("LSTM", "GRU", "RNN") for case in collect_testcases(name)}
    assert every == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_node_test_of_onnx(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    node = model.graph.node[0]
    weights = {node.input[place] for place in (1, 2, 3, 7) if len(node.input) > place} - {""}
    for number, (inputs, outputs) in enumerate(case.data_sets):
        # The tests give weights at run time; a file of a model has them inside.
        given = dict(zip((value.name for value in case.model.graph.input), inputs, strict=True))
        del model.graph.initializer[:]
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(given[key]), key) for key in weights
        )
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(model.SerializeToString())
        network = read_onnx(path)
        assert network.parameter_count > 0
        found = network.predict(*[given[port.name] for port in network.inputs])
        found = found if isinstance(found, tuple) else (found,)
        assert len(found) == len(outputs)
        for ours, theirs in zip(found, outputs, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=max(case.atol, 1e-6))
