"""What the tables say in words: numbers with what they stand beside, and nothing where nothing was seen."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from inspected import C, Reader, subject_of

from gatestack.inspect import Inspection, Outcome, Subject, inspect_subject
from gatestack.inspect.sentences import make_sentences
from gatestack.inspect.time_scales import layer_trend
from gatestack.nn import LSTM, RNN, Stack


@pytest.fixture(scope="module")
def found() -> Inspection:
    return inspect_subject(subject_of(Reader(LSTM(4), LSTM(4)), rows=12, steps=30))


def said(found: Inspection, words: str, **tables: pl.DataFrame) -> str:
    subject = subject_of(Reader(LSTM(4), LSTM(4)), rows=12, steps=30)
    (one,) = [line for line in make_sentences(subject, {**found.tables, **tables}) if words in line]
    return one


def scales(*layers: list[float]) -> pl.DataFrame:
    """Units of each layer by their time-scale by a change; infinity lasts."""
    rows = [(number, steps) for number, units in enumerate(layers, start=1) for steps in units]
    return pl.DataFrame(
        {
            "layer": [row[0] for row in rows],
            "gate_steps": [None] * len(rows),
            "change_steps": [None if np.isinf(row[1]) else row[1] for row in rows],
            "change_lasts": [bool(np.isinf(row[1])) for row in rows],
        },
        schema_overrides={"gate_steps": pl.Float64, "change_steps": pl.Float64},
    )


SLOWER = scales([1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.0, 13.0, 14.0, 15.0])
EQUAL = scales([1.0, 2.0, 3.0, 4.0, 5.0], [1.5, 2.5, 3.0, 3.5, 4.5])


def test_what_training_did_to_time_scales_stands_beside_how_they_began(found: Inspection) -> None:
    same = said(found, "Do higher", time_scales=SLOWER, initialised_time_scales=SLOWER)
    assert "longer in higher layers" in same
    assert same.endswith("as initialised 3 in layer 1 and 13 in layer 2, so that it is so before training.")
    learned = said(found, "Do higher", time_scales=SLOWER, initialised_time_scales=EQUAL)
    assert learned.endswith("3 in layer 1 and 13 in layer 2; as initialised 3 in layer 1 and 3 in layer 2.")


def test_the_initialised_time_scales_are_those_of_layers_drawn_anew(found: Inspection) -> None:
    reader = Reader(LSTM(4), LSTM(4))
    torch.manual_seed(0)
    for layer in reader.stack.layers:
        layer.reset_parameters()
    wanted = inspect_subject(subject_of(reader, rows=12, steps=30)).tables["time_scales"]
    assert found.tables["initialised_time_scales"].equals(wanted)
    assert not found.tables["time_scales"].equals(wanted)


def test_what_outlasts_the_sequences_is_not_compared(found: Inspection) -> None:
    lasting = [float("inf")] * 3
    told = said(found, "Do higher", time_scales=scales([1.0, *lasting], [2.0, *lasting]))
    assert "it cannot be told: in every layer half of the units outlast" in told
    alone = said(found, "There is one layer", time_scales=scales([1.0, *lasting]))
    assert (
        alone == "There is one layer; in half of its units a change of the input lasts longer than was seen."
    )
    assert layer_trend([1, 1, 2, 2], [1.0, 2.0, 3.0, float("inf")]).medians[2] == float("inf")


def flow(trained: float, initialised: float, plain: float) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "model": model,
                "layer": 1,
                "direction": "forward",
                "lag": lag,
                "relative": share,
                "sequences": 5,
            }
            for model, end in (("trained", trained), ("initialised", initialised), ("plain RNN", plain))
            for lag, share in ((0, 1.0), (1, end))
        ]
    )


def test_gradients_are_told_as_ratios_and_growth_is_said(found: Inspection) -> None:
    falls = said(found, "gradient", gradient_flow=flow(0.5, 0.2, 0.01))
    assert falls == (
        "Beside the gradient of layer 1's last state, that of its state 1 step before is 0.5 times that in "
        "the model as trained, 0.2 times that as initialised and 0.01 times that in a plain RNN of the same "
        "size."
    )
    assert "above 1 it grows" in said(found, "gradient", gradient_flow=flow(1.6, 0.2, 0.01))


def test_what_passes_no_gradient_and_what_reads_nothing_is_said(found: Inspection) -> None:
    nothing = flow(0.5, 0.2, 0.01).with_columns(relative=pl.lit(None, pl.Float64))
    assert said(found, "gradient", gradient_flow=nothing) == (
        "No gradient of what is explained reaches layer 1's last state."
    )
    probes = pl.DataFrame({"layer": [None, 1], "score": [0.5, -0.2], "shuffled": [0.0, 0.1], "metric": "R²"})
    told = said(found, "linear probe", probes=probes)
    assert told.endswith(
        "0.50 from the inputs (shuffled 0.00) and -0.20 from layer 1 (shuffled 0.10), which is nothing."
    )


def occlusion(change: float, error: float, of: str = "loss", last: int = 3) -> pl.DataFrame:
    row = {"of": of, "change": change, "standard_error": error}
    return pl.DataFrame(
        [
            {"feature": None, "first": None, "last": None, **row},
            {"feature": "rain", "first": None, "last": None, **row},
            {"feature": "wind", "first": None, "last": None, **row, "change": change - 1},
            {"feature": None, "first": last, "last": last, **row},
        ],
        schema_overrides={"feature": pl.String, "first": pl.Int64, "last": pl.Int64},
    )


def test_inputs_are_worth_something_beyond_their_uncertainty_alone(found: Inspection) -> None:
    worth = said(found, "Of the inputs", occlusion=occlusion(0.5, 0.1))
    assert worth == (
        "Of the inputs, rain is worth most: without it the loss changes by +0.5; of the steps, the one 3 "
        "before the end."
    )
    assert "the answer changes by 0.5;" in said(
        found, "Of the inputs", occlusion=occlusion(0.5, 0.1, "answer")
    )
    alone = occlusion(0.5, 0.1).filter(pl.col("feature").is_null() | (pl.col("feature") == "rain"))
    assert said(found, "the only input", occlusion=alone).startswith(
        "Without rain, the only input, the loss changes by +0.5;"
    )
    for change, error in ((0.15, 0.1), (-0.5, 0.1)):
        nothing = said(found, "any one of the inputs", occlusion=occlusion(change, error))
        assert nothing == "Without any one of the inputs the loss changes by no more than its uncertainty."


def test_the_table_of_occlusion_says_what_changed_and_how_surely() -> None:
    subject = subject_of(Reader(LSTM(4)), rows=9)
    table = inspect_subject(subject).tables["occlusion"]
    assert table["of"].unique().to_list() == ["loss"]
    reader = subject.network
    mean = subject.inputs.flatten(0, 1).mean(dim=0)
    with torch.no_grad():
        whole = subject.run(reader, subject.inputs).loss
        changed = subject.inputs.clone()
        changed[..., 1] = mean[1]
        away = (subject.run(reader, changed).loss - whole).numpy()
    row = table.filter(pl.col("feature") == "b", pl.col("first").is_null()).row(0, named=True)
    assert row["change"] == pytest.approx(away.mean())
    assert row["standard_error"] == pytest.approx(away.std(ddof=1) / 3)
    assert inspect_subject(subject_of(Reader(LSTM(4)), truth=False)).tables["occlusion"]["of"][0] == "answer"


def test_a_layer_of_one_unit_has_one_unit() -> None:
    x = torch.randn(5, 6, C, dtype=torch.float64)
    subject = Subject(
        title="one",
        network=Stack(RNN(1), input_size=C),
        inputs=x,
        run=lambda network, x: Outcome(network(x)[0][:, -1, 0]),
        features=("a", "b", "c"),
        sequences=tuple("12345"),
    )
    assert inspect_subject(subject).sentences[0] == "Layer 1 is an RNN of 1 unit."
