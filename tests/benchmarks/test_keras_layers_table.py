"""The table of Keras' layers: its cases agree, its page tells what was measured."""

from __future__ import annotations

import keras_layers
import numpy as np
import pytest


@pytest.mark.parametrize("name", ["LSTM 16, one row of 10 steps", "LSTM 64, masked with holes"])
def test_answers_are_compared_before_they_are_timed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = [case for case in keras_layers.CASES if case.name == name]
    assert keras_layers.calls_of(case).keys() == {"predict", "train"}

    def spoilt(case: keras_layers.Case, layers: object) -> object:
        model = plain(case, layers)
        if layers is keras_layers.ours:
            monkeypatch.setattr(model, "predict_on_batch", lambda _: 0.0)
        return model

    plain = keras_layers.model_of
    monkeypatch.setattr(keras_layers, "model_of", spoilt)
    with pytest.raises(SystemExit, match=r"of the answers differ"):
        keras_layers.calls_of(case)


def test_masks_are_what_the_case_says() -> None:
    for case in keras_layers.CASES:
        x = keras_layers.batch_of(case)
        real = (x != 0).any(axis=tuple(range(2, x.ndim))) if x.ndim > 2 else x != 0
        assert x.shape == case.shape
        assert real.all() == (case.mask == "none")
        if case.mask == "right":
            assert (np.diff(real.astype(int), axis=1) <= 0).all()


def test_the_page_tells_what_was_measured() -> None:
    found = {"gatestack_ms": 1.0, "keras_ms": 2.5, "ratio": [2.0, 2.5, 3.0], "rounds": 3, "kernels": True}
    lost = found | {"ratio": [0.7, 0.8, 0.9]}
    own = found | {"ratio": [0.9, 1.0, 1.1], "kernels": False}
    table = {
        "machine": {
            "processor": "P",
            "cores": 1,
            "memory_gib": 1,
            "system": "S",
            "python": "3",
            "date": "2026-01-01",
        },
        "versions": {"keras": "3"},
        "threads": 1,
        "rounds": 3,
        "block_s": 0.1,
        "shared": "otherwise idle",
        "cases": [
            {"name": "LSTM", "shape": [2, 3, 4], "modes": {"predict": found, "train": lost, "own": own}}
        ],
    }
    page = keras_layers.page(table)
    assert "Of 2 calls on the kernels the ratio is 0.80 to 2.50, median 1.65;\n1 is lost." in page
    assert "| LSTM | 2×3×4 | predict | yes | 2.50 | 1.00 | 2.50 [2.00–3.00] |" in page
