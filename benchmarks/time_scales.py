"""Do higher layers work at longer time-scales? Over data sets, depths and seeds, trained and before training.

    python benchmarks/time_scales.py               # 20 minutes of one core
    python benchmarks/time_scales.py --finished    # write the page from what is kept

Each model is fitted on a training part and looked into, as `model.inspect` does it, on sequences that it has
not seen: the last fifth of a series, the test file of an archive problem. Forecasters have no linear
autoregression, so that their layers do the work. The same network with its recurrent layers drawn anew stands
beside each, since a higher layer reads the world through those below and may be slower before anything was
learned. Nothing is chosen by what is found. What is found in a fit is kept in a file under
`runs/benchmarks/time_scales/`: an interrupted run goes on where it stopped. Writes `results/time_scales.json`
and `results/time_scales.md`.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch
from distributions import seattle
from protocol.machine import describe_machine
from protocol.time_scales_page import time_scales_page

import gatestack
from gatestack.data.collections import read_labelled
from gatestack.inspect import Subject, inspect_subject
from gatestack.nn.recurrent import Recurrent
from gatestack.tasks.classify import Classifier
from gatestack.tasks.forecast import Architecture, Forecaster
from gatestack.tasks.labelled.options import Architecture as LabelledArchitecture
from gatestack.training import Training, TrainingRecord

HERE = Path(__file__).resolve().parent
LAYERS, SEEDS, WIDTH, UPDATES, SEQUENCES = (2, 3), 3, 24, 400, 32


def melbourne(data: Path) -> pl.DataFrame:
    """The lowest temperature of each day."""
    table = pl.read_csv(data / "melbourne_min_temp" / "daily-min-temperatures.csv", try_parse_dates=True)
    return table.select(ds="Date", y="Temp")


def beijing(data: Path) -> pl.DataFrame:
    """Fine dust in each hour of the last two years."""
    file = data / "beijing_pm25" / "pollution.csv"
    table = pl.read_csv(file, null_values="NA", infer_schema_length=None).tail(2 * 8760)
    return table.select(ds=pl.datetime("year", "month", "day", "hour"), y="pm2.5")


# Name → rows, steps ahead, steps of a window.
SERIES: dict[str, tuple[Callable[[Path], pl.DataFrame], int, int]] = {
    "seattle_weather": (seattle, 7, 120),
    "melbourne_min_temp": (melbourne, 7, 120),
    "beijing_pm25": (beijing, 24, 168),
}
CLASSES = ("GunPoint", "Epilepsy")


def forecaster_subject(name: str, layers: int, seed: int, data: Path) -> Subject:
    """Fit on four fifths of a series, and offer windows of the last one."""
    rows, horizon, window = SERIES[name]
    frame = rows(data)
    held = frame.height // 5
    model = Forecaster(
        horizon,
        layers=layers,
        hidden_size=WIDTH,
        window=window,
        max_steps=UPDATES,
        architecture=Architecture(autoregression=False),
        training=Training(batch_size=16, device="cpu"),
        seed=seed,
    ).fit(frame.head(frame.height - held))
    check_whole_fit(model.fitted_.record)
    return model._subject(frame.tail(held), None, SEQUENCES)


def classifier_subject(name: str, layers: int, seed: int, data: Path) -> Subject:
    """Fit on the training file, and offer cases of the test file."""
    folder = data / "ucr_uea" / name
    model = Classifier(
        layers=layers,
        hidden_size=WIDTH,
        max_steps=UPDATES,
        architecture=LabelledArchitecture(recipe="plain", bidirectional=False),
        training=Training(batch_size=16, device="cpu"),
        seed=seed,
    ).fit(folder / f"{name}_TRAIN.ts")
    check_whole_fit(model.fitted_.members[0].record)
    return model._subject(read_labelled(folder / f"{name}_TEST.ts"), None, SEQUENCES)


def check_whole_fit(record: TrainingRecord) -> None:
    """Stop where somebody stopped the fit: it would be that of fewer updates."""
    if record.stopped_by == "interrupt":
        raise KeyboardInterrupt


def drawn_anew(subject: Subject, seed: int) -> Subject:
    """The same subject with recurrent layers as they are before training."""
    network = copy.deepcopy(subject.network)
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, Recurrent):
            module.reset_parameters()
    return dataclasses.replace(subject, network=network)


def found_in(subject: Subject) -> dict[str, Any]:
    """The time-scales of all units by layer, null where a change outlasts the sequence; and the loss."""
    found = inspect_subject(subject, shown=1)
    parts = found.tables["time_scales"].partition_by("layer", maintain_order=True)
    known = [part.filter(pl.col("change_lasts") | pl.col("change_steps").is_not_null()) for part in parts]
    return {
        "gates": [part["gate_steps"].round_sig_figs(4).to_list() for part in parts],
        "change": [part["change_steps"].round_sig_figs(4).to_list() for part in known],
        "loss": float(found.tables["layer_worth"]["loss"][0]),
        "steps": found.settings["steps"],
    }


def both(name: str, layers: int, seed: int, data: Path) -> dict[str, Any]:
    """A trained model, and the same one drawn anew."""
    offer = forecaster_subject if name in SERIES else classifier_subject
    subject = offer(name, layers, seed, data)
    return {"trained": found_in(subject), "drawn": found_in(drawn_anew(subject, seed))}


def main() -> None:
    """Fit what is not kept yet, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what earlier runs kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path("runs/benchmarks/time_scales")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    # What an interrupted run lacks are seeds, not data sets.
    for seed, layers, name in itertools.product(range(SEEDS), LAYERS, (*SERIES, *CLASSES)):
        file = folder / f"{name}-{layers}-{seed}.json"
        if not file.exists() and not given.finished:
            answer = both(name, layers, seed, given.data)
            file.write_text(json.dumps(answer), encoding="utf-8")
            print(file.stem, flush=True)
        if file.exists():
            place = {"problem": name, "layers": layers, "seed": seed}
            rows.append(place | json.loads(file.read_text(encoding="utf-8")))
    page = {
        "machine": describe_machine(),
        "versions": {"gatestack": gatestack.__version__, "torch": torch.__version__},
        "settings": {"width": WIDTH, "updates": UPDATES, "sequences": SEQUENCES, "seeds": SEEDS},
        "rows": rows,
    }
    (HERE / "results" / "time_scales.json").write_text(json.dumps(page) + "\n", encoding="utf-8")
    (HERE / "results" / "time_scales.md").write_text(time_scales_page(page), encoding="utf-8")


if __name__ == "__main__":
    main()
