"""`gatestack inspect`: what happens inside a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatestack.cli.console import Talk, print_json, print_written
from gatestack.cli.options import AsJson, ModelFolderPath, Overwrite, Quiet, refuse_existing
from gatestack.errors import ArgumentError, DataError, nearest_name

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
            "with the array `inputs` (of several inputs, each by its name, first the one to look at) and, "
            "where known, `target`; or an .npy file of the inputs.",
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
    member: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Which network of a classifier or regressor that has several.  [default: 1]",
            rich_help_panel="Inspection",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which output of an imported network is scored and explained.  [default: the first]",
            rich_help_panel="Inspection",
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How an imported network is scored: 'squared error', 'cross-entropy' of probabilities, or "
            "'cross-entropy of logits'.  [default: by the target]",
            rich_help_panel="Inspection",
        ),
    ] = None,
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
        found = _of_estimator(loaded, data, sequences, member, {"--output": output, "--loss": loss})
    else:
        _refuse({"--member": member}, loaded.name)
        arrays = _arrays(data, [port.name for port in loaded.inputs])
        target = arrays.pop("target", None)
        inputs = arrays["inputs"] if list(arrays) == ["inputs"] else arrays
        found = loaded.inspect(
            inputs,
            target,
            loss=loss,  # type: ignore[arg-type]  # whose names the network checks
            output=output,
            sequences=sequences,
        )
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


def _of_estimator(
    model: Estimator, data: Path, sequences: int, member: int | None, of_networks: dict[str, Any]
) -> Inspection:
    from gatestack.tasks.labelled.estimator import LabelledEstimator

    _refuse(of_networks, model.kind)
    if isinstance(model, LabelledEstimator):
        return model.inspect(data, sequences=sequences, member=member or 1)
    _refuse({"--member": member}, model.kind)
    return model.inspect(data, sequences=sequences)


def _refuse(options: dict[str, Any], what: str) -> None:
    """Refuse options that a model cannot have.

    Raises:
        ArgumentError: one of them is given.
    """
    for name, value in options.items():
        if value is not None:
            raise ArgumentError(
                f"{name} {value}",
                where=what,
                expected="a classifier or regressor" if name == "--member" else "an imported network",
            )


def _arrays(path: Path, inputs: list[str]) -> dict[str, Any]:
    """Read the arrays of an .npz file; nothing in it is run.

    Args:
        path: of the file.
        inputs: names of the inputs of the network.

    Raises:
        DataError: the file is missing or damaged, or has neither `inputs` nor those of the network.
    """
    import zipfile

    import numpy as np

    hint = "numpy.savez(FILE, inputs=…, target=…) writes it"
    try:
        read = np.load(path, allow_pickle=False)
        if isinstance(read, np.ndarray):  # a .npy file, whose array has no name
            return {"inputs": read}
        with read as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError("there is no such file", where=str(path), hint=hint) from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"it cannot be read as arrays ({error})", where=str(path), expected="an .npz file", hint=hint
        ) from None
    known = ["inputs", "target", *inputs]
    for name in arrays:
        if name not in known:
            raise DataError(
                f"the array {name!r} is not known",
                where=str(path),
                expected=", ".join(known),
                hint=nearest_name(name, known),
            )
    if "inputs" not in arrays and not all(name in arrays for name in inputs):
        raise DataError("there is no array `inputs`", where=str(path), hint=hint)
    return arrays


def _write(out: Path, found: Inspection, model: Estimator | Network, data: Path) -> None:
    import shutil

    from gatestack.cli.storage import write_output
    from gatestack.reports import render_report
    from gatestack.reports.inspect import figure_files, render_cell_page, render_inspection
    from gatestack.tasks.estimator import Estimator

    if isinstance(model, Estimator):
        report = render_report(model, data=data, inspection=found)
    else:
        report = render_inspection(found)
    page, drawn = render_cell_page(found), figure_files(found)
    if out.exists():  # what stood there stays until there is something to put in its place
        shutil.rmtree(out)
    write_output(out / _REPORT, report.encode())
    write_output(out / _PAGE, page.encode())
    for name, content in drawn.items():
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
