"""The layers of `gatestack.compat.keras` compute what Keras' own do, on its torch backend."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras_cases import Case, build, draw, draw_convolutional, features_of, run_on_torch

from gatestack.compat import keras as ours
from gatestack.compat.keras import bidirectional, conv_lstm, layer_call
from gatestack.kernels import backend
from gatestack.kernels.backend import choose_backend, use_backend

# Of outputs of size 1, and of gradients relative to the largest; sums in another order.
SINGLE, DOUBLE = 4e-5, 1e-11
ON_KERNELS = choose_backend(torch.zeros(1)) == "native"
needs_kernels = pytest.mark.skipif(not ON_KERNELS, reason="the compiled kernels are not used here")


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each call that reached the kernels leaves its spec here."""
    calls: list[object] = []

    def counting(plain: Callable[..., object]) -> Callable[..., object]:
        def counted(spec: object, *arguments: object, **named: object) -> object:
            calls.append(spec)
            return plain(spec, *arguments, **named)

        return counted

    monkeypatch.setattr(layer_call, "run_stack", counting(layer_call.run_stack))
    monkeypatch.setattr(bidirectional, "run_stack", counting(bidirectional.run_stack))
    monkeypatch.setattr(conv_lstm, "run_conv_lstm", counting(conv_lstm.run_conv_lstm))
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


CASES = [(draw, first) for first in range(0, 240, 30)] + [(draw_convolutional, first) for first in (0, 30)]


@pytest.mark.parametrize(("drawn", "first"), CASES)
def test_results_states_and_gradients_are_those_of_keras(
    drawn: Callable[[int], Case], first: int, kernel_calls: list[object]
) -> None:
    for seed in range(first, first + 30):
        case = drawn(seed)
        layer = build(ours, case)
        before = len(kernel_calls)
        found = run_on_torch(layer, case)  # a message "seed 7: LSTM(…)" is replayed by `draw(7)`
        reached = len(kernel_calls) > before
        assert_alike(case, found, run_on_torch(build(keras.layers, case), case))
        if ON_KERNELS:
            assert reached == case.of_kernels, f"kernels reached: {reached}; {case}"


# At least so many of the cases have what is named.
LEAST = {
    "LSTM": 60, "GRU": 60, "SimpleRNN": 60, "ConvLSTM2D": 60, "masked": 120, "bidirectional": 60,
    "return_sequences": 120, "return_state": 100, "initial_state": 60, "stateful": 50, "go_backwards": 50,
    "zero_output_for_mask": 60, "recurrent_dropout in training": 25, "recurrent_dropout in inference": 25,
    "reset_after=True": 30, "reset_after=False": 20,
}  # fmt: skip


def test_every_option_is_among_the_drawn_cases() -> None:
    drawn = [draw_one(seed) for draw_one, first in CASES for seed in range(first, first + 30)]
    found = Counter(feature for case in drawn for feature in features_of(case))
    assert len(drawn) == 300
    few = {name: found[name] for name, least in LEAST.items() if found[name] < least}
    assert not few


KINDS = ("LSTM", "GRU", "SimpleRNN")


def pair(kind: str, shape: tuple[int, ...] = (4, 6, 3), **options: Any) -> tuple[Any, Any]:
    """Make our layer and Keras' own with the same weights, none of them zero."""
    both = [getattr(module, kind)(5, **options) for module in (ours, keras.layers)]
    for layer in both:
        layer.build(shape)
        numbers = np.random.default_rng(1)
        layer.set_weights([numbers.standard_normal(weight.shape) * 0.4 for weight in layer.get_weights()])
    return both[0], both[1]


def random(*shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(2).standard_normal(shape).astype("float32"))


@pytest.mark.parametrize("kind", [*KINDS, "Bidirectional"])
def test_a_layer_is_that_of_keras_in_all_but_its_loop(kind: str) -> None:
    wrap = kind == "Bidirectional"
    given = (keras.layers.LSTM(5, name="inside"),) if wrap else (5,)
    one, other = (getattr(module, kind)(*given, name="same") for module in (ours, keras.layers))
    assert isinstance(one, type(other))
    assert one.get_config() == other.get_config()
    for layer in (one, other):
        layer.build((None, 6, 3))
    assert [(w.name, w.path, tuple(w.shape)) for w in one.weights] == [
        (w.name, w.path, tuple(w.shape)) for w in other.weights
    ]


@pytest.mark.parametrize(
    ("options", "training", "reason"),
    [
        ({"activation": "elu"}, False, "activations are elu, sigmoid"),
        ({"recurrent_activation": "hard_sigmoid"}, False, "activations are tanh, hard_sigmoid"),
        ({"recurrent_dropout": 0.2}, True, "recurrent_dropout in training"),
        ({"use_cudnn": True}, False, "use_cudnn=True"),
        ({"implementation": 1, "dropout": 0.2, "use_cudnn": False}, True, "its dropout in training"),
    ],
)
def test_what_keras_computes_itself_is_said_once(
    options: dict[str, Any],
    training: bool,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    kernel_calls: list[object],
) -> None:
    backend.say_once.cache_clear()
    fast, plain = pair("LSTM", seed=1, **options)
    x = random(4, 6, 3)
    with caplog.at_level(logging.INFO, logger="gatestack"):
        results = []
        for layer in (fast, plain, fast):
            layer.cell.seed_generator.state.assign([1, 0])
            results.append(layer(x, training=training))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert not kernel_calls
    assert caplog.text.count("runs on Keras' own code") == 1
    assert reason in caplog.text


@needs_kernels
def test_recurrent_dropout_leaves_inference_on_the_kernels(kernel_calls: list[object]) -> None:
    fast, plain = pair("GRU", recurrent_dropout=0.5, dropout=0.5)
    x = random(4, 6, 3)
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-5)
    assert len(kernel_calls) == 1


@needs_kernels
def test_unrolled_backwards_under_a_mask_is_as_without_unrolling(kernel_calls: list[object]) -> None:
    fast, plain = pair("LSTM", unroll=True, go_backwards=True)
    x, mask = random(4, 6, 3), torch.tensor(np.random.default_rng(3).random((4, 6)) < 0.6)
    plain.unroll = False  # unrolled, Keras' code ends in an AttributeError
    torch.testing.assert_close(fast(x, mask=mask), plain(x, mask=mask), rtol=0, atol=1e-5)
    assert len(kernel_calls) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_masked_steps_is_not_read(kind: str) -> None:
    fast, _ = pair(kind, return_sequences=True)
    mask = torch.tensor(np.random.default_rng(3).random((4, 6)) < 0.6)
    x = random(4, 6, 3)
    if choose_backend(x) != "native":
        pytest.skip("the compiled kernels are not used here")
    spoilt = x.masked_fill(~mask[:, :, None], torch.nan).requires_grad_()
    y = fast(spoilt, mask=mask)
    torch.testing.assert_close(y, fast(x, mask=mask), rtol=0, atol=0)
    y.sum().backward()
    assert all(weight.value.grad.isfinite().all() for weight in fast.trainable_weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_layer_goes_on_where_it_was_and_can_be_reset(kind: str) -> None:
    fast, plain = pair(kind, stateful=True, return_sequences=True)
    whole, _ = pair(kind, return_sequences=True)
    x = random(4, 12, 3)
    parts = torch.cat([fast(x[:, :6]), fast(x[:, 6:])], dim=1)
    torch.testing.assert_close(parts, whole(x), rtol=0, atol=1e-5)
    assert any(state.numpy().any() for state in fast.states)
    fast.reset_state()
    assert not any(state.numpy().any() for state in fast.states)
    torch.testing.assert_close(fast(x[:, :6]), whole(x[:, :6]), rtol=0, atol=1e-5)
    assert raised_by(fast, x[:3]) == raised_by(plain, x[:3])


@needs_kernels
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_stateful_layer_trains(kind: str) -> None:
    """Keras' own raises here: it writes the new state into memory that the backward pass needs."""
    fast, plain = pair(kind, stateful=True)
    plain.use_cudnn = False
    for _ in range(2):
        found = [
            torch.autograd.grad(layer(random(4, 6, 3)).sum(), weights_in(layer)) for layer in (fast, plain)
        ]
        torch.testing.assert_close(*found, rtol=0, atol=1e-4)


def weights_in(layer: Any) -> list[torch.Tensor]:
    return [weight.value for weight in layer.trainable_weights]


def raised_by(layer: Any, *arguments: Any, **named: Any) -> tuple[type[BaseException], str]:
    try:
        layer(*arguments, **named)
    except Exception as error:  # noqa: BLE001 (whatever Keras raises is to be compared)
        # The text names the layer by a number that Keras counts up.
        return type(error), str(error).replace(getattr(layer, "name", ""), "")
    return type(None), ""


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_calls_are_refused_in_the_words_of_keras(kind: str) -> None:
    fast, plain = pair(kind, name="layer")
    x = random(4, 6, 3)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x[0],), {}),
        ((x[None],), {}),
        ((x[:, :, :2],), {}),
        ((x[:, :0],), {}),
        ((x, [random(4, 7)] * (2 if kind == "LSTM" else 1)), {}),
        ((x, [random(3, 5)] * (2 if kind == "LSTM" else 1)), {}),
        ((x,), {"mask": torch.ones(3, 6, dtype=torch.bool)}),
    ]
    for arguments, named in calls:
        expected = raised_by(plain, *arguments, **named)
        assert expected[0] is not type(None)
        assert raised_by(fast, *arguments, **named) == expected
    for arguments, named in (((0,), {}), ((3,), {"use_cudnn": "yes"}), ((3,), {"unit": 1})):
        expected = raised_by(getattr(keras.layers, kind), *arguments, **named)
        assert expected[0] is not type(None)
        assert raised_by(getattr(ours, kind), *arguments, **named)[0] is expected[0]


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_has_the_rate_and_follows_the_seed(kind: str) -> None:
    layer, _ = pair(kind, (200, 4, 50), dropout=0.3, return_sequences=True)
    x = torch.ones(200, 4, 50)
    seen: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        plain = layer_call.run_stack
        patch.setattr(
            layer_call, "run_stack", lambda spec, x, *a, **k: seen.append(x) or plain(spec, x, *a, **k)
        )
        for seed in (1, 1, 2):
            keras.utils.set_random_seed(seed)
            layer(x, training=True)
        layer(x, training=False)
    if not seen:
        pytest.skip("the compiled kernels are not used here")
    first, again, other, none = seen
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(none, x)
    assert torch.equal(first, first[:, :1].expand_as(first)), "a mask stays over time"
    dropped = (first[:, 0] == 0).float().mean()
    assert abs(float(dropped) - 0.3) < 5 * (0.3 * 0.7 / 10_000) ** 0.5
    torch.testing.assert_close(first.max(), torch.tensor(1 / 0.7))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_policies_give_the_dtypes_of_keras(kind: str, policy: str) -> None:
    # The default is drawn by a QR decomposition, which torch has not in bfloat16.
    options = {"recurrent_initializer": "zeros", "return_sequences": True, "return_state": True}
    fast, plain = pair(kind, dtype=policy, **options)
    x = random(4, 6, 3)
    mask = torch.tensor(np.random.default_rng(3).random((4, 6)) < 0.6)
    for extra in ({}, {"mask": mask}):
        found, expected = fast(x, **extra), plain(x, **extra)
        for one, theirs in zip(found, expected, strict=True):
            assert one.dtype is theirs.dtype
            torch.testing.assert_close(one.float(), theirs.float(), rtol=0, atol=0.03)
    sum(part.float().sum() for part in fast(x)).backward()
    assert all(weight.value.grad is not None for weight in fast.trainable_weights)


def test_whole_numbers_are_taken_as_keras_takes_them() -> None:
    fast, plain = pair("LSTM")
    x = torch.arange(72).reshape(4, 6, 3) % 3
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-5)


def test_another_backend_by_name_is_respected(kernel_calls: list[object]) -> None:
    fast, plain = pair("LSTM")
    x = random(4, 6, 3)
    with use_backend("torch"):
        torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=0)
    assert not kernel_calls


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave", None])
def test_both_directions_are_one_call(merge_mode: str | None, kernel_calls: list[object]) -> None:
    layers = [
        module.Bidirectional(keras.layers.GRU(5), merge_mode=merge_mode) for module in (ours, keras.layers)
    ]
    x, mask = random(4, 6, 3), torch.tensor(np.random.default_rng(3).random((4, 6)) < 0.6)
    for layer in layers:
        layer.build(x.shape)
    layers[0].set_weights(layers[1].get_weights())
    torch.testing.assert_close(layers[0](x, mask=mask), layers[1](x, mask=mask), rtol=0, atol=1e-5)
    if ON_KERNELS:
        assert len(kernel_calls) == 1


def test_directions_that_differ_are_computed_apart(kernel_calls: list[object]) -> None:
    backward = {"go_backwards": True, "return_sequences": True, "name": "b"}
    forward = {"return_sequences": True, "name": "f"}
    made = []
    for module in (ours, keras.layers):
        keras.utils.set_random_seed(1)
        other = keras.layers.LSTM(5, activation="softsign", **backward)
        made.append(module.Bidirectional(keras.layers.LSTM(5, **forward), backward_layer=other))
    x = random(4, 6, 3)
    torch.testing.assert_close(made[0](x), made[1](x), rtol=0, atol=1e-5)
    if ON_KERNELS:
        assert len(kernel_calls) == 1


def test_it_goes_through_torch_compile() -> None:
    fast, _ = pair("LSTM", return_sequences=True)
    x = random(4, 6, 3)
    expected = fast(x)
    compiled = torch.compile(lambda x: fast(x), backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected, rtol=0, atol=1e-6)


@needs_kernels
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_convolutional_layer_goes_on_where_it_was(data_format: str, kernel_calls: list[object]) -> None:
    options = {"padding": "same", "stateful": True, "data_format": data_format, "name": "conv"}
    fast, plain = (module.ConvLSTM2D(2, 3, **options) for module in (ours, keras.layers))
    x = random(2, 4, 3, 6, 6)
    x = x if data_format == "channels_first" else x.movedim(2, -1)
    for layer in (fast, plain):
        layer.build(x.shape)
    fast.set_weights(plain.get_weights())
    for _ in range(2):
        torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-5)
    for layer in (fast, plain):
        layer.reset_state()
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-5)
    assert len(kernel_calls) == 3
    assert raised_by(fast, x[:1]) == raised_by(plain, x[:1])
    assert [(w.name, w.path, tuple(w.shape)) for w in fast.weights] == [
        (w.name, w.path, tuple(w.shape)) for w in plain.weights
    ]
    assert fast.get_config() == plain.get_config()


def test_a_batch_without_a_real_step_trains_a_convolutional_layer() -> None:
    layer = ours.ConvLSTM2D(2, 3)
    y = layer(random(2, 4, 6, 6, 3), mask=torch.zeros(2, 4, dtype=torch.bool))
    y.sum().backward()
    assert not y.any()
