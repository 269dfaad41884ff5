"""Options of convolutional LSTMs, each seen to do what it says; ragged batches; compiled layers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.kernels import library
from gatestack.kernels.backend import use_backend
from gatestack.kernels.conv_lstm.step import NativeStep
from gatestack.nn import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, ConvLSTMForm, Stack

N, T, C, F = 3, 4, 2, 3
needs_kernels = pytest.mark.skipif(library.find() is None, reason="no compiled kernels here")


def make(*, seed: int = 3, **options: object) -> ConvLSTM2D:
    torch.manual_seed(seed)
    return ConvLSTM2D(F, 3, C, **options).double()


def images(*shape: int) -> Tensor:
    return torch.randn(*(shape or (N, T, C, 6, 5)), dtype=torch.float64)


# Recurrent dropout.


def test_recurrent_dropout_is_drawn_from_the_seed_and_in_training_alone() -> None:
    layer, x = make(recurrent_dropout=0.5), images()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(layer(x)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(layer.eval()(x)[0], make()(x)[0])


@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_kernels), "torch"])
def test_recurrent_dropout_leaves_out_its_share_of_h_the_same_at_all_steps(backend: str) -> None:
    """A layer that hands h on as it is seen: its gates are open, and nothing else comes in."""
    share, layer = 0.3, ConvLSTM2D(1, 1, 1, recurrent_dropout=0.3).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_hh_l0[2] = 1.0  # g = tanh(m ∘ h)
        layer.bias_ih_l0[:] = torch.tensor([50.0, -50.0, 0.0, 50.0])  # i = o = 1, f = 0
    torch.manual_seed(5)
    h = torch.full((1, 40, 1, 25, 20), 0.01, dtype=torch.float64)
    with use_backend(backend), torch.no_grad():
        y, _ = layer(torch.zeros(40, 2, 1, 25, 20, dtype=torch.float64), (h, h))
    kept = y[:, 0] > 1e-6
    # 20,000 draws: a standard deviation of 0.3 per cent.
    assert abs(kept.double().mean() - (1 - share)) < 0.015
    shares = kept.double().mean(dim=(2, 3)).squeeze(1)  # each row has draws of its own
    assert len(set(shares.tolist())) > 10
    torch.testing.assert_close(
        y[:, 0][kept], torch.full_like(y[:, 0][kept], 0.01 / (1 - share)), rtol=1e-3, atol=0
    )
    assert torch.equal(y[:, 1] > 1e-6, kept)
    again = 0.01 / (1 - share) ** 2
    torch.testing.assert_close(y[:, 1][kept], torch.full_like(y[:, 1][kept], again), rtol=1e-3, atol=0)


def test_recurrent_dropout_is_on_average_no_change() -> None:
    """To first order: h so small that tanh is a line."""
    layer = make(recurrent_dropout=0.4)
    x = images(1, 2, C, 4, 4) * 1e-3
    with torch.no_grad():
        expected = layer.eval()(x)[0]
        layer.train()
        found = layer(x.expand(4000, -1, -1, -1, -1))[0]
    error = (found.mean(0) - expected[0]).abs()
    assert (error < 6 * found.std(0) / 4000**0.5 + 1e-8).all()
    assert found.std(0)[1].max() > 0


def test_keras_draws_recurrent_dropout_for_each_gate_and_the_drop_in_does_so_too(caplog) -> None:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend than torch")
    from gatestack.compat.keras import ConvLSTM2D as DropIn

    layers = [module(2, 3, recurrent_dropout=0.5, seed=7) for module in (keras.layers.ConvLSTM2D, DropIn)]
    x = torch.randn(2, 3, 6, 6, 1)
    for layer in layers:
        layer.build(x.shape)
    layers[1].set_weights(layers[0].get_weights())
    with caplog.at_level(logging.INFO, logger="gatestack"):
        theirs, ours = (layer(x, training=True) for layer in layers)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    masks = layers[1].cell.get_recurrent_dropout_mask(torch.ones(2, 4, 4, 2))
    assert len(masks) == 4
    assert not torch.equal(masks[0], masks[1])


# The bias of the forget gate.


@pytest.mark.parametrize("bias", [0.0, 1.0, -2.5])
def test_forget_bias_is_what_the_forget_gate_starts_from(bias: float) -> None:
    layer = make(forget_bias=bias)
    total = layer.bias_ih_l0 + layer.bias_hh_l0
    assert total.tolist() == [0.0] * F + [bias] * F + [0.0] * 2 * F
    # Nothing but c goes in, and f alone decides what is left of it.
    c = torch.ones(1, 1, F, 6, 5, dtype=torch.float64)
    _, (_, left) = layer(torch.zeros(1, 1, C, 6, 5, dtype=torch.float64), (torch.zeros_like(c), c))
    torch.testing.assert_close(left, torch.full_like(left, 1 / (1 + torch.exp(torch.tensor(-bias)).item())))


@pytest.mark.parametrize("bias", [True, "1", None])
def test_a_forget_bias_that_is_no_number_is_refused(bias: object) -> None:
    with pytest.raises(ArgumentError, match="forget_bias"):
        ConvLSTM2D(F, 3, forget_bias=bias)


# Ragged batches.


@needs_kernels
def test_nothing_is_computed_for_padded_steps(monkeypatch) -> None:
    seen: list[int] = []
    forward = NativeStep.forward
    monkeypatch.setattr(
        NativeStep, "forward", lambda self, sums, *rest: seen.append(len(sums)) or forward(self, sums, *rest)
    )
    layer, x = make(), images(4, 5, C, 6, 5)
    lengths = torch.tensor([5, 1, 0, 3])
    layer(x, lengths=lengths)
    assert sum(seen) == int(lengths.sum())
    seen.clear()
    mask = torch.rand(4, 5) < 0.5
    layer(x, mask=mask)
    assert sum(seen) == int(mask.sum())


@pytest.mark.parametrize("peepholes", [None, "channels", "positions"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_ragged_chunks_with_their_states_give_the_whole(dimensions: int, peepholes: str | None) -> None:
    torch.manual_seed(1)
    kind = (ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)[dimensions - 1]
    space = (6, 5, 4)[:dimensions]
    layer = kind(F, 3, C, stride=2, form=ConvLSTMForm(peepholes=peepholes)).build(C, space).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    x, mask = images(5, 7, C, *space), torch.rand(5, 7) < 0.6
    mask[1] = False
    whole, finals = layer(x, mask=mask)
    pieces, state = [], None
    for begin, end in ((0, 2), (2, 2), (2, 6), (6, 7)):  # one of them empty
        output, state = layer(x[:, begin:end], state, mask=mask[:, begin:end])
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
    for one, other in zip(state, finals, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_kernels), "torch"])
@pytest.mark.parametrize(("rows", "steps"), [(0, T), (N, 0), (0, 0)])
@pytest.mark.parametrize("sequences", [False, True])
def test_no_rows_and_no_steps_are_fine(rows: int, steps: int, sequences: bool, backend: str) -> None:
    layer = make(return_sequences=sequences)
    x = images(rows, steps, C, 6, 5).requires_grad_()
    state = tuple(images(1, rows, F, 6, 5) for _ in range(2))
    with use_backend(backend):
        for given in (None, state):
            for options in ({}, {"lengths": [0] * rows}, {"mask": torch.ones(rows, steps, dtype=torch.bool)}):
                output, (h, c) = layer(x, given, **options)
                assert output.shape == ((rows, steps, F, 6, 5) if sequences else (rows, F, 6, 5))
                wanted = given or (torch.zeros(1, rows, F, 6, 5, dtype=torch.float64),) * 2
                assert torch.equal(h, wanted[0])
                assert torch.equal(c, wanted[1])
                (output.sum() + h.sum() + c.sum()).backward()
    assert all(not parameter.grad.any() for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer(images(N, T, C, 6)), r"expected \(batch, time, 2, height, width\)"),
        (
            lambda layer: layer(images(N, T, 5, 6, 5)),
            r"\(3, 4, 5, 6, 5\) — expected \(batch, time, 2, height",
        ),
        (lambda layer: layer(images().float()), "float32"),
        (lambda layer: layer(images(), lengths=[1, 2]), "lengths"),
        (lambda layer: layer(images(), lengths=[1, 2, 9]), "lengths"),
        (lambda layer: layer(images(), mask=torch.ones(N, T + 1, dtype=torch.bool)), "mask"),
        (lambda layer: layer(images(), (images(1, N, F, 6, 5), images(1, N, F, 5, 6))), r"\(1, 3, 3, 5, 6\)"),
    ],
)
def test_what_does_not_fit_is_named_with_its_axes(call, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(make())


@needs_kernels
@pytest.mark.parametrize(("channels", "size", "rows"), [((1, 16), 64, 1), ((3, 5), 20, 3), ((8, 40), 16, 2)])
def test_chunks_and_rows_alone_give_the_same_bits(channels: tuple[int, int], size: int, rows: int) -> None:
    """However many images are convolved at once."""
    torch.manual_seed(1)
    layer = ConvLSTM2D(channels[1], 3, channels[0]).eval()
    x = torch.randn(rows, 6, channels[0], size, size)
    with use_backend("native"), torch.inference_mode():
        whole, _ = layer(x)
        pieces, state = [], None
        for begin, end in ((0, 1), (1, 3), (3, 6)):
            output, state = layer(x[:, begin:end], state)
            pieces.append(output)
        alone = [layer(x[row : row + 1], lengths=[6])[0] for row in range(rows)]
        ragged, _ = layer(x, lengths=[6, *[4] * (rows - 1)])
    assert torch.equal(torch.cat(pieces, 1), whole)
    assert torch.equal(torch.cat(alone), whole)
    assert torch.equal(ragged[:, :4], whole[:, :4])


def test_a_stack_of_them_takes_ragged_batches() -> None:
    torch.manual_seed(2)
    stack = Stack(ConvLSTM2D(3, 3), ConvLSTM2D(2, 3, stride=2), input_size=C).double()
    x = images()
    output, _ = stack(x, lengths=[4, 2, 1])
    for row, length in enumerate([4, 2, 1]):
        alone, _ = stack(x[row : row + 1, :length])
        torch.testing.assert_close(output[row : row + 1, :length], alone, rtol=0, atol=1e-12)
        assert not output[row, length:].any()


# torch.compile


@pytest.fixture
def _forget_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_forget_graphs")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch, where a graph breaks
@pytest.mark.parametrize("options", [{}, {"lengths": torch.tensor([4, 0, 2])}], ids=["whole", "lengths"])
def test_a_compiled_layer_gives_the_same(options: dict[str, Tensor]) -> None:
    """In one graph where all steps are real; which ones are is data, and breaks it."""
    layer, x = make(), images()
    expected, (_, c) = layer(x, **options)
    wanted = torch.autograd.grad(expected.sum() + c.sum(), list(layer.parameters()))
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=not options)
    found, (_, c) = compiled(x, **options)
    gradients = torch.autograd.grad(found.sum() + c.sum(), list(layer.parameters()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
