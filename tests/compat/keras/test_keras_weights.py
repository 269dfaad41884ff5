"""Weights in the layout of the kernels are those that Keras' layer has at the moment."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

from gatestack.compat import keras as ours
from gatestack.compat.keras import weights as converted

X = torch.tensor(np.random.default_rng(1).standard_normal((4, 6, 3)).astype("float32"))


def pair(kind: str) -> tuple[Any, Any]:
    both = [getattr(module, kind)(5) for module in (ours, keras.layers)]
    for layer in both:
        layer.build(X.shape)
    both[0].set_weights(both[1].get_weights())
    return both[0], both[1]


def assign(layer: Any) -> None:
    layer.cell.recurrent_kernel.assign(layer.cell.recurrent_kernel.numpy() * 0.5)


def set_all(layer: Any) -> None:
    layer.set_weights([weight * 0.5 for weight in layer.get_weights()])


def bias_in_place(layer: Any) -> None:
    with torch.no_grad():
        layer.cell.bias.value.add_(0.5)


def past_the_count(layer: Any) -> None:
    layer.cell.kernel.value.data.mul_(0.5)


def other_memory(layer: Any) -> None:
    parameter = layer.cell.kernel.value
    parameter.data = parameter.data * 0.5


def step(layer: Any, optimiser: torch.optim.Optimizer) -> None:
    with torch.enable_grad():
        layer(X).square().sum().backward()
    optimiser.step()


def by_fused_optimiser(layer: Any) -> None:
    step(layer, torch.optim.Adam([weight.value for weight in layer.weights], lr=0.1, fused=True))


def by_keras_optimiser(layer: Any) -> None:
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    with torch.enable_grad():
        model.fit(X.numpy(), np.ones((4, 5)), epochs=1, batch_size=4, verbose=0)


CHANGES: list[Callable[[Any], None]] = [
    assign,
    set_all,
    bias_in_place,
    past_the_count,
    other_memory,
    by_fused_optimiser,
    by_keras_optimiser,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_change_of_weights_is_seen_in_inference(kind: str, change: Callable[[Any], None]) -> None:
    fast, plain = pair(kind)
    with torch.no_grad():
        before = fast(X)
        for layer in (fast, plain):
            change(layer)
        after = fast(X)
        assert (after - before).abs().max() > 1e-3, "the change should be felt"
        torch.testing.assert_close(after, plain(X), rtol=0, atol=1e-4)


def test_weights_that_stay_are_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    plain = converted._converted

    def counted(cell: Any, given: Any) -> Any:
        made.append(cell)
        return plain(cell, given)

    monkeypatch.setattr(converted, "_converted", counted)
    layer, _ = pair("GRU")
    with torch.no_grad():
        first = converted.weights_of(layer.cell)
        assert converted.weights_of(layer.cell) is first
    assert len(made) == 1
    layer.trainable = False
    assert converted.weights_of(layer.cell) is first, "weights without gradients stay what they are"
    layer.trainable = True
    assert converted.weights_of(layer.cell) is not first
    with torch.inference_mode():
        assert converted.weights_of(layer.cell) is first


def test_what_is_kept_goes_with_its_layer() -> None:
    layer, _ = pair("LSTM")
    with torch.no_grad():
        layer(X)
    gc.collect()
    before = len(converted._kept)
    del layer
    gc.collect()
    assert len(converted._kept) < before
