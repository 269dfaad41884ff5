"""Both time-scales are right where the answer is known, and independent of each other where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inspected import C, Reader, close, reference_cell, subject_of

from gatestack.inspect import inspect_subject
from gatestack.inspect.time_scales import changed_inputs, layer_trend
from gatestack.nn import GRU, LSTM, RNN
from gatestack.reference import layer_forward


def still(layer: LSTM | GRU, gate: int, biases: list[float]) -> Reader:
    """A reader whose units keep σ(bias) at every step, whatever they read, and do not hear each other."""
    reader = Reader(layer)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.bias_hh_l0.zero_()
        block = slice(gate * layer.hidden_size, (gate + 1) * layer.hidden_size)
        layer.weight_ih_l0[block] = 0.0
        layer.bias_ih_l0[block] = torch.tensor(biases, dtype=torch.float64)
    return reader


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_a_constant_gate_gives_its_time_scale_both_ways(cell: type) -> None:
    biases = [-1.0, 0.0, 1.0, 2.0]
    found = inspect_subject(subject_of(still(cell(4), 1, biases), steps=80)).tables["time_scales"]
    wanted = -1 / np.log(1 / (1 + np.exp(-np.array(biases))))
    close(found["gate_steps"], wanted)
    close(found["change_steps"], wanted, 1e-4)  # of differences of a change of 1e-5
    assert not found["change_lasts"].any()


def test_what_does_not_fade_within_the_sequences_is_said_to_last() -> None:
    found = inspect_subject(subject_of(still(LSTM(2), 1, [0.0, 12.0]), steps=40)).tables["time_scales"]
    assert found["change_lasts"].to_list() == [False, True]
    assert found["change_steps"].to_list()[1] is None
    assert found["gate_steps"][1] == pytest.approx(np.exp(12), rel=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_fading_is_that_of_the_reference_moved_in_the_same_way(reverse: bool) -> None:
    reader = Reader(LSTM(4, bidirectional=True))
    subject = subject_of(reader, steps=30)
    found = (
        inspect_subject(subject).tables["time_scales"].filter(direction="reverse" if reverse else "forward")
    )
    layer = reader.stack.layers[0]
    cell = reference_cell(layer.spec, layer.weights()[int(reverse)])
    moved, at = changed_inputs(subject, subject.inputs)
    step = int(at[0])
    assert step == 7
    change = (
        layer_forward(cell, moved.numpy(), reverse=reverse).cells
        - layer_forward(cell, subject.inputs.numpy(), reverse=reverse).cells
    )
    lags = change[:, step::-1] if reverse else change[:, step:]
    size = np.sqrt((lags**2).mean(axis=0))
    for unit in range(4):
        peak = size[:, unit].argmax()
        logs = np.log(size[peak:, unit] / size[peak, unit])
        below = np.flatnonzero(logs <= -1)
        if len(below):
            k = below[0]
            wanted = k - 1 + (logs[k - 1] + 1) / (logs[k - 1] - logs[k])
            assert found["change_steps"][unit] == pytest.approx(wanted, rel=1e-4)
        else:
            assert found["change_lasts"][unit]


def test_a_plain_layer_has_a_time_scale_by_change_alone() -> None:
    found = inspect_subject(subject_of(Reader(RNN(3)), steps=40)).tables["time_scales"]
    assert found["gate_steps"].null_count() == 3
    assert found["change_steps"].null_count() == int(found["change_lasts"].sum())


def test_higher_layers_with_longer_memory_are_found_and_equal_ones_are_not() -> None:
    random = np.random.default_rng(0)
    layers = np.repeat([1, 2, 3], 40)
    growing = layer_trend(layers, layers * random.gamma(4, 1, 120))
    assert growing.rho > 0.4
    assert growing.p < 1e-6
    assert growing.medians[1] < growing.medians[2] < growing.medians[3]
    equal = [layer_trend(layers, random.gamma(4, 1, 120)).p for _ in range(100)]
    assert sum(p < 0.05 for p in equal) <= 12  # 5 are expected by chance; 13 or more come in 1 of 700
    assert layer_trend([1] * 9, random.gamma(4, 1, 9)) is None


def test_the_question_about_higher_layers_is_answered_in_a_sentence() -> None:
    found = inspect_subject(subject_of(Reader(LSTM(4), LSTM(4), features=C), steps=40))
    (said,) = [line for line in found.sentences if line.startswith("Do higher layers")]
    assert "Spearman" in said
    assert "p " in said
