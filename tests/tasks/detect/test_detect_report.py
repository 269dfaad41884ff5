"""The page of a detector: alarms with their reasons, scores beside the baselines, or a plain word without."""

from __future__ import annotations

import polars as pl
from tests.tasks.detect.test_detector import LEARNED, fitted, quick, waves

from gatestack.reports import render_report


def test_the_page_lists_alarms_and_scores() -> None:
    table = waves()
    detector = fitted()
    page = render_report(detector, evaluation=detector.evaluate(table), data=table)
    assert "isolation forest" in page
    assert "2 of 2 anomalies found" in page
    reasons = detector.predict(table).filter(pl.col("alarm"))["explanation"].to_list()
    assert reasons
    for reason in reasons:
        assert reason in page
    assert "AnomalyDetector(hidden_size=8, max_steps=60" in page
    assert f"train={LEARNED})" in page


def test_the_page_without_data_says_that_nothing_was_scored() -> None:
    page = render_report(
        quick("reconstruction", threshold="dynamic", max_steps=2).fit(waves(), train=LEARNED)
    )
    assert "No scores" in page
    assert "dynamic: follows the errors" in page
    assert 'id="alarms"' not in page


def test_names_of_users_are_escaped() -> None:
    table = waves().rename({"v0": "<b>x</b>"})
    page = render_report(quick(max_steps=2).fit(table, train=LEARNED), data=table)
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
