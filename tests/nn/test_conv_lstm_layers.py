"""Convolutional LSTMs give what Keras' layers give, with Keras' weights."""

import pytest
import torch

from gatestack.nn import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D

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
