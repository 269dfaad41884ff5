"""The interactive page, driven in a real browser by keyboard, mouse and slider."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from browser import BINARY, Page, opened_browser

from gatestack.inspect import Inspection, Outcome, Subject, inspect_subject
from gatestack.nn import GRU, LSTM, RNN, GRUCell, Loop, LSTMForm, Stack
from gatestack.reports.inspect import render_cell_page

WICKED = "</script><script>document.title='broken'</script>"
STEPS = 12


@pytest.fixture(scope="module")
def found() -> Inspection:
    torch.manual_seed(0)
    lengths = torch.tensor([STEPS, 7])
    network = Stack(
        LSTM(4, form=LSTMForm(peepholes=True)),
        GRU(3, bidirectional=True),
        RNN(2),
        LSTM(2, form=LSTMForm(layer_norm=True)),
        Loop(GRUCell(2, activation="softsign", gate_activation="hard_sigmoid")),
        GRU(2, reset="before"),
        input_size=2,
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return inspect_subject(
        Subject(
            title=WICKED,
            network=network,
            inputs=torch.randn(2, STEPS, 2, dtype=torch.float64),
            run=lambda network, x: Outcome(network(x, lengths=lengths)[0].sum(dim=(1, 2))),
            features=("rain", WICKED),
            sequences=(WICKED, "short"),
            lengths=lengths,
        )
    )


def embedded(page: str) -> dict:
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )


def test_the_page_holds_the_numbers_of_the_table_and_nothing_that_loads(found: Inspection) -> None:
    page = render_cell_page(found)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert page.count("</script>") == 2
    data = embedded(page)
    assert data["features"] == ["rain", WICKED]
    own = found.tables["gates"].filter(layer=1, sequence="short")
    shown = data["layers"][0]["values"]["forget"][1]
    assert shown == pytest.approx(own["forget"].to_list(), rel=1e-3)
    assert data["layers"][0]["spans"] == [{"first": 0, "steps": STEPS}, {"first": 0, "steps": 7}]
    assert [layer["name"] for layer in data["layers"]] == [
        "layer 1",
        "layer 2",
        "layer 2, reverse",
        "layer 3",
        "layer 4",
        "layer 5",
        "layer 6",
    ]


def test_the_numbers_in_the_page_are_bounded(found: Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatestack.reports.inspect.cell_page._MOST_NUMBERS", 400)
    monkeypatch.setattr("gatestack.reports.inspect.cell_page._MOST_UNITS", 2)
    page = render_cell_page(found)
    data = embedded(page)
    numbers = sum(len(row) for layer in data["layers"] for rows in layer["values"].values() for row in rows)
    assert numbers <= 400
    assert data["layers"][0]["units"] == 2
    assert "Shown: the first 2 units of each layer, the last" in page
    first = data["layers"][0]["spans"][0]["first"]
    own = found.tables["gates"].filter(layer=1, sequence=WICKED, step=first, unit=1)
    assert data["layers"][0]["values"]["cell"][0][1] == pytest.approx(own["cell"][0], rel=1e-3)
    inputs = found.tables["attributions"].filter(sequence=WICKED, step=first, feature="rain")
    assert data["inputs"][0][0][0] == pytest.approx(inputs["input"][0], rel=1e-3)


@pytest.fixture(scope="module")
def page(found: Inspection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if BINARY is None:
        pytest.skip("there is no chromium on this machine (the system's package of that name)")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "cell.html").write_text(render_cell_page(found), encoding="utf-8")
    with opened_browser(folder / "profile") as browser:
        browser.open((folder / "cell.html").as_uri())
        yield browser


def said(page: Page) -> str:
    return page.run("document.getElementById('said').textContent")


def reset(page: Page) -> None:
    page.run("go({ sequence: 0, step: 0, layer: 0, unit: 0 })")


def shown_numbers(page: Page) -> dict[str, str]:
    return page.run(
        "Object.fromEntries([...document.querySelectorAll('.row')].map("
        "row => [row.dataset.quantity, row.querySelector('.number').textContent]))"
    )


def written(number: float) -> str:
    digits = 1 if abs(number) >= 100 else 2 if abs(number) >= 0.005 or number == 0 else 4
    text = f"{number:.{digits}f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def value(found: Inspection, quantity: str, **place: object) -> float:
    place = {"sequence": WICKED, "direction": "forward", **place}
    return float(found.tables["gates"].filter(**place)[quantity][0])


def test_keys_move_along_the_sequence_and_between_units(page: Page, found: Inspection) -> None:
    reset(page)
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.press(key)
    assert said(page).startswith(f"step 3 of {STEPS - 1}, layer 1, unit 1: ")
    for quantity, text in shown_numbers(page).items():
        number = value(found, quantity, layer=1, step=3, unit=1)
        assert text in (written(number), written(float(f"{number:.4g}")))
    page.press("ArrowLeft")
    page.press("ArrowUp")
    assert said(page).startswith(f"step 2 of {STEPS - 1}, layer 1, unit 0: ")
    page.press("End")
    page.press("ArrowRight")
    assert said(page).startswith(f"step {STEPS - 1} of {STEPS - 1}")
    page.press("Home")
    assert said(page).startswith("step 0 of")
    assert "step=0" in page.run("location.hash")


def test_the_slider_works_by_keyboard_too(page: Page) -> None:
    reset(page)
    page.run("document.getElementById('unit').focus()")
    page.press("ArrowRight")
    assert page.run("document.getElementById('step').value") == "1"
    page.run(
        "{ const slider = document.getElementById('step'); slider.value = 5; "
        "slider.dispatchEvent(new Event('input')); }"
    )
    assert said(page).startswith("step 5 of")
    names = page.run("[...document.querySelectorAll('input, select')].map(one => one.labels.length)")
    assert names == [1, 1, 1, 1], "every control has its name"


def test_the_mouse_moves_along_the_curve_and_chooses_a_unit(page: Page) -> None:
    reset(page)
    box = page.run(
        "(() => { const box = document.querySelector('.steps svg').getBoundingClientRect(); "
        "return [box.left, box.top, box.width, box.height]; })()"
    )
    page.move_mouse(box[0] + box[2] * 8 / (STEPS - 1), box[1] + box[3] / 2)
    assert said(page).startswith("step 8 of")
    box = page.run(
        "(() => { const box = document.querySelector('.units svg').getBoundingClientRect(); "
        "return [box.left, box.top, box.width, box.height]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.move_mouse(box[0] + box[2] * 2.5 / 4, box[1] + box[3] / 2, kind)
    assert "unit 2:" in said(page)


def test_the_equations_are_filled_in_for_every_cell(page: Page, found: Inspection) -> None:
    page.run("go({ sequence: 0, step: 4, layer: 0, unit: 2 })")
    lines = page.run("document.getElementById('equations').innerText").splitlines()
    place = {"layer": 1, "unit": 2}
    i, f, g, c = (value(found, name, step=4, **place) for name in ("input", "forget", "candidate", "cell"))
    old = value(found, "cell", step=3, **place)
    inner = [written(x) if x >= 0 else f"({written(x)})" for x in (old, g)]
    assert f"= {written(f)} · {inner[0]} + {written(i)} · {inner[1]} = {written(c)}" in lines
    assert any("+ p_f c₋₁" in line for line in lines)
    # The reverse direction of the GRU comes from the step after.
    page.run("go({ layer: 2, unit: 1 })")
    lines = page.run("document.getElementById('equations').innerText").splitlines()
    place = {"layer": 2, "unit": 1, "direction": "reverse"}
    z, n, h = (value(found, name, step=4, **place) for name in ("update", "candidate", "hidden"))
    old = value(found, "hidden", step=5, **place)
    inner = [written(x) if x >= 0 else f"({written(x)})" for x in (n, old)]
    assert f"= {written(1 - z)} · {inner[0]} + {written(z)} · {inner[1]} = {written(h)}" in lines
    page.run("go({ layer: 3, unit: 0 })")
    assert list(shown_numbers(page)) == ["hidden"]


def test_the_equations_name_other_functions_and_layer_normalisation(page: Page, found: Inspection) -> None:
    page.run("go({ sequence: 0, step: 4, layer: 4, unit: 1 })")
    lines = page.run("document.getElementById('equations').innerText").splitlines()
    assert "i = σ(LN(Wi x) + LN(Ui h₋₁))" in lines
    assert "g = tanh(LN(Wg x) + LN(Ug h₋₁))" in lines
    assert "h = o · tanh(LN(c))" in lines
    page.run("go({ layer: 5, unit: 1 })")
    lines = page.run("document.getElementById('equations').innerText").splitlines()
    z, n = (value(found, name, layer=5, step=4, unit=1) for name in ("update", "candidate"))
    for formula, number in (
        ("z = hard_sigmoid(Wz x + Uz h₋₁ + bz)", z),
        ("n = softsign(Wn x + bn + r · (Un h₋₁ + cn))", n),
    ):
        shown = lines[lines.index(formula) + 1].removeprefix("= ")
        assert shown in (written(number), written(float(f"{number:.4g}")))
    page.run("go({ layer: 6 })")
    lines = page.run("document.getElementById('equations').innerText").splitlines()
    assert "n = tanh(Wn x + bn + Un (r · h₋₁) + cn)" in lines, "the gate resets before the product"


def test_a_long_sequence_of_a_plain_layer_is_shown(tmp_path: Path) -> None:
    """More numbers than a browser takes as the arguments of one call."""
    if BINARY is None:
        pytest.skip("there is no chromium on this machine (the system's package of that name)")
    steps, units = 2100, 64
    short = inspect_subject(
        Subject(
            title="long",
            network=Stack(RNN(units), input_size=1),
            inputs=torch.randn(1, 2, 1),
            run=lambda network, x: Outcome(network(x)[0][:, -1].sum(dim=1)),
            features=("x",),
            sequences=("one",),
        )
    )
    one = short.tables["gates"].filter(step=0).drop("step")
    gates = pl.DataFrame({"step": range(steps)}).join(one, how="cross").select(short.tables["gates"].columns)
    tables = {name: table for name, table in short.tables.items() if name != "attributions"}
    found = replace(short, tables=tables | {"gates": gates})
    assert len(embedded(render_cell_page(found))["layers"][0]["values"]["hidden"][0]) > 130_000
    (tmp_path / "long.html").write_text(render_cell_page(found), encoding="utf-8")
    with opened_browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "long.html").as_uri())
        assert browser.run("document.querySelectorAll('.units rect').length") == units
        assert browser.reports == []


def test_a_shorter_sequence_ends_earlier(page: Page) -> None:
    page.run("go({ sequence: 0, step: 11, layer: 0, unit: 0 })")
    page.run("go({ sequence: 1 })")
    assert said(page).startswith("step 6 of 6")


def test_what_users_wrote_is_text_and_nothing_failed(page: Page) -> None:
    assert page.run("document.title").startswith("Inside the cell")
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.run("document.querySelector('#sequence option').textContent") == WICKED
    assert page.reports == [], "no error of a script, nothing that the page's policy blocked"


def brightness(png: bytes) -> float:
    """Mean of the first pixel column: the paper's colour. Rows with any of PNG's filters are undone."""
    width, height, _, kind = struct.unpack(">IIBB", png[16:26])
    channels = {2: 3, 6: 4}[kind]
    parts, place = b"", 8
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            parts += png[place + 8 : place + 8 + size]
        place += size + 12
    raw, stride = zlib.decompress(parts), width * channels + 1
    before, total = [0, 0, 0], 0
    for row in range(height):
        line = raw[row * stride : row * stride + 1 + channels]
        # In the first column the filters Sub and None are the same, and so are Up, Average (by half), Paeth.
        add = {0: 0, 1: 0, 2: 1, 3: 0.5, 4: 1}[line[0]]
        before = [(byte + int(add * old)) % 256 for byte, old in zip(line[1:4], before, strict=True)]
        total += sum(before)
    return total / (3 * height)


def test_it_is_readable_in_the_dark_and_on_a_phone(page: Page) -> None:
    reset(page)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert brightness(page.picture()) < 60
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    assert brightness(page.picture()) > 200
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert page.run("document.querySelector('.steps svg').getBoundingClientRect().width") > 250
    page.call("Emulation.clearDeviceMetricsOverride")
