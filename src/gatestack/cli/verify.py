"""`gatestack verify`: replay the test vectors of an exported file or a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatestack.cli.command import FAILED
from gatestack.cli.console import Talk, print_json
from gatestack.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatestack.convert.proof import Difference
    from gatestack.convert.verify import Verification

__all__ = ["difference_lines", "differences_to_json", "verify"]


def verify(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="What `gatestack export` wrote, or a model folder.")
    ],
    allow_changed: Annotated[
        bool,
        typer.Option(
            "--allow-changed",
            help="Accept a file whose bytes changed since its export, if its answers hold.",
            rich_help_panel="Verification",
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Replay the test vectors of an exported file and print the largest difference.

    \b
      gatestack verify weather.onnx

    The vectors stand beside the file, in PATH.proof.safetensors, or in the folder. An .onnx file is run in
    ONNX Runtime, a .keras file in Keras where it is installed and otherwise by our own reader, a folder for
    torch in torch, if its model.py is the source that Gatestack writes. Exit code 1: an answer is further
    from its vector than the tolerance allows, or the file is not the one that was exported; 2: the file
    cannot be read, or not be replayed within two minutes.
    """
    from gatestack.convert.verify import verify as replay
    from gatestack.tasks import load

    Talk(quiet or as_json).say(f"replaying {path} …")
    found = replay(path, allow_changed=allow_changed, load=load)
    if as_json:
        print_json(_to_json(found))
    else:
        for line in _lines(found):
            print(line)  # noqa: T201
    if not found.passed:
        raise typer.Exit(FAILED)


def difference_lines(differences: Mapping[str, Difference], *, limits: bool = True) -> list[str]:
    """Write a table of differences, an output a line; with `limits` it says what is allowed.

    Example:
        >>> from gatestack.convert.proof import Difference
        >>> print("\\n".join(difference_lines({"y": Difference(1e-7, 2e-8, 2e-5, 0.005)})))
        output      largest      mean   allowed
        y           1.0e-07   2.0e-08   2.0e-05
    """
    width = max([10, *map(len, differences)])
    rows = [f"{'output':<{width}} {'largest':>8}  {'mean':>8}" + (f"  {'allowed':>8}" if limits else "")]
    for name, one in differences.items():
        row = f"{name:<{width}} {one.largest:>8.1e}  {one.mean:>8.1e}"
        rows.append(row + (f"  {one.allowed:>8.1e}" if limits else ""))
    return rows


def differences_to_json(differences: Mapping[str, Difference]) -> dict[str, dict[str, float | None]]:
    """Give differences as JSON values; None for what is infinite.

    Example:
        >>> from gatestack.convert.proof import Difference
        >>> differences_to_json({"y": Difference(float("inf"), 0.0, 2e-5, float("inf"))})["y"]["largest"]
    """

    def plain(value: float) -> float | None:
        return value if value < float("inf") else None

    return {
        name: {"largest": plain(one.largest), "mean": plain(one.mean), "allowed": one.allowed}
        for name, one in differences.items()
    }


def _lines(found: Verification) -> list[str]:
    of = f", {found.real} of them data" if found.real else ""
    lines = [f"{found.path}: {found.vectors} test vectors{of}, run by {found.runner}"]
    lines += difference_lines(found.differences)
    if found.rounding:
        lines += ["", "against the model before its weights were rounded to eight bits:"]
        lines += difference_lines(found.rounding, limits=False)
    wrong = [name for name, one in found.differences.items() if one.share > 1]
    lines.append("")
    if found.changed:
        lines.append("FAILED: the bytes of the file are not those that were exported")
    if wrong:
        lines.append(f"FAILED: {', '.join(wrong)} differ by more than is allowed")
    if found.passed:
        lines.append(f"verified: largest difference {found.largest:.1e}")
    return lines


def _to_json(found: Verification) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "passed": found.passed,
        "changed": found.changed,
        "runner": found.runner,
        "vectors": found.vectors,
        "real": found.real,
        "tolerance": found.tolerance,
        "differences": differences_to_json(found.differences),
        "rounding": differences_to_json(found.rounding),
    }
