"""The page of the regression benchmark says who is better, and where we lose."""

from __future__ import annotations

from typing import Any

from protocol.tser_page import DEFAULT, LINEAR, tser_page

MACHINE = {
    "processor": "P",
    "cores": 2,
    "memory_gib": 8,
    "system": "Linux x86_64",
    "python": "3.11.0",
    "date": "2026-01-01",
}


def row(problem: str, model: str, rmse: float, *, seed: int = 0) -> dict[str, Any]:
    scores = {"rmse": rmse, "mae": rmse / 2, "r2": 1 - rmse, "seconds": 3.0 if model == DEFAULT else None}
    return {"problem": problem, "train": 10, "test": 5, "model": model, "seed": seed} | scores


def test_means_spread_and_losses_are_told() -> None:
    rows = [row("Tecator", DEFAULT, value, seed=seed) for seed, value in enumerate((0.4, 0.6))]
    rows += [row("Tecator", LINEAR, 0.7), row("Tecator", "mean", 12.0), row("Tecator", "MiniRocket", 0.25)]
    rows += [row("VictoriaDays", DEFAULT, 2.0), row("VictoriaDays", "mean", 6.0)]
    text = tser_page({"machine": MACHINE, "torch": "2", "rows": rows})
    assert "| Tecator | 0.5 (0.4–0.6) | 0.7 | 12 | 0.25 |" in text
    assert "| VictoriaDays | 2 | – | 6 | – |" in text
    assert "- Tecator: MiniRocket 50.0 % lower" in text
    assert "- VictoriaDays" not in text
    assert "| 10 / 5 | 3 | 2 |" in text


def test_no_loss_is_no_list() -> None:
    rows = [row("Tecator", DEFAULT, 0.5), row("Tecator", "mean", 12.0)]
    text = tser_page({"machine": MACHINE, "torch": "2", "rows": rows})
    assert "Nowhere." in text
