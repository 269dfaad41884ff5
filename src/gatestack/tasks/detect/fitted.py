"""What a fitted detector knows, and running it over the steps of a series."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatestack.data.calendar_encoding import CalendarName, calendar_features, calendar_names_for
from gatestack.data.frequency import Frequency, TimeArray
from gatestack.data.series_table import SeriesTable
from gatestack.data.table_columns import Columns
from gatestack.data.time_column import TimeKind
from gatestack.data.zones import to_wall
from gatestack.errors import DataError, nearest_name, quote_value
from gatestack.tasks.detect.alarms import AlarmRule
from gatestack.tasks.detect.networks import DetectorNetwork, Method, NetworkState
from gatestack.tasks.detect.scoring import ScoredSteps, Scorer, ScoreState, Usual
from gatestack.training import TrainingRecord

__all__ = ["LONGEST_GAP", "DetectedSteps", "DetectorState", "FittedDetector", "SeriesScale", "values_of"]

FloatArray = npt.NDArray[np.float64]

# Steps without values that a series may be advanced over: 9 years of 5 minutes.
LONGEST_GAP = 1_000_000


@dataclass(frozen=True)
class SeriesScale:
    """Mean and deviation of each channel in the training part of each series.

    Attributes:
        keys: (S,) name of each series.
        mean, deviation: (S, C).
    """

    keys: tuple[str, ...]
    mean: FloatArray
    deviation: FloatArray

    def row(self, key: str, where: str) -> int:
        """Find a series of the fit.

        Raises:
            DataError: it was not in the fit.
        """
        if key not in self.keys:
            raise DataError(
                f"series {quote_value(key)} was not in the fit",
                where=where,
                expected="a series whose usual values are known",
                hint=nearest_name(key, self.keys),
            )
        return self.keys.index(key)


@dataclass(frozen=True)
class DetectorState:
    """Where a series stands after its last step.

    Attributes:
        network: what the network carries.
        scores: what the scorer carries.
    """

    network: NetworkState
    scores: ScoreState


@dataclass(frozen=True)
class DetectedSteps:
    """What a detector says about T steps of one series.

    Attributes:
        expected: (T, C) in the user's unit, NaN where nothing was expected.
        scored: scores and alarms.
    """

    expected: FloatArray
    scored: ScoredSteps


@dataclass(frozen=True)
class FittedDetector:
    """Everything that fitting found.

    Attributes:
        network: in eval mode, float32, on the CPU.
        method: `"forecast"` or `"reconstruction"`.
        series: mean and deviation of the channels.
        usual: what is usual.
        rule: when to raise an alarm.
        columns: names of the columns by role.
        label: name of the column of labels.
        train: first part that was taken as usual, a share or a number of steps, as given.
        frequency: the step.
        time_kind: how the user writes time.
        ends: (S,) the last time of the training part of each series, in UTC where there is a zone.
        last_times: (S,) the last time that the fit was given, as `ends`.
        states: the state after the last step that the fit was given, one for each series.
        record: of the training.
        source: file or name, for messages.
    """

    network: DetectorNetwork
    method: Method
    series: SeriesScale
    usual: Usual
    rule: AlarmRule
    columns: Columns
    label: str
    train: float | int
    frequency: Frequency
    time_kind: TimeKind
    ends: TimeArray
    last_times: TimeArray
    states: tuple[DetectorState, ...]
    record: TrainingRecord
    source: str

    @property
    def calendar(self) -> tuple[CalendarName, ...]:
        """Names of the calendar features, told by the step."""
        return calendar_names_for(self.frequency)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the value columns."""
        return self.columns.features

    def start(self) -> DetectorState:
        """Give the state before the first step of a series."""
        return DetectorState(self.exact.first_state(), Scorer(self.usual, self.rule).start())

    def run(
        self, row: int, values: FloatArray, calendar: FloatArray, state: DetectorState
    ) -> tuple[DetectedSteps, DetectorState]:
        """Go on by some steps of one series.

        Args:
            row: number of the series.
            values: (T, C) in the user's unit, NaN where missing.
            calendar: (T, K), see `calendar_of`.
            state: after the step before.

        Returns:
            What is said about the steps, and the new state.
        """
        mean, deviation = self.series.mean[row], self.series.deviation[row]
        standard = (values - mean) / deviation
        expected, away, network = run_network(self.exact, standard, calendar, state.network)
        scored, scores = Scorer(self.usual, self.rule).run(away, standard, state.scores)
        return DetectedSteps(expected * deviation + mean, scored), DetectorState(network, scores)

    def run_table(self, table: SeriesTable) -> tuple[list[DetectedSteps], list[DetectorState]]:
        """Run every series of a table, from the state after the fit where it follows on, else from its start.

        Raises:
            DataError: a series was not in the fit.
        """
        values, calendar = values_of(table), self.calendar_of(table.times)
        found, states = [], []
        offsets = table.sequences.offsets
        for key, begin, end in zip(table.sequences.keys or (), offsets[:-1], offsets[1:], strict=True):
            row = self.series.row(key, table.source)
            steps, state = self.run(
                row, values[begin:end], calendar[begin:end], self.state_before(row, table.times[begin])
            )
            found.append(steps)
            states.append(state)
        return found, states

    def steps_ahead(self, row: int, time: TimeArray) -> int | None:
        """Count the steps from the last one that the fit was given to a time, (1,); None off the grid."""
        steps, exact = self.frequency.steps_and_exact(self.last_times[[row]], time)
        return int(steps[0]) if bool(exact[0]) else None

    def over_gap(self, row: int, done: int, steps: int, state: DetectorState) -> DetectorState:
        """Advance by steps without values; `done` steps lie between the end of the fit and the state."""
        if not steps:
            return state
        times = self.frequency.advance(self.last_times[row], np.arange(done + 1, done + steps + 1))
        nothing = np.full((steps, len(self.channels)), np.nan)
        return self.run(row, nothing, self.calendar_of(times), state)[1]

    def state_before(self, row: int, time: Any) -> DetectorState:
        """Give the state before a time: after the data of the fit, steps between as a gap; or at a start."""
        ahead = self.steps_ahead(row, np.asarray([time]))
        if ahead is None or not 1 <= ahead <= LONGEST_GAP:
            return self.start()
        return self.over_gap(row, 0, ahead - 1, self.states[row])

    def calendar_of(self, times: TimeArray) -> FloatArray:
        """Give the calendar features of times in UTC, (T, K)."""
        if not self.calendar:
            return np.zeros((len(times), 0))
        wall = to_wall(np.asarray(times, dtype="datetime64[us]"), self.time_kind.zone)
        return calendar_features(wall, self.calendar)[0].astype(np.float64)

    @cached_property
    def exact(self) -> DetectorNetwork:
        """The network in float64: step by step and in one pass it differs by rounding of 10⁻¹² only."""
        return copy.deepcopy(self.network).double()


def run_network(
    network: DetectorNetwork, values: FloatArray, calendar: FloatArray, state: NetworkState
) -> tuple[FloatArray, FloatArray, NetworkState]:
    """Run a network in float64 over standardised values; see `DetectorNetwork.run`."""
    with torch.inference_mode():
        expected, away, after = network.run(torch.from_numpy(values), torch.from_numpy(calendar), state)
    return expected.numpy(), away.numpy(), after


def values_of(table: SeriesTable) -> FloatArray:
    """Give the values of all steps, (steps, C), NaN where missing."""
    values = table.sequences.values.astype(np.float64)
    observed = table.sequences.observed
    return values if observed is None else np.where(observed, values, np.nan)
