"""Convolutional LSTMs against the installed Keras on torch: drawn configurations, results and gradients.

To replay one: `pytest tests/nn/test_conv_lstm_against_keras.py -k "17 and ours"`.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from conv_lstm_cases import Case, build_ours, build_theirs, draw, features_of, run_ours, run_theirs
from torch import Tensor

keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend than torch", allow_module_level=True)

SEEDS = range(110)


def tolerance_of(case: Case) -> float:
    """Float64: roundings alone. Float32: some hundred of them, on numbers up to 30."""
    if case.dtype is torch.float32:
        return 2e-4
    # torch's backward pass of hardsigmoid, which Keras calls, knows 1/6 in float32.
    return 1e-6 if case.options["recurrent_activation"] == "hard_sigmoid" else 1e-10


def assert_same(case: Case, found: list[Tensor], expected: list[Tensor], what: str) -> None:
    assert len(found) == len(expected), str(case)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(
            one,
            other,
            rtol=0,
            atol=tolerance_of(case),
            msg=lambda said, number=number: f"{what} {number} of {case}\n{said}",
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_ours_gives_what_keras_gives(seed: int) -> None:
    case = draw(seed)
    theirs = build_theirs(keras.layers, case)
    ours = build_ours(case, theirs)
    expected, found = run_theirs(case, theirs), run_ours(case, ours)
    assert_same(case, found[0], expected[0], "result")
    assert_same(case, found[1], expected[1], "gradient")


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if draw(seed).dimensions == 2])
def test_the_drop_in_gives_what_keras_gives(seed: int) -> None:
    from gatestack.compat import keras as drop_in

    case = draw(seed)
    expected = run_theirs(case, build_theirs(keras.layers, case))
    found = run_theirs(case, build_theirs(drop_in, case))
    assert_same(case, found[0], expected[0], "result")
    assert_same(case, found[1], expected[1], "gradient")


def test_every_option_is_among_the_drawn_cases() -> None:
    found = Counter(feature for seed in SEEDS for feature in features_of(draw(seed)))
    names = ("1D", "2D", "3D", "torch.float32", "torch.float64", "same", "valid", "strides", "dilation_rate")
    names += ("return_sequences", "go_backwards", "stateful", "use_bias", "initial states", "activations")
    few = {name: found[name] for name in (*names, "masked", "holes") if found[name] < 10}
    assert not few


@pytest.mark.parametrize("unit_forget_bias", [False, True])
def test_biases_start_as_in_keras(unit_forget_bias: bool) -> None:
    theirs = keras.layers.ConvLSTM2D(3, 2, unit_forget_bias=unit_forget_bias)
    theirs.build((None, 2, 5, 5, 1))
    from gatestack.nn import ConvLSTM2D

    ours = ConvLSTM2D(3, 2, 1, forget_bias=float(unit_forget_bias))
    assert torch.equal(ours.bias_ih_l0 + ours.bias_hh_l0, theirs.cell.bias.value)
