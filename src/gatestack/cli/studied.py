"""What `gatestack depth …` and `gatestack tune …` study: the estimator and its data, from the options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gatestack.cli.groups import read_with_groups
from gatestack.cli.options import parse_layers, parse_season, parse_step
from gatestack.cli.regularisation_options import REGULARISATION
from gatestack.cli.sums import with_sums

if TYPE_CHECKING:
    from gatestack.tasks.classify import Classifier
    from gatestack.tasks.detect import AnomalyDetector
    from gatestack.tasks.forecast import CoherentForecaster, Forecaster
    from gatestack.tasks.regress import Regressor

__all__ = [
    "DetectWindow",
    "IgnoredLabel",
    "Method",
    "Train",
    "Values",
    "detector_of",
    "forecaster_of",
    "labelled_of",
]

_DATA, _MODEL = "Data", "Model"

Values = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Column to watch; give it again for more.  [default: all columns of numbers]",
        rich_help_panel=_DATA,
    ),
]
IgnoredLabel = Annotated[
    str,
    typer.Option(metavar="COLUMN", help="Column of labels, which is not read.", rich_help_panel=_DATA),
]
Train = Annotated[
    str,
    typer.Option(
        metavar="SHARE|STEPS",
        help="First part of each series that is taken as usual; no more is read.",
        rich_help_panel=_DATA,
    ),
]
Method = Annotated[
    Literal["forecast", "reconstruction"],
    typer.Option(help="Foretell the next step, or repeat the last window.", rich_help_panel=_MODEL),
]
DetectWindow = Annotated[
    int, typer.Option(metavar="N", min=2, help="Steps of a training example.", rich_help_panel=_MODEL)
]


def forecaster_of(
    given: Mapping[str, Any],
) -> tuple[Forecaster | CoherentForecaster, dict[str, Any]]:
    """Make a forecaster, and the other arguments of its fit, of the arguments of a command."""
    from gatestack.tasks.forecast import Architecture, Forecaster
    from gatestack.training import Training

    estimator = Forecaster(
        given["horizon"],
        **_layers(given),
        hidden_size=given["hidden_size"],
        window=given["window"],
        season=parse_season(given["season"]),
        max_steps=given["max_steps"],
        architecture=Architecture(cell=given["cell"]),
        training=Training(device=given["device"]),
        seed=given["seed"],
    )
    roles = {name: tuple(given[name] or ()) for name in ("past", "future", "static")}
    names = ("target", "time", "series", "short_series")
    columns: dict[str, Any] = {name: given[name] for name in names}
    columns |= roles | {"frequency": parse_step(given["frequency"])}
    return with_sums(estimator, columns, given["sums"], given["add_up_by"])


def detector_of(given: Mapping[str, Any]) -> tuple[AnomalyDetector, dict[str, Any]]:
    """Make a detector, and the other arguments of its fit, of the arguments of a command."""
    from gatestack.cli.fit_detect import parse_train
    from gatestack.tasks.detect import AnomalyDetector

    names = ("hidden_size", "window", "max_steps", "seed")
    settings = {name: given[name] for name in names}
    estimator = AnomalyDetector(given["method"], **settings, **_layers(given))
    return estimator, {
        "values": given["value"],
        "time": given["time"],
        "series": given["series"],
        "frequency": parse_step(given["frequency"]),
        "label": given["label"],
        "train": parse_train(given["train"]),
    }


def labelled_of(
    task: Literal["classify", "regress"], given: Mapping[str, Any]
) -> tuple[Classifier | Regressor, Any, dict[str, Any]]:
    """Make a classifier or regressor, read its cases and their groups, of the arguments of a command."""
    from gatestack.cli.fit_labelled import model_options
    from gatestack.data.collections import LabelColumns
    from gatestack.tasks.classify import Classifier
    from gatestack.tasks.regress import Regressor

    open_too = ("members", "batch_size", "learning_rate", "weight_decay")
    left_open: dict[str, Any] = dict.fromkeys((*open_too, *REGULARISATION))
    settings = {
        name: given[name] for name in ("hidden_size", "recipe", "cell", "max_steps", "device", "seed")
    }
    options = model_options(left_open | settings | {"crop": 0.0, "jitter": 0.0, "layers": given["layers"]})
    kind: Any = "classes" if task == "classify" else "numbers"
    columns = LabelColumns(label=given["label"], case=given["case"], time=given["time"])
    cases, groups = read_with_groups(given["file"], columns, kind=kind, group=given["group"])
    return (Classifier(**options) if task == "classify" else Regressor(**options)), cases, groups


def _layers(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"layers": parse_layers(given["layers"])} if given["layers"] is not None else {}
