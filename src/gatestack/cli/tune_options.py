"""Options that the commands `gatestack tune …` share, and what they do with a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gatestack.cli.console import Talk, print_json
from gatestack.cli.options import is_plain_file, refuse_existing
from gatestack.cli.repeat import fit_command, given_command, python_of

if TYPE_CHECKING:
    from gatestack.study import TuneStudy
    from gatestack.tasks.estimator import Estimator

__all__ = [
    "CheckSeeds",
    "FirstLayers",
    "Folds",
    "Minutes",
    "PrunerName",
    "SamplerName",
    "Search",
    "Trials",
    "run_search",
]

_SEARCH = "Search"
_SHOWN_TRIALS = 10

Search = Annotated[
    list[str] | None,
    typer.Option(
        "--search",
        metavar="NAME[=LOW-HIGH]",
        help="Setting to vary, with its smallest and largest value or with the usual ones; repeat for more: "
        "layers=1-3, hidden_size, window, learning_rate=0.001-0.01, weight_decay, dropout, "
        "variational_dropout, recurrent_dropout, zoneout, layer_norm.  [default: all]",
        rich_help_panel=_SEARCH,
    ),
]
FirstLayers = Annotated[
    str,
    typer.Option(
        "--layers", metavar="N|N,N,…", help="Layers to begin with, or widths.", rich_help_panel="Model"
    ),
]
Trials = Annotated[
    int,
    typer.Option(
        "--trials",
        metavar="N",
        min=1,
        help="Choices of settings to try, with those of earlier runs.",
        rich_help_panel=_SEARCH,
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        metavar="N",
        help="Begin no fit of a trial after so long. The fit in work, the settings as given and the check "
        "are fitted in any case: folds - 1, and 2 × --check-seeds fits.  [default: no limit]",
        rich_help_panel=_SEARCH,
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        "--folds",
        metavar="N",
        min=3,
        help="Parts to score on; no trial sees the last, on which the winner is checked.",
        rich_help_panel=_SEARCH,
    ),
]
SamplerName = Annotated[
    Literal["tpe", "random"],
    typer.Option(
        "--sampler", help="tpe learns from the trials so far, random does not.", rich_help_panel=_SEARCH
    ),
]
PrunerName = Annotated[
    Literal["median", "halving", "none"],
    typer.Option(
        "--pruner", help="How a trial that falls behind the others is left early.", rich_help_panel=_SEARCH
    ),
]
CheckSeeds = Annotated[
    int,
    typer.Option(
        "--check-seeds",
        metavar="N",
        min=1,
        help="Fits of the winner, and of the settings as given, on the part held back.",
        rich_help_panel=_SEARCH,
    ),
]


def run_search(
    task: str,
    estimator: Estimator,
    data: Any,
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    fit: Callable[..., None],
) -> None:
    """Search, and print and write what was found.

    Args:
        task: name of the command.
        estimator: as it would be fitted.
        data: what `fit` takes first.
        options: other arguments of `fit`.
        given: arguments of the command by name.
        fit: command that fits; what it has options for is repeated.
    """
    out: Path | None = given["out"]
    if out is not None:
        refuse_existing(out, given["overwrite"], replaceable=is_plain_file)
    talk = Talk(given["quiet"] or given["as_json"])

    from gatestack.study import tune
    from gatestack.study.storage import storage_name

    place = storage_name(given["study"])
    folds, trials, seeds = given["folds"] - 1, given["trials"], given["check_seeds"]
    talk.say(
        f"at most {(trials + 1) * folds + 2 * seeds} fits: {folds} of the settings as given, {folds} of each "
        f"of {trials} trials, {2 * seeds} of the check; --trials and --minutes bound the search"
    )
    talk.say(f"fits are kept in {place}; the same command in other terminals helps")
    names = ("trials", "minutes", "folds", "sampler", "pruner", "check_seeds", "measure", "seed")
    try:
        study = tune(
            estimator,
            data,
            options,
            search=given["search"] or (),
            storage=given["study"],
            progress=talk.progress,
            **{name: given[name] for name in names},
        )
    except KeyboardInterrupt:
        Talk(False).say(f"all finished fits are kept in {place}; the same command goes on from there")
        raise
    command = fit_command(task, given, study.best, fit)
    python = python_of(estimator, study.best)
    if out is not None:
        from gatestack.cli.storage import write_output
        from gatestack.reports.tune import render_tune_page

        page = render_tune_page(
            study,
            title=f"Tuned: {Path(given['file']).name}",
            command=command,
            python=python,
            search=given_command("tune", given["study"]),
        )
        write_output(out, page.encode())
    if given["as_json"]:
        report = None if out is None else str(out)
        repeat = {"command": command, "python": python, "study": place, "report": report}
        print_json(study.to_dict() | repeat)
        return
    _print_study(study)
    typer.echo(f"\n{command}\n\n{python}")
    if out is not None:
        typer.echo(str(out))


def _print_study(study: TuneStudy) -> None:
    from gatestack.reports.tune import trial_table

    typer.echo(f"{study.measure.label}, {len(study.rows)} trials, {study.folds} folds and one held back")
    table = trial_table(study)
    rows = [table.heads, *table.rows[: _SHOWN_TRIALS + 2]]
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = {0, len(wide) - 1} if table.compact else {0}
    for place, row in enumerate(rows):
        cells = [
            cell.ljust(size) if column in words else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(row, wide, strict=True))
        ]
        mark = "*" if place == table.chosen + 1 else " "  # says it without bold
        typer.echo(f"{mark} {'  '.join(cells)}".rstrip())
    more = len(table.rows) - len(rows) + 1
    if more > 0:
        typer.echo(f"  and {more} more trials; --out FILE shows all")
    if study.failures is not None:
        typer.echo(study.failures)
    if study.importance:
        shares = [f"{name.replace('_', ' ')} {100 * share:.0f} %" for name, share in study.importance.items()]
        typer.echo(f"What the trials differ by: {', '.join(shares)}")
    typer.echo(study.sentence)
