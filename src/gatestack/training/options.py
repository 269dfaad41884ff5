"""The options of training, checked when they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gatestack.errors import ArgumentError, nearest_name, quote_value

__all__ = ["Training"]


class Training(BaseModel):
    """How a network is trained: AdamW, clipped gradients, warm-up, early stopping.

    Args:
        batch_size: examples in one update, at least 1. Read by the estimator that builds the batches.
        learning_rate: the highest learning rate, above 0. None leaves it to the estimator;
            `train` takes 0.001.
        weight_decay: decoupled decay of AdamW, 0 or more, a fraction of the weights per update and unit of
            learning rate. Acts on matrices only; biases and other vectors are left alone.
        clip_norm: gradients are scaled down to this Euclidean norm when they are longer; above 0.
            None leaves them as they are.
        warmup: the part of all steps over which the learning rate rises to its full value, in [0, 1).
        schedule: the learning rate after the warm-up. `"cosine"` falls along half a cosine wave and is 0
            after the last step; `"constant"` stays.
        patience: training stops after so many validations without a new best one, at least 1.
            None never stops early. Without validation data it has no effect.
        validate_every: updates between two validations, at least 1; also between two entries of the history.
        device: `"auto"` (a GPU if there is one), `"cpu"`, `"cuda"`, `"cuda:0"`, `"cuda:1"`, …, or `"mps"`.
        precision: `"32-true"`, `"bf16-mixed"` (products in bfloat16, weights in float32), or `"64-true"`.

    Raises:
        ArgumentError: an option out of its range, or one that does not exist (the nearest name is offered).

    Example:
        >>> Training(learning_rate=0.01).batch_size
        32
        >>> Training(learn_rate=0.01)
        Traceback (most recent call last):
        gatestack.errors.ArgumentError: Training: there is no option 'learn_rate'
        <BLANKLINE>
        hint: did you mean 'learning_rate'?

    Source:
        Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization" (AdamW); Loshchilov &
        Hutter 2017, "SGDR", without its restarts (cosine); Pascanu et al. 2013, "On the difficulty of
        training recurrent neural networks" (clipping by norm).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    patience: Annotated[int, Field(ge=1)] | None = 10
    validate_every: Annotated[int, Field(ge=1)] = 50
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")] = "auto"
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"

    # Type checkers see the fields as keyword arguments; at run time the error is turned into one of ours.
    if not TYPE_CHECKING:

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise _explain(error) from None


def _explain(error: ValidationError) -> ArgumentError:
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return ArgumentError(
            f"there is no option {name!r}", where="Training", hint=nearest_name(name, Training.model_fields)
        )
    rule = problem["msg"].removeprefix("Input should be ")
    if name == "device":
        rule = '"auto", "cpu", "cuda", "cuda:<number>" or "mps"'
    return ArgumentError(f"{name} is {quote_value(problem['input'])}", where="Training", expected=rule)
