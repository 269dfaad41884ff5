"""The page of the M4 benchmark says what its table holds."""

from __future__ import annotations

from typing import Any

from protocol.m4_page import m4_page

TABLE: dict[str, Any] = {
    "split": "test",
    "machine": {
        "processor": "A processor",
        "cores": 2,
        "memory_gib": 8,
        "system": "Linux",
        "python": "3.11",
        "date": "2030-01-01",
    },
    "gatestack": "0.0",
    "fit_seconds": [60.0, 120.0],
    "window": 192,
    "seasons": [24],
    "held_out": 83,
    "rows": {
        "Naive2": [{"smape": 18.383, "mase": 2.395, "owa": 1.0}],
        "gatestack, defaults": [
            {"smape": 12.0, "mase": 0.8, "owa": 0.5},
            {"smape": 14.0, "mase": 1.0, "owa": 0.6},
        ],
    },
    "cold_start": [
        {"first_values": 6, "mase": {"gatestack": [2.0], "as it is": [2.5], "last value": [9.0]}},
        {
            "first_values": None,
            "mase": {
                "gatestack": [1.0, 1.2],
                "as it is": [1.0],
                "seasonal naive": [1.3],
                "last value": [9.5],
            },
        },
    ],
    "one_command": {
        "seconds": 600.0,
        "processor_seconds": 150.0,
        "scores": {"gatestack": {"mase": 0.9, "smape": 0.06}},
    },
}


def test_scores_stand_in_order_beside_the_published_ones_with_their_spread() -> None:
    lines = m4_page(TABLE).splitlines()
    start = lines.index("| forecast | sMAPE | MASE | OWA |") + 2
    assert [line.split(" | ")[0] for line in lines[start : start + 5]] == [
        "| ES-RNN, the winner (published)",
        "| gatestack, defaults (2 seeds)",
        "| MLP, the competition's own benchmark (published)",
        "| Naive2",
        "| RNN, the competition's own benchmark (published)",
    ]
    assert "13.000 ± 1.414 | 0.900 ± 0.141 | 0.550 ± 0.071 |" in lines[start + 1]


def test_the_cold_start_and_the_command_are_told() -> None:
    text = m4_page(TABLE)
    assert "| 6 | 2.000 | 2.500 | – | 9.000 |" in text
    assert "| all but the last 48 | 1.100 ± 0.141 | 1.000 | 1.300 | 9.500 |" in text
    assert "in 2.5 minutes of one processor" in text
    assert "MASE 0.900 and sMAPE 12.00" in text


def test_the_validation_page_shows_no_published_score() -> None:
    text = m4_page(TABLE | {"split": "validation", "cold_start": [], "one_command": None})
    assert "the last 48 steps of the training file" in text
    assert "published" not in text
    assert "Cold start" not in text
