"""The C ABI of the kernels, as ctypes says it; `native/gatestack.h` is the contract.

The structures mirror the header's field by field, under the same names; a test compares their sizes and
offsets with those of a C compiler. Whoever fills them keeps the arrays alive that the pointers name.
"""

from __future__ import annotations

import ctypes
import enum
from ctypes import POINTER, Structure, c_double, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any

__all__ = [
    "CELLS",
    "DTYPES",
    "FUNCTIONS",
    "VERSION",
    "Bytes",
    "Call",
    "ConvLSTMStep",
    "Flag",
    "Layer",
    "Status",
    "Weights",
    "empty_call",
]

VERSION = 1
CELLS = {"lstm": 0, "gru": 1, "gru_reset_before": 2, "rnn_tanh": 3, "rnn_relu": 4}
DTYPES = {"float32": 0, "float64": 1}


class Flag(enum.IntFlag):
    """`gatestack_flags`."""

    SAVE = 1
    RECOMPUTE = 2
    BFLOAT16 = 4
    TRAINING = 8


class Status(enum.IntEnum):
    """`gatestack_status`."""

    OK = 0
    BAD_SIZE = 1
    BAD_ARGUMENT = 2


class Weights(Structure):
    """`gatestack_weights`: the parameters of one direction of one layer, or where their gradients go."""

    _fields_ = [
        ("weight_input", c_void_p),
        ("weight_hidden", c_void_p),
        ("bias_input", c_void_p),
        ("bias_hidden", c_void_p),
        ("weight_projection", c_void_p),
        ("peephole", c_void_p),
        ("gain_input", c_void_p),
        ("gain_hidden", c_void_p),
        ("gain_cell", c_void_p),
        ("bias_cell", c_void_p),
    ]


class Layer(Structure):
    """`gatestack_layer`: one layer, all its directions."""

    _fields_ = [
        ("cell", c_int32),
        ("residual", c_int32),
        ("input_size", c_int64),
        ("hidden_size", c_int64),
        ("projection_size", c_int64),
        ("input_dropout", c_double),
        ("hidden_dropout", c_double),
        ("candidate_dropout", c_double),
        ("zoneout_hidden", c_double),
        ("zoneout_cell", c_double),
        ("input_dropout_per_step", c_int32),
        ("reserved", c_int32),
        ("weights", POINTER(Weights)),
        ("gradients", POINTER(Weights)),
        ("h0", c_void_p),
        ("c0", c_void_p),
        ("hn", c_void_p),
        ("cn", c_void_p),
        ("cells", c_void_p),
        ("grad_hn", c_void_p),
        ("grad_cn", c_void_p),
        ("grad_cells", c_void_p),
        ("grad_h0", c_void_p),
        ("grad_c0", c_void_p),
    ]


class Call(Structure):
    """`gatestack_call`: one stack over one batch."""

    _fields_ = [
        ("size", c_uint32),
        ("version", c_uint32),
        ("dtype", c_int32),
        ("flags", c_int32),
        ("threads", c_int32),
        ("directions", c_int32),
        ("batch", c_int64),
        ("steps", c_int64),
        ("layer_count", c_int64),
        ("seed", c_uint64),
        ("layers", POINTER(Layer)),
        ("x", c_void_p),
        ("x_batch", c_int64),
        ("x_step", c_int64),
        ("y", c_void_p),
        ("y_batch", c_int64),
        ("y_step", c_int64),
        ("grad_y", c_void_p),
        ("grad_y_batch", c_int64),
        ("grad_y_step", c_int64),
        ("grad_x", c_void_p),
        ("grad_x_batch", c_int64),
        ("grad_x_step", c_int64),
        ("lengths", c_void_p),
        ("mask", c_void_p),
        ("packed", c_void_p),
        ("saved", c_void_p),
        ("scratch", c_void_p),
    ]


def empty_call() -> Call:
    """Give a call that knows its size and version, and nothing else.

    Example:
        >>> empty_call().version == VERSION
        True
    """
    return Call(size=ctypes.sizeof(Call), version=VERSION)


class Bytes(Structure):
    """`gatestack_bytes`: what a call needs."""

    _fields_ = [
        ("packed", c_int64),
        ("saved", c_int64),
        ("scratch_forward", c_int64),
        ("scratch_backward", c_int64),
    ]


class ConvLSTMStep(Structure):
    """`gatestack_conv_lstm`: one step of a convolutional LSTM, all but its convolutions."""

    _fields_ = [
        ("size", c_uint32),
        ("version", c_uint32),
        ("dtype", c_int32),
        ("threads", c_int32),
        ("rows", c_int64),
        ("positions", c_int64),
        ("channels", c_int64),
        ("sums_input", c_void_p),
        ("sums_hidden", c_void_p),
        ("gates", c_void_p),
        ("peephole", c_void_p),
        ("c_before", c_void_p),
        ("c", c_void_p),
        ("h", c_void_p),
        ("grad_y", c_void_p),
        ("grad_h", c_void_p),
        ("grad_c", c_void_p),
        ("grad_gates", c_void_p),
        ("grad_peephole", c_void_p),
    ]


# name -> (result, arguments)
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "gatestack_sizes": (c_int32, [POINTER(Call), POINTER(Bytes)]),
    "gatestack_pack": (c_int32, [POINTER(Call)]),
    "gatestack_forward": (c_int32, [POINTER(Call)]),
    "gatestack_backward": (c_int32, [POINTER(Call)]),
    "gatestack_conv_lstm_forward": (c_int32, [POINTER(ConvLSTMStep)]),
    "gatestack_conv_lstm_backward": (c_int32, [POINTER(ConvLSTMStep)]),
    "gatestack_mask": (
        None,
        [c_uint64, c_int32, c_int32, c_int32, c_int64, c_int64, c_int64, c_double, c_void_p],
    ),
    "gatestack_activation": (c_int32, [c_int32, c_int32, c_void_p, c_void_p, c_int64]),
    "gatestack_isa": (ctypes.c_char_p, []),
    "gatestack_isas": (ctypes.c_char_p, []),
    "gatestack_has_bfloat16": (c_int32, []),
    "gatestack_peak_gflops": (c_double, [c_int32, c_double]),
    "gatestack_use_openmp": (None, [c_void_p]),
}
