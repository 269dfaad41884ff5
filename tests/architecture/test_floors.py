"""Imports run down the floors of docs/design.md, and never in a circle."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_walk import Edges, find_circle, walk_imports

import gatestack

PACKAGE = Path(gatestack.__file__).parent

# From the top floor to the ground; folders on one floor do not know each other.
FLOORS = (
    ("cli",),
    ("reports",),
    ("serving",),
    ("tasks",),
    ("study",),
    ("convert",),
    ("inspect", "compat"),
    ("training",),
    ("nn",),
    ("runtime",),
    ("data",),
    ("kernels",),
    ("reference", "errors"),
)
HEIGHT = {folder: height for height, floor in enumerate(reversed(FLOORS)) for folder in floor}

# The kernels are tested against the reference: neither may vouch for itself by calling the other. A study
# knows an estimator by scikit-learn's contract alone.
STRANGERS = {("kernels", "reference"), ("study", "inspect")}


def broken_rules(edges: Edges, root: str) -> list[str]:
    """Say which imports run up or sideways, each as `importer:line imports imported: rule`."""
    found = []
    for importer, targets in edges.items():
        if importer == root:
            continue  # the face of the package names everything, and loads it on first use
        above = importer.split(".")[1]
        for target, line in targets.items():
            place = f"{importer}:{line} imports {target}"
            if target == root:
                found.append(f"{place}: take a name from the module where it lives")
                continue
            below = target.split(".")[1]
            if above not in HEIGHT or below not in HEIGHT:
                found.append(f"{place}: give this folder a floor, here and in docs/design.md")
            elif above != below and HEIGHT[below] >= HEIGHT[above]:
                found.append(f"{place}: {above} does not stand above {below}")
            elif (above, below) in STRANGERS:
                found.append(f"{place}: {above} must not know {below}")
    return found


def without_face(edges: Edges, root: str) -> Edges:
    """Leave out what the face of the package imports: it does so lazily."""
    return {importer: {} if importer == root else targets for importer, targets in edges.items()}


def test_every_folder_has_a_floor() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert not (folders | files) - HEIGHT.keys()


def test_imports_run_down() -> None:
    edges = walk_imports(PACKAGE)
    assert sum(map(len, edges.values())) > len(FLOORS), "hardly any import was found: is the walker blind?"
    assert not broken_rules(edges, "gatestack")


def test_no_circle() -> None:
    circle = find_circle(without_face(walk_imports(PACKAGE), "gatestack"))
    assert circle is None, " imports ".join(circle)


# The checks above must be able to fail: a small package with one fault each.


def plant(folder: Path, files: dict[str, str]) -> Edges:
    """Write a package `house` with these files, and walk it."""
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return walk_imports(folder / "house")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("nn/stack.py", "from house.tasks import Forecaster"),
        ("nn/stack.py", "from house import tasks"),
        ("nn/stack.py", "import house.tasks.forecast"),
        ("nn/stack.py", "from ..tasks import forecast"),
        ("nn/stack.py", "def build():\n    from house.tasks.forecast import Forecaster"),
        (
            "nn/stack.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.tasks import forecast",
        ),
        ("nn/__init__.py", "from ..tasks import forecast"),
        ("nn/stack.py", "from house import __version__"),
        ("kernels/recurrent.py", "from house.reference import lstm"),
        ("study/depth.py", "from house.inspect import gates"),
        ("errors.py", "from house.reference import lstm"),
        ("attic/box.py", "from house import errors"),
    ],
)
def test_planted_back_edge_is_found(tmp_path: Path, file: str, line: str) -> None:
    house = {
        "tasks/__init__.py": "from house.nn import stack",
        "tasks/forecast.py": "",
        "nn/__init__.py": "",
        "nn/stack.py": "from house import errors",
        "inspect/gates.py": "from house.errors import DataError",
        "inspect/__init__.py": "",
        "reference/__init__.py": "",
        "reference/lstm.py": "",
        "errors.py": "",
    }
    assert not broken_rules(plant(tmp_path / "sound", house), "house")
    faults = broken_rules(plant(tmp_path / "faulty", {**house, file: line}), "house")
    assert len(faults) == 1
    module = f"house.{file.removesuffix('.py').replace('/', '.').removesuffix('.__init__')}"
    assert faults[0].startswith(f"{module}:")


@pytest.mark.parametrize(
    "files",
    [
        {"nn/a.py": "from house.nn import b", "nn/b.py": "from house.nn.a import thing"},
        {"nn/__init__.py": "from .a import thing", "nn/a.py": "from house.nn import other"},
        {
            "nn/a.py": "from . import b",
            "nn/b.py": "from . import c",
            "nn/c.py": "def f():\n    from . import a",
        },
    ],
)
def test_planted_circle_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    house = {"nn/__init__.py": "", "nn/d.py": "", "data/e.py": "", "nn/top.py": "from . import d"}
    assert find_circle(plant(tmp_path / "sound", house)) is None
    circle = find_circle(plant(tmp_path / "faulty", {**house, **files}))
    assert circle is not None
    assert circle[0] == circle[-1]
    assert len(circle) == len(files) + 1 if "nn/__init__.py" not in files else len(circle) == 3
