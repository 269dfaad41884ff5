"""What a training run leaves behind: how far it came, how the losses went, why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from gatestack.errors import ModelFileError

__all__ = ["HistoryRow", "StopReason", "TrainingRecord"]

StopReason = Literal["max_steps", "patience", "interrupt"]


@dataclass(frozen=True)
class HistoryRow:
    """One point of the learning curve.

    Args:
        step: updates of the weights so far; a run with validation has a row of its initial weights, step 0.
        train_loss: mean of the training loss since the row before; None if there was no update since,
            as at step 0.
        validation: what `validate` returned, lower is better; None if nothing was validated.
        learning_rate: of the last update; at step 0 of the first one.
        seconds: since the start of training, pauses between runs not counted.

    Example:
        >>> HistoryRow(step=50, train_loss=0.5, validation=0.6, learning_rate=1e-3, seconds=2.5).step
        50
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    step: int
    train_loss: float | None
    validation: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrainingRecord:
    """The outcome of `train`.

    Args:
        steps: updates of the weights.
        best_step: the step whose weights the network has now, 0 for the initial ones.
        best_validation: the loss of these weights in validation; None if nothing was validated.
        history: the learning curve.
        stopped_by: `"max_steps"`, `"patience"` or `"interrupt"`.
        seconds: time spent, validation included, over all runs that were resumed.
        steps_per_second: `steps / seconds`.
        device: where the network was trained, such as `"cpu"` or `"cuda:0"`.

    Example:
        >>> record = TrainingRecord(
        ...     steps=10, best_step=10, best_validation=None, history=(), stopped_by="max_steps",
        ...     seconds=2.0, steps_per_second=5.0, device="cpu",
        ... )
        >>> TrainingRecord.from_dict(record.to_dict()) == record
        True
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    steps: int
    best_step: int
    best_validation: float | None
    history: tuple[HistoryRow, ...]
    stopped_by: StopReason
    seconds: float
    steps_per_second: float
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Return the record as values that JSON can hold.

        Example:
            >>> TrainingRecord(1, 1, None, (), "max_steps", 1.0, 1.0, "cpu").to_dict()["steps"]
            1
        """
        return {**asdict(self), "history": [asdict(row) for row in self.history]}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrainingRecord:
        """Build the record from what `to_dict` returned.

        Args:
            values: all fields and no others.

        Raises:
            ModelFileError: a field is missing, unknown, or of another type.

        Example:
            >>> TrainingRecord.from_dict({"steps": 3})
            Traceback (most recent call last):
            gatestack.errors.ModelFileError: training record: best_step: Field required
        """
        try:
            return _RECORDS.validate_python(dict(values))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise ModelFileError(f"{place}: {problem['msg']}", where="training record") from None


_RECORDS = TypeAdapter(TrainingRecord)
