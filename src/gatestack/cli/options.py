"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gatestack.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AsJson",
    "DataFile",
    "Device",
    "HiddenSize",
    "Layers",
    "MaxSteps",
    "ModelFolderPath",
    "ModelOut",
    "Overwrite",
    "Quiet",
    "Restart",
    "Resume",
    "Seed",
    "is_model_folder",
    "is_plain_file",
    "parse_layers",
    "parse_season",
    "parse_step",
    "refuse_existing",
]

DataFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Table: CSV, TSV or Parquet, one row per time.")
]
ModelFolderPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `gatestack fit` wrote.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No talk and no progress bar.", rich_help_panel="Output")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Write JSON to stdout, for programs.", rich_help_panel="Output")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace what stands at the place of the output.", rich_help_panel="Output"
    ),
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:0, mps.", rich_help_panel="Training")
]
Seed = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, help="The same seed gives the same model on a CPU.", rich_help_panel="Training"
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an unfinished run.", rich_help_panel="Training")
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Throw an unfinished run away.", rich_help_panel="Training")
]
Layers = Annotated[
    str,
    typer.Option(
        metavar="N|N,N,…|auto",
        help="Number of layers, widths, lowest first: 64,32, or auto: as many as a study supports.",
        rich_help_panel="Model",
    ),
]
HiddenSize = Annotated[
    int, typer.Option(metavar="N", min=1, help="Width of each layer, in units.", rich_help_panel="Model")
]
MaxSteps = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Updates of the weights at most.", rich_help_panel="Training"),
]
ModelOut = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER", help="Model folder to write.", rich_help_panel="Output", show_default=False
    ),
]


def parse_layers(text: str) -> int | tuple[int, ...] | Literal["auto"]:
    """Read a depth or a list of widths.

    Example:
        >>> parse_layers("3"), parse_layers("64,32"), parse_layers("auto")
        (3, (64, 32), 'auto')
    """
    if text == "auto":
        return "auto"
    numbers = _numbers(text, "--layers", "a number of layers, or widths such as 64,32")
    return numbers[0] if len(numbers) == 1 and "," not in text else numbers


def parse_season(text: str) -> int | tuple[int, ...] | Literal["auto"] | None:
    """Read lengths of seasons in steps.

    Example:
        >>> parse_season("24,168"), parse_season("none"), parse_season("auto")
        ((24, 168), None, 'auto')
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    return _numbers(text, "--season", "auto, none, or lengths in steps such as 24 or 24,168")


def parse_step(text: str | None) -> str | int | None:
    """Read the step of a table: a number where its times are numbers.

    Example:
        >>> parse_step("1h"), parse_step("5"), parse_step(None)
        ('1h', 5, None)
    """
    return int(text) if text is not None and text.isdecimal() else text


def _numbers(text: str, option: str, rule: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.rstrip(",").split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ArgumentError(f"{text!r}", where=option, expected=rule)
    return tuple(int(part) for part in parts)


def refuse_existing(path: Path, overwrite: bool, *, replaceable: Callable[[Path], bool]) -> None:
    """Raise before any work is done where the output would replace something that must stay.

    Args:
        path: the output.
        overwrite: whether the user allows to replace it.
        replaceable: tells whether what stands there is something that may be replaced at all.

    Raises:
        ArgumentError: the path exists.
    """
    if not (path.exists() or path.is_symlink()):
        return
    if not overwrite:
        raise ArgumentError(
            "it exists already",
            where=str(path),
            expected="a new path",
            hint="choose another --out, or pass --overwrite to replace it",
        )
    if not replaceable(path):
        raise ArgumentError(
            "it is not something that Gatestack wrote, and --overwrite does not replace it",
            where=str(path),
            expected="a new path, or an output of this command",
            hint="choose another --out",
        )


def is_model_folder(path: Path) -> bool:
    """Tell whether a path is a model folder, which another one may replace."""
    return (path / "model.json").is_file()


def is_plain_file(path: Path) -> bool:
    """Tell whether a path is a file that may be replaced: neither a folder, nor a link to somewhere else."""
    return path.is_file() and not path.is_symlink()
