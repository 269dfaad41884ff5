"""A `.keras` file is replayed by Keras itself, and only after our reader has read it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from gatestack.convert.keras import replay, write_keras
from gatestack.convert.keras.replay import answers_of_keras
from gatestack.convert.layers import (
    Dense,
    DenseOptions,
    Embedding,
    EmbeddingOptions,
    RecurrentLayer,
    RecurrentOptions,
)
from gatestack.convert.network import Network
from gatestack.convert.ports import Node, Port
from gatestack.errors import ArgumentError, ModelFileError


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, Network]:
    lstm = RecurrentOptions(cell="lstm", input_size=4, hidden_size=5, masked_output="hold")
    nodes = [
        Node("table", Embedding(EmbeddingOptions(vocabulary_size=9, size=4, mask_zero=True)), ("words",)),
        Node("lstm", RecurrentLayer(lstm), ("table",)),
        Node("out", Dense(DenseOptions(units=2, input_size=5)), ("lstm",)),
    ]
    network = Network([Port("words", (None,), "int64")], nodes, ["out", "lstm"])
    write_keras(network, tmp_path / "m.keras")
    return tmp_path / "m.keras", network


def calls() -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(0)
    return [{"input.0": draw.integers(0, 9, shape)} for shape in ((1, 3), (4, 7))]


def test_keras_gives_the_numbers_of_the_network(
    file: tuple[Path, Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, network = file
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    runner, found = answers_of_keras(path.read_bytes(), calls(), where="m.keras")
    assert runner.startswith("Keras 3.")
    assert runner.endswith(" on its torch backend")
    for call, answer in zip(calls(), found, strict=True):
        for number, ours in enumerate(network.predict(call["input.0"])):
            np.testing.assert_allclose(answer[f"output.{number}"], ours, rtol=0, atol=1e-5)


def test_what_keras_cannot_do_is_said(file: tuple[Path, Network], monkeypatch: pytest.MonkeyPatch) -> None:
    content = file[0].read_bytes()
    monkeypatch.setenv("KERAS_BACKEND", "nosuch")
    with pytest.raises(ModelFileError, match=r"m\.keras: it cannot be computed: .*nosuch"):
        answers_of_keras(content, calls(), where="m.keras")
    monkeypatch.setattr(replay, "keras_is_installed", lambda: False)
    with pytest.raises(ArgumentError, match=r"gatestack\[keras\]"):
        answers_of_keras(content, calls(), where="m.keras")


def test_a_file_that_is_not_read_never_reaches_keras(
    file: tuple[Path, Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Lambda in it would run: the process with Keras must not even be started."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("Keras was started")

    monkeypatch.setattr(replay, "answers_of_child", started)
    copy = tmp_path / "lambda.keras"
    with zipfile.ZipFile(file[0]) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"class_name": "Dense"', b'"class_name": "Lambda"'))
    with pytest.raises(ModelFileError, match="a Lambda layer is refused"):
        answers_of_keras(copy.read_bytes(), calls(), where=str(copy))
