"""LSTM, GRU and RNN nodes of a foreign file: weights, sizes and activations agree with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gatestack.errors import ModelFileError, quote_value

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["RECURRENT_GATES", "Shape", "check_recurrent"]

Shape = tuple[int | None, ...]

RECURRENT_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_PER_DIRECTION = {"LSTM": 3, "GRU": 2, "RNN": 1}  # activations
_KNOWN = (
    "affine", "elu", "hardsigmoid", "leakyrelu", "relu", "scaledtanh", "sigmoid", "softplus", "softsign",
    "tanh", "thresholdedrelu",
)  # fmt: skip


def check_recurrent(node: NodeProto, shapes: Mapping[str, Shape], *, where: str) -> None:
    """Check one node.

    Args:
        node: LSTM, GRU or RNN.
        shapes: of the values that are known, by name; None for an open axis.
        where: file and node, for the message of an error.

    Raises:
        ModelFileError: an unknown direction or activation; W, R, B or P of another shape than hidden_size and
            direction say; with the numbers.
    """
    attributes = {attribute.name: attribute for attribute in node.attribute}
    direction = attributes["direction"].s.decode(errors="replace") if "direction" in attributes else "forward"
    if direction not in ("forward", "reverse", "bidirectional"):
        raise _wrong(where, f"direction {quote_value(direction)}", "forward, reverse or bidirectional")
    directions = 2 if direction == "bidirectional" else 1
    gates = RECURRENT_GATES[node.op_type]
    names = list(node.input) + [""] * 8
    if not names[0] or not names[1] or not names[2]:
        raise _wrong(where, f"inputs {quote_value(list(node.input))}", "X, W and R")
    r = shapes.get(names[2])
    hidden = int(attributes["hidden_size"].i) if "hidden_size" in attributes else None
    if hidden is None and r is not None and len(r) == 3:
        hidden = r[2]
    if hidden is not None and hidden < 1:
        raise _wrong(where, f"hidden_size {hidden}", "1 or more")
    if hidden is not None:
        columns = _last(shapes.get(names[0]), 3)
        _check(where, "W", shapes.get(names[1]), (directions, gates * hidden, columns), hidden)
        _check(where, "R", r, (directions, gates * hidden, hidden), hidden)
        _check(where, "B", shapes.get(names[3]), (directions, 2 * gates * hidden), hidden)
        _check(where, "initial_h", shapes.get(names[5]), (None,) * 2 + (hidden,), hidden)
        if node.op_type == "LSTM":
            _check(where, "initial_c", shapes.get(names[6]), (None,) * 2 + (hidden,), hidden)
            _check(where, "P", shapes.get(names[7]), (directions, 3 * hidden), hidden)
    if "activations" in attributes:
        given = [text.decode(errors="replace") for text in attributes["activations"].strings]
        unknown = [name for name in given if name.lower() not in _KNOWN]
        if unknown:
            raise _wrong(where, f"activation {quote_value(unknown[0])}", ", ".join(_KNOWN))
        wanted = directions * _PER_DIRECTION[node.op_type]
        if len(given) != wanted:
            raise _wrong(where, f"{len(given)} activations", f"{wanted} for {directions} directions")


def _last(shape: Shape | None, rank: int) -> int | None:
    return shape[-1] if shape is not None and len(shape) == rank else None


def _check(where: str, name: str, found: Shape | None, expected: Shape, hidden: int) -> None:
    if found is None:
        return
    if len(found) != len(expected) or any(
        a is not None and b is not None and a != b for a, b in zip(found, expected, strict=True)
    ):
        shown = tuple("any" if size is None else size for size in expected)
        raise _wrong(where, f"{name} has shape {found}", f"{shown} for hidden_size {hidden}".replace("'", ""))


def _wrong(where: str, what: str, expected: str) -> ModelFileError:
    return ModelFileError(what, where=where, expected=expected)
