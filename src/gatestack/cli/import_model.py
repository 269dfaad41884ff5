"""`gatestack import`: a model of Keras, ONNX or torch as a Gatestack model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatestack.cli.console import Talk, print_json
from gatestack.cli.options import AsJson, Overwrite, Quiet, refuse_existing

if TYPE_CHECKING:
    from gatestack.convert import Network

__all__ = ["import_model"]


def import_model(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Model: .keras, .h5, .onnx; weights: .pt, .safetensors.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Model folder to write.", rich_help_panel="Output")
    ],
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read a model of Keras, ONNX or torch and save it as a Gatestack model folder.

    \b
      gatestack import tagger.keras --out runs/tagger

    No code in the file runs, and neither Keras nor TensorFlow is needed. Weights of torch (.pt, .pth,
    .safetensors) are read if they belong to one nn.LSTM or nn.GRU; for other modules the message says what to
    do in Python. There, gs.load("runs/tagger") gives the network: call it on tensors, or predict with arrays.
    """
    refuse_existing(out, overwrite, replaceable=lambda path: path.is_dir() and not path.is_symlink())

    from gatestack.convert import read_model

    Talk(quiet or as_json).say(f"reading {file} …")
    network = read_model(file)
    network.save(out, example=_example(network, file), overwrite=overwrite)
    found = _summary(network, out)
    if as_json:
        print_json(found)
        return
    for line in _lines(found):
        print(line)  # noqa: T201


def _example(network: Network, file: Path) -> list[Any]:
    """Draw the inputs of the proof; where the network takes none, say so of the file that was given."""
    from gatestack.convert.examples import draw_examples
    from gatestack.errors import ArgumentError, ModelFileError

    try:
        return draw_examples(network)
    except ArgumentError as error:
        raise ModelFileError(
            error.what,
            where=str(file),
            hint="in Python, give inputs that it takes: "
            f"gatestack.convert.read_model({str(file)!r}).save(DIR, example=[array, …])",
        ) from None


def _summary(network: Network, out: Path) -> dict[str, Any]:
    """Say what was written; what is on the disk is read again, and compared with its proof."""
    from gatestack.convert import Network
    from gatestack.convert.network_folder import proof_difference
    from gatestack.runtime import read_model_folder

    written = Network.load(out)
    proof = read_model_folder(out).proof
    return {
        "path": str(out),
        "inputs": [port.described for port in network.inputs],
        "outputs": list(network.outputs),
        "layers": [{"name": node.name, "kind": node.layer.kind} for node in network.nodes],
        "parameters": network.parameter_count,
        "proof_difference": proof_difference(written, proof, where=str(out)),
    }


def _lines(found: dict[str, Any]) -> list[str]:
    width = max((len(layer["name"]) for layer in found["layers"]), default=0)
    return [
        f"inputs      {', '.join(found['inputs'])}",
        f"outputs     {', '.join(found['outputs'])}",
        f"parameters  {found['parameters']}",
        f"layers      {len(found['layers'])}",
        *(f"  {layer['name']:<{width}}  {layer['kind']}" for layer in found["layers"]),
        f"proof       largest difference {found['proof_difference']:.3g} of the largest output",
        f"wrote {found['path']}: in Python, gatestack.load({found['path']!r})",
    ]
