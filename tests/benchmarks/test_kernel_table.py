"""The kernel table judges answers, aims and losses as it says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from gate_orders import from_keras_matrix, keras_weights, onnx_weights
from kernel_table.aims import HANDLE, PLAIN, Verdict, verdicts
from kernel_table.cases import MIDDLE, SHAPES, SMALL, Case, Shape, flop, make_cases
from kernel_table.report import kernel_page, losses
from kernel_table.statistics import peak_share, ratio
from kernel_table.truth import largest_error, make_inputs, true_answers

CaseData = dict[str, Any]


def measured(section: str, shape: Shape, seconds: dict[str, list[float]], **other: Any) -> CaseData:
    case = {
        "name": f"{section} {shape} {other.get('threads', 2)}",
        "section": section,
        "mode": "train",
        "shape": asdict(shape),
        "dtype": "float32",
        "threads": 2,
        "real_steps": shape.batch * shape.steps,
        "flop": 10**9,
        "peak_gflops": [200.0, 200.0, 200.0],
        "contenders": {label: {"seconds": values, "error": 1e-6} for label, values in seconds.items()},
    }
    return case | other


def found(cases: list[CaseData], words: str) -> list[Verdict]:
    return [verdict for verdict in verdicts(cases) if words in verdict.aim]


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine was ten times slower in the second round, for both.
    case = measured("LSTM training", SMALL, {"Gatestack": [1.0, 10.0, 1.0], "torch": [2.0, 20.0, 3.0]})
    times = ratio(case, "torch", "Gatestack")
    assert times is not None
    assert times.middle == 2
    assert not times.level


def test_a_case_that_was_not_measured_has_no_ratio() -> None:
    case = measured("LSTM training", SMALL, {"Gatestack": [1.0]})
    case["contenders"]["torch"] = {"missing": "it ended"}
    assert ratio(case, "torch", "Gatestack") is None
    assert found([case], "H ≤ 64")[0] == Verdict(
        "LSTM training, H ≤ 64: ≥ 3× torch", str(SMALL), "it ended", None
    )


def test_the_share_of_the_peak_counts_products_alone() -> None:
    case = measured("LSTM training", MIDDLE, {"Gatestack": [0.01, 0.01, 0.02]})
    assert peak_share(case, "Gatestack") == 0.5  # 1 GFLOP in 10 ms of 200 GFLOP/s
    assert peak_share(case | {"peak_gflops": []}, "Gatestack") is None


@pytest.mark.parametrize(("times", "met"), [(3.0, True), (2.99, False)])
def test_an_aim_is_met_or_missed_at_its_threshold(times: float, met: bool) -> None:
    case = measured("LSTM training", SMALL, {"Gatestack": [1.0] * 3, "torch": [times] * 3})
    assert found([case], "H ≤ 64")[0].met is met


def test_aims_look_at_float32_and_their_own_threads_only() -> None:
    seconds = {"Gatestack": [1.0], "torch": [9.0]}
    others = [
        measured("LSTM training", SMALL, seconds, dtype="bfloat16"),
        measured("LSTM training", SMALL, seconds, threads=1),
    ]
    assert [verdict.met for verdict in found(others, "H ≤ 64")] == [None]


@pytest.mark.parametrize(
    ("theirs", "times", "met"), [(0.006, 1.1, True), (0.02, 1.1, False), (0.02, 1.3, True)]
)
def test_wide_layers_must_win_where_torch_leaves_room(theirs: float, times: float, met: bool) -> None:
    wide = next(shape for shape in SHAPES if shape.hidden_size >= 256)
    case = measured("LSTM training", wide, {"Gatestack": [theirs / times], "torch": [theirs]})
    assert found([case], "H ≥ 256")[0].met is met


def test_time_of_a_ragged_batch_is_held_against_its_real_steps() -> None:
    full = measured("LSTM training", SMALL, {"Gatestack": [1.0], "torch": [1.0]})
    ragged = measured("ragged LSTM training", SMALL, {"Gatestack": [0.8], "torch": [9.0]}, real_steps=2400)
    (verdict,) = found([full, ragged], "proportional")
    assert verdict.met
    assert verdict.measured == "75% of the steps in 80% of the time"
    ragged["contenders"]["Gatestack"]["seconds"] = [0.9]
    assert found([full, ragged], "proportional")[0].met is False


def test_regularised_layers_are_held_against_our_own_plain_time() -> None:
    seconds = {PLAIN: [1.0], "layer norm": [1.2], "zoneout": [1.4]}
    case = measured("regularised LSTM training", SMALL, seconds)
    assert [verdict.met for verdict in found([case], "our own plain time")] == [True, False]


def test_one_step_and_streams_are_absolute() -> None:
    one = measured("one step", Shape(1, 1, 8, 64, 2), {HANDLE: [3.9e-6]}, threads=1)
    many = measured("streams", Shape(1024, 1, 8, 64, 2), {HANDLE: [2e-3]}, threads=1)
    assert found([one], "4 µs")[0].met is True
    assert found([many], "1 M steps/s")[0].met is False


def test_memory_is_counted_per_unit_and_step() -> None:
    units = SMALL.batch * SMALL.steps * SMALL.hidden_size * SMALL.layers
    case = measured("memory", SMALL, {})
    case["contenders"] = {"Gatestack": {"kept_bytes": [20 * units]}, "torch": {"kept_bytes": [40 * units]}}
    (verdict,) = found([case], "24·T·L·B·H")
    assert verdict.met
    assert verdict.measured == "20.0·T·L·B·H (torch 40.0·T·L·B·H), weights included"
    # The packed weights do not count.
    weight_bytes = 4 * (case["flop"] // (6 * case["real_steps"]))
    for more, met in ((0, True), (1, False)):
        case["contenders"]["Gatestack"]["kept_bytes"] = [24 * units + weight_bytes + more]
        assert found([case], "24·T·L·B·H")[0].met is met


def test_the_page_tells_losses_first_the_worst() -> None:
    seconds = {
        "Gatestack": [1.0, 1.0],
        "torch": [0.9, 0.9],
        "ONNX Runtime": [0.5, 0.5],
        "OpenVINO": [2.0, 2.0],
    }
    case = measured("LSTM inference", SMALL, seconds)
    found = [(who, times.middle) for _, who, times in losses([case])]
    assert found == [("ONNX Runtime", 0.5), ("torch", 0.9)]
    case["contenders"]["Keras on JAX"] = {"missing": "wrong answer: error 1e+00", "error": 1.0}
    machine = {"processor": "a processor", "cores": 2, "memory_gib": 8, "system": "Linux"}
    table = {
        "cases": [case],
        "machine": machine | {"python": "3.11", "date": "2026"},
        "kernels": {"isa": "avx2", "isas": ["avx2", "baseline"]},
        "versions": {"torch": {"torch": "2"}},
        "longest_rest_s": {"torch, 2 threads": 0.4},
        "quick": True,
    }
    page = kernel_page(table)
    assert "1 of 1 cases." in page
    row = next(line for line in page.splitlines() if line.startswith(f"| {SMALL} | training | float32 |"))
    assert "900 [900–900], 1%, **0.90×**" in row
    assert row.endswith("| wrong answer |")
    assert "torch, 2 threads went on using a processor for up to 0.4 s" in page
    assert "Keras on JAX, LSTM inference, float32: wrong answer" in page


def test_every_case_has_a_name_of_its_own_and_the_quick_table_is_a_part() -> None:
    full, quick = make_cases(quick=False), make_cases(quick=True)
    assert len({case.name for case in full}) == len(full)
    assert {case.name for case in quick} <= {case.name for case in full}


def test_operations_are_those_of_the_products() -> None:
    shape = Shape(2, 3, 5, 7, 2)
    case = Case("", shape, "infer", ())
    assert flop(case, 6) == 2 * 6 * (28 * (5 + 7) + 28 * (7 + 7))
    both = Case("", shape, "train", (), cell="gru", directions=2)
    assert flop(both, 6) == 3 * 2 * 6 * 2 * (21 * (5 + 7) + 21 * (14 + 7))


@pytest.mark.parametrize("fault", ["one wrong number", "not a number", "another shape", "no output"])
def test_a_wrong_answer_is_seen(fault: str) -> None:
    case = Case("", Shape(3, 4, 2, 5, 2), "train", (), directions=2, ragged=True)
    inputs = make_inputs(case)
    truth = true_answers(case)
    assert truth["y"].shape == (3, 4, 10)
    assert np.all(truth["y"][inputs["lengths"] < 4, 3] == 0)
    answers = {name: array.astype(np.float32) for name, array in truth.items()}
    assert largest_error(answers, truth) < 1e-6
    if fault == "one wrong number":
        answers["grad_weight_hh_l1_reverse"][0, 0] += np.abs(answers["grad_weight_hh_l1_reverse"]).max()
        assert largest_error(answers, truth) == pytest.approx(1, abs=1e-5)
    elif fault == "not a number":
        answers["y"][0, 0, 0] = np.nan
        assert not largest_error(answers, truth) <= 1
    else:
        if fault == "another shape":
            answers["y"] = answers["y"][:1]
        else:
            del answers["y"]
        with pytest.raises(ValueError, match="y"):
            largest_error(answers, truth)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gate_orders_are_those_of_the_libraries(cell: str) -> None:
    gates = "ifgo" if cell == "lstm" else "rzn"
    rows = np.repeat([ord(gate) for gate in gates], 2).astype(float)  # H = 2
    weights = {f"{name}_l0": rows[:, None] + [0, 0.25, 0.5] for name in ("weight_ih", "weight_hh")}
    weights |= {f"{name}_l0": rows for name in ("bias_ih", "bias_hh")}

    kernel, _, bias = keras_weights(weights, cell, 0, 1)
    assert kernel.shape == (3, len(rows))
    keras_order = "iiffggoo" if cell == "lstm" else "zzrrnn"
    assert "".join(chr(int(x)) for x in kernel[0]) == keras_order
    assert bias.shape == ((8,) if cell == "lstm" else (2, 6))
    np.testing.assert_array_equal(from_keras_matrix(kernel, cell), weights["weight_ih_l0"])

    onnx = onnx_weights(weights, cell, 0, 1)
    assert onnx["W"].shape == (1, len(rows), 3)
    onnx_order = "iiooffgg" if cell == "lstm" else "zzrrnn"
    assert "".join(chr(int(x)) for x in onnx["R"][0, :, 0]) == onnx_order
    assert onnx["B"].shape == (1, 2 * len(rows))
