"""The page of a detector: alarms with their reasons, scores beside the baselines, or a plain word without."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.tasks.detect.test_detector import LEARNED, SPIKE, fitted, quick, waves

from gatestack.reports import render_report
from gatestack.reports.detect.figures import draw_alarms, series_shown


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


def test_the_figure_has_dates_where_the_data_has_them_and_the_users_clock() -> None:
    table = waves().with_columns(pl.col("time").dt.replace_time_zone("Asia/Tokyo"))
    detector = quick(max_steps=2).fit(table, train=LEARNED)
    (top, bottom) = draw_alarms(detector.fitted_, detector.predict_frame(table)).axes
    drawn = top.lines[0].get_xdata()
    assert np.asarray(drawn)[0] == np.datetime64("2024-01-01T00:00")
    assert bottom.get_xlabel() == "time"
    (learned,) = top.patches
    assert learned.get_width() == pytest.approx((LEARNED - 1) / 24)  # type: ignore[attr-defined]
    numbers = waves().with_columns(time=pl.int_range(pl.len()) + 7)
    detector = quick(max_steps=2).fit(numbers, time="time", train=LEARNED)
    axes = draw_alarms(detector.fitted_, detector.predict_frame(numbers)).axes
    assert np.asarray(axes[0].lines[0].get_xdata())[0] == 7


def test_a_spike_of_one_step_is_drawn_in_a_long_series() -> None:
    table = waves(steps=8000).with_columns(
        v0=pl.when(pl.int_range(pl.len()) == 5003).then(40.0).otherwise("v0")
    )
    found = fitted().predict_frame(table)
    axes = draw_alarms(fitted().fitted_, found).axes
    drawn = np.asarray(axes[0].lines[0].get_ydata())
    assert len(drawn) < 3000
    assert drawn.max() == 40.0
    assert np.asarray(axes[-1].lines[0].get_ydata()).max() == found["score"].max()


def test_the_series_with_the_most_alarms_is_drawn_and_each_alarm_at_its_channel() -> None:
    both = pl.concat(
        [waves(channels=3, spoilt=key == "b").with_columns(unique_id=pl.lit(key)) for key in "ab"]
    )
    detector = quick().fit(both, train=LEARNED)
    part = series_shown(detector.fitted_, detector.predict_frame(both))
    assert part["unique_id"].unique().to_list() == ["b"]
    axes = draw_alarms(detector.fitted_, part).axes
    assert [axis.get_ylabel() for axis in axes] == ["v0", "v1", "v2", "score"]
    marks = np.asarray(axes[2].lines[1].get_xdata())
    assert np.datetime64(part["time"][SPIKE]) in marks
    assert "Series b, the one with the most alarms" in render_report(detector, data=both)
