"""Models built from the layers: trained, saved, loaded, with Gatestack and without."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import gatestack as gs
from gatestack.compat import keras as ours
from gatestack.compat.keras import requirement
from gatestack.errors import ArgumentError

TOKENS = np.random.default_rng(1).integers(1, 9, (12, 7))
TOKENS[:, 4:] *= np.random.default_rng(2).integers(0, 2, (12, 3))  # 0 is masked
WANTED = np.random.default_rng(3).standard_normal((12, 2)).astype("float32")

# Runs where there is no Gatestack: predictions of a file, in another process.
PLAIN_KERAS = """
import sys
sys.modules["gatestack"] = None
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
assert type(model.layers[-2]) is keras.layers.GRU
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


def model_of(layers: Any, *, compiled: bool = True) -> Any:
    keras.utils.set_random_seed(1)
    words = keras.Input((7,), dtype="int32")
    y = keras.layers.Embedding(9, 6, mask_zero=True)(words)
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True, dropout=0.1))(y)
    y, *state = layers.LSTM(5, return_sequences=True, return_state=True)(y)
    y = layers.SimpleRNN(5, return_sequences=True, go_backwards=True)(y)
    y = layers.GRU(5, recurrent_dropout=0.1)(y, initial_state=state[1])
    model = keras.Model(words, keras.layers.Dense(2)(y))
    if compiled:
        model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def configuration(path: Path) -> Any:
    """Read the configuration in a file, without the numbers that Keras takes from addresses of memory."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    return json.loads(re.sub(r'"shared_object_id": \d+', '"shared_object_id": 0', text))


def kinds(model: Any) -> list[type]:
    return [type(layer) for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Any, Path]:
    model = model_of(ours)
    model.fit(TOKENS, WANTED, epochs=2, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    return model, path


def test_training_takes_the_course_of_keras() -> None:
    courses, predictions = [], []
    for layers in (ours, keras.layers):
        model = model_of(layers)
        courses.append(model.fit(TOKENS, WANTED, epochs=5, batch_size=4, verbose=0).history["loss"])
        predictions.append(model.predict(TOKENS, verbose=0))
    assert courses[0][-1] < courses[0][0]
    np.testing.assert_allclose(courses[0], courses[1], rtol=1e-4)
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=0, atol=1e-3)


def test_a_file_is_that_of_kerass_own_layers(saved: tuple[Any, Path], tmp_path: Path) -> None:
    path = tmp_path / "plain.keras"
    keras.backend.clear_session()
    fast = model_of(ours)
    fast.save(path)
    written = configuration(path)
    keras.backend.clear_session()
    model_of(keras.layers).save(path)
    assert written == configuration(path)
    assert "gatestack" not in saved[1].read_bytes().decode("latin-1")


def test_a_file_loads_here_and_is_accelerated_again(saved: tuple[Any, Path]) -> None:
    model, path = saved
    expected = model.predict(TOKENS, verbose=0)
    loaded = keras.models.load_model(path)
    assert not any(gs.compat.is_accelerated(layer) for layer in loaded._flatten_layers())
    np.testing.assert_allclose(loaded.predict(TOKENS, verbose=0), expected, rtol=0, atol=1e-5)
    assert gs.accelerate(loaded) is loaded
    assert kinds(loaded) == kinds(model)
    np.testing.assert_allclose(loaded.predict(TOKENS, verbose=0), expected, rtol=0, atol=1e-6)
    loaded.fit(TOKENS, WANTED, verbose=0)  # the optimiser was saved as well


def test_a_file_loads_where_there_is_no_gatestack(saved: tuple[Any, Path], tmp_path: Path) -> None:
    model, path = saved
    np.save(tmp_path / "tokens.npy", TOKENS)
    files = [str(path), str(tmp_path / "tokens.npy"), str(tmp_path / "found.npy")]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_KERAS, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        np.load(tmp_path / "found.npy"), model.predict(TOKENS, verbose=0), rtol=0, atol=1e-5
    )


def test_weights_alone_go_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    fast, plain = model_of(ours, compiled=False), model_of(keras.layers, compiled=False)
    for one, other in ((fast, plain), (plain, fast)):
        one.set_weights([weight + 0.1 for weight in one.get_weights()])
        one.save_weights(path)
        other.load_weights(path)
        np.testing.assert_allclose(
            other.predict(TOKENS, verbose=0), one.predict(TOKENS, verbose=0), rtol=0, atol=1e-5
        )


def test_acceleration_is_in_place_and_undone_exactly() -> None:
    model = model_of(keras.layers)
    expected, before = model.predict(TOKENS, verbose=0), kinds(model)
    weights = [id(weight) for weight in model.weights]
    gs.accelerate(model)
    assert kinds(model) == kinds(model_of(ours))
    assert type(model.layers[2]) is ours.Bidirectional
    np.testing.assert_allclose(model.predict(TOKENS, verbose=0), expected, rtol=0, atol=1e-5)
    assert gs.decelerate(model) is model
    assert kinds(model) == before
    assert [id(weight) for weight in model.weights] == weights


def test_a_module_of_torch_may_hold_layers_of_keras() -> None:
    import torch

    class Wrapper(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = keras.Sequential([keras.Input((7, 3)), keras.layers.LSTM(4)])
            self.beside = torch.nn.LSTM(3, 4)

    wrapper = gs.accelerate(Wrapper())
    assert gs.compat.is_accelerated(wrapper.inside.layers[0])
    assert gs.compat.is_accelerated(wrapper.beside)


def test_a_subclass_is_left_alone_and_named(caplog: pytest.LogCaptureFixture) -> None:
    class Doubled(keras.layers.LSTM):
        def inner_loop(self, *arguments: Any, **named: Any) -> Any:
            return [2 * part for part in super().inner_loop(*arguments, **named)]

    model = keras.Sequential([keras.Input((7, 3)), Doubled(4, name="mine")])
    gs.accelerate(model)
    assert type(model.layers[0]) is Doubled
    assert "mine is left as it is" in caplog.text


def test_copies_that_keras_makes() -> None:
    """`clone_model` keeps our classes; what goes through a file is Keras' own, and computes the same."""
    model = model_of(ours, compiled=False)
    assert kinds(keras.models.clone_model(model)) == kinds(model)
    expected = model.predict(TOKENS, verbose=0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert kinds(other) == kinds(model_of(keras.layers))
        np.testing.assert_allclose(other.predict(TOKENS, verbose=0), expected, rtol=0, atol=1e-5)


def test_dropout_repeats_a_run_with_its_seed() -> None:
    losses = []
    for seed in (5, 5, 6):
        model = model_of(ours)
        keras.utils.set_random_seed(seed)
        losses.append(model.fit(TOKENS, WANTED, epochs=2, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def fake(version: str, backend: str) -> Any:
    return SimpleNamespace(__version__=version, backend=SimpleNamespace(backend=lambda: backend))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (None, r"Keras is not installed\n\nhint: pip install 'gatestack\[keras\]'"),
        (fake("2.15.0", "tensorflow"), r"version 2\.15\.0 — expected 3 or later"),
        (
            fake("3.15.1", "jax"),
            "runs on its jax backend — expected the torch backend\n\nhint: set KERAS_BACKEND",
        ),
    ],
)
def test_without_keras_on_torch_the_error_says_what_to_do(
    module: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keras", module)
    with pytest.raises(ArgumentError, match=text):
        requirement.check_keras()


def test_a_backend_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(requirement.importlib, "import_module", failing)
    with pytest.raises(ArgumentError, match="No module named 'tensorflow' — expected its torch backend"):
        requirement.check_keras()


def test_a_model_of_images_is_saved_loaded_and_accelerated(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    frames = keras.Input((4, 6, 6, 1))
    y = ours.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(frames)
    model = keras.Model(frames, ours.ConvLSTM2D(2, 3)(y))
    model.compile("adam", "mse")
    x = np.random.default_rng(1).standard_normal((5, 4, 6, 6, 1))
    model.fit(x, np.ones((5, 4, 4, 2)), verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "frames.keras")
    loaded = keras.models.load_model(tmp_path / "frames.keras")
    assert type(loaded.layers[1]) is keras.layers.ConvLSTM2D
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=0, atol=1e-5)
    assert type(gs.accelerate(loaded).layers[1]) is ours.ConvLSTM2D
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=0, atol=1e-6)
