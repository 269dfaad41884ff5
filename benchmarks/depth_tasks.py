"""The tasks of `depth_recovery.py`: draws whose right depth is known, and random parts of real sets.

A draw stands ready as two folded tasks: one deals its training cases to folds, for the study; one fold of the
other is fitted on all training cases and scored on the test cases.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import gatestack as gs
from gatestack.data.collections import LabelledSequences, read_labelled
from gatestack.study.folded_task import FoldedTask
from gatestack.tasks.labelled import Architecture
from gatestack.training import Training

__all__ = ["FOLDS", "TASKS", "Task"]

FOLDS = 5
PLAIN = Architecture(recipe="plain", bidirectional=False, pooling="last", dropout=0.0)
FAST = Training(learning_rate=0.01, device="cpu")  # narrow networks learn slowly at the usual 0.003
FEW = Training(batch_size=8, device="cpu")
Draw = tuple[FoldedTask, FoldedTask]
Series = list[np.ndarray]


@dataclass(frozen=True)
class Task:
    """What is drawn, and how large the networks are.

    Attributes:
        words: what the answer is.
        right: depths that are right by how the answers are made; empty where nobody knows.
        training: cases, or steps of a series, that a study sees.
        test: cases, or later steps, that score every depth.
        units: of a layer.
        updates: of a fit.
        source: draws all cases from a generator, or reads them from the folder of the data sets.
    """

    words: str
    right: tuple[int, ...]
    training: int
    test: int
    units: int
    updates: int
    source: Callable[[np.random.Generator], tuple[np.ndarray, float]] | str

    def draw(self, key: tuple[int, int], data: Path) -> Draw:
        """Give the study's folded task, and the one whose only fold is the test part."""
        random = np.random.default_rng(key)
        settings = {"hidden_size": self.units, "max_steps": self.updates, "seed": key[1]}
        if not isinstance(self.source, str):
            cases = [self.source(random) for _ in range(self.training + self.test)]
            numbers = np.array([answer for _, answer in cases]) + 0.1 * random.normal(size=len(cases))
            model = gs.Regressor(architecture=PLAIN, training=FAST, **settings)
            return self._labelled(model, [series for series, _ in cases], numbers)
        if self.source == "vic_electricity":
            return self._forecast(random, data, settings)
        everything, answers = mnist(data) if self.source == "mnist" else archive(data, self.source)
        chosen = random.permutation(len(answers))[: self.training + self.test]
        model = gs.Classifier(architecture=PLAIN, training=FAST, **settings)
        return self._labelled(model, [everything[case] for case in chosen], answers[chosen])

    def _labelled(self, model: Any, series: Series, answers: np.ndarray) -> Draw:
        known = self.training
        study = model.folded_task(series[:known], {"y": answers[:known]}, folds=FOLDS)
        test = model.folded_task(series, {"y": answers}, folds=2)
        test.dealt = np.where(np.arange(len(answers)) < known, 1, 0)
        return study, test

    def _forecast(self, random: np.random.Generator, data: Path, settings: dict[str, Any]) -> Draw:
        table = demand(data)
        start = int(random.integers(len(table) - self.training - self.test))
        model = gs.Forecaster(12, window=24, season=24, training=FEW, **settings)
        study = model.folded_task(table[start : start + self.training], {}, folds=FOLDS, measure="mae")
        test = model.folded_task(table[start : start + self.training + self.test], {}, folds=2, measure="mae")
        test.ends = np.array([[self.training], [self.training + self.test]])
        return study, test


def leaky(values: np.ndarray, kept: float) -> np.ndarray:
    """Run a memory that keeps a share of itself at each step, along the first axis."""
    state, found = 0.0, np.empty_like(values)
    for step, value in enumerate(values):
        state = kept * state + (1 - kept) * value
        found[step] = state
    return found


def numbers(random: np.random.Generator) -> np.ndarray:
    """Draw 16 to 32 normal numbers."""
    return random.normal(size=random.integers(16, 33))


def last_size(random: np.random.Generator) -> tuple[np.ndarray, float]:
    """Ask for a map of the last value."""
    x = random.normal(size=3)
    return x, 2 * abs(x[-1])


def memory(random: np.random.Generator) -> tuple[np.ndarray, float]:
    """Ask for one exponential memory."""
    x = numbers(random)
    return x, 10 * leaky(x, 0.9)[-1]


def signs(random: np.random.Generator) -> tuple[np.ndarray, float]:
    """Ask for a sum over steps of what no single input tells anything of: the product of three signs."""
    x = random.choice([-1.0, 1.0], (random.integers(8, 17), 3))
    return x, x.prod(axis=1).sum() / 2


def scales(random: np.random.Generator) -> tuple[np.ndarray, float]:
    """Ask for the slow mean of the size of the fast mean."""
    x = numbers(random)
    return x, 10 * leaky(np.abs(leaky(x, 0.6)), 0.9)[-1]


def noise(random: np.random.Generator) -> tuple[np.ndarray, float]:
    """Ask for what the series does not tell."""
    return numbers(random), random.normal()


def mnist(data: Path) -> tuple[Series, np.ndarray]:
    """Read pictures of digits as 28 steps of 28 numbers, and the digits."""
    with gzip.open(data / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28) / 255
    with gzip.open(data / "mnist" / "t10k-labels-idx1-ubyte.gz") as file:
        return list(pictures), np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)


def archive(data: Path, name: str) -> tuple[Series, np.ndarray]:
    """Read both parts of a problem of the UCR and UEA archives."""
    parts: list[LabelledSequences] = [
        read_labelled(data / "ucr_uea" / name / f"{name}_{part}.ts") for part in ("TRAIN", "TEST")
    ]
    series = [
        steps
        for part in parts
        for steps in np.split(np.asarray(part.sequences.values), part.sequences.offsets[1:-1])
    ]
    return series, np.concatenate([np.asarray(part.labels) for part in parts])


def demand(data: Path) -> pl.DataFrame:
    """Read the mean electricity demand of each hour."""
    table = pl.read_csv(data / "vic_electricity" / "vic_electricity.csv", try_parse_dates=True)
    hours = table.group_by(ds=pl.col("Time").dt.truncate("1h"), maintain_order=True)
    return hours.agg(y=pl.col("Demand").mean())


TASKS = {
    "map": Task("the size of the last value", (0,), 300, 2000, 12, 300, last_size),
    "memory": Task("an exponential memory: 0.9 of it is kept at each step", (1,), 400, 2000, 12, 400, memory),
    "signs": Task("the sum over steps of the product of three signs", (2, 3), 400, 2000, 4, 600, signs),
    "scales": Task("the slow mean of the size of the fast mean", (2, 3), 400, 2000, 6, 600, scales),
    "noise": Task("nothing to do with the series", (0,), 200, 2000, 6, 300, noise),
    "digits": Task("MNIST, row by row", (), 400, 2000, 16, 300, "mnist"),
    "power": Task("ItalyPowerDemand", (), 100, 996, 8, 300, "ItalyPowerDemand"),
    "demand": Task("vic_electricity, 12 hours ahead", (), 1000, 4000, 8, 150, "vic_electricity"),
}
