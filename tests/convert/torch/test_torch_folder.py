"""Networks as folders for torch: they run without Gatestack, prove themselves, and are not trusted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_trees import draw, make
from typer.testing import CliRunner, Result

import gatestack as gs
from gatestack.cli.main import app
from gatestack.convert import Network, Node, Port
from gatestack.convert.export import export_model
from gatestack.convert.layers import (
    Activation,
    ActivationOptions,
    BatchNorm,
    BatchNormOptions,
    BidirectionalLayer,
    BidirectionalOptions,
    Combine,
    CombineOptions,
    Concatenate,
    ConcatenateOptions,
    Dense,
    DenseOptions,
    Dropout,
    DropoutOptions,
    Embedding,
    EmbeddingOptions,
    Flatten,
    FlattenOptions,
    Masking,
    MaskingOptions,
    Operator,
    OperatorOptions,
    Permute,
    PermuteOptions,
    PerStepLayer,
    PerStepOptions,
    RecurrentLayer,
    RecurrentOptions,
    Repeat,
    RepeatOptions,
    Slice,
    SliceOptions,
)
from gatestack.convert.layers.activation import FUNCTIONS
from gatestack.convert.torch import from_torch, to_torch
from gatestack.convert.torch.to_torch import network_of, torch_source
from gatestack.convert.verify import verify
from gatestack.errors import ArgumentError, ModelFileError

Run = Callable[..., Result]

LATER = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 120, 8)]

BLOCKED = """
import sys
sys.modules["gatestack"] = None  # any import of it fails
sys.path.insert(0, sys.argv[1])
import json, model, torch
network = model.load()
given = [torch.tensor(one) for one in json.load(sys.stdin)]
found = network(*given)
print(json.dumps([one.tolist() for one in (found if isinstance(found, tuple) else (found,))]))
"""


@pytest.fixture
def gatestack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Export two networks once: each export runs torch in a process of its own."""
    home = tmp_path_factory.mktemp("exported")
    dense = Dense(DenseOptions(units=2, input_size=3))
    network = Network([Port("x", (3,))], [Node("out", dense, ("x",))], ["out"])
    return {
        "dense": export_model(network, home / "dense", to="torch").path,
        "gru": export_model(gs.nn.GRU(4, 3), home / "gru", to="torch").path,
    }


def tagger() -> Network:
    """Make a network as readers of Keras make them, with nearly every kind of layer that torch computes."""
    torch.manual_seed(3)
    one = RecurrentOptions(cell="gru", input_size=4, hidden_size=5, return_state=True)
    both = BidirectionalOptions(forward=one, backward=one.model_copy(update={"reversed": True}), merge="sum")
    last = RecurrentOptions(cell="rnn", input_size=5, hidden_size=6, reversed=True, activation="relu")
    inner = Dense(DenseOptions(units=3, input_size=6, activation="hard_sigmoid_2")).to_data()
    decoder = RecurrentOptions(cell="lstm", input_size=6, hidden_size=6, return_sequences=False)
    nodes = [
        Node("embedding", Embedding(EmbeddingOptions(vocabulary_size=9, size=4)), ("words",)),
        Node("both", BidirectionalLayer(both), ("embedding",)),
        Node("norm", BatchNorm(BatchNormOptions(features=5)), ("both",)),
        Node("drop", Dropout(DropoutOptions(rate=0.2, same_over_time=True)), ("norm",)),
        Node("back", RecurrentLayer(last), ("drop",)),
        Node("each", PerStepLayer(PerStepOptions(layer=inner)), ("back",)),
        Node("turned", Slice(SliceOptions(axis=1, step=-1)), ("each",)),
        Node("wide", Concatenate(ConcatenateOptions()), ("each", "turned")),
        Node("decoder", RecurrentLayer(decoder), ("wide",)),
        Node("again", Repeat(RepeatOptions(times=3)), ("decoder",)),
        Node("flat", Flatten(FlattenOptions()), ("again",)),
        Node("most", Combine(CombineOptions(operation="average")), ("flat", "flat")),
        Node("soft", Activation(ActivationOptions(function="softmax")), ("most",)),
        Node("turn", Permute(PermuteOptions(axes=(0, 2, 1))), ("wide",)),
    ]
    return Network([Port("words", (None,), "int64")], nodes, ["soft", "both:2", "turn"], name="path").eval()


def run_blocked(folder: Path, *arrays: Any) -> list[np.ndarray]:
    """Run what was exported in a process in which Gatestack cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, str(folder)],
        input=json.dumps([np.asarray(one).tolist() for one in arrays]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [np.array(one) for one in json.loads(done.stdout)]


def test_an_exported_network_runs_without_gatestack(tmp_path: Path) -> None:
    network = tagger()
    path = export_model(network, tmp_path / "m", to="torch").path
    assert sorted(one.name for one in tmp_path.joinpath("m").iterdir()) == [
        "architecture.json", "model.py", "proof.safetensors", "weights.safetensors",
    ]  # fmt: skip
    words = np.random.default_rng(0).integers(0, 9, (4, 6))
    for a, b in zip(run_blocked(path, words), network.predict(words), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    found = verify(path)
    assert found.passed
    assert found.runner.startswith("torch ")
    assert found.vectors == 4


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
@pytest.mark.parametrize("seed", [0, *LATER])
def test_drawn_trees_are_exported_and_verified(tmp_path: Path, seed: int) -> None:
    tree, ports = make(draw(seed))
    found = verify(export_model(from_torch(tree, ports), tmp_path / "m", to="torch").path)
    assert found.passed, f"to replay: make({draw(seed)})"
    assert found.largest < 1e-4


def test_a_stack_is_written_as_one_module() -> None:
    stack = gs.nn.Stack(gs.nn.LSTM(4), gs.nn.LSTM(4), input_size=3)
    text = torch_source(network_of(stack)).text
    assert "self.stack = nn.LSTM(3, 4, num_layers=2, batch_first=True)" in text


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("model.py", lambda text: text + b"\nimport os\nos.mkdir('ran')\n", "is not run"),
        ("model.py", lambda text: b"import os; os.mkdir('ran')\n" + text, "is not run"),
        ("architecture.json", lambda text: text.replace(b'"nodes"', b'"nods"'), "not the architecture"),
        ("architecture.json", lambda text: text.replace(b'"units": 2', b'"units": 3'), "is not run"),
        ("architecture.json", lambda text: text[:40], "not the architecture"),
        ("architecture.json", lambda text: b"[" * len(text), "not the architecture"),
        ("weights.safetensors", lambda content: content[:-4], "the data at byte"),
        ("proof.safetensors", lambda content: content[:-4], "proof.safetensors"),
    ],
)
def test_a_changed_folder_is_refused_and_its_code_does_not_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported: dict[str, Path],
    name: str,
    change: Any,
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(shutil.copytree(exported["dense"], "m")) / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ModelFileError) as refused:
        verify("m")
    assert part in str(refused.value)
    assert not Path("ran").exists()


def test_other_weights_are_found(tmp_path: Path, exported: dict[str, Path]) -> None:
    path = shutil.copytree(exported["gru"], tmp_path / "m")
    weights = bytearray((path / "weights.safetensors").read_bytes())
    weights[-2] ^= 0x40
    (path / "weights.safetensors").write_bytes(weights)
    found = verify(path)
    assert found.changed
    assert not found.passed
    assert found.largest > found.tolerance, "the numbers are wrong as well"


def test_sizes_that_lie_take_no_memory(tmp_path: Path, exported: dict[str, Path]) -> None:
    path = shutil.copytree(exported["gru"], tmp_path / "m")
    text = (path / "architecture.json").read_text().replace('"hidden_size": 4', '"hidden_size": 1000000')
    (path / "architecture.json").write_text(text)
    source = (path / "model.py").read_text().replace("nn.GRU(3, 4,", "nn.GRU(3, 1000000,")
    (path / "model.py").write_text(source)
    with pytest.raises(ModelFileError, match=r"'gru\.weight_ih_l0' is \(12, 3\)"):
        verify(path)


def test_a_network_that_grows_when_it_runs_is_stopped(tmp_path: Path) -> None:
    dense = Dense(DenseOptions(units=2, input_size=3))
    nodes = [Node("r", Repeat(RepeatOptions(times=7)), ("x",)), Node("out", dense, ("r",))]
    path = export_model(Network([Port("x", (3,))], nodes, ["out"]), tmp_path / "m", to="torch").path
    for name in ("architecture.json", "model.py"):
        text = (path / name).read_text().replace('"times": 7', '"times": 2000000000')
        (path / name).write_text(text.replace("expand(-1, 7, -1)", "expand(-1, 2000000000, -1)"))
    with pytest.raises(ModelFileError, match=r"cannot be computed with .* of memory"):
        verify(path)


def test_nothing_of_a_networks_texts_gets_into_the_source(tmp_path: Path) -> None:
    evil = 'x"""\nimport os\nos.mkdir("ran")\n"""'
    nodes = [
        Node(evil, Dense(DenseOptions(units=2, input_size=3)), ("in\nput",)),
        Node("class", Activation(ActivationOptions(function="tanh")), (evil,)),
        Node("torch", Activation(ActivationOptions(function="relu")), ("class",)),
        Node("self.nn", Activation(ActivationOptions(function="relu")), ("torch",)),
    ]
    network = Network([Port("in\nput", (3,))], nodes, ["self.nn"], name="Path\n").eval()
    text = torch_source(network).text
    assert "mkdir(" not in text
    path = export_model(network, tmp_path / "m", to="torch").path
    np.testing.assert_allclose(
        run_blocked(path, np.ones((1, 3)))[0], network.predict(np.ones((1, 3))), atol=1e-6
    )
    options = OperatorOptions(
        operator="ArgMax", attributes={"axis": "0) + __import__('os').getpid()", "keepdims": 0}
    )
    network = Network([Port("x", (3,))], [Node("a", Operator(options), ("x",))], ["a"])
    with pytest.raises(ArgumentError, match="the attribute axis is of type str"):
        torch_source(network)


def cell(**options: Any) -> RecurrentLayer:
    return RecurrentLayer(RecurrentOptions(input_size=3, hidden_size=2, **options))


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (Masking(MaskingOptions()), "masks steps"),
        (Embedding(EmbeddingOptions(vocabulary_size=4, size=2, mask_zero=True)), "masks"),
        (cell(cell="lstm", gate_activation="hard_sigmoid"), "gates of hard_sigmoid"),
        (cell(cell="gru", stateful=True), "kept between calls"),
        (cell(cell="rnn", activation="softsign"), "activation softsign"),
        (Operator(OperatorOptions(operator="Round")), "the operator Round"),
    ],
)
def test_what_torch_cannot_compute_is_refused_by_node(layer: Any, what: str, tmp_path: Path) -> None:
    network = Network([Port("x", (None, 3))], [Node("strange", layer, ("x",))], ["strange"])
    with pytest.raises(ArgumentError, match=f"node 'strange'.*{what}"):
        export_model(network, tmp_path / "m", to="torch")
    assert not (tmp_path / "m").exists()


def test_only_what_was_exported_is_overwritten(tmp_path: Path, exported: dict[str, Path]) -> None:
    layer = gs.nn.GRU(4, 3)
    path = shutil.copytree(exported["gru"], tmp_path / "m")
    with pytest.raises(ArgumentError, match="exists already"):
        export_model(layer, path, to="torch")
    export_model(gs.nn.LSTM(4, 3), path, to="torch", overwrite=True)
    assert "nn.LSTM" in (path / "model.py").read_text()
    (path / "mine.txt").write_text("mine")
    with pytest.raises(ArgumentError, match=r"'mine\.txt', which would be lost"):
        export_model(layer, path, to="torch", overwrite=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(ArgumentError, match="not a folder that was exported to torch"):
        export_model(layer, tmp_path / "other", to="torch", overwrite=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m", "other"]


def test_commands_import_export_and_verify(gatestack: Run, tmp_path: Path) -> None:
    torch.save(nn.LSTM(3, 4, num_layers=2).state_dict(), "w.pt")
    done = gatestack("import", "w.pt", "--out", "model")
    assert done.exit_code == 0, done.stderr
    assert "wrote model" in done.stdout
    done = gatestack("export", "model", "--to", "torch", "--out", "plain")
    assert done.exit_code == 0, done.stderr
    for name in ("model.py", "weights.safetensors", "architecture.json", "proof.safetensors"):
        assert name in done.stdout
    done = gatestack("verify", "plain")
    assert done.exit_code == 0, done.stderr
    assert "4 test vectors, run by torch" in done.stdout
    assert "verified: largest difference" in done.stdout
    found = run_blocked(tmp_path / "plain", np.ones((2, 3, 3)))
    assert [one.shape for one in found] == [(2, 3, 4), (2, 2, 4), (2, 2, 4)]
    Path("plain/model.py").write_text("import os\n")
    done = gatestack("verify", "plain")
    assert done.exit_code == 2
    assert "so it is not run" in done.stderr


def test_commands_refuse_in_words(gatestack: Run) -> None:
    torch.save(nn.Linear(3, 4).state_dict(), "w.pt")
    done = gatestack("import", "w.pt", "--out", "model")
    assert done.exit_code == 2
    assert "from_torch(read_torch_weights(path, module))" in done.stderr
    torch.save(nn.Linear(3, 4), "module.pt")
    done = gatestack("import", "module.pt", "--out", "model")
    assert done.exit_code == 2
    assert "reading them runs code" in done.stderr
    done = gatestack("import", "model.pt2", "--out", "model")
    assert done.exit_code == 2
    assert "a program of torch.export" in done.stderr
    assert not Path("model").exists()


def test_a_forecaster_is_sent_to_onnx(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"of type Forecaster(.|\n)*ONNX"):
        export_model(gs.Forecaster(horizon=2), tmp_path / "m", to="torch")


def test_a_plain_module_trains_as_the_network_does() -> None:
    network = tagger()
    plain = to_torch(network)
    words = torch.randint(0, 9, (3, 5))
    for module in (network, plain):
        module.zero_grad()
        module(words)[0].square().sum().backward()
    norms = [sorted(float(p.grad.norm()) for p in module.parameters() if p.grad is not None and p.grad.any())
             for module in (network, plain)]  # fmt: skip
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-4)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_every_function_of_a_network_is_written_for_torch(function: str) -> None:
    layer = Activation(ActivationOptions(function=function))
    network = Network([Port("x", (3,))], [Node("a", layer, ("x",))], ["a"])
    x = torch.rand(2, 3) + 0.1
    assert torch.allclose(to_torch(network)(x), network(x), atol=1e-6)
