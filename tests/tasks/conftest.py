"""Small tables and small models that fit in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from gatestack.tasks.forecast import Forecaster

Make = Callable[..., Forecaster]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small run fastest on one thread, and the machine may be busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def validated() -> None:
    """Fits of this test choose their weights by validation, as ever."""


@pytest.fixture(autouse=True)
def last_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the last weights of a fit, unless the test is `validated`.

    A fit of four steps is seldom better than its start, the linear autoregression, to which validation would
    go back: every option would then give the same forecast.
    """
    if "validated" not in request.fixturenames:
        monkeypatch.setattr("gatestack.tasks.forecast.fitting._validation", lambda *_: None)


@pytest.fixture
def make() -> Make:
    """Make a forecaster that fits in a moment; every setting can be changed."""

    def small(horizon: int = 3, **changes: Any) -> Forecaster:
        settings: dict[str, Any] = {
            "layers": 2,
            "hidden_size": 5,
            "window": 10,
            "quantiles": (0.1, 0.5, 0.9),
            "max_steps": 4,
            "season": 5,
        }
        return Forecaster(horizon, **settings | changes)

    return small
