"""The tutorial prints the shapes that its guide explains."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "examples" / "tutorial_stacks.py"


def test_the_tutorial_prints_the_shapes_of_the_three_models(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TUTORIAL))
    # Parameters of a layer: 4 · 50 · (inputs + 50 + 2), with 1 input below and 50 above.
    assert capsys.readouterr().out.splitlines()[:6] == [
        "one layer, last output: (1, 3, 1) -> (1, 50), 10,600 parameters",
        "one layer, every step: (1, 3, 1) -> (1, 3, 50), 10,600 parameters",
        "stack of two: (1, 3, 1) -> (1, 50), 31,000 parameters",
        "stack of four: (1, 3, 1) -> (1, 50), 71,800 parameters",
        "",
        "Stack: layer 0 has return_sequences=False — expected True below the last layer",
    ]
