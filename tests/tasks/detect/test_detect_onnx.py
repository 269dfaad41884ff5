"""A detector in ONNX Runtime says, step by step, what its stream says here."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx.session import open_graph
from gatestack.convert.verify import verify
from gatestack.errors import ArgumentError, NotFittedError
from gatestack.tasks.detect import AnomalyDetector
from gatestack.tasks.detect.onnx.graph import METADATA_KEY, emit_detector

pytest.importorskip("onnxruntime")

STEPS = 160
HOUR = datetime.timedelta(hours=1)
BEGIN = datetime.datetime(2024, 1, 1)

# The layers run in float32 there and in float64 here; scores are a hundred thousandth off after many steps.
CLOSE = 1e-4


def values(steps: int, seed: int, *, gaps: float = 0.0) -> np.ndarray:
    """Two channels of different size with waves, (steps, 2)."""
    random = np.random.default_rng(seed)
    t = np.arange(steps)[:, None]
    found = np.array([3.0, 400.0]) + np.array([1.0, 20.0]) * np.sin(t / np.array([4.0, 7.0]))
    found += np.array([0.1, 2.0]) * random.normal(size=(steps, 2))
    found[random.random(found.shape) < gaps] = np.nan
    return found


def frame(series: tuple[str, ...] = (), *, gaps: float = 0.0, hourly: bool = True) -> pl.DataFrame:
    parts = []
    for number, key in enumerate(series or ("",)):
        known = values(STEPS, number, gaps=gaps)
        columns: dict[str, Any] = {"unique_id": [key] * STEPS} if series else {}
        columns["ds"] = [BEGIN + step * HOUR for step in range(STEPS)] if hourly else range(STEPS)
        columns |= {"a": known[:, 0], "b": known[:, 1] * (1 + number)}
        parts.append(pl.DataFrame(columns).fill_nan(None))
    return pl.concat(parts)


def small(**changes: Any) -> AnomalyDetector:
    settings: dict[str, Any] = {
        "layers": 2,
        "hidden_size": 6,
        "window": 12,
        "max_steps": 15,
    }
    return AnomalyDetector(**settings | changes)


class Server:
    """What a server needs: the graph, and what the file says of itself."""

    def __init__(self, detector: AnomalyDetector) -> None:
        graph = GraphBuilder()
        metadata = emit_detector(detector.fitted_, graph)
        self.about = json.loads(metadata[METADATA_KEY])
        self.run = open_graph(graph.model(metadata=metadata).SerializeToString(), where="graph")
        self.state: dict[str, np.ndarray] = {}

    def feed(self, rows: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
        fresh = not self.state
        if fresh:
            self.state = {
                part["input"]: np.zeros(
                    [len(rows) if size == "batch" else size for size in part["shape"]], part["dtype"]
                )
                for part in self.about["state"]
            }
        found = self.run({"values": rows, "fresh": np.full(len(rows), fresh)} | more | self.state)
        self.state = {part["input"]: found[part["output"]] for part in self.about["state"]}
        return found


def microseconds(step: int) -> int:
    """The time of a step after the fit, as the graph takes it."""
    since = BEGIN + (STEPS + step) * HOUR - datetime.datetime(1970, 1, 1)
    return int(since / datetime.timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("series", "gaps", "hourly", "method"),
    [
        ((), 0.0, False, "forecast"),
        ((), 0.1, True, "forecast"),
        (("x", "y", "z"), 0.1, True, "forecast"),
        ((), 0.0, False, "reconstruction"),
        (("x", "y", "z"), 0.05, True, "reconstruction"),
    ],
)
def test_a_stream_in_onnx_is_the_stream_here(
    series: tuple[str, ...], gaps: float, hourly: bool, method: str
) -> None:
    rate = {"false_alarms_per_day": 2.0} if hourly else {}
    detector = small(method=method, **rate).fit(frame(series, gaps=gaps, hourly=hourly))
    server = Server(detector)
    assert bool(server.about["calendar"]) == (hourly and method == "forecast")
    streams = [detector.stream(key) for key in series] or [detector.stream()]
    keys = series or ("",)
    fed = np.stack([values(60, 10 + number, gaps=0.15) for number in range(len(keys))])
    fed[:, :, 1] *= 1 + np.arange(len(keys))[:, None]
    fed[0, 20:24] += 30  # an event of one series, and a stretch of which nothing is known
    fed[-1, 30:33] = np.nan
    alarms = 0
    for step in range(60):
        more: dict[str, np.ndarray] = {"series": np.arange(len(keys))} if series else {}
        if server.about["calendar"]:
            more["times"] = np.full(len(keys), microseconds(step))
        found = server.feed(fed[:, step], **more)
        for row, stream in enumerate(streams):
            told = stream.step(dict(zip("ab", fed[row, step], strict=True)))
            score = np.nan if told.score is None else told.score
            np.testing.assert_allclose(found["score"][row], score, atol=CLOSE, rtol=CLOSE)
            assert (found["alarm"][row], found["anomalous"][row]) == (told.alarm, told.anomalous)
            expected = [told.expected[name] for name in "ab"]
            wanted = np.array([np.nan if one is None else one for one in expected])
            np.testing.assert_allclose(found["expected"][row], wanted, rtol=CLOSE)
            if told.alarm:
                alarms += 1
                assert "ab"[found["channel"][row]] == told.channel
    assert alarms > 0


def test_a_fresh_row_goes_on_from_the_end_of_the_fit_beside_rows_that_do_not() -> None:
    detector = small().fit(frame(hourly=False))
    server = Server(detector)
    first = server.feed(values(1, 3))
    together = {
        part["input"]: np.repeat(server.state[part["input"]], 2, axis=part["shape"].index("batch"))
        for part in server.about["state"]
    }
    row = values(1, 4)
    found = server.run({"values": np.repeat(row, 2, axis=0), "fresh": np.array([True, False])} | together)
    stream = detector.stream()
    fresh = stream.step(dict(zip("ab", row[0], strict=True)))
    stream = detector.stream()
    stream.step(dict(zip("ab", values(1, 3)[0], strict=True)))
    later = stream.step(dict(zip("ab", row[0], strict=True)))
    np.testing.assert_allclose(found["score"], [fresh.score, later.score], atol=CLOSE)
    assert abs(found["expected"][0] - found["expected"][1]).max() > 1e-3
    assert first["score"].shape == (1,)


def test_the_export_is_proved_step_by_step(tmp_path: Path) -> None:
    detector = small().fit(frame(("x", "y"), gaps=0.1))
    detector.save(tmp_path / "model")
    exported = export_onnx(AnomalyDetector.load(tmp_path / "model"), tmp_path / "m.onnx")
    assert {"score", "alarm", "anomalous", "channel", "expected", "h_out_l1"} <= set(exported.differences)
    found = verify(exported.path)
    assert found.passed
    assert found.vectors == 10
    graph = GraphBuilder()
    detector.fitted_.usual.centre[:] += 0.5
    metadata = emit_detector(detector.fitted_, graph)
    exported.path.write_bytes(graph.model(metadata=metadata).SerializeToString())
    assert not verify(exported.path, allow_changed=True).passed


def test_a_dynamic_threshold_is_refused_with_the_reason(tmp_path: Path) -> None:
    detector = small(layers=1, max_steps=2, threshold="dynamic").fit(frame(hourly=False))
    with pytest.raises(ArgumentError, match="threshold='calibrated'"):
        export_onnx(detector, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_detector_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        export_onnx(AnomalyDetector(), tmp_path / "m.onnx")
