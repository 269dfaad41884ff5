"""Training batches hold the right truth, from the training part alone; the loss is the pinball loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast import Forecaster
from gatestack.tasks.forecast.distributions.quantiles import Quantiles
from gatestack.tasks.forecast.sampler import ChunkSampler, TrainingBatch, batch_loss, typical_weights

from .tables import many_series

Make = Callable[..., Forecaster]


def sampler_of(
    make: Make, frame: pl.DataFrame, *, ends: list[int], last_only: bool = False
) -> tuple[ChunkSampler, np.ndarray, np.ndarray]:
    fitted = make().fit(frame).fitted_
    panel = fitted.panel(SeriesTable.from_frame(frame))
    sampler = ChunkSampler(
        panel,
        np.array(ends),
        fitted.network.shape,
        weights=torch.ones(len(ends)),
        batch_size=200,
        last_only=last_only,
        seed=1,
    )
    return sampler, panel.target.numpy(), panel.offsets


@pytest.mark.parametrize("last_only", [False, True])
def test_truth_is_what_follows_each_origin_inside_the_training_part(make: Make, last_only: bool) -> None:
    frame = many_series({"a": 40, "b": 60}).with_columns(y=pl.int_range(pl.len()).cast(pl.Float64))
    sampler, target, offsets = sampler_of(make, frame, ends=[30, 50], last_only=last_only)
    batch = sampler(0)
    # The target counts rows, so that a value tells its place.
    at = batch.chunk.target[batch.rows, batch.positions + 9].numpy()
    scored = batch.weight.numpy() > 0
    wanted = at[:, None] + np.arange(1, 4)
    assert (batch.truth.numpy()[scored] == wanted[scored]).all()
    ends = np.where(at < offsets[1], 30, offsets[1] + 50)
    assert (scored == (wanted < ends[:, None])).all()
    assert {0, 1} == set((at >= offsets[1]).astype(int))
    assert at.max() < len(target)
    if last_only:
        assert batch.positions.unique().tolist() == [9]
    else:
        assert len(batch.positions.unique()) == 10


def test_a_batch_depends_on_its_number_and_the_seed_alone(make: Make) -> None:
    sampler, _, _ = sampler_of(make, many_series(), ends=[50, 40, 60])
    one, again, other = sampler(7), sampler(7), sampler(8)
    assert torch.equal(one.truth, again.truth)
    assert torch.equal(one.chunk.target, again.chunk.target)
    assert not torch.equal(one.truth, other.truth)


def test_missing_truth_and_origins_before_the_first_value_have_no_weight(make: Make) -> None:
    step = pl.int_range(pl.len())
    frame = pl.DataFrame({"ds": range(60), "y": np.arange(60.0)}).with_columns(
        y=pl.when((step >= 8) & (step % 5 != 0)).then("y")
    )
    sampler, _, _ = sampler_of(make, frame, ends=[60])
    begin, positions = np.array([0]), np.arange(10)[None]
    weight = sampler.batch(np.array([0]), begin, positions).weight.numpy()
    ahead = np.arange(10)[:, None] + np.arange(1, 4)
    real = (ahead >= 8) & (ahead % 5 != 0) & (np.arange(10) >= 8)[:, None]
    assert ((weight > 0) == real).all()


def test_the_loss_is_the_mean_pinball_loss_of_what_is_known(make: Make) -> None:
    random = np.random.default_rng(0)
    levels, truth = (0.1, 0.5, 0.8), random.normal(size=(6, 3)).astype(np.float32)
    quantiles = random.normal(size=(6, 3, 3)).astype(np.float32)
    known = random.random((6, 3)) > 0.3
    sampler, _, _ = sampler_of(make, many_series(), ends=[50, 40, 60])
    batch: TrainingBatch = sampler(0)._replace(
        truth=torch.from_numpy(np.where(known, truth, 1e6).astype(np.float32)),
        weight=torch.from_numpy(2.0 * known.astype(np.float32)),
    )
    found = float(batch_loss(Quantiles(levels), torch.from_numpy(quantiles), batch))
    wanted = np.mean(
        [
            mean_pinball_loss(truth[known], quantiles[..., number][known], alpha=level)
            for number, level in enumerate(levels)
        ]
    )
    assert found == pytest.approx(2 * wanted, rel=1e-5)


def test_each_series_weighs_by_its_own_deviation(make: Make) -> None:
    frame = pl.DataFrame(
        {
            "unique_id": ["a"] * 40 + ["b"] * 40 + ["c"] * 40,
            "ds": [*range(40)] * 3,
            "y": np.concatenate(
                [np.tile([1.0, -1.0], 20), np.tile([4.0, 0.0], 20), np.tile([9e-4, 1e-4], 20)]
            ),
        }
    )
    panel = make().fit(frame).fitted_.panel(SeriesTable.from_frame(frame))
    weights = typical_weights(panel, np.array([40, 40, 40])).tolist()
    assert weights == pytest.approx([1.0, 0.5, 10.0])  # the quietest is held to ten times the median
