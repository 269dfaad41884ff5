"""Files made to harm are refused with file, layer and reason; nothing runs, and no memory is taken."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gatestack.convert.keras import read_keras, read_keras_weights
from gatestack.convert.layers import Dense, DenseOptions
from gatestack.convert.network import Network
from gatestack.convert.ports import Node, Port
from gatestack.errors import ModelFileError, StorageError


def layer(kind: str = "Dense", **config: Any) -> dict[str, Any]:
    own = {"units": 2, "activation": "linear"} if kind == "Dense" else {}
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": "odd", **own, **config},
        "registered_name": None,
    }


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    first = layer("InputLayer", name="x", batch_shape=[None, 3], dtype="float32")
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [first, *layers]},
    }


Weights = Callable[[h5py.File], None]


def sound(file: h5py.File) -> None:
    file["layers/dense/vars/0"] = np.zeros((3, 2), "f4")
    file["layers/dense/vars/1"] = np.zeros(2, "f4")


def write(path: Path, config: Any, weights: Weights = sound, **more: bytes) -> Path:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        weights(file)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        archive.writestr("model.weights.h5", stream.getvalue())
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def refused(path: Path, reason: str, **options: Any) -> None:
    """Read a file that is refused for this reason, in less than 50 MB."""
    tracemalloc.start()
    with pytest.raises(ModelFileError, match=f"(?s){path.name}.*{reason}"):
        read_keras(path, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def deep(levels: int) -> dict[str, Any]:
    """Models inside models."""
    inner = layer()
    for _ in range(levels):
        source = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 3]}}
        inner = layer("Sequential", layers=[source, inner])
    return inner


def test_the_sound_model_is_read(tmp_path: Path) -> None:
    assert read_keras(write(tmp_path / "m.keras", model(layer()))).predict(np.ones((1, 3))).tolist() == [
        [0, 0]
    ]


CODE = {"class_name": "__lambda__", "config": {"value": "4wEAAAAA"}}


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (layer("Lambda", function=CODE), "layer 'odd': a Lambda layer is refused: it holds code"),
        (layer("TorchModuleWrapper", module="gASV"), "layer 'odd': a TorchModuleWrapper .* pickled"),
        (layer("TFSMLayer", filepath="/tmp/x"), "layer 'odd': a TFSMLayer .* from a path"),
        (layer("StringLookup", vocabulary="/etc/passwd"), "layer 'odd': a StringLookup .* vocabulary"),
        (layer("TextVectorization", vocabulary="http://x"), "layer 'odd': a TextVectorization .* vocabulary"),
        (layer("Conv2DTranspose"), "layer 'odd': the layer 'Conv2DTranspose' is not one of those"),
        (
            {**layer(), "module": "os", "class_name": "system"},
            "layer 'odd': its class comes from the module 'os'",
        ),
        ({**layer(), "module": "subprocess"}, "layer 'odd': its class comes from the module 'subprocess'"),
        ({**layer(), "registered_name": "pkg>Dense"}, "layer 'odd': it is a custom object"),
        (
            layer(activation={"class_name": "function", "module": "builtins", "config": "exec"}),
            "its activation is",
        ),
        (layer(activation="os.system"), "layer 'odd': its activation is 'os.system'"),
        (layer(dtype={"class_name": "Evil", "config": {}}), "layer 'odd': its dtype is a 'Evil'"),
        (layer(backdoor=1), "layer 'odd': it has the unknown setting 'backdoor'"),
        (layer("Sequential", layers=[]), "layer 'odd': the model was never built"),
        (
            layer("Bidirectional", layer={"class_name": "Sequential", "config": {"layers": []}}),
            "layer 'odd'.*a Sequential layer is refused: a model is read as a layer of a model",
        ),
        (deep(18), "its models are nested more than 16 deep"),
        (layer(units=5), r"layer 'odd': the weight kernel has shape \(3, 2\) — expected \(3, 5\)"),
        (layer(units=2**23), r"layer 'odd': the weight kernel has shape \(3, 2\)"),
        (layer(units=2**30), "layer 'odd': one row of it has 1073741824 numbers"),
        (layer(use_bias=False), "layer 'odd'.*2 weights are stored — expected 1: kernel"),
        (layer("LSTM", units=2), "layer 'odd': its input has 2 axes"),
        (layer("LayerNormalization"), "layer 'odd'.*0 weights are stored — expected 2: gamma, beta"),
    ],
)
def test_a_layer_that_is_not_plain_is_refused(odd: dict[str, Any], reason: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "m.keras", model(odd)), reason)


LSTM = ("LSTM", {"units": 2, "return_sequences": True})
TIMES = layer("RepeatVector", name="times", n=4)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (
            [TIMES, layer(LSTM[0], **LSTM[1], dropout=7)],
            "layer 'odd': input_dropout is '7.0' — expected less",
        ),
        ([TIMES, layer(LSTM[0], **LSTM[1], recurrent_dropout=-1)], "layer 'odd': recurrent_dropout is"),
        ([layer("Dropout", rate=1.5)], "layer 'odd': rate is '1.5' — expected less than 1"),
        ([layer("Dropout", rate=10**400)], "layer 'odd': rate is .* — expected a number below"),
        ([layer("BatchNormalization", epsilon=0)], "layer 'odd': epsilon is '0.0'"),
        ([layer("BatchNormalization", momentum=-1)], "layer 'odd': momentum is"),
        ([layer("RepeatVector", n=10**9)], "layer 'odd': one row of it has 3000000000 numbers"),
        ([layer("RepeatVector", n=10**30)], "layer 'odd': n is .* — expected a whole number from 1 to"),
        ([TIMES, layer("Conv1D", filters=2, kernel_size=5)], "layer 'odd': its kernel does not fit"),
        ([TIMES, layer("Conv1D", filters=2, kernel_size=[0])], "layer 'odd': kernel_size is"),
        ([TIMES, layer("Conv1D", filters=3, kernel_size=1, groups=2)], "layer 'odd'.* divided by groups"),
        ([TIMES, layer("Conv1D", filters=2, kernel_size=1, groups="x")], "layer 'odd': groups is"),
        ([TIMES, layer("MaxPooling1D", pool_size=9)], "layer 'odd': its kernel does not fit"),
        ([TIMES, layer("Attention")], "layer 'odd': its inputs are"),
        ([layer("Normalization", mean=[1, 2], variance=[1, 2])], "layer 'odd': mean is"),
        ([layer("Rescaling", scale=[1, 2])], "layer 'odd': scale is"),
        ([TIMES, layer("RNN", cell=3)], "layer 'odd': it holds no layer"),
        ([TIMES, layer("RNN", cell=layer("Lambda"))], "in it a Lambda: a Lambda layer is refused"),
        (
            [TIMES, layer("RNN", cell=layer("StackedRNNCells", cells=[layer("LSTM")]))],
            "layer 'odd': its cells are",
        ),
    ],
)
def test_an_option_that_cannot_be_is_refused(layers: Any, reason: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "m.keras", model(*layers)), reason)


def test_a_layer_called_on_nothing_is_refused(tmp_path: Path) -> None:
    source = {**layer("InputLayer", name="x", batch_shape=[None, 3]), "name": "x", "inbound_nodes": []}
    dense = {**layer(), "name": "odd", "inbound_nodes": [{"args": [], "kwargs": {}}]}
    inner = {"name": "m", "layers": [source, dense], "input_layers": ["x", 0, 0]}
    config = {
        "module": "keras",
        "class_name": "Functional",
        "config": {**inner, "output_layers": ["odd", 0, 0]},
    }
    refused(write(tmp_path / "m.keras", config), "layer 'odd': it is called on nothing")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b"[" * 200_000, "member 'config.json': nested deeper than 64"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": ' + b"9" * 6000 + b"}", "config.json"),
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b"\xff{}", "not UTF-8"),
        (b"{}" + b" " * 3 * 2**20, "config.json': [0-9]+ bytes unpack to 3145730, more than 100-fold"),
        ({"class_name": "Evil", "module": "pkg", "config": {}}, "the model is a 'Evil' of 'pkg'"),
        ({"class_name": "Sequential", "config": {"layers": 3}}, "no list of layers"),
        (model(layer(), layer()), "two layers called 'odd'"),
    ],
)
def test_an_odd_configuration_is_refused(config: Any, reason: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "m.keras", config), reason)


def bomb(file: h5py.File) -> None:
    zeros = np.zeros((3, 2**24), "f4")
    file.create_dataset("layers/dense/vars/0", data=zeros, chunks=(1, 2**22), compression="gzip")
    file["layers/dense/vars/1"] = np.zeros(1, "f4")


def linked(file: h5py.File) -> None:
    sound(file)
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "w")


def outside(file: h5py.File) -> None:
    file.create_dataset("layers/dense/vars/0", (3, 2), "f4", external=[("/etc/passwd", 0, 24)])
    file["layers/dense/vars/1"] = np.zeros(2, "f4")


@pytest.mark.parametrize(
    ("weights", "config", "reason"),
    [
        (linked, model(layer()), "'0' is an external link"),
        (outside, model(layer()), "external storage"),
        (lambda _: None, model(layer()), "layer 'odd'.*0 weights are stored"),
    ],
)
def test_odd_weights_are_refused(weights: Weights, config: Any, reason: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "m.keras", config, weights), reason)


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    write(path, model(layer(units=2**24)), bomb)
    assert path.stat().st_size < 2e6
    refused(path, "unpack to|is taken for an attack|has shape")
    stream = tmp_path / "m.h5"
    with h5py.File(stream, "w") as file:
        bomb(file)
    network = Network(
        [Port("x", (3,))], [Node("a", Dense(DenseOptions(units=2, input_size=3)), ("x",))], ["a"]
    )
    with pytest.raises(ModelFileError, match="has shape"):
        read_keras_weights(stream, network)


@pytest.mark.parametrize(
    "odd",
    [
        layer(units=2**30),
        layer("TimeDistributed", layer=layer(units=2**30)),
        layer("GRU", units=2**28, reset_after=True),
        layer("Bidirectional", layer=layer("LSTM", units=2**28)),
        layer("LayerNormalization", center=False, scale=False),
    ],
)
def test_sizes_that_are_claimed_take_no_memory(odd: dict[str, Any], tmp_path: Path) -> None:
    """The memory of torch is not seen by tracemalloc: what the process takes is looked at."""
    config = model(odd)
    config["config"]["layers"][0]["config"]["batch_shape"] = [
        None,
        4,
        2**30 if "center" in odd["config"] else 3,
    ]
    path = write(tmp_path / "m.keras", config)
    program = (
        "import resource, sys\n"
        "from gatestack.convert.keras import read_keras\n"
        "from gatestack.errors import ModelFileError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    read_keras(sys.argv[1])\n"
        "except ModelFileError as error:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 50_000  # KiB


@pytest.mark.parametrize("name", ["../x", "assets/vocabulary.txt", "/x"])
def test_another_member_is_refused(name: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "m.keras", model(layer()), **{name: b"x"}), f"member '{name}'")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.keras"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "missing.keras", "there is no such file")
    refused(tmp_path, "a folder")
    pickled = tmp_path / "m.h5"
    pickled.write_bytes(b"\x80\x04cos\nsystem\n")
    refused(pickled, "not an HDF5 file")
    whole = write(tmp_path / "m.keras", model(layer())).read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut.keras"
        cut.write_bytes(whole[:length])
        refused(cut, "")
    refused(tmp_path / "m.keras", "expected at most 100", max_bytes=100)


def test_what_the_system_will_not_read_is_no_fault_of_a_file(tmp_path: Path) -> None:
    circle = tmp_path / "circle.keras"
    circle.symlink_to(circle)
    with pytest.raises(StorageError, match=r"circle\.keras: cannot read"):
        read_keras(circle)


def test_wrong_weights_leave_the_network_as_it_was(tmp_path: Path) -> None:
    network = Network(
        [Port("x", (3,))], [Node("a", Dense(DenseOptions(units=2, input_size=3)), ("x",))], ["a"]
    )
    before = network.predict(np.ones((1, 3)))
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((3, 2), "f4")
        file["layers/dense/vars/1"] = np.zeros(3, "f4")
    with pytest.raises(
        ModelFileError, match=r"layer 'a': the weight bias has shape \(3,\) — expected \(2,\)"
    ):
        read_keras_weights(path, network)
    np.testing.assert_array_equal(network.predict(np.ones((1, 3))), before)


def test_reading_loads_no_hdf5_library_and_no_keras(tmp_path: Path) -> None:
    path = write(tmp_path / "m.keras", model(layer()))
    program = (
        "import sys; from gatestack.convert.keras import read_keras; read_keras(sys.argv[1]); "
        "print(sorted({'h5py', 'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
