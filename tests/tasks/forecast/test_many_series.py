"""Many series of different lengths in one model: short ones, new ones, and bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatestack.convert.onnx.export import export_onnx
from gatestack.data import Frequency, SeriesTable
from gatestack.data.series_cut import ranges
from gatestack.errors import DataError
from gatestack.tasks.forecast import Forecaster, Origins
from gatestack.tasks.forecast.cold_start import with_season_before
from gatestack.tasks.forecast.prediction import read_like_fit
from gatestack.tasks.forecast.split import origins_between

from .tables import many_series, values_of

Make = Callable[..., Forecaster]
LENGTHS = {"one": 1, "long": 60, "two": 2, "short": 9, "other": 45}


def part(forecast: pl.DataFrame, key: str) -> np.ndarray:
    return values_of(forecast.filter(pl.col("unique_id") == key))


def test_short_series_are_kept_and_forecast(make: Make) -> None:
    frame = many_series(LENGTHS)
    model = make(max_steps=20).fit(frame, short_series="keep")
    forecast = model.predict()
    assert forecast["unique_id"].unique(maintain_order=True).to_list() == list(LENGTHS)
    assert np.isfinite(values_of(forecast)).all()
    given = model.predict(frame)
    np.testing.assert_allclose(values_of(given), values_of(forecast), rtol=1e-5)


def test_what_short_series_have_is_learned_from(make: Make) -> None:
    """A series that is shorter than a window and a horizon changes what the model learns."""
    frame = many_series({"long": 60, "short": 9})
    kept = make(window=8, season=None).fit(frame, short_series="keep")
    skipped = make(window=8, season=None).fit(frame, short_series="skip")
    assert not np.array_equal(part(kept.predict(), "long"), part(skipped.predict(), "long"))


def test_a_few_short_series_do_not_set_the_window_of_all(make: Make) -> None:
    lengths = {f"long {number}": 200 for number in range(9)} | {"short": 12}
    frame = many_series(lengths)
    kept = make(window=None, season=None).fit(frame, short_series="keep").fitted_.network.shape.window
    skipped = make(window=None, season=None).fit(frame, short_series="skip").fitted_.network.shape.window
    assert (kept, skipped) == (12, 3)


def test_series_that_are_all_too_short_are_refused(make: Make) -> None:
    frame = many_series({"a": 9, "b": 5})
    with pytest.raises(DataError, match="every series is too short: 'a'"):
        make(window=8).fit(frame, short_series="keep")


def test_a_backtest_leaves_out_what_is_too_short_to_hold_out(make: Make) -> None:
    frame = many_series(LENGTHS)
    scores = make().backtest(frame, origins=Origins(test=6), short_series="keep")
    assert set(scores.forecasts["unique_id"]) == {"long", "short", "other"}
    with pytest.raises(DataError, match="series 'one' has 1 steps"):
        make().backtest(frame, origins=Origins(test=6))


def test_a_model_with_short_series_is_saved_and_exported(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = make().fit(many_series(LENGTHS), short_series="keep")
    model.save(tmp_path / "model")
    assert Forecaster.load(tmp_path / "model").predict().equals(model.predict())
    export_onnx(model, tmp_path / "model.onnx")  # replays the proof


@settings(max_examples=15)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=6), st.integers(0, 5))
def test_a_new_series_is_forecast_as_if_the_fit_had_seen_it(
    fitted: Forecaster, lengths: list[int], place: int
) -> None:
    """Alone, among others or under another name: the forecast depends on its own values alone."""
    keys = {f"s{number}": steps for number, steps in enumerate(lengths)}
    frame = many_series(keys)
    among = fitted.predict(frame)
    key = f"s{place % len(lengths)}"
    alone = fitted.predict(
        frame.filter(pl.col("unique_id") == key).with_columns(unique_id=pl.lit("never seen"))
    )
    np.testing.assert_allclose(values_of(alone), part(among, key), rtol=2e-5)


def test_a_series_of_the_fit_is_forecast_as_a_stranger_with_its_values(fitted: Forecaster) -> None:
    frame = many_series()
    strangers = frame.with_columns(pl.col("unique_id").replace({"a": "x", "b": "y", "c": "z"}))
    np.testing.assert_allclose(values_of(fitted.predict(strangers)), values_of(fitted.predict()), rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.0, -3e6])
def test_from_one_value_the_forecast_stays_near_it(fitted: Forecaster, value: float) -> None:
    forecast = values_of(fitted.predict(pl.DataFrame({"unique_id": "n", "ds": ["2024-05-01"], "y": [value]})))
    assert np.isfinite(forecast).all()
    np.testing.assert_allclose(forecast, value, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("kind", ["h", "mo", "B", "step"])
def test_a_season_is_put_before_a_short_series(kind: str) -> None:
    """Phases and times go on as they were, whatever the step; the end stays as it is."""
    start = 0 if kind == "step" else np.datetime64("2024-01-31" if kind == "mo" else "2024-01-08", "us")
    frequency = Frequency.parse(1 if kind == "step" else f"1{kind}" if kind != "B" else "B")
    lengths, parts = {"one": 1, "four": 4, "eleven": 11, "twelve": 12, "long": 30}, []
    for key, steps in lengths.items():
        times = frequency.range(np.asarray(start), steps)
        parts.append(
            pl.DataFrame({"unique_id": key, "ds": times, "y": np.arange(steps) % 5, "x": np.arange(steps)})
        )
    frame = pl.concat(parts).with_columns(x=pl.when(pl.col("x") == 2).then(None).otherwise("x"))
    table = SeriesTable.from_frame(frame, past=["x"], frequency=frequency)
    longer = with_season_before(table, 12, (4, 10))
    found = dict(zip(lengths, np.diff(longer.sequences.offsets), strict=True))
    assert found == {"one": 1, "four": 12, "eleven": 21, "twelve": 12, "long": 30}
    for row, steps in enumerate(lengths.values()):
        begin, end = longer.sequences.offsets[row : row + 2]
        mine = slice(table.sequences.offsets[row], table.sequences.offsets[row + 1])
        np.testing.assert_array_equal(
            longer.sequences.values[end - steps : end], table.sequences.values[mine]
        )
        assert np.array_equal(longer.times[end - steps : end], table.times[mine])
        assert len(np.unique(np.diff(longer.times[begin:end].astype(np.int64)))) <= (
            1 if kind in "hstep" else 4
        )
        season = 4 if steps == 4 else 10
        target = longer.target_at(slice(begin, end))
        assert np.array_equal(target[: end - begin - steps], target[season : end - begin - steps + season])
    assert np.array_equal(longer.last_times, table.last_times)
    assert longer.sequences.observed is not None
    assert with_season_before(table, 12, ()) is table


def test_short_series_are_forecast_by_their_season() -> None:
    """From one season of a series that no fit saw: the season goes on, as it does not without it before."""
    random = np.random.default_rng(0)
    time = np.arange(150)
    frame = pl.concat(
        [
            pl.DataFrame(
                {"unique_id": f"s{phase}", "ds": time, "y": 50 + 9 * np.sin((time + phase) * 2 * np.pi / 12)}
            )
            for phase in range(8)
        ]
    ).with_columns(y=pl.col("y") + pl.Series(random.normal(size=1200)))
    model = Forecaster(6, hidden_size=6, window=48, season=12, max_steps=20).fit(frame)
    new = pl.DataFrame({"unique_id": "n", "ds": time[:13], "y": 80 + 9 * np.sin(time[:13] * 2 * np.pi / 12)})
    truth = 80 + 9 * np.sin(np.arange(13, 19) * 2 * np.pi / 12)
    error = np.abs(model.predict(new)["gatestack"].to_numpy() - truth).mean()
    table = read_like_fit(model.fitted_, new, new)
    raw = model.fitted_.state_after(model.fitted_.panel(table))
    without = model.fitted_.quantiles_ahead(raw, table, np.zeros((1, 6, 0), dtype=np.float32))[0, :, 3]
    assert error < 1.5
    assert error < 0.5 * np.abs(without - truth).mean()


def test_scores_of_short_histories_are_those_of_their_forecasts(fitted: Forecaster) -> None:
    frame = many_series({"n": 30})
    table = read_like_fit(fitted.fitted_, frame, frame)
    positions = np.array([1, 4, 6, 10, 11, 20])
    found = fitted.fitted_.quantiles_at(
        table, fitted.fitted_.panel(table), np.zeros_like(positions), positions
    )
    for place, position in enumerate(positions):
        alone = values_of(fitted.predict(frame.head(int(position) + 1)))
        np.testing.assert_allclose(np.sort(alone, axis=1), found[place], rtol=1e-5)


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return Forecaster(3, hidden_size=6, window=12, season=5, max_steps=20).fit(many_series())


@given(
    st.lists(st.tuples(st.integers(-5, 20), st.integers(-3, 12)), max_size=6),
    st.integers(1, 5),
)
def test_ranges_are_those_of_numpy(drawn: list[tuple[int, int]], step: int) -> None:
    begins = np.array([begin for begin, _ in drawn], dtype=np.int64)
    ends = begins + np.array([length for _, length in drawn], dtype=np.int64)
    wanted = [np.arange(a, b, step) for a, b in zip(begins, ends, strict=True)]
    assert ranges(begins, ends, step).tolist() == [number for one in wanted for number in one.tolist()]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), min_size=1, max_size=6), st.integers(1, 4))
def test_origins_have_a_step_before_and_a_horizon_after(drawn: list[tuple[int, int]], step: int) -> None:
    first, lengths = (np.array(column, dtype=np.int64) for column in zip(*drawn, strict=True))
    rows, positions = origins_between(first, lengths, horizon=3, step=step)
    wanted = [
        (row, position)
        for row, (begin, length) in enumerate(drawn)
        for position in range(begin - 1, length - 3, step)
        if position >= 0
    ]
    assert list(zip(rows.tolist(), positions.tolist(), strict=True)) == wanted


# In a process of its own, after one small fit: imports and allocators cost the same whatever the table.
SCRIPT = """
import numpy as np, polars as pl, torch
from pathlib import Path
from gatestack.tasks.forecast import Forecaster

def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

def table(lengths):
    rows = np.repeat(np.arange(len(lengths)), lengths)
    keys = pl.Series([f"s{row}" for row in range(len(lengths))]).gather(rows)
    steps = np.concatenate([np.arange(length) for length in lengths])
    values = np.random.default_rng(0).normal(size=len(steps))
    return pl.DataFrame({"unique_id": keys, "ds": steps, "y": values})

torch.set_num_threads(1)
model = Forecaster(4, hidden_size=4, max_steps=2, window=16, season=None)
model.fit(table([300, 3, 300]), short_series="keep").predict(table([300]))
lengths = [60_000] + [30] * 3000
frame = table(lengths)
before = megabytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
model.fit(frame, short_series="keep").predict(frame)
print(megabytes("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux's /proc")
def test_thousands_of_short_series_beside_a_long_one_are_not_padded() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    # 3,001 series of 60,000 steps of four bytes would take 690 MiB.
    assert float(found.stdout) < 120
