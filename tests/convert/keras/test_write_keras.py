"""Files that we write load in Keras and give the same predictions; what Keras has not is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from model_cases import CASES, draw_inputs, randomise
from test_artifacts import KEPT, MAKE, numbered, peer, proof_of

from gatestack.convert.keras import read_keras, write_keras
from gatestack.convert.layers import (
    Activation,
    ActivationOptions,
    Dense,
    DenseOptions,
    RecurrentLayer,
    RecurrentOptions,
    Take,
    TakeOptions,
)
from gatestack.convert.network import Network
from gatestack.convert.ports import Node, Port
from gatestack.errors import ArgumentError

# Encoders hand states to decoders on masked steps there, of which Keras 3 takes no notice.
WRITTEN = ["words", "gru_options", "simple_rnn_options", "bidirectional_options", "bidirectional_parts",
           "conv_lstm_options", "conv_lstm_other_ranks", "shapes_and_sums", "functions", "float64",
           "lstm_options", "stateful", "convolutions", "images", "attention", "nested", "cells",
           "masks"]  # fmt: skip


def listed(found: Any) -> list[np.ndarray]:
    many = found if isinstance(found, list | tuple) else [found]
    return [one.detach().numpy() if hasattr(one, "detach") else np.asarray(one) for one in many]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Keras
@pytest.mark.parametrize("name", WRITTEN)
def test_keras_loads_what_we_write(name: str, tmp_path: Path) -> None:
    model = CASES[name](keras)
    randomise(model)
    inputs = draw_inputs(model)
    model.save(tmp_path / "theirs.keras")
    network = read_keras(tmp_path / "theirs.keras")
    write_keras(network, tmp_path / "ours.keras", batch_size=3 if name == "stateful" else None)
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    expected = listed(network.predict(*inputs))
    found = listed(loaded(inputs if len(inputs) > 1 else inputs[0], training=False))
    assert len(found) == len(expected)
    for theirs, ours in zip(found, expected, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
    write_keras(
        read_keras(tmp_path / "ours.keras"),
        tmp_path / "again.keras",
        batch_size=3 if name == "stateful" else None,
    )
    assert (tmp_path / "again.keras").read_bytes() == (tmp_path / "ours.keras").read_bytes()


def network_of(layer: Any, shape: tuple[int | None, ...]) -> Network:
    return Network([Port("x", shape)], [Node("one", layer, ("x",))], ["one"])


def recurrent(**options: Any) -> RecurrentLayer:
    return RecurrentLayer(RecurrentOptions(**{"cell": "lstm", "input_size": 3, "hidden_size": 2, **options}))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (recurrent(projection_size=1), "projection"),
        (recurrent(peepholes=True), "peepholes"),
        (recurrent(takes_lengths=True), "lengths"),
        (recurrent(gate_activation="hard_sigmoid_2"), "hard_sigmoid_2"),
        (recurrent(reversed=True, reversed_output="time"), "order of time"),
        (recurrent(stateful=True), "batch_size"),
        (Take(TakeOptions(axis=1)), "no layer for a 'take'"),
        (Activation(ActivationOptions(function="erf")), "'erf'"),
    ],
)
def test_what_keras_has_not_is_refused_with_its_node(layer: Any, reason: str, tmp_path: Path) -> None:
    inputs = ("x", "x") if layer.kind == "recurrent" and layer.options.takes_lengths else ("x",)
    network = Network([Port("x", (None, 3))], [Node("one", layer, inputs)], ["one"])
    with pytest.raises(ArgumentError, match=f"node 'one'.*{reason}"):
        write_keras(network, tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    network = network_of(Dense(DenseOptions(units=1, input_size=3)), (3,))
    path = tmp_path / "m.keras"
    write_keras(network, path)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="exists already"):
        write_keras(network, path)
    assert path.read_bytes() == before
    write_keras(network, path, overwrite=True)
    with pytest.raises(ArgumentError, match=r"ends with \.keras"):
        write_keras(network, tmp_path / "m.h5")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_tensorflow_loads_what_we_write(tmp_path: Path) -> None:
    subprocess.run([str(peer("keras")), str(MAKE), str(tmp_path), "keras"], check=True)
    for name in (*WRITTEN, "averages"):
        path = tmp_path / f"keras_{name}.keras"
        network = read_keras(path)
        write_keras(network, path, batch_size=3 if name == "stateful" else None, overwrite=True)
    program = (
        "import os, sys\n"
        "os.environ['KERAS_BACKEND'] = 'tensorflow'\n"
        "import numpy as np, keras\n"
        "worst = 0.0\n"
        "for name in sys.argv[2:]:\n"
        "    model = keras.models.load_model(f'{sys.argv[1]}/keras_{name}.keras')\n"
        "    with np.load(f'{sys.argv[1]}/keras_{name}.npz') as proof:\n"
        "        inputs = [proof[key] for key in proof if key.startswith('in')]\n"
        "        found = model(inputs if len(inputs) > 1 else inputs[0], training=False)\n"
        "        found = found if isinstance(found, (list, tuple)) else [found]\n"
        "        for number, one in enumerate(found):\n"
        "            worst = max(worst, float(np.abs(np.asarray(one) - proof[f'out{number}']).max()))\n"
        "print(worst)\n"
    )
    done = subprocess.run(
        [str(peer("keras")), "-c", program, str(tmp_path), *WRITTEN, "averages"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.split()[-1]) < 1e-5


def test_the_proofs_are_used() -> None:
    assert numbered(proof_of(KEPT / "keras_words.keras"), "out")
