"""A fitted classifier or regressor as data: JSON values and named arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from gatestack.data.collections import LabelColumns
from gatestack.data.sequences import Sequences
from gatestack.errors import ModelFileError, quote_value
from gatestack.tasks.estimator import Arrays, check_proof
from gatestack.tasks.labelled.fitted import FittedLabelled
from gatestack.tasks.labelled.fitting import Member, run_members
from gatestack.tasks.labelled.network import LabelledNetwork, NetworkShape
from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.tasks.saved import not_together, part_of, plain_parameters, read_parameters, reading_model
from gatestack.training import Training, TrainingRecord

__all__ = ["fitted_from_data", "fitted_to_data", "parameters_from_data", "parameters_to_data"]

_PROOF_CASES = 8
_LARGEST_SIZE, _MOST_LAYERS = 2**24, 64
_Size = Annotated[int, Field(ge=1, le=_LARGEST_SIZE)]
_CHOICES = {
    "architecture": Architecture.from_dict,
    "augmentation": lambda options: Augmentation(**options),
    "training": lambda options: Training(**options),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Member(_Strict):
    shape: dict[str, Any]
    record: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class _Columns(_Strict):
    label: str | None
    case: str | None
    time: str | None


class _Fitted(_Strict):
    """The part of `model.json` that belongs to a classifier or regressor."""

    members: Annotated[list[_Member], Field(min_length=1, max_length=1000)]
    architecture: dict[str, Any]
    temperature: Annotated[float, Field(gt=0)]
    classes: list[bool | int | float | str] | None
    class_type: Literal["text", "object", "integer", "number", "truth"] | None
    flat: bool
    columns: _Columns | None
    width: _Size
    names: list[str] | None
    keys: list[str] | None
    source: str


_CLASS_TYPES = {"U": "text", "O": "object", "i": "integer", "u": "integer", "f": "number", "b": "truth"}
_CLASS_DTYPES = {
    "text": np.str_,
    "object": object,
    "integer": np.int64,
    "number": np.float64,
    "truth": np.bool_,
}


def fitted_to_data(
    fitted: FittedLabelled, *, classes: npt.NDArray[Any] | None, width: int
) -> tuple[dict[str, Any], Arrays, Arrays]:
    """Write what fitting found as JSON values, weights and proof.

    Args:
        fitted: what fitting found.
        classes: (K,) names of the classes, or None.
        width: `n_features_in_`.

    Returns:
        `{"fitted": …}`; arrays named `member.0.…` and `training.…`; and the proof: what the members give for
        the first cases of the training part.
    """
    training = fitted.training
    model = _Fitted(
        members=[
            _Member(
                shape=member.network.shape.to_dict(),
                record=member.record.to_dict(),
                seed=member.seed,
            )
            for member in fitted.members
        ],
        architecture=fitted.architecture.to_dict(),
        temperature=fitted.temperature,
        classes=None if classes is None else classes.tolist(),
        class_type=None if classes is None else _CLASS_TYPES[classes.dtype.kind],  # type: ignore[arg-type]
        flat=fitted.flat,
        columns=None if fitted.columns is None else _Columns(**asdict(fitted.columns)),
        width=width,
        names=None if training.names is None else list(training.names),
        keys=None if training.keys is None else list(training.keys),
        source=fitted.source,
    )
    weights: Arrays = {
        f"member.{number}.{name}": tensor.numpy()
        for number, member in enumerate(fitted.members)
        for name, tensor in member.network.state_dict().items()
    }
    weights |= {
        "training.values": training.values,
        "training.offsets": training.offsets,
        "training.answers": fitted.answers,
    }
    if training.observed is not None:
        weights["training.observed"] = training.observed
    # ascontiguousarray would turn a scalar into a vector
    plain = {name: np.asarray(array, order="C") for name, array in weights.items()}
    return {"fitted": model.model_dump(mode="json")}, plain, {"outputs": _proof(fitted)}


def fitted_from_data(
    model: dict[str, Any], weights: Arrays, proof: Arrays, *, task: Literal["classify", "regress"]
) -> tuple[FittedLabelled, npt.NDArray[Any], int]:
    """Read what `fitted_to_data` wrote, and check the model against its proof.

    Returns:
        What fitting found, the classes (empty for a regressor), and `n_features_in_`.

    Raises:
        ModelFileError: a field or an array is missing, unknown, or of the wrong shape; or the answers are not
            those of the proof.
    """
    with reading_model():
        return _read(_Fitted.model_validate(model.get("fitted")), weights, proof, task)


def parameters_to_data(parameters: dict[str, Any]) -> dict[str, Any]:
    """Write the parameters of the constructor as JSON values."""
    weights = parameters.get("class_weight")
    if weights is None or isinstance(weights, str):
        return plain_parameters(parameters)
    # JSON has names of text only: pairs keep the type of a class.
    return plain_parameters(parameters | {"class_weight": list(weights.items())})


def parameters_from_data(parameters: object, names: Sequence[str]) -> dict[str, Any]:
    """Read what `parameters_to_data` wrote.

    Raises:
        ModelFileError: a parameter is missing, unknown, or not one that can be read.
    """
    read = read_parameters(parameters, names, _CHOICES)
    if isinstance(read.get("class_weight"), tuple):
        try:
            read["class_weight"] = dict(read["class_weight"])
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"parameters: class_weight: {error}", where="model.json") from error
    return read


def _read(
    model: _Fitted, weights: Arrays, proof: Arrays, task: str
) -> tuple[FittedLabelled, npt.NDArray[Any], int]:
    _check_sizes(model.architecture)
    architecture = Architecture.from_dict(model.architecture)
    classes = np.zeros(0)
    if task == "classify":
        if model.classes is None or model.class_type is None or len(model.classes) < 2:
            raise not_together("a classifier has two classes or more")
        classes = np.array(model.classes, dtype=_CLASS_DTYPES[model.class_type])
    outputs = len(classes) if task == "classify" else 1
    training = Sequences(
        values=weights["training.values"],
        offsets=weights["training.offsets"],
        observed=weights.get("training.observed"),
        keys=None if model.keys is None else tuple(model.keys),
        names=None if model.names is None else tuple(model.names),
    )
    answers = weights["training.answers"]
    _check_training(training, answers, task, outputs)
    fitted = FittedLabelled(
        members=tuple(
            _member(
                member,
                architecture,
                part_of(weights, f"member.{number}"),
                outputs=outputs,
                features=training.num_features,
            )
            for number, member in enumerate(model.members)
        ),
        architecture=architecture,
        temperature=model.temperature,
        training=training,
        answers=answers,
        classes=outputs if task == "classify" else None,
        flat=model.flat,
        columns=None if model.columns is None else LabelColumns(**model.columns.model_dump()),
        source=model.source,
    )
    strange = [name for name in weights if name.split(".")[0] not in ("member", "training")]
    if strange or _count(weights) != len(model.members):
        raise not_together(f"the arrays are not those of {len(model.members)} members")
    if "outputs" not in proof:
        raise not_together("proof.safetensors lacks 'outputs'")
    found = _proof(fitted)
    if proof["outputs"].shape != found.shape:
        raise not_together(f"the proof has shape {proof['outputs'].shape}, expected {found.shape}")
    check_proof(found, proof["outputs"], "proof.safetensors")
    return fitted, classes, model.width


def _check_training(training: Sequences, answers: npt.NDArray[Any], task: str, outputs: int) -> None:
    if len(training) == 0 or not training.lengths.all() or answers.shape != (len(training),):
        raise not_together(f"{len(training)} training cases, {answers.shape} answers")
    if task == "classify":
        sound = answers.dtype == np.int64 and bool(((answers >= 0) & (answers < outputs)).all())
    else:
        sound = answers.dtype == np.float64 and bool(np.isfinite(answers).all())
    if not sound:
        raise not_together("training.answers holds what no answer can be")


def _check_sizes(sizes: dict[str, Any]) -> None:
    """Refuse numbers that no model has, before anything is made of them."""
    for name, value in sizes.items():
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) > _MOST_LAYERS or any(
            isinstance(part, int | float) and not 0 <= part <= _LARGEST_SIZE for part in numbers
        ):
            raise not_together(f"{name} is {quote_value(value)}")


def _member(
    member: _Member, architecture: Architecture, arrays: Arrays, *, outputs: int, features: int
) -> Member:
    _check_sizes(member.shape)
    # Built without memory first: what model.json claims is compared with what the file has.
    shape = NetworkShape.from_dict(member.shape)
    if shape.outputs != outputs or shape.features != features:
        raise not_together(f"a member gives {shape.outputs} outputs of {shape.features} features")
    with torch.device("meta"):
        claimed = {
            name: tensor.shape for name, tensor in LabelledNetwork(shape, architecture).state_dict().items()
        }
    for name in sorted(claimed.keys() | arrays.keys()):
        found = arrays[name].shape if name in arrays else "missing"
        if name not in claimed or tuple(claimed[name]) != found:
            raise not_together(
                f"{name} is {found}, expected {tuple(claimed[name]) if name in claimed else 'nothing'}"
            )
    network = LabelledNetwork(shape, architecture)
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    network.eval()
    return Member(network, TrainingRecord.from_dict(member.record), member.seed)


def _count(weights: Arrays) -> int:
    return len({name.split(".")[1] for name in weights if name.startswith("member.") and name.count(".") > 1})


def _proof(fitted: FittedLabelled) -> npt.NDArray[np.float64]:
    """Run the members over the first cases of the training part."""
    networks = [member.network for member in fitted.members]
    return run_members(networks, fitted.training[:_PROOF_CASES])
