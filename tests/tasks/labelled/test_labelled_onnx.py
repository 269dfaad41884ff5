"""A classifier or regressor in ONNX Runtime answers as it does here, for any batch, length and gap."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx.session import open_graph
from gatestack.convert.verify import verify
from gatestack.data.sequences import Sequences
from gatestack.errors import ArgumentError, ModelFileError, NotFittedError
from gatestack.tasks.classify import Architecture, Classifier
from gatestack.tasks.labelled.onnx.graph import METADATA_KEY, emit_labelled
from gatestack.tasks.labelled.sampler import gaps_marked
from gatestack.tasks.regress import Regressor

pytest.importorskip("onnxruntime")

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
Model = Classifier | Regressor

# The graph computes its stack in float32, the model in float64; probabilities have size 1, the logits of
# these drawn weights reach tens, of which float32 keeps seven digits.
CLOSE = 1e-5
ARCHITECTURES: list[dict[str, Any]] = [
    {},
    {"scaling": "both"},
    {"scaling": "series", "pooling": "last", "bidirectional": False},
    {"cell": "gru", "pooling": "mean", "segments": 3, "residual": True},
    {"recipe": "plain"},
    {"recipe": "plain", "cell": "rnn", "pooling": "attention", "scaling": "both"},
    {"recipe": "lstm-fcn", "pooling": "last"},
    {"recipe": "lstm-fcn", "cell": "gru", "pooling": "max", "scaling": "series"},
]


def drawn(count: int, channels: int, seed: int, *, gaps: float = 0.0, most: int = 40) -> list[np.ndarray]:
    """Waves with level stretches and few distinct values, on which kernels tie; (T_i, C) each."""
    random = np.random.default_rng(seed)
    series = []
    for case in range(count):
        steps = np.arange(random.integers(1, most + 1))[:, None]
        x = np.sin(steps * (0.3 + 0.5 * (case % 3)) + random.random((1, channels)) * 6) * 4
        x[:, 0] = np.round(x[:, 0])
        x[len(x) // 3 : len(x) // 2] = 0.37
        x[random.random(x.shape) < gaps] = np.nan
        series.append(x + 20.0)
    return series


def fitted(
    architecture: dict[str, Any], *, channels: int = 2, gaps: float = 0.0, **changes: Any
) -> Classifier:
    options = {"layers": 2, "hidden_size": 5, "members": 2, "max_steps": 4} | changes
    model = Classifier(**options, architecture=Architecture(**{"kernels": 168} | architecture))
    return stirred(model.fit(drawn(24, channels, 0, gaps=gaps), np.arange(24) % 3))


def stirred(model: Any) -> Any:
    """Give heads and stack weights that matter: after a few steps the linear part says nearly everything."""
    random = torch.Generator().manual_seed(0)
    for member in model.fitted_.members:
        member.network.trust.fill_(1.0)
        with torch.no_grad():
            for name, weight in member.network.recurrent.trunk.named_parameters():
                if "blocks" not in name:  # convolutions are random enough, and three in a row would saturate
                    weight.add_(0.2 * torch.randn(weight.shape, generator=random))
    return model


def graph_of(model: Model) -> tuple[Run, dict[str, Any]]:
    graph = GraphBuilder()
    classes = None if isinstance(model, Regressor) else model.classes_.tolist()
    metadata = emit_labelled(model.fitted_, graph, classes=classes)
    content = graph.model(metadata=metadata).SerializeToString()
    return open_graph(content, where="graph"), json.loads(metadata[METADATA_KEY])


def feeds(series: list[np.ndarray], filler: float = 1e9) -> dict[str, np.ndarray]:
    """The inputs of the graph, with something wild where no step is real."""
    x, lengths = (part.numpy() for part in gaps_marked(Sequences.from_arrays(series)))
    x[np.arange(x.shape[1]) >= lengths[:, None]] = filler
    return {"x": x, "lengths": lengths}


@pytest.mark.parametrize(
    ("architecture", "gaps"), [(one, 0.2 * (number % 2)) for number, one in enumerate(ARCHITECTURES)], ids=str
)
def test_the_graph_says_what_the_model_says(architecture: dict[str, Any], gaps: float) -> None:
    model = fitted(architecture, gaps=gaps)
    run, _ = graph_of(model)
    new = drawn(11, 2, 5, gaps=0.3)
    found, expected = run(feeds(new))["probabilities"], model.predict_proba(new)
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)
    assert expected.std(axis=0).max() > 0.01  # an answer that never changes would prove nothing
    # and what stands after the last real step is not read
    for filler in (np.nan, np.inf):
        np.testing.assert_array_equal(run(feeds(new, filler))["probabilities"], found)
    alone = np.concatenate([run(feeds([case]))["probabilities"] for case in new])
    np.testing.assert_allclose(alone, found, rtol=0, atol=CLOSE)


@pytest.fixture(scope="module")
def default() -> tuple[Classifier, Run]:
    model = fitted({}, channels=3, gaps=0.1)
    return model, graph_of(model)[0]


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    level=st.sampled_from([0.0, 20.0, -1e4]),
    size=st.sampled_from([0.0, 1e-3, 1.0, 1e4]),
    gaps=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_any_batch_any_length_any_gap(
    default: tuple[Classifier, Run], lengths: list[int], level: float, size: float, gaps: float, seed: int
) -> None:
    model, run = default
    random = np.random.default_rng(seed)
    series = []
    for length in lengths:
        x = level + size * random.normal(size=(length, 3))
        x[random.random(x.shape) < gaps] = np.nan
        series.append(x)
    expected = model.fitted_.probabilities(Sequences.from_arrays(series))
    np.testing.assert_allclose(run(feeds(series))["probabilities"], expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("recipe", ["kernels", "lstm-fcn", "plain"])
def test_a_regressor_answers_in_the_unit_of_its_target(recipe: str) -> None:
    heights = np.linspace(900.0, 1100.0, 20)
    waves = [np.sin(np.arange(15 + case)) * (1 + case) for case in range(20)]
    model = stirred(
        Regressor(
            layers=1,
            hidden_size=4,
            members=2,
            max_steps=3,
            architecture=Architecture(recipe=recipe, kernels=84),
        ).fit(waves, heights)
    )
    run, about = graph_of(model)
    found = run(feeds([wave[:, None] for wave in waves]))["predicted"]
    assert found.shape == (20,)
    np.testing.assert_allclose(found, model.predict(waves), rtol=CLOSE)
    assert about["task"] == "regress"
    assert about["classes"] is None


def test_a_temperature_is_in_the_graph() -> None:
    model = fitted({"recipe": "plain"}, calibration="temperature", members=1)
    object.__setattr__(model.fitted_, "temperature", 3.7)
    new = drawn(5, 2, 9)
    found = graph_of(model)[0](feeds(new))["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(new), rtol=0, atol=CLOSE)


def test_the_file_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    model = Classifier(layers=1, hidden_size=4, max_steps=2, architecture=Architecture(kernels=84))
    model.fit(drawn(12, 2, 0), np.array(["ä", "b,c", "d"] * 4))
    about = graph_of(model)[1]
    assert about["classes"] == ["b,c", "d", "ä"]
    assert (about["channels"], about["recipe"], about["members"]) == (2, "kernels", 1)
    exported = export_onnx(model, tmp_path / "m.onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    assert {entry.name: entry.shape for entry in session.get_inputs()} == {
        "x": ["batch", "time", 2],
        "lengths": ["batch"],
    }
    assert {entry.name: entry.shape for entry in session.get_outputs()} == {"probabilities": ["batch", 3]}


@pytest.mark.parametrize("recipe", ["kernels", "lstm-fcn", "plain"])
def test_an_export_is_proved_on_real_and_on_drawn_series(recipe: str, tmp_path: Path) -> None:
    model = fitted({"recipe": recipe}, gaps=0.1)
    model.save(tmp_path / "model")
    exported = export_onnx(Classifier.load(tmp_path / "model"), tmp_path / "m.onnx")
    assert set(exported.scores) == {"error rate", "log loss"}
    found = verify(tmp_path / "m.onnx")
    assert found.passed
    assert (found.vectors, found.real) == (4, 2)
    # and with another weight nothing passes
    with torch.no_grad():
        model.fitted_.members[1].network.recurrent.scaling.mean.add_(1.0)
    graph = GraphBuilder()
    content = graph.model(metadata=emit_labelled(model.fitted_, graph, classes=[0, 1, 2])).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content)
    changed = verify(tmp_path / "m.onnx", allow_changed=True)
    assert not changed.passed


def test_eight_bits_cost_what_the_export_says(tmp_path: Path) -> None:
    model = fitted({}, hidden_size=24)
    whole, small = (export_onnx(model, tmp_path / f"{int8}.onnx", int8=int8) for int8 in (False, True))
    assert small.file_bytes < 0.6 * whole.file_bytes
    assert small.plain_scores == whole.scores
    assert small.scores["log loss"] == pytest.approx(whole.scores["log loss"], rel=0.2)
    assert small.differences["probabilities"].largest > 100 * whole.differences["probabilities"].largest
    assert verify(small.path).passed


@pytest.mark.parametrize("recipe", ["kernels", "lstm-fcn", "plain"])
def test_a_length_that_no_row_can_have_gives_no_answer(recipe: str) -> None:
    run, _ = graph_of(fitted({"recipe": recipe}, members=1))
    x = np.zeros((2, 5, 2), np.float32)
    with pytest.raises(ModelFileError, match="ONNX Runtime fails"):
        run({"x": x, "lengths": np.array([5, 9])})
    answers = run({"x": x, "lengths": np.array([5, 0])})["probabilities"]
    assert np.isnan(answers[1]).all()
    np.testing.assert_array_equal(answers[:1], run({"x": x[:1], "lengths": np.array([5])})["probabilities"])


def test_a_graph_that_answers_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted({"scaling": "series"})
    monkeypatch.setattr("gatestack.tasks.labelled.onnx.inputs.SMALLEST_DEVIATION", 10.0)
    with pytest.raises(ArgumentError, match="'probabilities' differs"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        export_onnx(Classifier(), tmp_path / "m.onnx")
