"""The page of the time-scales says how often, and by how much, the highest layer is slower."""

from __future__ import annotations

from typing import Any

from protocol.time_scales_page import ratios, time_scales_page

MACHINE = {
    "processor": "P",
    "cores": 2,
    "memory_gib": 8,
    "system": "Linux x86_64",
    "python": "3.11.0",
    "date": "2026-01-01",
}


def row(seed: int, trained: list[list[float | None]], drawn: list[list[float | None]]) -> dict[str, Any]:
    parts = {
        state: {"gates": units, "change": units, "loss": loss, "steps": [9, 9]}
        for state, units, loss in (("trained", trained, 0.25), ("drawn", drawn, 0.5))
    }
    return {"problem": "waves", "layers": 2, "seed": seed} | parts


ROWS = [
    row(0, [[1.0, 2.0, 3.0], [4.0, 6.0, 8.0]], [[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]]),
    row(1, [[2.0, 2.0, 2.0], [None, None, 1.0]], [[2.0, 2.0, 2.0], [4.0, 4.0, 4.0]]),
]


def test_a_unit_that_lasts_counts_as_the_slowest() -> None:
    assert ratios(ROWS, "trained", "change") == [3.0, float("inf")]
    assert ratios(ROWS, "drawn", "change") == [0.5, 2.0]


def test_the_page_has_counts_and_medians_with_their_spread() -> None:
    text = time_scales_page(
        {
            "machine": MACHINE,
            "versions": {"gatestack": "1"},
            "settings": {"width": 3, "updates": 5, "sequences": 7, "seeds": 2},
            "rows": ROWS,
        }
    )
    assert "| by a change | trained | 2 of 2 |" in text
    assert "| by a change | before training | 1 of 2 |" in text
    assert "| waves | 2 | before training | 2 (2–2) | 2.5 (1–4) |" in text
    assert "| waves | 9 | 0.25 (0.25–0.25) | 0.5 (0.5–0.5) |" in text
