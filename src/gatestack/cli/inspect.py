"""`gatestack inspect`: what happens inside a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatestack.cli.console import Talk, print_json, print_written
from gatestack.cli.options import AsJson, ModelFolderPath, Overwrite, Quiet, refuse_existing
from gatestack.errors import DataError, nearest_name

if TYPE_CHECKING:
    from gatestack.convert import Network
    from gatestack.inspect import Inspection
    from gatestack.tasks.estimator import Estimator

__all__ = ["inspect"]

_TABLES, _FIGURES, _REPORT, _PAGE = "tables", "figures", "report.html", "cell.html"
_WRITTEN = {_TABLES, _FIGURES, _REPORT, _PAGE}


def inspect(
    model: ModelFolderPath,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="What the model is to read while it is looked into. For an imported network: an .npz file "
            "with the array `inputs` and, where known, `target`.",
        ),
    ],
    sequences: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Sequences to look at: cases, or windows of a series.",
            rich_help_panel="Inspection",
        ),
    ] = 64,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for report, interactive page, figures (SVG) and tables (Parquet).  [default: none]",
            rich_help_panel="Output",
        ),
    ] = None,
    open_page: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Open the interactive page in the browser; without --out it lies in a temporary folder.",
            rich_help_panel="Output",
        ),
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look into a saved model: gates, time-scales, gradient flow, the worth of layers and of inputs.

    \b
      gatestack inspect runs/weather weather.csv --out inside

    What was found is said in sentences on stdout; --json gives every number, --out writes them as Parquet
    with figures, a report, and a page in which one moves along a sequence and sees gates and states.
    """
    if out is not None:
        refuse_existing(out, overwrite, replaceable=_is_ours)

    from gatestack.tasks import load
    from gatestack.tasks.estimator import Estimator

    talk = Talk(quiet or as_json)
    loaded = load(model)
    talk.say("looking inside …")
    if isinstance(loaded, Estimator):
        found = loaded.inspect(data, sequences=sequences)
    else:
        found = _of_network(loaded, data, sequences)
    if out is not None:
        talk.say("drawing …")
        _write(out, found, loaded, data)
    if open_page:
        _open(found, out, talk)
    if as_json:
        print_json(found.to_dict())
        return
    typer.echo(str(found))
    if out is not None:
        names = {
            _REPORT: "what was found, with figures",
            _PAGE: "one step at a time: gates, states, equations",
            f"{_FIGURES}/": "the figures as SVG",
            f"{_TABLES}/": f"every number, {len(found.tables)} Parquet files",
        }
        print_written(out, names)


def _of_network(network: Network, data: Path, sequences: int) -> Inspection:
    arrays = _arrays(data)
    return network.inspect(arrays["inputs"], arrays.get("target"), sequences=sequences)


def _arrays(path: Path) -> dict[str, Any]:
    """Read the arrays of an .npz file; nothing in it is run.

    Raises:
        DataError: the file is missing or damaged, or lacks `inputs`.
    """
    import zipfile

    import numpy as np

    hint = "numpy.savez(FILE, inputs=…, target=…) writes it"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError("there is no such file", where=str(path), hint=hint) from None
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(
            f"it cannot be read as arrays ({error})", where=str(path), expected="an .npz file", hint=hint
        ) from None
    for name in arrays:
        if name not in ("inputs", "target"):
            raise DataError(
                f"the array {name!r} is not known",
                where=str(path),
                expected="inputs and target",
                hint=nearest_name(name, ("inputs", "target")),
            )
    if "inputs" not in arrays:
        raise DataError("there is no array `inputs`", where=str(path), hint=hint)
    return arrays


def _write(out: Path, found: Inspection, model: Estimator | Network, data: Path) -> None:
    import shutil

    from gatestack.cli.storage import write_output
    from gatestack.reports import render_report
    from gatestack.reports.inspect import figure_files, render_cell_page, render_inspection
    from gatestack.tasks.estimator import Estimator

    if out.exists():
        shutil.rmtree(out)
    if isinstance(model, Estimator):
        page = render_report(model, data=data, inspection=found)
    else:
        page = render_inspection(found)
    write_output(out / _REPORT, page.encode())
    write_output(out / _PAGE, render_cell_page(found).encode())
    for name, content in figure_files(found).items():
        write_output(out / _FIGURES / name, content)
    found.write_parquet(out / _TABLES)


def _open(found: Inspection, out: Path | None, talk: Talk) -> None:
    """Show the interactive page, and say where it lies in case no browser does."""
    import tempfile
    import webbrowser

    from gatestack.cli.storage import write_output
    from gatestack.reports.inspect import render_cell_page

    if out is None:
        page = Path(tempfile.mkdtemp(prefix="gatestack-inspect-")) / _PAGE
        write_output(page, render_cell_page(found).encode())
    else:
        page = out / _PAGE
    shown = webbrowser.open(page.resolve().as_uri())
    talk.say(f"{'opened' if shown else 'no browser was found; open'} {page}")


def _is_ours(path: Path) -> bool:
    """Tell whether a folder holds an inspection and nothing else."""
    if not path.is_dir() or path.is_symlink():
        return False
    names = {entry.name for entry in path.iterdir()}
    return _REPORT in names and names <= _WRITTEN
