"""`gatestack update`: new observations move a saved forecaster on, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatestack.cli.console import Talk, print_json
from gatestack.cli.models import load_estimator
from gatestack.cli.options import AsJson, ModelFolderPath, Overwrite, Quiet, is_model_folder, refuse_existing
from gatestack.cli.series_files import Wide, read_series
from gatestack.errors import ArgumentError

__all__ = ["update"]


def update(
    model: ModelFolderPath,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="NEW",
            help="Table of new rows, with the columns of the fit; known rows may be among them.",
        ),
    ],
    *,
    future: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Table of the future columns after the new rows, for adaptive intervals.  [default: none]",
            rich_help_panel="Data",
        ),
    ] = None,
    wide: Wide = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Model folder to write.  [default: the model itself is replaced]",
            rich_help_panel="Output",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with new observations: the saved forecaster's next forecast starts after them.

    \b
      gatestack update runs/weather today.csv

    Nothing is trained. Without --out the folder is replaced by the new one in one step; an error or
    Ctrl-C leaves it as it was.
    """
    if out is not None:
        refuse_existing(out, overwrite, replaceable=is_model_folder)
    estimator = load_estimator(model, "update")
    if estimator.kind != "forecaster":
        raise ArgumentError(
            f"it holds a {estimator.kind}, which does not go on with new rows",
            where=str(model),
            expected="a forecaster",
            hint="fit again with all rows",
        )
    before = len(estimator.fitted_.tail.sequences)
    estimator.update(read_series(data, wide=wide), future=future)
    page = model / "report.html"
    report = page.read_text(encoding="utf-8") if page.is_file() and not page.is_symlink() else None
    target = out or model
    estimator.save(target, overwrite=out is None or overwrite, report=report)
    tail = estimator.fitted_.tail
    ends = tail.time_kind.to_series(tail.last_times, "end")
    count = len(tail.sequences)
    if as_json:
        print_json(
            {
                "model": str(target),
                "series": count,
                "new_series": count - before,
                "last_time": str(ends.max()),
            }
        )
    else:
        new = f", {count - before} of them new" if count > before else ""
        talk = Talk(quiet)
        talk.say(f"wrote {target}: {count} series{new}, up to {ends.max()}")
        if report is not None:
            talk.say(f"its report.html is that of the fit; gatestack report {target} makes a new page")
