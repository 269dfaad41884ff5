"""Options that the commands `gatestack depth …` share, and what they do with a study."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from gatestack.cli.console import Talk, print_json
from gatestack.cli.options import is_plain_file, refuse_existing
from gatestack.cli.repeat import given_command, python_of

if TYPE_CHECKING:
    from gatestack.study import DepthStudy
    from gatestack.tasks.estimator import Estimator

__all__ = [
    "STUDIES",
    "BudgetName",
    "DepthRun",
    "Depths",
    "FoldCount",
    "Measure",
    "MinGain",
    "Page",
    "Regularisations",
    "SeedCount",
    "StudyPlace",
    "depth_run",
    "run_depth",
]

STUDIES = "gatestack-studies.db"
"""Where finished fits are kept when nothing else is said."""

_STUDY, _OUTPUT = "Study", "Output"
_WIDTH = 130

Depths = Annotated[
    str,
    typer.Option("--layers", metavar="A-B", help="Smallest and largest depth.", rich_help_panel=_STUDY),
]
BudgetName = Annotated[
    Literal["equal-width", "equal-parameters"],
    typer.Option(
        "--budget", help="The same width at each depth, or the same parameters.", rich_help_panel=_STUDY
    ),
]
FoldCount = Annotated[
    int, typer.Option("--folds", metavar="N", min=2, help="Parts to score on.", rich_help_panel=_STUDY)
]
SeedCount = Annotated[
    int,
    typer.Option("--seeds", metavar="N", min=1, help="Fits per depth and fold.", rich_help_panel=_STUDY),
]
MinGain = Annotated[
    float,
    typer.Option(
        metavar="GAIN",
        min=0.0,
        help="Price of a layer: what each one more must gain, in the unit of the measure.",
        rich_help_panel=_STUDY,
    ),
]
Regularisations = Annotated[
    list[str] | None,
    typer.Option(
        "--regularisation",
        metavar="NAME[=STRENGTH]",
        help="Study this as a second axis; repeat for more, + joins some: dropout=0.3, variational_dropout, "
        "recurrent_dropout, zoneout, weight_decay, layer_norm.",
        rich_help_panel=_STUDY,
    ),
]
Measure = Annotated[
    str | None,
    typer.Option(
        "--measure", metavar="NAME", help="Score to compare.  [default: by the task]", rich_help_panel=_STUDY
    ),
]
StudyPlace = Annotated[
    str,
    typer.Option(
        "--study",
        metavar="FILE|URL",
        help="Where finished fits are kept: an SQLite file, or postgresql://user@host/database.",
        rich_help_panel=_STUDY,
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Report page to write.  [default: none]", rich_help_panel=_OUTPUT
    ),
]


@dataclass(frozen=True, kw_only=True)
class DepthRun:
    """What a study does and writes; see the options of the commands."""

    file: Path
    layers: str
    budget: str
    folds: int
    seeds: int
    min_gain: float
    regularisation: tuple[str, ...]
    measure: str | None
    study: str
    out: Path | None
    overwrite: bool
    as_json: bool
    quiet: bool


def depth_run(given: Mapping[str, Any]) -> DepthRun:
    """Take what a study does and writes from the arguments of a command."""
    own = {field.name: given[field.name] for field in fields(DepthRun)}
    return DepthRun(**own | {"regularisation": tuple(given["regularisation"] or ())})


def run_depth(task: str, estimator: Estimator, data: Any, options: Mapping[str, Any], run: DepthRun) -> None:
    """Study an estimator, and print and write what was found.

    Args:
        task: name of the command.
        estimator: as it would be fitted.
        data: what `fit` takes first.
        options: other arguments of `fit`.
        run: what to do, and where to write it.
    """
    if run.out is not None:
        refuse_existing(run.out, run.overwrite, replaceable=is_plain_file)
    talk = Talk(run.quiet or run.as_json)

    from gatestack.study import study_depth
    from gatestack.study.budget import Budget
    from gatestack.study.storage import storage_name

    place = storage_name(run.study)
    talk.say(f"fits are kept in {place}; the same command in other terminals helps")
    talk.say(f"each depth takes {run.folds * run.seeds} fits, --folds × --seeds")
    try:
        study = study_depth(
            estimator,
            data,
            options,
            layers=run.layers,
            budget=cast("Budget", run.budget.replace("-", " ")),
            folds=run.folds,
            seeds=run.seeds,
            min_gain=run.min_gain,
            regularisation=run.regularisation,
            measure=run.measure,
            storage=run.study,
            progress=talk.progress,
        )
    except KeyboardInterrupt:
        Talk(False).say(f"all finished fits are kept in {place}; the same command goes on from there")
        raise
    if run.out is not None:
        _write_page(task, estimator, study, run, python=study_lines(estimator, data, options, run))
    if run.as_json:
        page = None if run.out is None else str(run.out)
        print_json(study.to_dict() | {"study": place, "report": page})
        return
    _print_study(study)
    if run.out is not None:
        typer.echo(str(run.out))


def study_lines(estimator: Estimator, data: Any, options: Mapping[str, Any], run: DepthRun) -> str | None:
    """Write the Python lines that make the same study.

    Args:
        estimator: that was studied.
        data: a path, or cases that were read of one.
        options: other arguments of `fit`.
        run: of the command.

    Returns:
        The lines; None for groups, which are a list as long as the data.
    """
    from gatestack.data.collections import LabelledSequences
    from gatestack.study import study_depth

    if "groups" in options:
        return None
    lines, words = python_of(estimator, {}).split("\n"), [repr(str(run.file))]
    if isinstance(data, LabelledSequences):
        columns = {} if data.columns is None else vars(data.columns)
        kind = {"kind": "numbers"} if data.targets is not None else {}
        reading = _arguments(kind | columns, dict.fromkeys(columns))
        lines.insert(1, "from gatestack.data.collections import read_labelled")
        lines.append(f"cases = read_labelled({', '.join([*words, *reading])})")
        words = ["cases"]
    defaults = _defaults(getattr(estimator, "fit"))  # noqa: B009  (each estimator has its own)
    given = {name: value for name, value in options.items() if value not in (defaults[name], ())}
    words += [repr(given)] if given else []
    asked = vars(run) | {"budget": run.budget.replace("-", " ")}
    asked = {name: value for name, value in asked.items() if name in _defaults(study_depth)}
    words += _arguments(asked, _defaults(study_depth))
    return "\n".join([*lines, f"study = gs.study_depth({', '.join(['model', *words])})"])


def _defaults(function: Any) -> dict[str, Any]:
    return {name: argument.default for name, argument in inspect.signature(function).parameters.items()}


def _arguments(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in given.items() if value != defaults.get(name)]


def _write_page(
    task: str, estimator: Estimator, study: DepthStudy, run: DepthRun, *, python: str | None
) -> None:
    from gatestack.cli.storage import write_output
    from gatestack.reports.depth import render_depth_page

    page = render_depth_page(
        study,
        title=f"How many layers? {run.file.name}",
        settings={"task": task} | _changed(estimator),
        command=given_command("depth", run.study),
        python=python,
    )
    if run.out is not None:
        write_output(run.out, page.encode())


def _changed(estimator: Any) -> dict[str, str]:
    """Give the settings that are not at their default, also of an estimator inside."""
    from gatestack.reports.changed import changed_fields

    found: dict[str, str] = {}
    for name, default in _defaults(type(estimator)).items():
        value = getattr(estimator, name)
        if hasattr(value, "get_params"):
            found |= _changed(value)
        elif name in ("architecture", "training"):
            found |= {key: str(part) for key, part in changed_fields(value).items()}
        elif value != default:
            found[name] = str(value)
    return found


def _print_study(study: DepthStudy) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gatestack.reports.depth.page import HEADS, table_cells

    seeds = f"{study.seeds} seed{'s' if study.seeds > 1 else ''}"
    title = f"{study.measure.label} by depth, {study.budget}, {study.folds} folds × {seeds}"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for head in (*HEADS, "one step", "memory"):
        table.add_column(head, justify="right")
    for row in study.rows:
        cells = table_cells(row, study)
        mark = "*" if row.layers == study.chosen else " "  # says it without colour or bold
        style = "bold" if row.layers == study.chosen else ""
        table.add_row(*(Text(cell, style=style) for cell in (f"{cells[0]}{mark}", *cells[1:])))
    # Into a file or a pipe the table keeps its width, whatever the window, and no blanks end its lines.
    console = Console(file=io.StringIO(), markup=False, highlight=False, width=_WIDTH)
    if sys.stdout.isatty():
        Console(file=sys.stdout, markup=False, highlight=False).print(table)
    else:
        console.print(table)
        for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]
            typer.echo(line.rstrip())
    for line in study.regularisation_lines:
        typer.echo(line)
    typer.echo(study.sentence)
    for warning in study.warnings:
        typer.echo(f"Beware: {warning}")
