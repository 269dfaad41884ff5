"""Networks in ONNX Runtime: every kind of layer, masks with holes, states of stateful layers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layer_runs import session, shake

from gatestack.convert import Network, Node, Port, read_onnx
from gatestack.convert import layers as kinds
from gatestack.convert.keras import read_keras
from gatestack.convert.layers import NetworkLayer, layer_from_data
from gatestack.convert.onnx.export import export_onnx
from gatestack.errors import ArgumentError

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "keras"
FILES = sorted(
    file.name
    for file in ARTIFACTS.iterdir()
    if file.suffix in (".h5", ".keras") and ".weights" not in file.suffixes
)
TOLERANCE = 2e-5

Draw = random.Random


def layer(kind: str, **options: Any) -> NetworkLayer:
    made = layer_from_data(kind, options)
    shake(made, 0.5)
    for module in made.modules():
        if isinstance(module, kinds.RecurrentLayer) and not module.options.bias:
            module.weights.bias_ih_l0.data.zero_()
            module.weights.bias_hh_l0.data.zero_()
    return made


def chain(port: Port, *made: NetworkLayer) -> Network:
    nodes = [Node(f"n{k}", one, (f"n{k - 1}" if k else port.name,)) for k, one in enumerate(made)]
    return Network([port], nodes, [nodes[-1].name]).eval()


def compared(network: Network, folder: Path, *feeds: Sequence[np.ndarray], back: bool = True) -> None:
    """Export, then compare on other inputs than the export's; with `back`, the file is the same network."""
    exported = export_onnx(network, folder / "n.onnx")
    run = session(str(exported.path))
    again = read_onnx(exported.path) if back else network
    network.reset_state()
    assert again.to_data()[0] == network.to_data()[0]
    for arrays in feeds:
        network.reset_state()
        wanted = network.predict(*arrays)
        feed = {port.name: array for port, array in zip(network.inputs, arrays, strict=True)}
        found = run.run(None, feed)
        for one, other in zip(wanted if isinstance(wanted, tuple) else (wanted,), found, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE)
        back = again.predict(*arrays)
        for one, other in zip(
            wanted if isinstance(wanted, tuple) else (wanted,),
            back if isinstance(back, tuple) else (back,),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def drawn_recurrent(draw: Draw, size: int, **fixed: Any) -> dict[str, Any]:
    cell = draw.choice(("lstm", "gru", "rnn"))
    plain = draw.random() < 0.6
    options: dict[str, Any] = {
        "cell": cell,
        "input_size": size,
        "hidden_size": draw.choice((1, 3, 4)),
        "bias": draw.random() < 0.8,
        "return_sequences": draw.random() < 0.6,
        "masked_output": draw.choice(("zero", "hold")),
        "reversed": draw.random() < 0.4,
        "reversed_output": draw.choice(("processing", "time")),
        "activation": "tanh" if plain else draw.choice(("relu6", "softsign", "hard_tanh", "silu")),
    }
    if cell != "rnn":
        options["gate_activation"] = "sigmoid" if plain else draw.choice(("hard_sigmoid", "hard_sigmoid_2"))
    if cell == "gru":
        options["reset"] = draw.choice(("after", "before"))
    if cell == "lstm" and plain:
        options |= {"peepholes": draw.random() < 0.3, "projection_size": draw.choice((None, None, 2))}
    return options | fixed


@pytest.mark.parametrize(
    "seed", [*range(30), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(30, 60))]
)
def test_a_recurrent_layer_over_masked_steps(tmp_path: Path, seed: int) -> None:
    draw = Draw(seed)
    torch.manual_seed(seed)
    if seed % 3 == 2:
        forward = drawn_recurrent(
            draw, 3, reversed=False, return_sequences=draw.random() < 0.6, projection_size=None
        )
        if forward["cell"] != "lstm":
            forward.pop("projection_size")
        merge = draw.choice(("concat", "sum", "mul", "average"))
        made = layer("bidirectional", forward=forward, backward=forward | {"reversed": True}, merge=merge)
    else:
        made = layer("recurrent", **drawn_recurrent(draw, 3))
    network = chain(Port("x", (None, 3)), layer("masking", mask_value=0.5), made)
    feeds = []
    for rows, steps in ((1, 1), (4, 6), (2, 11), (0, 4), (3, 0)):
        x = numbers(rows, steps, 3, seed=seed)
        x[np.random.default_rng(seed).random((rows, steps)) < 0.4] = 0.5  # holes anywhere, also whole rows
        feeds.append([x])
    compared(network, tmp_path, *feeds, back=seed < 12)


@pytest.mark.parametrize("seed", range(12))
def test_a_convolutional_layer_as_keras_lays_it_out(tmp_path: Path, seed: int) -> None:
    draw = Draw(seed)
    torch.manual_seed(seed)
    space = draw.choice((1, 2))
    made = layer(
        "conv_lstm",
        channels=2,
        input_channels=3,
        kernel_size=(draw.choice((1, 2, 3)),) * space,
        stride=(draw.choice((1, 2)),) * space,
        padding=draw.choice(("same", "valid")),
        channels_last=draw.random() < 0.6,
        return_sequences=draw.random() < 0.6,
        reversed=draw.random() < 0.3,
        masked_output=draw.choice(("zero", "hold")),
        return_state=True,
    )
    image = (6, 7)[:space]
    shape = (*image, 3) if made.options.channels_last else (3, *image)
    nodes = [Node("conv", made, ("x",))]
    network = Network([Port("x", (None, *shape))], nodes, ["conv", "conv:1", "conv:2"]).eval()
    compared(network, tmp_path, [numbers(2, 4, *shape)], [numbers(1, 7, *shape)], [numbers(0, 1, *shape)])


ANY = Port("x", (None, 4))
PLAIN: dict[str, tuple[Port, list[tuple[str, dict[str, Any]]]]] = {
    "dense": (ANY, [("dense", {"units": 3, "input_size": 4, "activation": "gelu_tanh"})]),
    "dense without bias": (ANY, [("dense", {"units": 3, "input_size": 4, "bias": False})]),
    "dropout": (ANY, [("dropout", {"rate": 0.5})]),
    "flatten": (Port("x", (5, 4)), [("flatten", {})]),
    "flatten from the third axis": (Port("x", (5, 4, 2)), [("flatten", {"first": 2})]),
    "flatten a number": (Port("x", ()), [("flatten", {})]),
    "reshape": (Port("x", (6,)), [("reshape", {"shape": (0, 2, 3)})]),
    "permute": (ANY, [("permute", {"axes": (0, 2, 1)})]),
    "repeat": (Port("x", (4,)), [("repeat", {"times": 3})]),
    "take": (ANY, [("take", {"axis": 2, "index": -2})]),
    "take a step": (Port("x", (3, 4)), [("take", {"axis": 1})]),
    "slice": (ANY, [("slice", {"axis": 2, "start": 1, "stop": 3})]),
    "slice to the end": (ANY, [("slice", {"axis": 2, "start": -3, "step": 2})]),
    "turn around": (ANY, [("slice", {"axis": 1, "step": -1})]),
    "squeeze": (Port("x", (1, 4)), [("squeeze", {"axes": (1,)})]),
    "unsqueeze": (ANY, [("unsqueeze", {"axes": (1, -1)})]),
    "batch norm": (ANY, [("batch_norm", {"features": 4, "epsilon": 1e-3})]),
    "batch norm of channels": (Port("x", (4, None)), [("batch_norm", {"features": 4, "axis": 1})]),
    "layer norm": (ANY, [("layer_norm", {"shape": (4,), "epsilon": 1e-3})]),
    "pool mean": (ANY, [("pool", {"operation": "mean"})]),
    "pool sum": (ANY, [("pool", {"operation": "sum", "axes": (1, 2), "keep": True})]),
    "pool max": (ANY, [("pool", {"operation": "max", "axes": (2,)})]),
    "pool min": (ANY, [("pool", {"operation": "min", "axes": (-1,), "keep": True})]),
    "per step": (
        Port("x", (None, 3, 4)),
        [("per_step", {"layer": {"kind": "dense", "options": {"units": 2, "input_size": 4}}})],
    ),
    "per step flatten": (
        Port("x", (None, 3, 4)),
        [("per_step", {"layer": {"kind": "flatten", "options": {}}})],
    ),
    "softmax": (ANY, [("activation", {"function": "softmax", "axis": 1})]),
    "elu": (ANY, [("activation", {"function": "elu", "slope": 0.3})]),
    "leaky relu": (ANY, [("activation", {"function": "leaky_relu"})]),
    "causal convolution": (
        ANY,
        [
            (
                "convolution",
                {
                    "channels": 6,
                    "input_channels": 4,
                    "kernel_size": (3,),
                    "dilation": (2,),
                    "padding": "causal",
                    "groups": 2,
                    "activation": "tanh",
                    "channels_last": True,
                },
            )
        ],
    ),
    "convolution of images": (
        Port("x", (2, 6, 7)),
        [("convolution", {"channels": 3, "input_channels": 2, "kernel_size": (2, 4), "stride": (2, 3)})],
    ),
    "window max": (
        ANY,
        [("window_pool", {"operation": "max", "size": (3,), "padding": "same", "channels_last": True})],
    ),
    "window mean": (
        Port("x", (2, 6, 7)),
        [("window_pool", {"operation": "mean", "size": (2, 3), "stride": (1, 2), "padding": "same"})],
    ),
    "rescale": (ANY, [("rescale", {"scale": 0.25, "offset": -1})]),
    "mean over time": (ANY, [("mean_over_time", {"keep": True})]),
    "mean of real steps": (ANY, [("masking", {"mask_value": 0.5}), ("mean_over_time", {})]),
    "standardise": (ANY, [("standardise", {"shape": (4,), "mean": (1, 2, 3, 4), "variance": (1, 2, 3, 0)})]),
    "back to the old scale": (ANY, [("standardise", {"shape": (4,), "invert": True})]),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("opset", [17, 21])
def test_a_layer_without_time(tmp_path: Path, name: str, opset: int) -> None:
    port, made = PLAIN[name]
    torch.manual_seed(0)
    network = chain(port, *(layer(kind, **options) for kind, options in made))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    exported = export_onnx(network, tmp_path / "n.onnx", opset=opset)
    run, again = session(str(exported.path)), read_onnx(exported.path)
    assert again.to_data()[0] == network.to_data()[0]
    for rows in (1, 4):
        x = numbers(rows, *(6 if size is None else size for size in port.shape))
        np.testing.assert_allclose(network.predict(x), run.run(None, {"x": x})[0], atol=1e-6, rtol=1e-5)
        np.testing.assert_allclose(network.predict(x), again.predict(x), atol=1e-6, rtol=1e-5)


FUNCTIONS = [name for name in kinds.activation.FUNCTIONS if name not in ("logarithm", "square_root")]


@pytest.mark.parametrize("function", [*FUNCTIONS, "log_softmax", "leaky_relu", "elu"])
def test_a_function(tmp_path: Path, function: str) -> None:
    compared(chain(ANY, layer("activation", function=function)), tmp_path, [3 * numbers(3, 5, 4)])


OPERATIONS = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "average", "power")


@pytest.mark.parametrize("operation", [*OPERATIONS, "concatenate", "stack", "matrix_product"])
def test_inputs_are_joined(tmp_path: Path, operation: str) -> None:
    made = {
        "concatenate": lambda: layer("concatenate", axis=-1),
        "stack": lambda: layer("stack", axis=1),
    }.get(operation, lambda: layer("combine", operation=operation))()
    wide = layer_from_data("constant", {"shape": (4, 4)})
    wide.value.copy_(torch.randn(4, 4))
    nodes = [
        Node("positive", layer("activation", function="exponential"), ("x",)),
        Node("wide", wide, ()),
        Node("out", made, ("positive", "wide") if operation == "matrix_product" else ("positive", "y", "x")),
    ]
    network = Network([Port("x", (None, 4)), Port("y", (None, 4))], nodes, ["out"]).eval()
    compared(network, tmp_path, [numbers(2, 3, 4), 1 + numbers(2, 3, 4, seed=1) ** 2])


@pytest.mark.parametrize("masks", ["any", "all"])
@pytest.mark.parametrize(
    "joint", ["add", "multiply", "maximum", "minimum", "average", "concatenate", "concatenate time"]
)
def test_masks_of_several_inputs_are_joined(tmp_path: Path, joint: str, masks: str) -> None:
    if joint.startswith("concatenate"):
        made = layer("concatenate", axis=1 if "time" in joint else 2, masks=masks)
    else:
        made = layer("combine", operation=joint, masks=masks)
    size = 6 if joint == "concatenate" else 3
    nodes = [
        Node("a", layer("masking"), ("x",)),
        Node("b", layer("masking"), ("y",)),
        Node("both", made, ("a", "b")),
        Node("half", layer("concatenate", axis=1), ("a", "y")),
        Node("gru", layer("recurrent", cell="gru", input_size=size, hidden_size=2), ("both",)),
        Node("turned", layer("slice", axis=1, step=-1), ("half",)),
        Node("lstm", layer("recurrent", cell="lstm", input_size=3, hidden_size=2), ("turned",)),
    ]
    network = Network([Port("x", (4, 3)), Port("y", (4, 3))], nodes, ["gru", "lstm"]).eval()
    x, y = numbers(3, 4, 3), numbers(3, 4, 3, seed=1)
    x[0, 1:3], x[1], y[0, 2:], y[2, 0] = 0, 0, 0, 0
    compared(network, tmp_path, [x, y])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"score": "dot", "scaled": True},
        {"score": "additive", "scaled": True, "features": 4},
        {"score": "concat"},
    ],
    ids=lambda options: options["score"],
)
def test_attention_over_masked_steps(tmp_path: Path, options: dict[str, Any], causal: bool) -> None:
    nodes = [
        Node("query", layer("masking"), ("x",)),
        Node("value", layer("masking"), ("y",)),
        Node("seen", layer("attention", causal=causal, **options), ("query", "value")),
    ]
    network = Network([Port("x", (None, 4)), Port("y", (None, 4))], nodes, ["seen", "seen:1"]).eval()
    x, y = numbers(3, 5, 4), numbers(3, 5, 4, seed=1)
    x[0, 1:3], y[0, 2:], y[1] = 0, 0, 0
    compared(network, tmp_path, [x, y])


def test_words_states_and_two_directions(tmp_path: Path) -> None:
    one = {"cell": "lstm", "input_size": 4, "hidden_size": 5, "return_state": True}
    both = layer("bidirectional", forward=one, backward=one | {"reversed": True}, merge="none")
    decoder = {"cell": "lstm", "input_size": 4, "hidden_size": 5, "takes_state": True}
    nodes = [
        Node("embedding", layer("embedding", vocabulary_size=9, size=4, mask_zero=True), ("words",)),
        Node("both", both, ("embedding",)),
        Node("decoder", layer("recurrent", **decoder), ("embedding", "both:4", "both:5")),
    ]
    outputs = ["decoder", "both", "both:1", "both:2"]
    network = Network([Port("words", (None,), "int64")], nodes, outputs).eval()
    words = np.array([[1, 2, 3, 4, 0], [5, 0, 6, 0, 0], [7, 8, 1, 2, 3], [0, 0, 0, 0, 0]])
    run = session(str(export_onnx(network, tmp_path / "n.onnx").path))
    assert [one.name for one in run.get_outputs()] == ["decoder", "both", "both.1", "both.2"]
    compared(network, tmp_path / "again", [words], [words[:1, :2]])


def test_lengths_may_be_an_input(tmp_path: Path) -> None:
    options = {"cell": "gru", "input_size": 3, "hidden_size": 4, "takes_lengths": True, "reversed": True}
    nodes = [Node("gru", layer("recurrent", **options, reversed_output="time"), ("x", "lengths"))]
    network = Network([Port("x", (None, 3)), Port("lengths", (), "int64")], nodes, ["gru"]).eval()
    compared(network, tmp_path, [numbers(3, 5, 3), np.array([5, 0, 2])])


@pytest.mark.parametrize("kind", ["recurrent", "bidirectional"])
def test_a_stateful_layer_streams_with_its_states_as_inputs(tmp_path: Path, kind: str) -> None:
    one = {"cell": "lstm", "input_size": 3, "hidden_size": 4, "stateful": True}
    made = layer("recurrent", **one)
    if kind == "bidirectional":
        made = layer("bidirectional", forward=one, backward=one | {"reversed": True})
    network = Network([Port("x", (None, 3))], [Node("lstm", made, ("x",))], ["lstm"]).eval()
    run = session(str(export_onnx(network, tmp_path / "n.onnx").path))
    names = [one.name for one in run.get_inputs()][1:]
    places = ("lstm",) if kind == "recurrent" else ("lstm", "lstm_reverse")
    assert names == [f"{part}_in_{place}" for place in places for part in "hc"]
    state = {name: np.zeros((1, 2, 4), np.float32) for name in names}
    network.reset_state()
    for size in (3, 1, 4):
        x = numbers(2, size, 3, seed=size)
        y, *after = run.run(None, {"x": x} | state)
        np.testing.assert_allclose(y, network.predict(x), atol=TOLERANCE)
        state = dict(zip(names, after, strict=True))


@pytest.mark.parametrize("name", FILES)
def test_files_of_keras_become_onnx(tmp_path: Path, name: str) -> None:
    network = read_keras(ARTIFACTS / name)
    exported = export_onnx(network, tmp_path / "n.onnx")
    assert max(found.share for found in exported.differences.values()) < 0.5


@pytest.mark.parametrize("inside", ["a constant", "a shape"])
def test_a_network_for_some_batches_alone_is_an_error(tmp_path: Path, inside: str) -> None:
    """Its graph would have a frozen batch."""
    if inside == "a shape":
        made = [Node("y", layer("reshape", shape=(2, -1)), ("x",))]
    else:
        two = Node("two", layer("constant", shape=(2, 3)), ())
        made = [two, Node("y", layer("combine", operation="add"), ("x", "two"))]
    network = Network([Port("x", (3,))], made, ["y"]).eval()
    network.predict(numbers(2, 3))
    with pytest.raises(ArgumentError, match="2 rows alone") as error:
        export_onnx(network, tmp_path / "n.onnx")
    assert "frozen" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_length_that_a_network_has_inside_is_an_error(tmp_path: Path) -> None:
    made = [layer("reshape", shape=(0, 15)), layer("dense", units=2, input_size=15)]
    network = chain(Port("x", (None, 3)), *made)
    assert network.predict(numbers(2, 5, 3)).shape == (2, 2)
    with pytest.raises(ArgumentError, match="it cannot be computed with drawn inputs"):
        export_onnx(network, tmp_path / "n.onnx")
    assert not list(tmp_path.iterdir())


def test_a_network_of_float64_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="float32"):
        export_onnx(chain(ANY, layer("dense", units=2, input_size=4)).double(), tmp_path / "n.onnx")


def test_a_layer_without_onnx_is_named_by_its_node(tmp_path: Path) -> None:
    class Own(NetworkLayer):
        Options = kinds.FlattenOptions

        def run(self, signals: Any) -> Any:
            return tuple(signals)

    Own.kind = "own"
    network = Network([ANY], [Node("mine", Own(kinds.FlattenOptions()), ("x",))], ["mine"]).eval()
    with pytest.raises(ArgumentError, match=r"node 'mine': there is no ONNX for a layer of the kind 'own'"):
        export_onnx(network, tmp_path / "n.onnx")
