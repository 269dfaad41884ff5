"""The layers of `gatestack.compat.keras` compute what Keras' own do, on its torch backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import torch
from keras_cases import Case, build, draw, run_on_torch

from gatestack.compat import keras as ours
from gatestack.compat.keras import bidirectional, layer_call
from gatestack.kernels import backend
from gatestack.kernels.backend import choose_backend

# Of outputs of size 1, and of gradients relative to the largest; sums in another order.
SINGLE, DOUBLE = 4e-5, 1e-11
ON_KERNELS = choose_backend(torch.zeros(1)) == "native"
needs_kernels = pytest.mark.skipif(not ON_KERNELS, reason="the compiled kernels are not used here")


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each call that reached the kernels leaves its spec here."""
    calls: list[object] = []

    def counted(spec: object, *arguments: object, **named: object) -> object:
        calls.append(spec)
        return plain(spec, *arguments, **named)

    plain: Callable[..., object] = layer_call.run_stack
    monkeypatch.setattr(layer_call, "run_stack", counted)
    monkeypatch.setattr(bidirectional, "run_stack", counted)
    return calls


def assert_alike(case: Case, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys(), case
    for name, theirs in expected.items():
        assert found[name].dtype == theirs.dtype, f"{name} of {case}"
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(
            found[name] / scale,
            theirs / scale,
            rtol=0,
            atol=DOUBLE if case.in_double else SINGLE,
            err_msg=f"{name} of {case}",
        )


@pytest.mark.parametrize("first", range(0, 300, 30))
def test_results_states_and_gradients_are_those_of_keras(first: int, kernel_calls: list[object]) -> None:
    for seed in range(first, first + 30):
        case = draw(seed)
        layer = build(ours, case)
        before = len(kernel_calls)
        found = run_on_torch(layer, case)
        reached = len(kernel_calls) > before
        assert_alike(case, found, run_on_torch(build(keras.layers, case), case))
        if ON_KERNELS:
            assert reached == case.of_kernels, f"kernels reached: {reached}; {case}"
