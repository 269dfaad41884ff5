"""Commands on a folder that holds a network without a task say what it is, and what can be done with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatestack.cli.main import app
from gatestack.convert import Network, Node, Port
from gatestack.convert.layers import Dense, DenseOptions


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dense = Node("dense", Dense(DenseOptions(units=2, input_size=3)), ("x",))
    folder = tmp_path_factory.mktemp("m") / "network"
    Network([Port("x", (3,))], [dense], ["dense"]).save(folder)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [["predict"], ["predict", "data.csv"], ["evaluate", "data.csv"], ["report"]],
    ids=["predict", "predict data", "evaluate", "report"],
)
def test_a_network_has_no_task(network: Path, tmp_path: Path, arguments: list[str]) -> None:
    command, *data = arguments
    page = tmp_path / "report.html"
    out = ["--out", str(page)] if command == "report" else []
    found = CliRunner().invoke(app, [command, str(network), *data, *out])
    assert found.exit_code == 2
    assert "a network without a task" in found.output
    assert f"gatestack {command}" in found.output
    assert "gatestack.load(folder).predict(array)" in found.output
    assert not page.exists()
