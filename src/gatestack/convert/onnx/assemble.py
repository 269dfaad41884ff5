"""From the records of a `GraphBuilder` to a checked `onnx.ModelProto`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from gatestack.errors import ArgumentError, check_whole

if TYPE_CHECKING:
    import onnx

    from gatestack.convert.onnx.records import Graph, Node, Tensor

__all__ = ["OPSETS", "assembled", "need_onnx"]

OPSETS = range(17, 23)
"""The versions of ONNX's operators in which all that is written here means the same."""


def need_onnx(name: str = "onnx") -> Any:
    """Import `onnx` or `onnxruntime`.

    Raises:
        ArgumentError: it is not installed.

    Example:
        >>> need_onnx().__name__
        'onnx'
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ArgumentError(f"{name} is not installed", hint="pip install 'gatestack[onnx]'") from error


def assembled(builder: Graph, opset: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Make the model of a graph, and check it.

    Raises:
        ArgumentError: see `GraphBuilder.model`.
    """
    need_onnx()
    import onnx
    import onnx.checker
    import onnx.helper
    import onnx.numpy_helper
    import onnx.shape_inference

    if check_whole("opset", opset, owner="export") not in OPSETS:
        raise ArgumentError(f"the 'opset' parameter is {opset}", expected=f"{OPSETS[0]} to {OPSETS[-1]}")
    imports = [onnx.helper.make_opsetid("", opset)]
    imports += [onnx.helper.make_opsetid(domain, 1) for domain in sorted(_domains(builder)) if domain]
    model = onnx.helper.make_model(
        _graph(onnx, builder, opset),
        opset_imports=imports,
        producer_name="gatestack",
        producer_version=version("gatestack"),
        ir_version=onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]),
    )
    onnx.helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArgumentError(f"ONNX does not accept the graph: {error}", where=builder.name) from error
    _refuse_frozen(onnx, builder, model)
    return model


def _refuse_frozen(onnx: Any, builder: Graph, model: onnx.ModelProto) -> None:
    """Refuse an output whose axis was declared open, and is a number by the rules of the operators."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
    for declared, found in zip(builder.outputs, inferred.graph.output, strict=True):
        if not found.type.tensor_type.HasField("shape"):
            continue  # its rank follows from numbers that only a run has
        dims = found.type.tensor_type.shape.dim
        if len(dims) != len(declared.shape):
            raise ArgumentError(
                f"output {declared.name!r} has {len(dims)} axes", expected=f"{declared.shape}"
            )
        for axis, (dim, size) in enumerate(zip(dims, declared.shape, strict=True)):
            frozen = dim.HasField("dim_value")
            if frozen and dim.dim_value != size:
                raise ArgumentError(
                    f"axis {axis} of output {declared.name!r} is frozen at {dim.dim_value}",
                    where=builder.name,
                    expected=f"{size}" if isinstance(size, int) else f"any size ({size!r})",
                )


def _domains(builder: Graph) -> set[str]:
    found: set[str] = set()
    for node in builder.nodes:
        found.add(node.domain)
        for value in node.attributes.values():
            if hasattr(value, "nodes"):
                found |= _domains(value)
    return found


def _graph(onnx: Any, builder: Graph, opset: int) -> Any:
    inside = builder.is_body
    return onnx.helper.make_graph(
        [_node(onnx, node, number, opset) for number, node in enumerate(_renewed(builder, opset))],
        builder.name,
        [_described(onnx, tensor, inside) for tensor in builder.inputs],
        [_described(onnx, tensor, inside) for tensor in builder.outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in builder.tensors.items()],
    )


def _renewed(builder: Graph, opset: int) -> list[Node]:
    """Write axes of reductions as inputs, which they are from version 18 on."""
    if opset < 18:
        return builder.nodes
    nodes = []
    for node in builder.nodes:
        if node.op in ("ReduceMax", "ReduceMin") and "axes" in node.attributes:
            attributes = dict(node.attributes)
            axes = builder.ints(*attributes.pop("axes"))
            node = replace(node, inputs=(*node.inputs, axes), attributes=attributes)
        nodes.append(node)
    return nodes


def _described(onnx: Any, tensor: Tensor, inside: bool) -> Any:
    kind = (
        onnx.TensorProto.STRING
        if tensor.dtype == "string"
        else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    )
    # In the body of a loop the shapes follow from the graph around it.
    return onnx.helper.make_tensor_value_info(tensor.name, kind, None if inside else tensor.shape)


def _node(onnx: Any, node: Node, number: int, opset: int) -> Any:
    attributes = {
        name: _graph(onnx, value, opset) if hasattr(value, "nodes") else value
        for name, value in node.attributes.items()
    }
    made = onnx.helper.make_node(
        node.op, node.inputs, node.outputs, name=f"{node.outputs[0]}:{number}", domain=node.domain
    )
    for name, value in attributes.items():
        made.attribute.append(onnx.helper.make_attribute(name, _plain(onnx, value)))
    return made


def _plain(onnx: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return onnx.numpy_helper.from_array(value)
    return list(value) if isinstance(value, tuple) else value
