"""Replaying the proof of an exported file or of a model folder."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatestack.convert.proof import Array, Difference, Proof, compare_answers, read_proof
from gatestack.convert.torch.folder import is_torch_folder
from gatestack.errors import ArgumentError, ModelFileError

__all__ = ["Verification", "verify"]

Inputs = Sequence[Mapping[str, Array]]
Replayed = tuple[str, Sequence[Mapping[str, Array]], bytes]  # runner, answers, bytes of the file


@dataclass(frozen=True)
class Verification:
    """What a replay found.

    Args:
        path: what was verified.
        runner: what computed the answers, with its version.
        differences: of each output: how far the answers are from those of the proof.
        tolerance: of numbers of size 1; see `gatestack.convert.proof.compare`.
        vectors: how many test vectors were replayed.
        real: how many of them are data, not drawn at random.
        changed: the bytes of the file are not those that were exported.
        rounding: where weights were rounded to eight bits: how far the proof itself is from the model before.

    Example:
        >>> Verification(Path("m.onnx"), "ONNX Runtime", {}, 1e-5, 1).passed
        True
    """

    path: Path
    runner: str
    differences: Mapping[str, Difference]
    tolerance: float
    vectors: int
    real: int = 0
    changed: bool = False
    rounding: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every difference is allowed, and the file is the one that was exported."""
        return not self.changed and all(found.share <= 1 for found in self.differences.values())

    @property
    def largest(self) -> float:
        """The largest difference over all outputs."""
        return max((found.largest for found in self.differences.values()), default=0.0)


def verify(
    path: str | os.PathLike[str],
    *,
    allow_changed: bool = False,
    load: Callable[[Path], Any] | None = None,
) -> Verification:
    """Replay the test vectors of an exported file, or of a model folder, and compare.

    An `.onnx` file is checked (`gatestack.convert.onnx.safe_read`) and run in ONNX Runtime; a `.keras` file
    is run in Keras where that is installed (on the backend that KERAS_BACKEND names, else torch's), otherwise
    by our own reader; a folder for torch in torch, out of source that is written again and compared with its
    `model.py`: what another wrote there never runs. Each of them runs in a process of its own. A model folder
    is computed by Gatestack.

    Args:
        path: the file, with its `<path>.proof.safetensors` beside it, a model folder, or a folder that was
            exported to torch.
        allow_changed: the bytes of the file may have changed since the export, as long as its answers hold;
            for files that another tool has rewritten. Default False.
        load: reads a model folder of another kind than "network", as `gatestack.tasks.load` does.

    Returns:
        The differences; `passed` sums them up.

    Raises:
        ArgumentError: a kind of file that cannot be replayed here, or what would replay it is not installed.
        ModelFileError: the file or its proof is missing, damaged or hostile; names it.
        StorageError: the system would not let it be read.

    Example:
        >>> import tempfile
        >>> from gatestack.convert.onnx.export import export_onnx
        >>> from gatestack.nn import GRU
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = verify(export_onnx(GRU(4, 2), Path(folder) / "gru.onnx").path)
        >>> found.passed, sorted(found.differences)
        (True, ['h_out', 'y'])
    """
    file = Path(path)
    if file.is_dir() and is_torch_folder(file):
        return _verified_torch(file, allow_changed)
    if file.is_dir():
        return _verified_folder(file, load)
    if not file.exists():
        raise ModelFileError(
            "there is no such file", where=str(path), hint="give what `export` wrote, or a model folder"
        )
    if file.suffix not in (".onnx", ".keras"):
        raise ArgumentError(
            f"the ending is {file.suffix!r}",
            where=str(path),
            expected="'.onnx', '.keras', or a model folder",
        )
    proof = read_proof(file)
    inputs = [vector.inputs for vector in proof.vectors]
    runner, answers, content = (_onnx if file.suffix == ".onnx" else _keras)(file, inputs)
    changed = hashlib.sha256(content).hexdigest() != proof.sha256
    return _replayed(file, proof, runner, answers, changed and not allow_changed)


def _onnx(file: Path, inputs: Inputs) -> Replayed:
    from gatestack.convert.onnx.replay import answers_of_onnx_runtime
    from gatestack.convert.onnx.safe_read import read_checked

    checked = read_checked(file)
    # As it was checked: with all data inside, so that ONNX Runtime opens no other file.
    content = checked.model.SerializeToString()
    runner, answers = answers_of_onnx_runtime(content, inputs, where=str(file))
    return runner, answers, checked.content


def _keras(file: Path, inputs: Inputs) -> Replayed:
    from gatestack.convert.answers import named_answers
    from gatestack.convert.bounded_read import read_bounded
    from gatestack.convert.keras.reader import read_keras_stream
    from gatestack.convert.keras.replay import answers_of_keras, keras_is_installed

    content = bytes(read_bounded(file, 2**30, "export it again"))
    if keras_is_installed():
        runner, answers = answers_of_keras(content, inputs, where=str(file))
        return runner, answers, content
    network = read_keras_stream(io.BytesIO(content), str(file))
    runner = "Gatestack's reader of Keras files (Keras is not installed)"
    return runner, [named_answers(network, one) for one in inputs], content


def _verified_torch(folder: Path, allow_changed: bool) -> Verification:
    from gatestack.convert.torch.folder import read_torch_folder

    read = read_torch_folder(folder)
    runner, answers = read.answers()
    return _replayed(folder, read.proof, runner, answers, read.changed and not allow_changed)


def _replayed(
    file: Path, proof: Proof, runner: str, answers: Sequence[Mapping[str, Array]], changed: bool
) -> Verification:
    names = list(proof.vectors[0].outputs)
    missing = sorted({name for answer in answers for name in names if name not in answer})
    if missing:
        raise ModelFileError(
            f"it gives no output {missing[0]!r}",
            where=str(file),
            expected=", ".join(names),
            hint="the proof is of another file",
        )
    calls = [vector.inputs for vector in proof.vectors]
    exact = [vector.exact for vector in proof.vectors]
    return Verification(
        path=file,
        runner=runner,
        differences=compare_answers(
            [vector.outputs for vector in proof.vectors], answers, proof.tolerance, calls=calls
        ),
        tolerance=proof.tolerance,
        vectors=len(proof.vectors),
        real=sum(vector.real for vector in proof.vectors),
        changed=changed,
        rounding=compare_answers(exact, answers, proof.tolerance, calls=calls) if all(exact) else {},
    )


def _verified_folder(folder: Path, load: Callable[[Path], Any] | None) -> Verification:
    from importlib.metadata import version

    from gatestack.convert.answers import named_answers
    from gatestack.convert.network import Network
    from gatestack.convert.network_folder import KIND, TOLERANCE, network_from_folder
    from gatestack.runtime.model_folder import read_model_folder

    read = read_model_folder(folder)
    kind = read.model.get("kind")
    inputs: dict[str, Array] = {}
    if kind == KIND:
        inputs = {name: array for name, array in read.proof.items() if name.startswith("input.")}
        today = named_answers(network_from_folder(Network, read), inputs)
    elif load is None:
        raise ArgumentError(
            f"a model folder of the kind {kind!r}", where=str(folder), hint="pass load=gatestack.load"
        )
    else:
        today = load(folder).proof()
    saved = {name: array for name, array in read.proof.items() if name not in inputs}
    missing = sorted(saved.keys() - today.keys())
    if missing or not saved:
        raise ModelFileError(
            f"nothing computes {', '.join(missing) or 'an answer'} of its proof",
            where=str(folder),
            expected=", ".join(sorted(today)),
        )
    differences = compare_answers([saved], [today], TOLERANCE, calls=[inputs])
    return Verification(folder, f"Gatestack {version('gatestack')}", differences, TOLERANCE, 1)
