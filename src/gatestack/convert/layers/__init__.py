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
from gatestack.convert.layers.base import LayerOptions, NetworkLayer, Signal
from gatestack.convert.layers.bidirectional import BidirectionalLayer, BidirectionalOptions
from gatestack.convert.layers.conv_lstm import ConvLSTMLayer, ConvLSTMOptions
from gatestack.convert.layers.dense import Dense, DenseOptions, Embedding, EmbeddingOptions
from gatestack.convert.layers.dropout import Dropout, DropoutOptions, Masking, MaskingOptions
from gatestack.convert.layers.joining import (
    Combine,
    CombineOptions,
    Concatenate,
    ConcatenateOptions,
    Constant,
    ConstantOptions,
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
    "Masking",
    "MaskingOptions",
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
    "Reshape",
    "ReshapeOptions",
    "Signal",
    "Slice",
    "SliceOptions",
    "Squeeze",
    "SqueezeOptions",
    "Stacked",
    "StackedOptions",
    "Take",
    "TakeOptions",
    "Unsqueeze",
    "UnsqueezeOptions",
    "layer_from_data",
]
