"""Reading an ONNX file that may be damaged or hostile: all of it is checked before anything else sees it.

What comes out holds all its data inside, so that no later reader opens another file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatestack.convert.bounded_read import read_bounded
from gatestack.convert.onnx.assemble import need_onnx
from gatestack.convert.onnx.recurrent_check import RECURRENT_GATES, Shape, check_recurrent
from gatestack.convert.onnx.safe_tensors import check_tensor, load_external, width_of
from gatestack.convert.onnx.wire import count_parts
from gatestack.errors import ModelFileError, quote_value

if TYPE_CHECKING:
    import os

    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["MAX_ONNX_BYTES", "CheckedModel", "read_checked"]

MAX_ONNX_BYTES = 2**30
"""The largest model that is read unless another limit is given, its external data included: 1 GiB."""

_EXTERNAL = 1  # data_location of TensorProto


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """An ONNX model whose parts agree with each other.

    Args:
        model: an `onnx.ModelProto` without external data.
        content: what stood in the file.
        shapes: of every value of the main graph whose shape is known; None for an open axis.
    """

    model: ModelProto
    content: bytes
    shapes: dict[str, Shape]


def read_checked(path: str | os.PathLike[str], *, max_bytes: int = MAX_ONNX_BYTES) -> CheckedModel:
    """Read an ONNX file.

    Checked are: the size; that it is protobuf, and of how many parts; that every tensor has as many data as
    its dims say; that external data lies in the folder of the model, in regular files without links; the
    weights and activations of LSTM, GRU and RNN nodes; that no value of a known shape has more than
    `max_bytes`.

    Args:
        path: the file.
        max_bytes: how large it may be, with its external data; also the largest value that its graph may
            make.

    Returns:
        The model.

    Raises:
        ArgumentError: onnx is not installed.
        ModelFileError: what is wrong, with file, node or tensor, and numbers.
        StorageError: the system would not let it be read.

    Example:
        >>> read_checked("no/such/model.onnx")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ModelFileError: no/such/model.onnx: there is no such file...
    """
    onnx = need_onnx()
    message = need_onnx("google.protobuf.message")
    file = Path(path)
    where = str(path)
    content = bytes(read_bounded(file, max_bytes, "give the path of an .onnx file"))
    count_parts(content, where=where)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except message.DecodeError as error:
        raise _no_model(where, str(error)) from None
    if model.ir_version < 3 or not model.HasField("graph") or not model.opset_import:
        raise _no_model(where, f"ir_version {model.ir_version}, {len(model.opset_import)} sets of operators")
    if len(model.functions) or len(model.training_info):
        raise ModelFileError(
            f"{len(model.functions)} functions, {len(model.training_info)} training graphs",
            where=where,
            expected="a plain graph",
            hint="inline functions with onnx.inliner.inline_local_functions",
        )
    _check_tensors(model.graph, file, where, max_bytes - len(content))
    # Once before the shapes are inferred, whose errors would not name the node's numbers, and once after.
    _check_recurrent(model.graph, {one.name: tuple(one.dims) for one in model.graph.initializer}, where)
    shapes = _shapes(onnx, model, where, max_bytes)
    _check_recurrent(model.graph, shapes, where)
    return CheckedModel(model, content, shapes)


def _check_recurrent(graph: GraphProto, shapes: dict[str, Shape], where: str) -> None:
    for node, place in _nodes(graph, where):
        if node.op_type in RECURRENT_GATES and node.domain in ("", "ai.onnx"):
            check_recurrent(node, shapes, where=place)


def _check_tensors(graph: GraphProto, file: Path, where: str, limit: int) -> None:
    for tensor, place in _tensors(graph, where):
        if tensor.data_location == _EXTERNAL:
            limit -= load_external(tensor, file.parent, limit, where=place)
        check_tensor(tensor, where=place)


def _tensors(graph: GraphProto, where: str) -> Iterator[tuple[TensorProto, str]]:
    """Give every tensor of a graph and of the graphs in it, with its place."""
    if len(graph.sparse_initializer):
        name = graph.sparse_initializer[0].values.name
        raise ModelFileError(
            "a sparse tensor", where=f"{where}, tensor {quote_value(name)}", expected="a dense one"
        )
    names: set[str] = set()
    for tensor in graph.initializer:
        place = f"{where}, tensor {quote_value(tensor.name)}"
        if tensor.name in names:
            raise ModelFileError("there are two tensors of this name", where=place)
        names.add(tensor.name)
        yield tensor, place
    for number, node in enumerate(graph.node):
        place = f"{where}, node {quote_value(node.name or number)} ({quote_value(node.op_type)[1:-1]})"
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors):
                raise ModelFileError("a sparse tensor", where=place, expected="a dense one")
            for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
                yield tensor, f"{place}, attribute {quote_value(attribute.name)}"
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner, place)


def _nodes(graph: GraphProto, where: str) -> Iterator[tuple[NodeProto, str]]:
    for number, node in enumerate(graph.node):
        place = f"{where}, node {quote_value(node.name or number)} ({quote_value(node.op_type)[1:-1]})"
        yield node, place
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner, place)


def _shapes(onnx: Any, model: ModelProto, where: str, limit: int) -> dict[str, Shape]:
    """Infer the shapes of the main graph, and refuse a value that is too large."""
    inference = need_onnx("onnx.shape_inference")
    try:
        inferred = inference.infer_shapes(model, data_prop=True)
    except (inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise _no_model(where, " ".join(str(error).split())[:300]) from None
    found: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            continue
        dims = value.type.tensor_type.shape.dim
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
        if any(size is not None and size < 0 for size in shape):
            raise ModelFileError(f"shape {shape}", where=f"{where}, value {quote_value(value.name)}")
        known = math.prod(size for size in shape if size) * width_of(value.type.tensor_type.elem_type)
        if known > limit:
            raise ModelFileError(
                f"it would have {known} bytes",
                where=f"{where}, value {quote_value(value.name)}",
                expected=f"at most {limit}",
            )
        found.setdefault(value.name, shape)
    return found


def _no_model(where: str, why: str) -> ModelFileError:
    return ModelFileError(
        f"not an ONNX model: {why}", where=where, hint="the file is cut, damaged or of another kind"
    )
