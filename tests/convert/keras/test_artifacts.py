"""Files of Keras 2 and 3 give the predictions that TensorFlow's Keras gave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from model_cases import CASES, TOLERANCES

from gatestack.convert.keras import read_keras, read_keras_weights
from gatestack.convert.network import Network
from gatestack.errors import ArgumentError, ModelFileError

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / "tests" / "artifacts" / "keras"
MAKE = Path(__file__).with_name("make_artifacts.py")
ELSEWHERE = ("_nested", "_cells")  # weights alone have the layers of these in other places
FILES = sorted(path for path in KEPT.glob("*keras_*") if path.suffix != ".npz")


def proof_of(path: Path) -> dict[str, np.ndarray]:
    stem = path.name.removesuffix(".keras").removesuffix(".h5").removesuffix(".weights")
    with np.load(path.with_name(f"{stem}.npz")) as stored:
        return dict(stored)


def read(path: Path) -> Network:
    """Read a file; weights alone go into the network of the `.keras` file beside it, drawn anew."""
    if not path.name.endswith(".weights.h5"):
        return read_keras(path)
    network = read_keras(path.with_name(path.name.replace(".weights.h5", ".keras")))
    for parameter in network.parameters():
        if parameter.requires_grad:  # not a bias that a layer does not have
            parameter.data.normal_()
    return read_keras_weights(path, network)


def numbered(proof: dict[str, np.ndarray], word: str) -> list[np.ndarray]:
    return [proof[f"{word}{number}"] for number in range(len(proof)) if f"{word}{number}" in proof]


def check(path: Path) -> None:
    """Compare the predictions with those stored beside the file."""
    proof = proof_of(path)
    network = read(path)
    tolerance = next(
        (size for name, size in TOLERANCES.items() if path.name.split(".")[0].endswith(f"_{name}")), 1e-5
    )
    for word in ("out", "again") if "again0" in proof else ("out",):
        found = network.predict(*numbered(proof, "in"))
        listed = found if isinstance(found, tuple) else (found,)
        expected = numbered(proof, word)
        assert len(listed) == len(expected)
        for number, (ours, theirs) in enumerate(zip(listed, expected, strict=True)):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(
                ours, theirs, rtol=0, atol=tolerance, err_msg=f"{path.name}, {word}{number}"
            )


def test_the_kept_files_are_there() -> None:
    assert len(FILES) == 27
    sizes = [path.stat().st_size for path in KEPT.iterdir()]
    assert max(sizes) < 100_000
    assert sum(sizes) < 1_400_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_keras_gives_its_predictions(path: Path) -> None:
    check(path)


def test_weights_spread_over_several_files_are_read(tmp_path: Path) -> None:
    path = KEPT / "keras_lstm_options.keras"
    model = keras.models.load_model(path)
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=5e-7)  # in GiB
    assert len(list(tmp_path.glob("m_*.weights.h5"))) > 2
    network = read(path)
    expected = network.predict(*numbered(proof_of(path), "in"))
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data.normal_()
    read_keras_weights(tmp_path / "m.weights.json", network)
    for one, other in zip(network.predict(*numbered(proof_of(path), "in")), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    shard = next(tmp_path.glob("m_*1.weights.h5"))
    shard.rename(tmp_path / "elsewhere")
    before = [parameter.clone() for parameter in network.parameters()]
    with pytest.raises(ModelFileError, match=f"{shard.name}: there is no such file"):
        read_keras_weights(tmp_path / "m.weights.json", network)
    for one, other in zip(network.parameters(), before, strict=True):
        assert one.equal(other)


@pytest.mark.parametrize(
    "name", ["../m.weights.h5", "/etc/m.weights.h5", "a\\b.weights.h5", "m.h5", 3, "C:m.weights.h5"]
)
def test_a_list_of_weights_that_leads_elsewhere_is_refused(name: object, tmp_path: Path) -> None:
    path = tmp_path / "m.weights.json"
    path.write_text(json.dumps({"weight_map": {"/layers/dense/vars": ["m.weights.h5", name]}}))
    with pytest.raises(ModelFileError, match=r"m\.weights\.json: it names the file"):
        read_keras_weights(path, read(KEPT / "keras_words.keras"))


def test_another_number_would_be_seen(tmp_path: Path) -> None:
    path = KEPT / "keras_words.keras"
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    proof = proof_of(path)
    np.savez(copy.with_name("keras_words.npz"), **{**proof, "out0": proof["out0"] + 3e-5})
    with pytest.raises(AssertionError, match="out0"):
        check(copy)


def peer(name: str) -> Path:
    """The interpreter that has TensorFlow's Keras, made on first use."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from protocol.environments import peer_python
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    if name == "keras":
        return peer_python("keras", ROOT / ".peers")
    python = ROOT / ".peers" / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ROOT / ".peers" / name)], check=True)
        wanted = ["tf_keras==2.21.0", "tensorflow-cpu==2.21.0"]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dialect", ["keras", "tf_keras"])
def test_fresh_files_in_every_format_give_their_predictions(dialect: str, tmp_path: Path) -> None:
    subprocess.run([str(peer(dialect)), str(MAKE), str(tmp_path), dialect], check=True)
    files = sorted(path for path in tmp_path.iterdir() if path.suffix != ".npz")
    assert len(files) == 3 * len(CASES)
    faults = []
    for path in files:
        try:
            if path.name.endswith(".weights.h5") and path.name.split(".")[0].endswith(ELSEWHERE):
                with pytest.raises(ModelFileError, match="weights are stored"):
                    check(path)
            else:
                check(path)
        except (AssertionError, ValueError, ArgumentError) as error:
            faults.append(f"{path.name}: {error}")
    assert not faults, "\n".join(faults)
