"""Convolutional LSTMs as layers: lengths, states and bad input; and the numbers that Keras' layers give."""

import pytest
import torch

from gatestack.errors import ArgumentError
from gatestack.nn import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, ConvLSTMForm

keras = pytest.importorskip("keras")


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_numbers_of_keras(dimensions, stride, dilation, padding):
    theirs = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)[dimensions - 1]
    ours = (ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)[dimensions - 1]
    size = (3, 2, 3)[:dimensions]
    wanted = theirs(
        4,
        size,
        strides=stride,
        dilation_rate=dilation,
        padding=padding,
        return_sequences=True,
        bias_initializer="random_normal",
    )
    layer = ours(4, size, 2, stride=stride, dilation=dilation, padding=padding)
    x = torch.randn(2, 3, 2, *(7, 6, 7)[:dimensions])
    with torch.no_grad():
        expected = wanted(x.movedim(2, -1)).movedim(-1, 2)
        kernel, recurrent, bias = (weight.value.detach() for weight in wanted.weights)
        axes = (dimensions + 1, dimensions, *range(dimensions))
        layer.weight_ih_l0.copy_(kernel.permute(axes))
        layer.weight_hh_l0.copy_(recurrent.permute(axes))
        layer.bias_ih_l0.copy_(bias)
        layer.bias_hh_l0.zero_()
        torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=2e-6)


def small(**options) -> ConvLSTM2D:
    torch.manual_seed(3)
    return ConvLSTM2D(3, 3, 2, **options).double()


def test_pieces_with_their_states_give_the_whole():
    layer, x = small(), torch.randn(2, 5, 2, 6, 5, dtype=torch.float64)
    whole, (h, c) = layer(x)
    first, state = layer(x[:, :2])
    second, (h_pieces, c_pieces) = layer(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(h_pieces, h)
    torch.testing.assert_close(c_pieces, c)


def test_lengths_are_masks_and_unreal_steps_are_never_read():
    layer, x = small(), torch.randn(3, 4, 2, 6, 5, dtype=torch.float64)
    lengths = torch.tensor([4, 2, 0])
    mask = torch.arange(4) < lengths[:, None]
    x[~mask] = torch.nan
    output, (h, c) = layer(x, lengths=lengths)
    masked, _ = layer(x, mask=mask)
    torch.testing.assert_close(output, masked)
    alone, (h_alone, c_alone) = layer(x[1:2, :2])
    torch.testing.assert_close(output[1:2, :2], alone)
    torch.testing.assert_close(h[:, 1:2], h_alone)
    torch.testing.assert_close(c[:, 1:2], c_alone)
    assert not output[~mask].any()
    assert not h[:, 2].any()


def test_without_sequences_the_output_is_the_final_state():
    x = torch.randn(2, 3, 2, 6, 5, dtype=torch.float64)
    output, (h, _) = small(return_sequences=False)(x)
    torch.testing.assert_close(output, h[0])
    torch.testing.assert_close(output, small()(x)[0][:, -1])


@pytest.mark.parametrize("peepholes", [None, "channels", "positions"])
def test_a_layer_takes_its_sizes_from_weights_it_loads(peepholes):
    x = torch.randn(2, 3, 2, 6, 5)
    layer = ConvLSTM2D(3, 3, form=ConvLSTMForm(peepholes=peepholes))
    expected, _ = layer(x)
    loaded = ConvLSTM2D(3, 3, form=ConvLSTMForm(peepholes=peepholes))
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded(x)[0], expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 2, 6), "x has shape"),
        ((2, 3, 6, 5, 2), "channels come before the image"),
        ((2, 3, 2, 2, 5), "which the kernel spans"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ArgumentError, match=message):
        small(padding="valid")(torch.zeros(shape, dtype=torch.float64))


def test_states_and_lengths_that_do_not_fit_are_refused():
    layer, x = small(), torch.zeros(2, 3, 2, 6, 5, dtype=torch.float64)
    wrong = torch.zeros(1, 2, 3, 5, 6, dtype=torch.float64)
    with pytest.raises(ArgumentError, match="shape"):
        layer(x, (wrong, wrong))
    with pytest.raises(ArgumentError, match="lengths"):
        layer(x, lengths=torch.tensor([4, 1]))


@pytest.mark.parametrize("sequences", [False, True])
def test_a_batch_without_a_real_step_has_gradients_of_zero(sequences):
    layer = small(return_sequences=sequences)
    x = torch.full((2, 3, 2, 6, 5), torch.nan, dtype=torch.float64, requires_grad=True)
    output, (h, c) = layer(x, lengths=[0, 0])
    assert output.shape == ((2, 3, 3, 6, 5) if sequences else (2, 3, 6, 5))
    found = torch.autograd.grad(output.sum() + h.sum() + c.sum(), [x, *layer.parameters()])
    assert not any(gradient.any() for gradient in found)
