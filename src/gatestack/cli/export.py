"""`gatestack export`: a model as a file of another kind, with its proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatestack.cli.console import Talk, print_json, print_written
from gatestack.cli.options import AsJson, Overwrite, Quiet
from gatestack.cli.verify import difference_lines, differences_to_json
from gatestack.errors import check_choice

if TYPE_CHECKING:
    from gatestack.convert.exported import Exported

__all__ = ["export"]

# Those of gatestack.convert.export, which takes seconds to import: `--help` must not wait for torch.
_TARGETS = ("onnx", "keras", "torch")


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Model folder, or a file that `gatestack import` reads.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="onnx|keras|torch",
            help="Kind of file; torch is a folder.",
            rich_help_panel="Export",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="File, or for torch folder, to write.", rich_help_panel="Export"),
    ],
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Round large weights to eight bits (onnx): a file nearly four times smaller, no faster.",
            rich_help_panel="Export",
        ),
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as ONNX, Keras or torch, with test vectors beside it.

    \b
      gatestack export runs/weather --to onnx --out weather.onnx

    Before the file is written it is run on several batches and lengths (ONNX in ONNX Runtime), and must give
    what the model gives; FILE.proof.safetensors keeps inputs and answers, `gatestack verify` replays them.
    For torch a folder is written: model.py needs torch alone, its load() gives the network with its weights.
    """
    check_choice("to", to, _TARGETS, owner="export")

    from gatestack.convert.export import export_model
    from gatestack.tasks import load

    talk = Talk(quiet or as_json)
    talk.say(f"exporting {model} …")
    exported = export_model(_read(model, load), out, to=to, int8=int8, overwrite=overwrite)
    if as_json:
        print_json(_to_json(exported))
        return
    if to == "torch":
        names = {"model.py": "the network in torch: load()", "weights.safetensors": "its weights"}
        names |= {"architecture.json": "what model.py was written of", exported.proof.name: "test vectors"}
        print_written(out, names)
    else:
        names = {out.name: f"the model, {exported.file_bytes} bytes", exported.proof.name: "test vectors"}
        print_written(out.parent, names)
    for line in _lines(exported):
        print(line)  # noqa: T201


def _read(path: Path, load: Any) -> Any:
    """Read a model folder or a foreign file."""
    if path.is_dir():
        return load(path)
    from gatestack.convert import read_model

    return read_model(path)


def _lines(exported: Exported) -> list[str]:
    lines = [""]
    if exported.plain_bytes is None:
        lines.append("largest differences between the file and the model:")
    else:
        share = 100 * exported.file_bytes / exported.plain_bytes
        lines.append(
            f"{exported.plain_bytes} bytes without int8; {share:.0f} % are left. What rounding changes:"
        )
    lines += difference_lines(exported.differences, limits=exported.plain_bytes is None)
    for name, score in exported.scores.items():
        before = exported.plain_scores.get(name)
        lines.append(f"{name}: {score:.6g}" + ("" if before is None else f", {before:.6g} without int8"))
    return lines


def _to_json(exported: Exported) -> dict[str, Any]:
    return {
        "path": str(exported.path),
        "proof": str(exported.proof),
        "bytes": exported.file_bytes,
        "bytes_without_int8": exported.plain_bytes,
        "differences": differences_to_json(exported.differences),
        "scores": dict(exported.scores),
        "scores_without_int8": dict(exported.plain_scores),
    }
