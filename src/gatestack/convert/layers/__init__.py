"""The layers of a `Network`: what Keras, torch and ONNX mean by their names, computed by `gatestack.nn`.

Each is made from options alone, which are data; so a file can say what a layer is, and no code in it runs.

Example:
    >>> import torch
    >>> from gatestack.convert.layers import Dense, DenseOptions, Signal
    >>> layer = Dense(DenseOptions(units=2, input_size=3))
    >>> layer.run([Signal(torch.zeros(4, 3))])[0].value.shape
    torch.Size([4, 2])
"""

from gatestack.convert.layers.activation import Activation, ActivationOptions
from gatestack.convert.layers.attention import Attention, AttentionOptions
from gatestack.convert.layers.base import LayerOptions, NetworkLayer, Signal
from gatestack.convert.layers.bidirectional import BidirectionalLayer, BidirectionalOptions
from gatestack.convert.layers.conv_lstm import ConvLSTMLayer, ConvLSTMOptions
from gatestack.convert.layers.convolution import (
    Convolution,
    ConvolutionOptions,
    WindowPool,
    WindowPoolOptions,
)
from gatestack.convert.layers.dense import Dense, DenseOptions, Embedding, EmbeddingOptions
from gatestack.convert.layers.dropout import (
    Dropout,
    DropoutOptions,
    MaskBy,
    MaskByOptions,
    Masking,
    MaskingOptions,
)
from gatestack.convert.layers.joining import (
    Combine,
    CombineOptions,
    Concatenate,
    ConcatenateOptions,
    Constant,
    ConstantOptions,
    MeanOverTime,
    MeanOverTimeOptions,
    Pool,
    PoolOptions,
    Stacked,
    StackedOptions,
)
from gatestack.convert.layers.made import layer_from_data
from gatestack.convert.layers.norms import BatchNorm, BatchNormOptions, LayerNorm, LayerNormOptions
from gatestack.convert.layers.operator import Operator, OperatorOptions
from gatestack.convert.layers.per_step import PerStepLayer, PerStepOptions
from gatestack.convert.layers.recurrent import RecurrentLayer, RecurrentOptions
from gatestack.convert.layers.scaling import Rescale, RescaleOptions, Standardise, StandardiseOptions
from gatestack.convert.layers.sequence import OverTime, OverTimeOptions
from gatestack.convert.layers.shape import (
    Flatten,
    FlattenOptions,
    Permute,
    PermuteOptions,
    Repeat,
    RepeatOptions,
    Reshape,
    ReshapeOptions,
    Slice,
    SliceOptions,
    Squeeze,
    SqueezeOptions,
    Take,
    TakeOptions,
    Unsqueeze,
    UnsqueezeOptions,
)

__all__ = [
    "Activation",
    "ActivationOptions",
    "Attention",
    "AttentionOptions",
    "BatchNorm",
    "BatchNormOptions",
    "BidirectionalLayer",
    "BidirectionalOptions",
    "Combine",
    "CombineOptions",
    "Concatenate",
    "ConcatenateOptions",
    "Constant",
    "ConstantOptions",
    "ConvLSTMLayer",
    "ConvLSTMOptions",
    "Convolution",
    "ConvolutionOptions",
    "Dense",
    "DenseOptions",
    "Dropout",
    "DropoutOptions",
    "Embedding",
    "EmbeddingOptions",
    "Flatten",
    "FlattenOptions",
    "LayerNorm",
    "LayerNormOptions",
    "LayerOptions",
    "MaskBy",
    "MaskByOptions",
    "Masking",
    "MaskingOptions",
    "MeanOverTime",
    "MeanOverTimeOptions",
    "NetworkLayer",
    "Operator",
    "OperatorOptions",
    "OverTime",
    "OverTimeOptions",
    "PerStepLayer",
    "PerStepOptions",
    "Permute",
    "PermuteOptions",
    "Pool",
    "PoolOptions",
    "RecurrentLayer",
    "RecurrentOptions",
    "Repeat",
    "RepeatOptions",
    "Rescale",
    "RescaleOptions",
    "Reshape",
    "ReshapeOptions",
    "Signal",
    "Slice",
    "SliceOptions",
    "Squeeze",
    "SqueezeOptions",
    "Stacked",
    "StackedOptions",
    "Standardise",
    "StandardiseOptions",
    "Take",
    "TakeOptions",
    "Unsqueeze",
    "UnsqueezeOptions",
    "WindowPool",
    "WindowPoolOptions",
    "layer_from_data",
]
