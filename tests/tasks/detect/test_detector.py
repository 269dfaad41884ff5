"""The detector from table to alarms: learning, calibration, gaps, drift, many channels, streams, saving."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from gatestack.errors import ArgumentError, DataError, ModelFileError, NotFittedError
from gatestack.tasks import load
from gatestack.tasks.detect import AnomalyDetector
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.training import Training

STEPS, LEARNED = 900, 500
SPIKE, SHIFT = 700, 800


def waves(*, channels: int = 1, steps: int = STEPS, seed: int = 0, spoilt: bool = True) -> pl.DataFrame:
    """Waves of 24 steps with noise; a spike in the last channel, later a shift in the first."""
    random = np.random.default_rng(seed)
    t = np.arange(steps)[:, None]
    values = np.sin(2 * np.pi * t / 24 + np.arange(channels)) + 0.1 * random.normal(size=(steps, channels))
    if spoilt:
        values[SPIKE, -1] += 3.0
        values[SHIFT : SHIFT + 30, 0] += 2.0
    time = pl.datetime_range(datetime(2024, 1, 1), datetime(2025, 1, 1), "1h", eager=True)[:steps]
    columns = {f"v{number}": values[:, number] for number in range(channels)}
    label = np.isin(np.arange(steps), [SPIKE, *range(SHIFT, SHIFT + 30)]) & spoilt
    return pl.DataFrame({"time": time} | columns | {"label": label.astype(np.int64)})


def quick(method: str = "forecast", **options: object) -> AnomalyDetector:
    settings = {"hidden_size": 8, "window": 24, "max_steps": 60, "training": Training(learning_rate=0.01)}
    return AnomalyDetector(method, **settings | options)  # type: ignore[arg-type]


@functools.cache
def fitted(method: str = "forecast", channels: int = 1) -> AnomalyDetector:
    return quick(method).fit(waves(channels=channels), train=LEARNED)


@pytest.mark.parametrize(("method", "channels"), [("forecast", 1), ("forecast", 3), ("reconstruction", 3)])
def test_a_spike_and_a_shift_raise_one_alarm_each(method: str, channels: int) -> None:
    found = fitted(method, channels).predict(waves(channels=channels))
    raised = np.flatnonzero(found["alarm"].to_numpy())
    raised = raised[raised >= LEARNED]
    assert ((raised >= SPIKE) & (raised < SPIKE + 24)).sum() == 1
    assert ((raised >= SHIFT) & (raised < SHIFT + 24)).sum() == 1
    assert len(raised) <= 4


def test_an_alarm_names_the_channel_and_what_was_expected() -> None:
    found = fitted(channels=3).predict(waves(channels=3))
    row = found.row(SPIKE, named=True)
    assert row["alarm"]
    assert row["channel"] == "v2"
    assert row["explanation"].startswith(f"v2 is {row['v2']:.4g}, expected {row['expected-v2']:.4g}")
    assert "once in" in row["explanation"]
    assert "years)" in row["explanation"]
    assert abs(row["expected-v2"] - (row["v2"] - 3.0)) < 0.6
    quiet = found.filter(~pl.col("alarm"))
    assert quiet["explanation"].null_count() == quiet["channel"].null_count() == quiet.height


def test_columns_are_the_users_own() -> None:
    found = fitted().predict(waves())
    assert found.columns == [
        "time", "v0", "expected", "score", "anomalous", "alarm", "channel", "explanation",
    ]  # fmt: skip
    assert_allclose(found["v0"], waves()["v0"])
    assert_array_equal(found["time"], waves()["time"])
    assert found["score"][0] is None
    assert found["score"][1:].null_count() == 0
    pandas = fitted().predict(waves().to_pandas())
    assert type(pandas).__module__.startswith("pandas")


@pytest.mark.parametrize("threshold", ["calibrated", "dynamic"])
@pytest.mark.parametrize("method", ["forecast", "reconstruction"])
def test_a_stream_gives_the_scores_and_alarms_of_a_batch(method: str, threshold: str) -> None:
    table = waves(channels=2).with_columns(
        v0=pl.when(pl.int_range(pl.len()).is_in([720, 721])).then(None).otherwise("v0"),
        v1=pl.when(pl.int_range(pl.len()) == SPIKE).then(30.0).otherwise("v1"),
    )
    start, end = 690, 780
    detector = quick(method, threshold=threshold, window=12, max_steps=10).fit(table[:start])
    whole = detector.predict(table[:end])
    stream = detector.stream()
    kept = None
    for number in range(start, end):
        if number == 730:  # a new stream goes on where the old one was
            kept = stream.state
            stream = detector.stream(state=kept)
        step = stream.step({name: table[number, name] for name in ("v0", "v1")})
        row = whole.row(number, named=True)
        assert step.score == (None if row["score"] is None else pytest.approx(row["score"], abs=1e-8))
        assert (step.alarm, step.anomalous) == (row["alarm"], row["anomalous"])
        assert (step.channel, step.explanation) == (row["channel"], row["explanation"])
        assert step.expected["v1"] == pytest.approx(row["expected-v1"], abs=1e-8)
    assert kept is not None
    assert stream.steps == end - start
    assert whole["alarm"][start:].sum() >= 1


def test_a_gap_in_time_advances_the_stream_as_missing_rows_do() -> None:
    table = waves()
    detector = quick(max_steps=10).fit(table[:690])
    holes = pl.concat([table[:700], table[705:]])
    whole = detector.predict(holes)
    assert whole.height == STEPS
    assert whole["score"][700:705].null_count() == 5
    stream = detector.stream()
    for row in holes[690:720].iter_rows(named=True):
        found = stream.step({"v0": row["v0"]}, row["time"])
        expected = whole.filter(pl.col("time") == row["time"]).row(0, named=True)
        assert found.score == pytest.approx(expected["score"], abs=1e-9)
    assert stream.steps == 725 - 690
    with pytest.raises(DataError, match="a time after the last step"):
        stream.step({"v0": 0.0}, table["time"][700])


@pytest.mark.parametrize("method", ["forecast", "reconstruction"])
def test_later_data_go_on_from_the_end_of_the_fit_over_a_gap_too(method: str) -> None:
    table = waves(channels=2)
    detector = quick(method, max_steps=10).fit(table[:690])
    whole = detector.predict(table)
    assert_allclose(detector.predict(table[690:])["score"], whole["score"][690:], atol=1e-9)
    holes = detector.predict(pl.concat([table[:690], table[700:]]))
    later = detector.predict(table[700:])
    assert_allclose(later["score"], holes["score"][700:], atol=1e-9)
    assert later["alarm"].to_list() == holes["alarm"][700:].to_list()
    # Data that overlaps with that of the fit is run from its start.
    overlap = detector.predict(table[680:])
    assert np.isnan(overlap["score"].to_numpy()[0])
    # So is what lies further away than a series can be advanced.
    far = detector.predict(table[:50].with_columns(pl.col("time").dt.offset_by("200y")))
    assert np.isnan(far["score"].to_numpy()[0])


def test_a_stream_can_run_longer_than_a_gap_may_be() -> None:
    detector = quick(max_steps=2).fit(waves(), train=LEARNED)
    stream = detector.stream()
    stream = detector.stream(state=stream.state | {"steps": np.array(2_000_000)})
    time = detector.fitted_.last_times[0].item() + timedelta(hours=2_000_001)
    assert stream.step({"v0": 0.0}, time).score is not None
    with pytest.raises(DataError, match="at most 1,000,000 steps away"):
        stream.step({"v0": 0.0}, time + timedelta(hours=1_000_002))


def test_a_stream_refuses_what_it_cannot_read_and_stays_where_it_was() -> None:
    stream = fitted().stream()
    before = stream.state
    for values, message in (
        ({}, "the column 'v0' is missing"),
        ({"v0": "much"}, "v0 is 'much'"),
        ({"v0": float("inf")}, "v0 is 'inf'"),
        ({"v0": 1.0, "w": 2.0}, "there is no column 'w'"),
    ):
        with pytest.raises(DataError, match=message):
            stream.step(values)  # type: ignore[arg-type]
    assert stream.steps == 0
    for name, array in stream.state.items():
        assert_array_equal(array, before[name])
    with pytest.raises(DataError, match="the state has no 'scale'"):
        fitted().stream(state={name: array for name, array in before.items() if name != "scale"})
    with pytest.raises(DataError, match="another"):
        fitted().stream(state=before | {"level": np.zeros(7)})


def test_scores_of_usual_steps_are_as_rare_as_they_say() -> None:
    usual = waves(steps=2500, spoilt=False)
    detector = quick(max_steps=40).fit(usual, train=1000)
    score = detector.predict(usual)["score"][1000:].to_numpy()
    for level in (1.0, 2.0):
        share = float((score >= level).mean())
        # Three looks at a step cost up to a factor of three; chance and drift are allowed a factor of two.
        assert 10**-level / 6 < share < 10**-level * 2


def test_fewer_false_alarms_per_day_raise_the_threshold() -> None:
    rules = [
        quick(max_steps=2, false_alarms_per_day=rate).fit(waves(), train=LEARNED).fitted_.rule
        for rate in (1.0, 0.1, 0.01)
    ]
    # An hourly series: once a day is once in 24 steps.
    expected = [CalibratedRule(float(np.log10(24 * days)), 24) for days in (1, 10, 100)]
    assert_allclose([rule.threshold for rule in rules], [rule.threshold for rule in expected])  # type: ignore[attr-defined]


def test_a_noisier_series_is_the_new_normal_after_a_while() -> None:
    table = waves(steps=3000, spoilt=False)
    noise = np.random.default_rng(1).normal(0, 0.25, 3000) * (np.arange(3000) >= 600)
    table = table.with_columns(v0=pl.col("v0") + noise)
    found = quick(max_steps=30).fit(table, train=500).predict(table)
    above = found["anomalous"].to_numpy()
    assert above[600:900].mean() > 3 * above[2600:].mean() + 0.01


def test_an_anomaly_does_not_feed_the_scale() -> None:
    detector = quick(max_steps=5).fit(waves(), train=LEARNED)
    stream, calm = detector.stream(), detector.stream()
    for _ in range(10):
        stream.step({"v0": 500.0})
        calm.step({"v0": None})
    assert_array_equal(stream.state["scale"], calm.state["scale"])
    assert_array_equal(stream.state["level"], calm.state["level"])


def test_each_series_has_its_own_scale_and_others_are_refused() -> None:
    one, two = waves(), waves(seed=1).with_columns(v0=pl.col("v0") * 1000)
    both = pl.concat([one.with_columns(unique_id=pl.lit("a")), two.with_columns(unique_id=pl.lit("b"))])
    detector = quick().fit(both, train=LEARNED)
    found = detector.predict(both)
    for key in "ab":
        part = found.filter(pl.col("unique_id") == key)
        assert part.height == STEPS
        assert part["alarm"][SPIKE]
    alone = detector.predict(both.filter(pl.col("unique_id") == "b"))
    assert_array_equal(alone["score"], found.filter(pl.col("unique_id") == "b")["score"])
    with pytest.raises(DataError, match="series 'c' was not in the fit"):
        detector.predict(one.with_columns(unique_id=pl.lit("c")))
    with pytest.raises(ArgumentError, match="2 series"):
        detector.stream()


def test_gaps_of_the_training_part_are_masked() -> None:
    table = waves(channels=2).with_columns(
        v1=pl.when(pl.int_range(pl.len()) % 7 == 3).then(None).otherwise("v1")
    )
    for method in ("forecast", "reconstruction"):
        detector = quick(method, max_steps=30).fit(table, train=LEARNED)
        assert detector.fitted_.network.shape.flags
        found = detector.predict(table)
        assert np.isfinite(found["score"][100:].drop_nulls().to_numpy()).all()
        assert found["alarm"][SPIKE : SPIKE + 24].any()


def test_the_unit_of_the_values_does_not_matter_however_small() -> None:
    table = waves()
    small = quick(max_steps=20).fit(table.with_columns(v0=pl.col("v0") * 1e-30), train=LEARNED)
    usual = quick(max_steps=20).fit(table, train=LEARNED)
    found = small.predict(table.with_columns(v0=pl.col("v0") * 1e-30))["alarm"]
    assert found.to_list() == usual.predict(table)["alarm"].to_list()
    assert found[LEARNED:].sum() == 2


def test_values_whose_squares_are_not_finite_are_refused_with_their_place() -> None:
    large = waves().with_columns(v0=pl.when(pl.int_range(pl.len()) == 7).then(-1e61).otherwise("v0"))
    for call in (fitted().predict, fitted().evaluate, quick().fit):
        with pytest.raises(
            DataError, match=r"row 7 .*'-1e\+61' is too large — expected numbers up to 1e\+60"
        ):
            call(large)
    with pytest.raises(DataError, match="v0 is '-1e\\+61'"):
        fitted().stream().step({"v0": -1e61})
    largest = large.with_columns(pl.col("v0").clip(-1e60, 1e60))
    assert np.isfinite(fitted().predict(largest)["score"].drop_nulls().to_numpy()).all()


def test_a_column_of_numbers_with_a_word_in_it_is_not_left_out() -> None:
    table = waves(channels=2).with_columns(
        v1=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("warm")).otherwise(pl.col("v1").cast(pl.String))
    )
    with pytest.raises(DataError, match=r"row 7 .*'warm' is not a number"):
        quick().fit(table)
    named = waves().with_columns(host=pl.lit("web1"))
    assert quick(max_steps=1).fit(named).fitted_.channels == ("v0",)


def test_a_constant_channel_that_moves_is_an_anomaly() -> None:
    table = waves().with_columns(v0=pl.lit(5.0))
    detector = quick(max_steps=5).fit(table, train=LEARNED)
    moved = table.with_columns(v0=pl.when(pl.int_range(pl.len()) == SPIKE).then(5.5).otherwise("v0"))
    alarms = detector.predict(moved)["alarm"].to_numpy()
    assert_array_equal(np.flatnonzero(alarms), [SPIKE])


def test_equal_seeds_give_equal_detectors_and_other_seeds_others() -> None:
    one, two, other = (
        quick(max_steps=10, seed=seed).fit(waves(), train=LEARNED).predict(waves())["score"]
        for seed in (0, 0, 1)
    )
    assert_array_equal(one, two)
    assert not np.array_equal(one[1:], other[1:])


def test_a_constructor_stores_and_a_clone_is_unfitted() -> None:
    detector = clone(fitted())  # type: ignore[no-untyped-call]
    assert detector.get_params() == fitted().get_params()
    for call in (detector.predict, detector.evaluate):
        with pytest.raises(NotFittedError):
            call(waves())
    with pytest.raises(NotFittedError):
        detector.stream()
    with pytest.raises(ArgumentError, match="there is no data"):
        fitted().predict_frame()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "guess"}, "'method' parameter"),
        ({"threshold": "none"}, "'threshold' parameter"),
        ({"layers": 0}, "'layers' parameter"),
        ({"layers": [8, 0]}, "'layers' parameter"),
        ({"hidden_size": 0}, "'hidden_size' parameter"),
        ({"window": 1}, "'window' parameter"),
        ({"quiet": 0}, "'quiet' parameter"),
        ({"false_alarms_per_day": 0}, "'false_alarms_per_day' parameter"),
        ({"false_alarms_per_day": True}, "'false_alarms_per_day' parameter"),
        ({"false_alarms_per_day": float("nan")}, "'false_alarms_per_day' parameter"),
        ({"max_steps": 0}, "'max_steps' parameter"),
        ({"training": "fast"}, "'training' parameter"),
        ({"seed": -1}, "'seed' parameter"),
        ({"seed": 2**63}, "'seed' parameter"),
    ],
)
def test_arguments_outside_their_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        AnomalyDetector(**options).fit(waves())  # type: ignore[arg-type]


def test_tables_that_cannot_be_used_are_refused_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"training part of 'v0' has 60 steps — expected at least 72"):
        quick().fit(waves(), train=60)
    with pytest.raises(ArgumentError, match=r"train= is 1\.5"):
        quick().fit(waves(), train=1.5)
    with pytest.raises(ArgumentError, match="no column of numbers"):
        quick().fit(waves().select("time", word=pl.lit("a")))
    late = waves(channels=2).with_columns(v1=pl.when(pl.int_range(pl.len()) > LEARNED).then("v1"))
    with pytest.raises(DataError, match="'v1' has no value in the training part"):
        quick().fit(late, train=LEARNED)
    steps = waves().with_columns(time=pl.int_range(pl.len()))
    with pytest.raises(ArgumentError, match="the times are whole numbers"):
        quick(false_alarms_per_day=1).fit(steps, time="time")
    with pytest.raises(DataError, match="the column 'v0' of the fit is missing"):
        fitted().predict(waves().rename({"v0": "w"}))
    path = tmp_path / "bad.csv"
    waves().with_columns(v0=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("x")).otherwise("v0")).write_csv(
        path
    )
    with pytest.raises(DataError, match=r"bad\.csv"):
        fitted().predict(path)


@pytest.mark.parametrize(("method", "threshold"), [("forecast", "dynamic"), ("reconstruction", "calibrated")])
def test_saving_and_loading_is_the_identity(method: str, threshold: str, tmp_path: Path) -> None:
    table = waves(channels=2)
    settings = {"method": method, "threshold": threshold, "max_steps": 10, "layers": [6, 4], "window": 8}
    detector = quick(**settings).fit(table[:600], train=LEARNED)  # type: ignore[arg-type]
    detector.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, AnomalyDetector)
    assert {k: v for k, v in again.get_params().items() if k != "layers"} == {
        k: v for k, v in detector.get_params().items() if k != "layers"
    }
    assert again.predict(table).equals(detector.predict(table))
    one, two = detector.stream(), again.stream()
    for number in range(600, 620):
        values = {"v0": table[number, "v0"], "v1": table[number, "v1"]}
        assert one.step(values) == two.step(values)


def test_damaged_models_are_refused() -> None:
    model, weights, proof = fitted()._to_data()
    cases = [
        ({"threshold": -1.0}, {}, "threshold"),
        ({"method": "reconstruction"}, {}, "lacks 'decoder"),
        ({"keys": ["a", "b"]}, {}, "series.mean"),
        ({"frequency": model["fitted"]["frequency"] | {"unit": "month", "every": 1}}, {}, "calendar"),
        ({"tails": [[1.0, 0.0]]}, {}, "tails"),
        ({}, {"usual.scale": np.zeros(3)}, "usual.scale"),
        ({}, {"usual.extra": np.zeros(3)}, "unknown array"),
        ({}, {"usual.centre": weights["usual.centre"] + 1.0}, "proof"),
        ({}, {"series.mean": weights["series.mean"] * np.nan}, "series.mean"),
        ({}, {"state.0.level": np.zeros(9)}, "level"),
    ]
    for changes, arrays, message in cases:
        spoilt = model | {"fitted": model["fitted"] | changes}
        with pytest.raises(ModelFileError, match=message):
            AnomalyDetector._from_data(spoilt, weights | arrays, proof)
    huge = model["fitted"] | {"shape": model["fitted"]["shape"] | {"widths": [2**24]}}
    with pytest.raises(ModelFileError, match="expected finite"):
        AnomalyDetector._from_data(model | {"fitted": huge}, weights, proof)
