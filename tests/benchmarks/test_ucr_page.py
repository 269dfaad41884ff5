"""The page of the classification benchmark tells what was measured, losses and gaps included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from protocol.ucr_page import DEFAULT, LINEAR, PUBLISHED, _ranks, ucr_page
from ucr import with_and_without_stack

from gatestack.data import Sequences
from gatestack.tasks.labelled import LabelledPlan, fit_members, run_members


def row(problem: str, model: str, accuracy: float, seed: int = 0) -> dict[str, Any]:
    return {
        "problem": problem,
        "model": model,
        "seed": seed,
        "accuracy": accuracy,
        "log_loss": None if "aeon" in model else 0.25,
        "seconds": 12.0,
    }


def page(*rows: dict[str, Any]) -> str:
    machine = {
        "processor": "a processor",
        "cores": 2,
        "memory_gib": 8,
        "system": "Linux",
        "python": "3.11",
        "date": "2026-01-01",
    }
    return ucr_page({"machine": machine, "torch": "2.0", "rows": list(rows)})


def test_spread_losses_and_missing_fits_are_shown() -> None:
    text = page(
        row("GunPoint", DEFAULT, 0.98),
        row("GunPoint", DEFAULT, 1.00, seed=1),
        row("GunPoint", LINEAR, 0.97),
        row("GunPoint", "MiniRocket (aeon)", 0.995),
        row("ECG200", DEFAULT, 0.90),
        row("ECG200", LINEAR, 0.91),
    )
    assert "| GunPoint | 99.0 (98.0–100.0) | 97.0 | 99.5 |" in text
    assert "| ECG200 | 90.0 | 91.0 | – |" in text
    assert "| **mean** | **94.5** | **94.0** | (99.5) |" in text
    assert "- GunPoint: FCN +1.0, MiniRocket (aeon) +0.5, ResNet +0.1" in text
    assert "- ECG200: Encoder +2.3, MLP +1.6" in text
    assert "Seeds of the default: 1 or 2 a problem; of one seed no spread is known." in text
    assert "Not fitted, for want of time: ItalyPowerDemand, ArrowHead," in text


def test_ranks_share_ties() -> None:
    scores = {"a": {"p": 0.9, "q": 0.5}, "b": {"p": 0.9, "q": 0.6}, "c": {"p": 0.1, "q": 0.7}}
    assert _ranks(scores, ["p", "q"]) == {"a": 2.25, "b": 1.75, "c": 2.0}


def test_published_numbers_are_shares() -> None:
    for numbers in PUBLISHED.values():
        assert all(0.4 < value <= 1 for value in numbers.values())
    assert PUBLISHED["TWIESN"]["JapaneseVowels"] == pytest.approx(0.965)


def test_the_linear_part_is_taken_from_the_network_it_belongs_to() -> None:
    waves = Sequences.from_arrays([np.sin(np.arange(20) * (0.3 + case % 2)) for case in range(12)])
    plan = LabelledPlan(task="classify", outputs=2, widths=(4,), max_steps=20)
    network = fit_members(waves, np.arange(12) % 2, plan)[0].network
    whole, alone = with_and_without_stack(network, waves)
    np.testing.assert_allclose(whole, run_members([network], waves)[0], rtol=1e-9)
    assert not np.allclose(whole, alone, rtol=1e-6)
