"""Functional models: layers called on outputs of others, in both dialects of Keras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from gatestack.convert.keras.architecture import Architecture, Call, KerasLayer, damaged
from gatestack.convert.keras.formulas import MASK_OPERATIONS, RealSteps, Reference, formula
from gatestack.errors import ModelFileError, quote_value

__all__ = ["read_functional"]

_MOST_CALLS = 10_000
_EMPTY_ONLY = ("training", "mask", "constants", "use_causal_mask")


def read_functional(
    inner: dict[str, Any], every: Sequence[KerasLayer], where: str, *, name: str, version: int
) -> Architecture:
    """Read the config of a Functional model.

    Args:
        inner: its config.
        every: its layers, and the operations that Keras lists among them.
        where: the file, for errors.
        name: of the model.
        version: 2 or 3, of Keras.

    Raises:
        ModelFileError: a layer is called in a way that is not read, or the calls make no network.
    """
    layers = [layer for layer in every if not layer.is_operation]
    masks = _masks([layer for layer in every if layer.is_operation], where)
    calls = []
    for layer in layers:
        place = f"{where}, layer {quote_value(layer.name)}"
        nodes = layer.data.get("inbound_nodes", [])
        if not isinstance(nodes, list):
            raise damaged("it has no list of calls", place)
        for number, node in enumerate(nodes):
            calls.append(_read_call(layer.name, number, node, masks, place))
    if len(calls) > _MOST_CALLS:
        raise damaged(f"it has more than {_MOST_CALLS} calls of layers", where)
    inputs = _references(inner.get("input_layers"), where)
    outputs = _references(inner.get("output_layers"), where)
    models = {layer.name for layer in layers if _counts_its_making(layer, version)}
    outputs = [_without_making(one, models) for one in outputs]
    if version < 3:
        calls = [replace(c, inputs=tuple(_without_making(one, models) for one in c.inputs)) for c in calls]
    sources = [reference.layer for reference in inputs]
    kinds = {layer.name: layer.kind for layer in layers}
    if not inputs or not outputs or any(kinds.get(source) != "InputLayer" for source in sources):
        raise damaged("its inputs or its outputs are not among its layers", where)
    ordered = _ordered(calls, sources, outputs, where)
    return Architecture(name, layers, ordered, sources, outputs, version)


def _counts_its_making(layer: KerasLayer, version: int) -> bool:
    """Whether the first call of an inner model is that by which it was made.

    Keras 3 counts it among the outputs of the model and nowhere else, and never that of a Sequential one.
    """
    if layer.kind in ("Functional", "Model"):
        return True
    inner = layer.data["config"].get("layers")
    first = inner[0] if layer.kind == "Sequential" and isinstance(inner, list) and inner else None
    return version < 3 and isinstance(first, dict) and first.get("class_name") == "InputLayer"


def _without_making(reference: Reference, models: set[str]) -> Reference:
    return reference._replace(call=reference.call - 1) if reference.layer in models else reference


def _references(data: Any, where: str) -> list[Reference]:
    """Read a list of references, or one that stands alone."""
    if isinstance(data, list) and data and isinstance(data[0], str):
        data = [data]
    if not isinstance(data, list):
        raise ModelFileError(
            "its inputs or outputs are no list", where=where, hint="name them in a list and save again"
        )
    return [_reference(one, where) for one in data]


def _reference(data: Any, where: str) -> Reference:
    sound = isinstance(data, list) and len(data) in (3, 4) and isinstance(data[0], str)
    if not sound or not all(type(one) is int and 0 <= one < _MOST_CALLS for one in data[1:3]):
        raise damaged(f"{quote_value(data)} is not an output of a layer", where)
    return Reference(*data[:3])


def _masks(operations: list[KerasLayer], where: str) -> dict[str, RealSteps]:
    """Find the formulas of the masks that Keras 3 has written down."""
    found: dict[str, RealSteps] = {}
    names = {layer.name for layer in operations}
    waiting = operations
    while waiting:
        late = []
        for layer in waiting:
            place = f"{where}, layer {quote_value(layer.name)}"
            operands = [_operand(one, found, names, place) for one in _operands(layer, place)]
            if any(one is None for one in operands):
                late.append(layer)
            else:
                found[layer.name] = _formula(layer, operands, place)
        if len(late) == len(waiting):
            raise damaged(
                "it is computed of what is not there", f"{where}, layer {quote_value(late[0].name)}"
            )
        waiting = late
    return found


def _operands(layer: KerasLayer, where: str) -> list[Any]:
    """Give what an operation is called on; refuse one by which no mask is computed."""
    nodes = layer.data.get("inbound_nodes")
    node = nodes[0] if isinstance(nodes, list) and len(nodes) == 1 else None
    args = node.get("args") if isinstance(node, dict) else None
    if layer.kind not in MASK_OPERATIONS or not isinstance(args, list):
        raise ModelFileError(
            f"the operation {quote_value(layer.kind)} is not read",
            where=where,
            expected="layers",
            hint="use a layer in its place (Add, Concatenate, …), and save again",
        )
    return list(_flat(args))


def _operand(data: Any, found: dict[str, RealSteps], names: set[str], where: str) -> Any:
    """Give a number, a formula, or an output of a layer; None for an operation that is not found yet."""
    if type(data) in (int, float):
        return float(data)
    reference = _tensor(data, where)
    return found.get(reference.layer) if reference.layer in names else reference


def _formula(layer: KerasLayer, operands: list[Any], where: str) -> RealSteps:
    """Give the formula of an operation."""
    config, kinds = layer.data["config"], [type(one) for one in operands]
    masks = all(kind is RealSteps for kind in kinds) and bool(kinds)
    kind, last = layer.kind, config.get("axis") in (-1, [-1])
    if kind == "NotEqual" and kinds == [Reference, float]:
        return formula("differs", *operands)
    if kind in ("ZerosLike", "OnesLike") and kinds == [Reference] and config.get("dtype") == "bool":
        return formula("none" if kind == "ZerosLike" else "all", *operands)
    if kind == "LogicalOr" and masks and len(kinds) == 2:
        return formula("or", *operands)
    if kind == "Concatenate" and masks and type(config.get("axis")) is int:
        return formula("joined", config["axis"] % 3, *operands)  # of (batch, time, features)
    if kind == "Any" and masks and len(kinds) == 1 and last and not config.get("keepdims"):
        return formula("any", *operands)
    if kind == "ExpandDims" and masks and len(kinds) == 1 and last:
        return formula("wider", *operands)
    if kind == "ConvertToTensor" and masks and len(kinds) == 1:
        return formula("same", *operands)
    raise ModelFileError(
        f"the operation {quote_value(kind)} is not read but where Keras computes a mask by it",
        where=where,
        expected="layers",
        hint="use a layer in its place (Add, Concatenate, …), and save again",
    )


def _read_call(layer: str, number: int, node: Any, masks: dict[str, RealSteps], where: str) -> Call:
    if isinstance(node, dict):
        return _new_call(layer, number, node, masks, where)
    if not isinstance(node, list):
        raise damaged("a call of it is not readable", where)
    entries = [node] if node and isinstance(node[0], str) else node
    inputs = [_reference(entry, where) for entry in entries]
    states: list[Reference] = []
    told: list[RealSteps | None] = []
    for entry in entries:
        options = entry[3] if len(entry) == 4 else {}
        if not isinstance(options, dict):
            raise damaged("a call of it is not readable", where)
        mask = options.get("mask")
        if isinstance(mask, list) and mask and isinstance(mask[0], str):
            told.append(formula("given", _reference(mask, where)))
            options = {**options, "mask": None}
        states += [_reference(state, where) for state in _states(options, where)]
    return Call(layer, number, (*inputs, *states), len(states), tuple(told) or None)


def _new_call(layer: str, number: int, node: dict[str, Any], masks: dict[str, RealSteps], where: str) -> Call:
    args, options = node.get("args"), node.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(options, dict):
        raise damaged("a call of it is not readable", where)
    mask = options.get("mask")
    listed = mask if isinstance(mask, list) else [mask]
    real = tuple(None if one is None else _mask_of(_tensor(one, where), masks) for one in listed)
    options = {**options, "mask": None}
    inputs = [_tensor(one, where) for one in _flat(args)]
    states = [_tensor(one, where) for one in _flat(_states(options, where))]
    return Call(layer, number, (*inputs, *states), len(states), None if mask is None else real)


def _mask_of(reference: Reference, masks: dict[str, RealSteps]) -> RealSteps:
    """Give the formula of a mask, which may be an output of a layer by itself."""
    return masks.get(reference.layer) or formula("given", reference)


def _states(options: dict[str, Any], where: str) -> list[Any]:
    for key, value in options.items():
        if key in ("initial_state", "return_attention_scores") or (
            key in _EMPTY_ONLY and value in (None, False, [])
        ):
            continue
        raise ModelFileError(
            f"it is called with {quote_value(key)}, which is not read here",
            where=where,
            expected="inputs, and states to start from",
        )
    found = options.get("initial_state") or []
    return found if isinstance(found, list) else [found]


def _flat(data: list[Any]) -> Iterator[Any]:
    for one in data:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one


def _tensor(data: Any, where: str) -> Reference:
    config = data.get("config") if isinstance(data, dict) else None
    if not isinstance(config, dict) or data.get("class_name") != "__keras_tensor__":
        raise ModelFileError(
            f"it is called on {quote_value(data)}",
            where=where,
            expected="outputs of layers",
            hint="constants and operations outside of layers are not read",
        )
    return _reference(config.get("keras_history"), where)


def _ordered(calls: list[Call], inputs: list[str], outputs: list[Reference], where: str) -> list[Call]:
    """Put what the outputs need into an order in which it can be computed; that of the file if possible."""
    by_place = {(call.layer, call.number): call for call in calls}
    needed: set[tuple[str, int]] = set()
    open_places = [reference[:2] for reference in outputs]
    while open_places:
        place = open_places.pop()
        if place in needed or place[0] in inputs:
            continue
        if place not in by_place:
            raise damaged(f"there is no call {place[1]} of a layer {quote_value(place[0])}", where)
        needed.add(place)
        open_places += [reference[:2] for reference in by_place[place].inputs]
    waiting = [call for call in calls if (call.layer, call.number) in needed]
    done = {(name, 0) for name in inputs}
    ordered: list[Call] = []
    while waiting:
        late = []
        for call in waiting:
            if all(reference[:2] in done for reference in call.inputs):
                done.add((call.layer, call.number))
                ordered.append(call)
            else:
                late.append(call)
        if len(late) == len(waiting):
            raise damaged(f"the layer {quote_value(late[0].layer)} needs its own output", where)
        waiting = late
    return ordered
