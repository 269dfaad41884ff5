"""`gatestack export` and `gatestack verify`: what is written is proved, and what was changed is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from gatestack.convert import Network, Node, Port
from gatestack.convert.export import TARGETS
from gatestack.convert.layers import Dense, DenseOptions, RecurrentLayer, RecurrentOptions

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lstm = RecurrentOptions(cell="lstm", input_size=3, hidden_size=24, return_sequences=False)
    nodes = [
        Node("lstm", RecurrentLayer(lstm), ("x",)),
        Node("out", Dense(DenseOptions(units=2, input_size=24)), ("lstm",)),
    ]
    return Network([Port("x", (None, 3))], nodes, ["out"]).save(tmp_path / "model")


@pytest.mark.parametrize("kind", ["onnx", "keras"])
def test_a_network_is_exported_and_verified(gatestack: Run, folder: Path, kind: str) -> None:
    done = gatestack("export", folder, "--to", kind, "--out", f"m.{kind}", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == Path(f"m.{kind}").stat().st_size
    found = gatestack("verify", f"m.{kind}")
    assert found.exit_code == 0, found.stderr
    assert "verified: largest difference" in found.stdout
    again = gatestack("export", folder, "--to", kind, "--out", f"m.{kind}")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_int8_prints_what_it_costs(gatestack: Run, folder: Path) -> None:
    done = gatestack("export", folder, "--to", "onnx", "--out", "m.onnx", "--int8", "--json")
    found = json.loads(done.stdout)
    assert found["bytes"] < 0.7 * found["bytes_without_int8"]
    assert found["differences"]["out"]["largest"] > 0
    verified = json.loads(gatestack("verify", "m.onnx", "--json").stdout)
    assert verified["passed"]
    assert verified["rounding"]["out"]["largest"] == pytest.approx(
        found["differences"]["out"]["largest"], rel=0.1
    )


def test_a_changed_weight_is_found(gatestack: Run, folder: Path) -> None:
    import onnx

    gatestack("export", folder, "--to", "onnx", "--out", "m.onnx")
    model = onnx.load("m.onnx")
    weight = next(one for one in model.graph.initializer if len(one.raw_data) > 1000)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[7] += 0.5
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, "m.onnx")
    done = gatestack("verify", "m.onnx")
    assert done.exit_code == 1
    assert "FAILED: the bytes of the file" in done.stdout
    # Its numbers are wrong as well, so that allowing other bytes does not help.
    done = gatestack("verify", "m.onnx", "--allow-changed", "--json")
    assert done.exit_code == 1
    assert not json.loads(done.stdout)["passed"]


def test_a_flipped_bit_is_found_in_file_and_proof(gatestack: Run, folder: Path) -> None:
    gatestack("export", folder, "--to", "onnx", "--out", "m.onnx")
    for name in ("m.onnx", "m.onnx.proof.safetensors"):
        content = Path(name).read_bytes()
        broken = bytearray(content)
        broken[len(broken) // 2] ^= 1
        Path(name).write_bytes(broken)
        assert gatestack("verify", "m.onnx").exit_code in (1, 2)
        Path(name).write_bytes(content)
    assert gatestack("verify", "m.onnx").exit_code == 0


def test_a_rewritten_file_passes_where_that_is_allowed(gatestack: Run, folder: Path) -> None:
    import onnx

    gatestack("export", folder, "--to", "onnx", "--out", "m.onnx")
    model = onnx.load("m.onnx")
    model.doc_string = "rewritten"
    onnx.save(model, "m.onnx")
    assert gatestack("verify", "m.onnx").exit_code == 1
    assert gatestack("verify", "m.onnx", "--allow-changed").exit_code == 0


def test_a_model_folder_replays_its_own_proof(gatestack: Run, folder: Path) -> None:
    done = gatestack("verify", folder, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["differences"]["output.0"]["largest"] == 0


def test_a_forecaster_is_exported_and_verified(gatestack: Run, model: Path) -> None:
    assert gatestack("verify", model).exit_code == 0
    done = gatestack("export", model, "--to", "onnx", "--out", "f.onnx")
    assert done.exit_code == 0, done.stderr
    assert gatestack("verify", "f.onnx").exit_code == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["verify", "none.onnx"], "there is no such file"),
        (["verify", "a.txt"], "the ending is '.txt'"),
        (["verify", "lonely.onnx"], "lonely.onnx.proof.safetensors: there is no such file"),
        (["export", "model", "--to", "onxn", "--out", "a.onnx"], "did you mean 'onnx'?"),
        (["export", "model", "--to", "onnx", "--out", "a.txt"], "the ending is '.txt'"),
        (["export", "model", "--to", "keras", "--out", "a.keras", "--int8"], "int8"),
    ],
)
def test_what_does_not_fit_is_refused(gatestack: Run, folder: Path, words: list[str], expected: str) -> None:  # noqa: ARG001
    Path("a.txt").write_text("a")
    Path("lonely.onnx").write_bytes(b"a")
    done = gatestack(*words)
    assert done.exit_code == 2
    assert expected in done.stderr
    assert not list(Path().glob("a.onnx*")) + list(Path().glob("a.keras*"))


def test_the_command_knows_the_targets_of_the_function(gatestack: Run, folder: Path) -> None:
    found = gatestack("export", folder, "--to", "pmml", "--out", "m.pmml")
    assert found.exit_code == 2
    assert all(target in found.stderr for target in TARGETS)
