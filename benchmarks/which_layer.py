"""Which recurrent layer, when: RNN, GRU, LSTM, two directions, and a convolutional LSTM, measured.

    python benchmarks/which_layer.py                            # about half an hour on a busy core
    python benchmarks/which_layer.py --finished --pictures docs/images    # the page and the guide's picture

Forecasts, classes, a memory task, two sets of pictures that move, and what each layer costs. Cells are
compared at equal parameters, those of estimators at equal width as well. Within a part all layers have the
same updates, learning rate and batches. No setting was chosen by a test score, and each fit is scored once.
Each fit's scores are kept under `runs/benchmarks/which_layer/`. Writes `results/which_layer.json` and `.md`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from distributions import seattle
from protocol.layer_costs import measure_costs
from protocol.layer_memory import LAGS, UPDATES, WIDTHS, remember_once
from protocol.layer_video import VIDEOS, video_once
from protocol.machine import describe_machine
from protocol.which_layer_page import draw_memory, which_layer_page

import gatestack
from gatestack.nn.recurrent import Recurrent
from gatestack.tasks.classify import Classifier
from gatestack.tasks.forecast import Architecture, Forecaster
from gatestack.tasks.labelled.options import Architecture as LabelledArchitecture
from gatestack.training import Training, TrainingRecord

HERE = Path(__file__).resolve().parent
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
WIDTH = 24  # of both layers of the LSTM that sets the number of parameters
CLASSES = ("JapaneseVowels", "GunPoint", "Epilepsy")


@dataclass(frozen=True)
class Series:
    """A set of series, and what is asked of it: the last `test` steps of each are held out."""

    frame: Callable[[Path], pl.DataFrame]
    horizon: int
    window: int
    season: int | None
    test: int


def transformer(data: Path) -> pl.DataFrame:
    """Oil temperature of ETTh1: eight months to train, the usual four to test."""
    table = pl.read_csv(data / "ett" / "ETTh1.csv", try_parse_dates=True)[5760:14400]
    return table.select(ds="date", y="OT")


SERIES = {
    "seattle_weather": Series(seattle, 7, 60, None, 364),
    "ETTh1": Series(transformer, 24, 96, 24, 2880),
}


@dataclass(frozen=True)
class Layer:
    """A recurrent stack of two layers, as a row of a table."""

    cell: str
    equal_width: bool = False
    bidirectional: bool = False
    bare: bool = False  # a forecaster without its linear autoregression

    @property
    def name(self) -> str:
        """For files and tables."""
        parts = ["bi" * self.bidirectional + self.cell, "wide" * self.equal_width, "bare" * self.bare]
        return "-".join(part for part in parts if part)


FORECASTERS = [
    *(Layer(cell) for cell in GATES),
    *(Layer(cell, bare=True) for cell in GATES),
    *(Layer(cell, equal_width=True) for cell in ("gru", "rnn")),
]
CLASSIFIERS = [
    *(Layer(cell) for cell in GATES),
    *(Layer(cell, bidirectional=True) for cell in ("lstm", "gru")),
    *(Layer(cell, equal_width=True) for cell in ("gru", "rnn")),
    Layer("lstm", equal_width=True, bidirectional=True),
]


def width_of(layer: Layer, features: int) -> int:
    """The width at which two layers have as many parameters as two layers of `WIDTH` LSTM units."""
    if layer.equal_width:
        return WIDTH
    directions = 1 + layer.bidirectional

    def parameters(gates: int, width: int, directions: int) -> int:
        lower, upper = features + width + 2, directions * width + width + 2
        return gates * directions * width * (lower + upper)

    wanted = parameters(GATES["lstm"], WIDTH, 1)
    return min(
        range(1, 4 * WIDTH), key=lambda width: abs(parameters(GATES[layer.cell], width, directions) - wanted)
    )


def check_whole_fit(record: TrainingRecord) -> None:
    """Stop where somebody stopped the fit: its scores would be those of fewer updates."""
    if record.stopped_by == "interrupt":
        raise KeyboardInterrupt


def counted(network: torch.nn.Module) -> dict[str, int]:
    """Parameters of the recurrent layers, and of the whole network."""
    layers = [module for module in network.modules() if isinstance(module, Recurrent)]
    of_layers = sum(part.numel() for layer in layers for part in layer.parameters())
    return {"of_layers": of_layers, "parameters": sum(part.numel() for part in network.parameters())}


def forecast_once(name: str, layer: Layer, seed: int, frame: pl.DataFrame, features: int) -> dict[str, Any]:
    """Fit before the test part of each series and score behind it, beside the baselines."""
    problem = SERIES[name]
    width = width_of(layer, features)
    model = Forecaster(
        problem.horizon,
        hidden_size=width,
        window=problem.window,
        season=problem.season,
        max_steps=UPDATES,
        architecture=Architecture(cell=layer.cell, autoregression=not layer.bare),  # type: ignore[arg-type]
        training=Training(batch_size=16, device="cpu"),
        seed=seed,
    )
    keys = [pl.col("unique_id")] if "unique_id" in frame.columns else [pl.lit(0)]
    training = frame.filter(pl.int_range(pl.len()).over(keys) < pl.len().over(keys) - problem.test)
    check_whole_fit(model.fit(training).fitted_.record)
    found = model.evaluate(frame, step=problem.horizon)
    mase = dict(found.scores.select("model", "mase").iter_rows())
    own = mase.pop("gatestack")
    return {"score": own, "baselines": mase, "width": width, **counted(model.fitted_.network)}


def classify_once(name: str, layer: Layer, seed: int, data: Path, features: int) -> dict[str, Any]:
    """Fit on the training file and score on the test file, beside the baselines."""
    folder = data / "ucr_uea" / name
    width = width_of(layer, features)
    model = Classifier(
        hidden_size=width,
        max_steps=UPDATES,
        architecture=LabelledArchitecture(
            recipe="plain",
            cell=layer.cell,  # type: ignore[arg-type]
            bidirectional=layer.bidirectional,
        ),
        training=Training(batch_size=16, device="cpu"),
        seed=seed,
    ).fit(folder / f"{name}_TRAIN.ts")
    check_whole_fit(model.fitted_.members[0].record)
    found = model.evaluate(folder / f"{name}_TEST.ts")
    accuracy = dict(found.scores.select("model", "accuracy").iter_rows())
    own = accuracy.pop("gatestack")
    network = model.fitted_.members[0].network
    return {"score": own, "baselines": accuracy, "width": width, **counted(network)}


def forecast_features(name: str, data: Path) -> dict[str, Any]:
    """How many columns the lowest layer of a forecaster reads: one update tells."""
    problem = SERIES[name]
    model = Forecaster(
        problem.horizon, hidden_size=2, window=problem.window, season=problem.season, max_steps=1
    )
    return {"features": columns_read(model.fit(problem.frame(data)).fitted_.network)}


def classify_features(name: str, data: Path) -> dict[str, Any]:
    """How many columns the lowest layer of a classifier reads: one update tells."""
    model = Classifier(hidden_size=2, max_steps=1, architecture=LabelledArchitecture(recipe="plain"))
    model.fit(data / "ucr_uea" / name / f"{name}_TRAIN.ts")
    return {"features": columns_read(model.fitted_.members[0].network)}


def columns_read(network: torch.nn.Module) -> int:
    """The input size of the lowest recurrent layer."""
    return int(next(part.input_size for part in network.modules() if isinstance(part, Recurrent)) or 0)


class Kept:
    """The scores of each fit, one file a fit: what an earlier run left, or new ones."""

    def __init__(self, folder: Path, finished: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.finished = folder, finished

    def get(self, name: str, make: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        """The answer in a list; an empty one where it is missing and nothing may be fitted."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            if self.finished:
                return []
            answer = make()
            if not all(math.isfinite(value) for value in answer.values() if isinstance(value, float)):
                raise ValueError(f"{name}: {answer} has numbers that are not finite")
            file.write_text(json.dumps(answer), encoding="utf-8")
            print(name, file.read_text(encoding="utf-8")[:200], flush=True)
        return [json.loads(file.read_text(encoding="utf-8"))]


def main() -> None:
    """Fit what is not kept yet, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what earlier runs kept")
    parser.add_argument("--pictures", type=Path, help="folder for the picture of the guide")
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = Kept(Path("runs/benchmarks/which_layer"), given.finished)
    frames = {name: problem.frame(given.data) for name, problem in SERIES.items()}
    features = {}
    for names, probe in ((SERIES, forecast_features), (CLASSES, classify_features)):
        for name in names:
            told = kept.get(f"features-{name}", partial(probe, name, given.data))
            features[name] = told[0]["features"] if told else 0
    found: dict[str, dict[str, dict[str, list[Any]]]] = {}

    def add(part: str, case: str, row: str, seed: int, make: Callable[[], dict[str, Any]]) -> None:
        rows = found.setdefault(part, {}).setdefault(case, {}).setdefault(row, [])
        rows.extend(kept.get(f"{part}-{case}-{row}-{seed}", make))

    # What an interrupted run lacks are seeds of equal width and of frames.
    for later, seed in itertools.product((False, True), range(given.seeds)):
        for name in SERIES:
            for layer in (layer for layer in FORECASTERS if layer.equal_width == later):
                make = partial(forecast_once, name, layer, seed, frames[name], features[name])
                add("forecast", name, layer.name, seed, make)
        for name in CLASSES:
            for layer in (layer for layer in CLASSIFIERS if layer.equal_width == later):
                make = partial(classify_once, name, layer, seed, given.data, features[name])
                add("classify", name, layer.name, seed, make)
        if later:
            for name, model in itertools.product(VIDEOS, ("convlstm", "patches", "pixels")):
                add("video", name, model, seed, partial(video_once, name, model, seed, given.data))
        else:
            for lag, cell in itertools.product(LAGS, WIDTHS):
                add("memory", str(lag), cell, seed, partial(remember_once, cell, lag, seed))
    costs = kept.get("costs", measure_costs)
    page = {
        "machine": describe_machine(),
        "versions": {
            "gatestack": gatestack.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "updates": UPDATES,
        "seeds": given.seeds,
        "found": found,
        "costs": costs[0] if costs else None,
    }
    (HERE / "results" / "which_layer.json").write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")
    (HERE / "results" / "which_layer.md").write_text(which_layer_page(page), encoding="utf-8")
    if given.pictures is not None:
        draw_memory(given.pictures / "layers-memory.svg", page)


if __name__ == "__main__":
    main()
