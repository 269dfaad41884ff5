"""The section of a report, the figures and the command of an inspection."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from gatestack import Classifier
from gatestack.cli.main import app
from gatestack.convert import Network, Node, Port, read_keras
from gatestack.convert.layers import Dense, DenseOptions, RecurrentLayer, RecurrentOptions
from gatestack.errors import ArgumentError
from gatestack.inspect import Inspection, Outcome, Subject, Truth, inspect_subject
from gatestack.inspect.inspection import TABLES
from gatestack.nn import GRU, LSTM, Stack
from gatestack.reports import render_report
from gatestack.reports.inspect import figure_files, render_inspection, render_section

WICKED = "<script>alert('x')</script> & more"


@pytest.fixture(scope="module")
def found() -> Inspection:
    torch.manual_seed(0)
    x = torch.randn(22, 8, 2)
    truth = x[:, -1, 0].double()
    network = Stack(LSTM(3, bidirectional=True), GRU(3), input_size=2)

    def run(network: torch.nn.Module, x: torch.Tensor) -> Outcome:
        answer = network(x)[0][:, -1].sum(dim=1)
        return Outcome(answer, (answer - truth).square())

    return inspect_subject(
        Subject(
            title=WICKED,
            network=network,
            inputs=x,
            run=run,
            features=("rain", WICKED),
            sequences=tuple(f"{WICKED} {row}" for row in range(22)),
            truth=Truth(truth.numpy(), "numbers"),
        )
    )


class Reader(HTMLParser):
    """Notes every element and every attribute that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            value or ""
            for name, value in attributes
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("#", "data:"))
        ]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_section_has_every_figure_with_words_and_escapes_what_users_wrote(found: Inspection) -> None:
    page = render_inspection(found)
    seen = read(page)
    assert seen.tags.count("figure") == 8
    assert seen.tags.count("figcaption") == 8
    assert "script" not in seen.tags
    assert not seen.loads
    assert "<script>" not in page
    said = html.unescape(page)
    assert all(sentence in said for sentence in found.sentences)
    assert len(set(re.findall(r'\bid="([^"]+)"', page))) == len(re.findall(r'\bid="([^"]+)"', page))
    assert "mathdefault" not in page


def test_figures_are_files_of_their_own(found: Inspection) -> None:
    files = figure_files(found)
    assert set(files) == {
        f"{name}.svg"
        for name in (
            "gates",
            "distributions",
            "time_scales",
            "gradients",
            "worth",
            "probes",
            "inputs",
            "moments",
        )
    }
    assert all(content.startswith(b"<?xml") for content in files.values())


def test_what_could_not_be_measured_has_no_figure(found: Inspection) -> None:
    tables = {name: found.tables[name] for name in ("layers", "units", "gates", "distributions")}
    less = replace(found, tables=tables)
    page = render_section(less)
    assert page.count("<figure") == 2
    assert "linear model" not in page


def test_every_number_is_json_and_parquet(found: Inspection, tmp_path: Path) -> None:
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(data["tables"]) == set(TABLES)
    for path in found.write_parquet(tmp_path / "tables"):
        table = found.tables[path.stem]
        assert pl.read_parquet(path).equals(table)
        assert list(data["tables"][path.stem]) == table.columns
        assert {len(column) for column in data["tables"][path.stem].values()} == {table.height}
    with pytest.raises(ArgumentError, match="no table 'gate'"):
        found.table("gate")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("inspected")
    waves = np.stack([np.sin(np.arange(16) * (1 + case % 2)) for case in range(12)])
    data = folder / "waves.tsv"
    data.write_text(
        "\n".join("\t".join([str(case % 2), *map(str, wave)]) for case, wave in enumerate(waves)) + "\n"
    )
    names = np.array([str(case % 2) for case in range(12)])
    Classifier(layers=1, hidden_size=3, max_steps=2).fit(waves, names).save(folder / "model")
    return folder / "model", data


def test_the_section_stands_in_the_report_of_the_model(
    classifier: tuple[Path, Path], found: Inspection
) -> None:
    model = Classifier.load(classifier[0])
    # Figures are the matter of other tests.
    found = replace(found, tables={name: found.tables[name] for name in ("layers", "units")})
    page = render_report(model, inspection=found)
    assert page.count('id="inspection"') == 1
    assert page.index('id="inspection"') < page.index('id="settings"')
    assert 'id="inspection"' not in render_report(model)
    assert render_section(found) in page


def test_the_command_says_and_writes_what_was_found(classifier: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = classifier
    out = tmp_path / "inside"
    arguments = ["inspect", str(model), str(data), "--sequences", "6", "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert "layer 1 is" in done.stdout.lower()
    assert "report.html" in done.stdout
    assert 'id="inspection"' in (out / "report.html").read_text()
    assert {path.stem for path in (out / "tables").iterdir()} <= set(TABLES)
    assert list((out / "figures").glob("*.svg"))
    assert "Inside the cell" in (out / "cell.html").read_text()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    (out / "mine.txt").write_text("mine")
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 2


@pytest.mark.slow  # everything is drawn twice
def test_an_inspection_replaces_its_own_output_when_asked(
    classifier: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = classifier
    out = tmp_path / "inside"
    arguments = ["inspect", str(model), str(data), "--sequences", "4", "--quiet", "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    first = (out / "figures" / "gates.svg").read_bytes()
    (out / "report.html").write_text("older")
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0
    assert 'id="inspection"' in (out / "report.html").read_text()
    assert (out / "figures" / "gates.svg").read_bytes() == first, "the same numbers give the same bytes"


def test_the_command_gives_json_and_opens_the_page(
    classifier: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, data = classifier
    done = CliRunner().invoke(app, ["inspect", str(model), str(data), "--sequences", "5", "--json", "--open"])
    assert done.exit_code == 0, done.stderr
    (page,) = tmp_path.rglob("cell.html")
    assert opened == [page.resolve().as_uri()]
    assert "Inside the cell" in page.read_text()
    given = json.loads(done.stdout)
    assert given["settings"]["sequences"] == 5
    assert given["tables"]["layers"]["cell"] == ["lstm", "lstm"]


def test_the_command_looks_into_an_imported_network(tmp_path: Path) -> None:
    options = RecurrentOptions(cell="lstm", input_size=2, hidden_size=3, return_sequences=False)
    network = Network(
        [Port("x", (None, 2))],
        [
            Node("lstm", RecurrentLayer(options), ("x",)),
            Node("out", Dense(DenseOptions(units=1, input_size=3)), ("lstm",)),
        ],
        ["out"],
    )
    network.save(tmp_path / "model")
    random = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", inputs=random.normal(size=(6, 5, 2)), target=random.normal(size=6))
    run = CliRunner().invoke
    done = run(
        app, ["inspect", str(tmp_path / "model"), str(tmp_path / "data.npz"), "--out", str(tmp_path / "o")]
    )
    assert done.exit_code == 0, done.stderr
    assert "What is inside" in (tmp_path / "o" / "report.html").read_text()
    for content, words in (
        (None, "no such file"),
        (b"no arrays", "cannot be read"),
        ({"y": 1}, "'y' is not known"),
        ({"target": 1}, "no array `inputs`"),
    ):
        path = tmp_path / "other.npz"
        path.unlink(missing_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.savez(path, **content)
        done = run(app, ["inspect", str(tmp_path / "model"), str(path)])
        assert done.exit_code == 2
        assert words in done.stderr


KERAS = Path(__file__).resolve().parents[1] / "artifacts" / "keras"


def test_a_file_of_keras_is_imported_and_looked_into_on_the_command_line(tmp_path: Path) -> None:
    run = CliRunner().invoke
    model, data = str(tmp_path / "model"), str(tmp_path / "data.npy")
    done = run(app, ["import", str(KERAS / "keras_stateful.h5"), "--out", model])
    assert done.exit_code == 0, done.stderr
    network = read_keras(KERAS / "keras_stateful.h5")
    inputs = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    np.save(data, inputs)
    done = run(app, ["inspect", model, data, "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["tables"]["layers"]["cell"] == ["lstm", "gru"]
    (name,) = network.outputs
    answers = network.predict(inputs)
    np.savez(tmp_path / "both.npz", inputs=inputs, target=answers)
    named = ["inspect", model, str(tmp_path / "both.npz"), "--output", name, "--loss", "squared error"]
    done = run(app, [*named, "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["tables"]["layer_worth"]["loss"][0] < 1e-10
    for options, words in (
        (["--output", "other"], "no output 'other'"),
        (["--loss", "hinge"], "loss"),
        (["--member", "2"], "a classifier or regressor"),
    ):
        done = run(app, ["inspect", model, data, *options])
        assert done.exit_code == 2
        assert words in " ".join(done.stderr.split())


def test_a_member_is_chosen_by_its_number(classifier: tuple[Path, Path], tmp_path: Path) -> None:
    _, data = classifier
    waves = np.stack([np.sin(np.arange(16) * (1 + case % 2)) for case in range(12)])
    names = np.array([str(case % 2) for case in range(12)])
    model = Classifier(layers=1, hidden_size=3, max_steps=2, members=2).fit(waves, names)
    second = model.inspect(waves, names, sequences=4, member=2)
    assert second.title == "classifier, member 2 of 2"
    own = model.fitted_.members[1].network.recurrent.trunk
    hidden = second.tables["layers"]["units"].to_list()
    assert hidden == [3, 3]
    subject = model._subject(waves, names, 4, 2)
    assert str(subject.network.recurrent.trunk) == str(own)
    assert torch.equal(next(subject.network.recurrent.trunk.parameters()), next(own.double().parameters()))
    with pytest.raises(ArgumentError, match="1 to 2"):
        model.inspect(waves, member=3)
    model.save(tmp_path / "model")
    run = CliRunner().invoke
    done = run(
        app, ["inspect", str(tmp_path / "model"), str(data), "--sequences", "3", "--member", "2", "--json"]
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["title"] == "classifier, member 2 of 2"
    done = run(app, ["inspect", str(tmp_path / "model"), str(data), "--output", "dense"])
    assert done.exit_code == 2
    assert "an imported network" in done.stderr
