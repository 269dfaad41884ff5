"""The detector: from a table of series to alarms that stand beside those of plain detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy.typing as npt
import polars as pl

from gatestack.data.frames import Frame, as_polars, like_input
from gatestack.errors import ArgumentError
from gatestack.tasks.choices import check_instance
from gatestack.tasks.detect.evaluation import DetectionEvaluation
from gatestack.tasks.detect.fitted import FittedDetector
from gatestack.tasks.detect.fitting import fit_detector
from gatestack.tasks.detect.networks import Method
from gatestack.tasks.detect.options import Architecture
from gatestack.tasks.detect.persistence import (
    fitted_from_data,
    fitted_to_data,
)
from gatestack.tasks.detect.plan import make_plan
from gatestack.tasks.detect.reading import Windows, read_like_fit, read_truth, read_values
from gatestack.tasks.detect.stream import DetectorStream
from gatestack.tasks.detect.tables import detection_frame, score_beside_baselines
from gatestack.tasks.estimator import Arrays, Estimator
from gatestack.tasks.saved import plain_parameters, read_parameters
from gatestack.training import RunFolder, Training

if TYPE_CHECKING:
    from gatestack.convert.onnx.builder import GraphBuilder
    from gatestack.convert.onnx.parts import OnnxParts
    from gatestack.inspect.subject import Subject
    from gatestack.tasks.detect.folded import DetectorFolds

__all__ = ["AnomalyDetector"]

# Parameters that a model folder holds as a table of options.
_CHOICES = {"training": lambda options: Training(**options), "architecture": Architecture.from_dict}


class AnomalyDetector(Estimator):
    """Raises an alarm where one or many channels do what they usually do not.

    A stack of LSTM layers learns from a stretch of usual data. What it did not expect is measured in a scale
    that follows the series slowly, and turned into a score: 3 is reached about once in 1,000 usual steps. The
    equations stand in `gatestack.tasks.detect.networks` and `scoring`.

    Args:
        method: `"forecast"` foretells each next step; `"reconstruction"` repeats the last `window` steps from
            a summary of them.
        layers: number of layers, each `hidden_size` wide, or a list of widths, lowest first; `"auto"` takes
            as many as a study of the training part supports; see `gatestack.study_depth`.
        hidden_size: width of each layer, 1 or more.
        window: steps of a training example, 2 or more; a reconstruction repeats so many.
        false_alarms_per_day: alarms in usual data that you can live with, above 0; None allows about one in
            2,000 steps. It is set on the tail of the training part's scores, never on labels.
        threshold: `"calibrated"` by `false_alarms_per_day`, or `"dynamic"`, which follows the errors (Hundman
            et al. 2018) and promises no rate.
        quiet: anomalous steps less than so many steps apart are one event, with one alarm; None takes
            `window`.
        max_steps: updates of the weights at most, 1 or more.
        architecture: dropout, zoneout, layer normalisation; None takes none of them.
        training: batch size, learning rate, patience, …; None takes the defaults.
        seed: of initial weights and batches.

    Attributes:
        fitted_: what fitting found, a `FittedDetector`.

    Raises:
        ArgumentError: in `fit`, when an argument is outside its range.

    Example:
        >>> import polars as pl
        >>> usual = pl.DataFrame({"ds": range(200), "y": [float(step % 5) for step in range(200)]})
        >>> detector = AnomalyDetector(hidden_size=8, window=10, max_steps=50).fit(usual)
        >>> later = usual.head(100).with_columns(pl.col("ds") + 200)
        >>> later[90, "y"] = 40.0
        >>> detector.predict(later).filter(pl.col("alarm"))["ds"].to_list()
        [290]
    """

    kind: ClassVar[str] = "detector"

    def __init__(
        self,
        method: Method = "forecast",
        *,
        layers: int | Sequence[int] | Literal["auto"] = 1,
        hidden_size: int = 32,
        window: int = 48,
        false_alarms_per_day: float | None = None,
        threshold: Literal["calibrated", "dynamic"] = "calibrated",
        quiet: int | None = None,
        max_steps: int = 300,
        architecture: Architecture | None = None,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        self.method = method
        self.layers = layers
        self.hidden_size = hidden_size
        self.window = window
        self.false_alarms_per_day = false_alarms_per_day
        self.threshold = threshold
        self.quiet = quiet
        self.max_steps = max_steps
        self.architecture = architecture
        self.training = training
        self.seed = seed

    def fit(
        self,
        frame: Frame,
        *,
        values: Sequence[str] | None = None,
        time: str | None = None,
        series: str | None = None,
        frequency: str | int | None = None,
        label: str = "label",
        train: float | int = 1.0,
        run: RunFolder | None = None,
    ) -> Self:
        """Learn what is usual from the first steps of a table.

        Args:
            frame: path of a CSV or Parquet file, or a pandas, Polars or Arrow frame, a row per series and
                time. Gaps are masked, not filled.
            values: columns to watch together; None takes all columns of numbers.
            time: column of times or whole numbers; None takes `ds`, or the only column of times.
            series: column of keys; None takes `unique_id` if there is one, else the table is one series.
            frequency: the step, such as `"5m"`; None finds it in the times.
            label: column of labels, which is not watched and not read here.
            train: first part of each series that is taken as usual: a share in (0, 1], or a number of steps.
            run: folder for checkpoints, resuming, progress bar.

        Returns:
            The detector itself.

        Raises:
            DataError: the data cannot be used; names file, row and column.
            ArgumentError: a column or an option does not exist or is outside its range.
            TrainingError: the loss is not finite.
        """
        plan = make_plan(self._parameters())
        run = check_instance("run", run, RunFolder, owner="fit")
        from gatestack.tasks.detect.folded import fold_table

        table = read_values(
            frame,
            values=values,
            time=time,
            series=series,
            frequency=frequency,
            label=label,
            source=_source(frame),
        )
        widths = self._chosen_widths(
            lambda folds: fold_table(self, table, train=train, label=label, folds=folds), run
        )
        plan = plan if widths is None else replace(plan, widths=widths)
        self.fitted_: FittedDetector = fit_detector(table, plan, label=label, train=train, folder=run)
        return self

    def predict(self, frame: Frame) -> Any:
        """Score every step.

        A series that follows the data of the fit goes on from there, as a stream does; steps between are a
        gap. One that begins earlier is scored from its start, its first window from little.

        Args:
            frame: the columns of the fit.

        Returns:
            A frame of the user's kind (Polars for a path), a row per step: key, time and values; what was
            `expected` (`expected-<channel>` for several); `score`; `anomalous`; `alarm`, True at the first
            step of each event; `channel` and `explanation` of the alarm.

        Raises:
            DataError: other columns than in the fit, or a series that was not in it.
        """
        self._check_fitted("predict")
        table = read_like_fit(self.fitted_, frame, _source(frame))
        return like_input(detection_frame(self.fitted_, table), frame)

    def predict_frame(self, data: Frame | None = None) -> pl.DataFrame:
        """Score as `predict` does, as a Polars frame whatever the kind of `data`."""
        if data is None:
            raise ArgumentError(
                "there is no data", where="predict", expected="a table to look for anomalies in"
            )
        return as_polars(self.predict(data))

    def evaluate(
        self, data: Frame, *, windows: Windows | None = None, label: str | None = None
    ) -> DetectionEvaluation:
        """Score the detector on steps after its training part, beside plain detectors with the same rule.

        No threshold is tuned on the labels, ours or a baseline's.

        Args:
            data: the columns of the fit, and a column of labels unless there are windows. Steps of the
                training part are history.
            windows: `[(first, last), …]`, the times of each anomaly; for several series by key.
            label: column with 1 (or True) where a step is anomalous, 0 elsewhere; None takes that of the fit.

        Raises:
            DataError: there is no step after the training part, or no anomaly among them.
        """
        self._check_fitted("evaluate")
        table = read_like_fit(self.fitted_, data, _source(data))
        truth = read_truth(self.fitted_, table, data, windows, label)
        return score_beside_baselines(self.fitted_, table, truth, seed=self.seed)

    def stream(
        self, series: str | None = None, *, state: Mapping[str, npt.NDArray[Any]] | None = None
    ) -> DetectorStream:
        """Go on from the end of one series of the fit, one step at a time.

        Args:
            series: its key; None where the fit had one series.
            state: what `DetectorStream.state` gave, to go on from there instead.

        Raises:
            ArgumentError: no such series. DataError: a state of another detector.
        """
        self._check_fitted("stream")
        return DetectorStream(self.fitted_, series, None if state is None else dict(state))

    def _subject(self, data: Any, y: Any, sequences: int) -> Subject:
        from gatestack.tasks.detect.subject import detector_subject

        if y is not None:
            raise ArgumentError("y is given", where="inspect", expected="None: what is usual needs no truth")
        return detector_subject(self.fitted_, read_like_fit(self.fitted_, data, _source(data)), sequences)

    def folded_task(
        self, data: Frame, options: Mapping[str, Any], *, folds: int, measure: str | None = None
    ) -> DetectorFolds:
        """Cut the training part at rolling origins for a study (`gatestack.study_depth`)."""
        from gatestack.tasks.detect.folded import fold_frame

        return fold_frame(self, data, options, folds=folds, measure=measure)

    def _to_onnx(self, builder: GraphBuilder) -> OnnxParts:
        """Build the graph of one step for `gatestack.convert.export_onnx`."""
        from gatestack.tasks.detect.onnx.proof import onnx_parts

        self._check_fitted("export")
        return onnx_parts(self.fitted_, builder)

    def _to_data(self) -> tuple[dict[str, Any], Arrays, Arrays]:
        model, weights, proof = fitted_to_data(self.fitted_)
        return {"parameters": plain_parameters(self._parameters())} | model, weights, proof

    @classmethod
    def _from_data(cls, model: dict[str, Any], weights: Arrays, proof: Arrays) -> Self:
        fitted = fitted_from_data(model, weights, proof)
        names: list[str] = cls._get_param_names()  # type: ignore[no-untyped-call]
        detector = cls(**read_parameters(_with_architecture(model.get("parameters")), names, _CHOICES))
        detector.fitted_ = fitted
        return detector


def _with_architecture(parameters: Any) -> Any:
    """Add what folders of earlier models lack: their networks were not regularised."""
    return {"architecture": None} | parameters if isinstance(parameters, dict) else parameters


def _source(frame: Frame) -> str:
    return str(frame) if isinstance(frame, str | Path) else "frame"
