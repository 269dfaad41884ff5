"""The benchmark of convolutional LSTMs: a wrong answer is not timed, libraries agree, the page says all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import conv_lstm
import numpy as np
import pytest
from kernel_table import workers as module
from kernel_table.workers import Workers

TINY = conv_lstm.Case(2, 3, 6, 1, 2, 3)


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    for who in (conv_lstm.OURS, *conv_lstm.OTHERS):
        monkeypatch.setitem(module.COMMANDS, who, ("gatestack", "conv_lstm_worker.py", (who,)))
    every = Workers(tmp_path, tmp_path)
    yield every
    every.close()


def table_of(found: dict[str, object], *, threads: int = 1) -> dict[str, object]:
    case = {"name": "a case", "mode": "train", "threads": threads, "busy_share": 0.25, "found": found}
    return {
        "machine": dict.fromkeys(("processor", "cores", "memory_gib", "system", "python", "date"), "?"),
        "versions": {"keras": "3"},
        "rounds": 5,
        "block_s": 0.1,
        "shared": "other programs used the machine",
        "cases": [case],
    }


def times(*seconds: float, clock: float = 1.0) -> dict[str, object]:
    return {"error": 0.0, "processor_s": list(seconds), "clock_s": [clock] * len(seconds)}


FOUND = {
    conv_lstm.LOOP: times(0.8, 0.8, 0.8),
    conv_lstm.OURS: times(1.0, 1.0, 1.0, clock=2.0),
    "keras-torch": times(2.0, 3.0, 4.0),
    "keras-jax": times(20.0),  # one round
    "keras-tensorflow": {"missing": "no such library"},
}


def test_the_page_tells_what_was_measured_and_what_was_lost() -> None:
    page = conv_lstm.page(table_of(FOUND))
    assert "| a case | train | 1000 [1000–1000] | **0.80 [0.80–0.80]** | 3.00 [2.50–3.50] |" in page
    assert "| 20.00 [20.00–20.00] | — |" in page
    assert "- torch loop: 0.80 to 0.80, median 0.80; 1 of 1 lost" in page
    assert "\n\n## Missing\n\n- a case, train, Keras, TensorFlow: no such library\n" in page
    left_out = f"- {conv_lstm.CASES[0].name}, infer, 1 thread: not measured in this run"
    assert left_out in page
    assert "Between 25% and 25%" in page


def test_two_threads_are_timed_by_the_clock() -> None:
    page = conv_lstm.page(table_of(FOUND, threads=2))
    assert "## 2 threads" in page
    assert "| a case | train | 2000 [2000–2000] | **0.50 [0.50–0.50]** |" in page


def test_names_tell_cases_of_one_thread_apart() -> None:
    names = [(case.name, case.threads) for case in conv_lstm.CASES]
    assert len(set(names)) == len(names)


def test_a_wrong_answer_is_seen() -> None:
    truth = {"y": np.array([1.0, -4.0])}
    assert conv_lstm.largest_error({"y": np.array([1.0, -3.0])}, truth) == 0.25
    with pytest.raises(conv_lstm.WorkerError, match="expected"):
        conv_lstm.largest_error({}, truth)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("ragged", [False, True])
def test_libraries_agree_and_are_timed(
    ragged: bool, mode: str, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv_lstm, "OTHERS", (conv_lstm.LOOP, "keras-torch"))
    case = conv_lstm.Case(**{**vars(TINY), "ragged": ragged})
    found = conv_lstm.measure(case, mode, workers, tmp_path, 3, 0.0)["found"]
    for who in (conv_lstm.OURS, *conv_lstm.OTHERS):
        assert found[who]["error"] < 1e-5
        assert len(found[who]["clock_s"]) == len(found[who]["processor_s"]) == 3
