"""What a study of depth found: a row per depth, the choice, a sentence, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gatestack.errors import ModelFileError
from gatestack.study.comparison import PairedDifference
from gatestack.study.folded_task import Measure
from gatestack.study.variants import VariantRow, layers_text

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DepthRow", "DepthStudy"]


@dataclass(frozen=True, kw_only=True)
class DepthRow:
    """One depth of a study; the numbers are means over folds and seeds.

    Attributes:
        layers: depth.
        model: `"gatestack"`, or at depth 0 the best of the baselines and the model without recurrence.
        widths: of the layers.
        score: on the held out parts.
        spread: standard deviation of the score over the folds.
        training: score on the training parts; None at depth 0.
        gain: by how much the loss is lower than at the next smaller depth; None at the smallest.
        parameters: that are trained; None at depth 0.
        seconds: of training, one fit.
        step_ms: milliseconds of a step of one series at inference, median; None at depth 0.
        step_bytes: weights and state that such a step reads; None at depth 0.
        scores: (folds · seeds) scores, fold by fold.

    Example:
        >>> row = DepthRow(
        ...     layers=0, model="linear", widths=(), score=0.9, spread=0.1, training=None, gain=None,
        ...     parameters=None, seconds=0.2, step_ms=None, step_bytes=None, scores=(0.8, 1.0),
        ... )
        >>> row.model
        'linear'
    """

    layers: int
    model: str
    widths: tuple[int, ...]
    score: float
    spread: float
    training: float | None
    gain: PairedDifference | None
    parameters: int | None
    seconds: float
    step_ms: float | None
    step_bytes: int | None
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DepthStudy:
    """How many layers the data supports.

    Attributes:
        chosen: the depth to take; 0 says that no recurrent layer is worth it.
        rows: one for each depth that was looked at, smallest first.
        measure: what was compared.
        budget: `"equal width"` or `"equal parameters"`.
        folds, seeds: number of each.
        min_gain: what each layer must gain, in the unit of the measure.
        sentence: the result in words.
        warnings: what to be careful about, such as overfitting; may be empty.
        regularisation: what was found of each way to regularise; empty where none was asked for.

    Example:
        >>> from gatestack import Regressor, study_depth
        >>> waves = [[0.0, float(size), 0.0] for size in range(8)]
        >>> model = Regressor(hidden_size=4, max_steps=2)
        >>> found = study_depth(model, waves, {"y": range(8)}, layers="0-1", folds=2, seeds=1)
        >>> found.table["layers"].to_list(), found.folds
        ([0, 1], 2)
        >>> DepthStudy.from_dict(found.to_dict()) == found
        True
    """

    chosen: int
    rows: tuple[DepthRow, ...]
    measure: Measure
    budget: str
    folds: int
    seeds: int
    min_gain: float
    sentence: str
    warnings: tuple[str, ...] = ()
    regularisation: tuple[VariantRow, ...] = ()

    @property
    def table(self) -> pl.DataFrame:
        """One row per depth: scores, gain over the next smaller depth with its 95 % interval, cost."""
        import polars as pl

        rows = []
        for row in self.rows:
            gain = {} if row.gain is None else row.gain.to_dict()
            rows.append(
                {
                    "layers": row.layers,
                    "model": row.model,
                    "width": row.widths[0] if row.widths else None,
                    self.measure.name: row.score,
                    "spread": row.spread,
                    "training": row.training,
                    "gain": gain.get("mean"),
                    "gain_low": gain.get("low"),
                    "gain_high": gain.get("high"),
                    "parameters": row.parameters,
                    "seconds": row.seconds,
                    "step_ms": row.step_ms,
                    "step_bytes": row.step_bytes,
                    "chosen": row.layers == self.chosen,
                }
            )
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def regularisation_lines(self) -> list[str]:
        """One line for each way to regularise: its depth, score, score in training, and gain."""
        return [
            f"{row.name}: {layers_text(row.layers)}, {self.measure.label} {self.measure.text(row.score)}"
            + ("" if row.training is None else f", in training {self.measure.text(row.training)}")
            + f", gain {row.gain.mean:.3g} ± {row.gain.half_width:.2g}{', worth it' if row.worth else ''}"
            for row in self.regularisation
        ]

    def row(self, layers: int) -> DepthRow:
        """Give the row of a depth that was looked at."""
        return next(row for row in self.rows if row.layers == layers)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON values."""
        values = asdict(self)
        return values | {
            "rows": [
                row | {"widths": list(row["widths"]), "scores": list(row["scores"])} for row in values["rows"]
            ],
            "warnings": list(self.warnings),
            "regularisation": list(values["regularisation"]),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DepthStudy:
        """Read what `to_dict` gave.

        Raises:
            ModelFileError: a value is missing, unknown, or of another type.
        """
        try:
            rows = tuple(_row_from(row) for row in values["rows"])
            measure = Measure(**values["measure"])
            # Models that were saved before there was a second axis have none.
            variants = tuple(
                VariantRow(**row | {"gain": PairedDifference(**row["gain"])})
                for row in values.get("regularisation", ())
            )
            found = {"rows": rows, "measure": measure, "warnings": tuple(values["warnings"])}
            rest = dict(values) | found | {"regularisation": variants}
            return cls(**rest)
        except (KeyError, TypeError) as error:
            raise ModelFileError(f"the study of depth: {error}", where="model.json") from error

    def __str__(self) -> str:
        """The table and the sentence."""
        import polars as pl

        with pl.Config(
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            tbl_cols=-1,
            tbl_width_chars=160,
            float_precision=3,
        ):
            return "\n".join([f"{self.table}", *self.regularisation_lines, self.sentence, *self.warnings])


def _row_from(values: Mapping[str, Any]) -> DepthRow:
    gain = values["gain"]
    return DepthRow(
        **{
            **values,
            "widths": tuple(values["widths"]),
            "scores": tuple(values["scores"]),
            "gain": None if gain is None else PairedDifference(**gain),
        }
    )
