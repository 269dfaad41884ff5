"""The picture of a forecast shows the numbers of the forecast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from gatestack.errors import ArgumentError
from gatestack.tasks.forecast import Forecaster

from .tables import ahead_of, many_series, one_series

Make = Callable[..., Forecaster]


def test_history_and_median_are_drawn_as_they_are(make: Make) -> None:
    frame = one_series()
    model = make().fit(frame)
    figure = model.plot(steps=6)
    assert isinstance(figure, Figure)
    history, median = figure.axes[0].lines
    np.testing.assert_allclose(np.asarray(history.get_ydata()), frame["y"].tail(6), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(median.get_ydata()), model.predict()["gatestack"])
    assert len(figure.axes[0].collections) == 1  # one band
    assert figure.axes[0].get_ylabel() == "y"


def test_the_series_that_is_named_is_drawn(make: Make) -> None:
    frame = many_series()
    model = make().fit(frame, future=["open"])
    ahead = ahead_of(frame, 3)
    axes = model.plot(series="c", future=ahead).axes[0]
    wanted = model.predict(future=ahead).tail(3)["gatestack"]
    np.testing.assert_allclose(np.asarray(axes.lines[1].get_ydata()), wanted)
    assert axes.get_title(loc="left") == "c: next 3 steps"
    with pytest.raises(ArgumentError, match="there is no series 'd'"):
        model.plot(series="d", future=ahead)


def test_steps_must_be_a_whole_number(make: Make) -> None:
    model = make().fit(one_series())
    for bad in (0, -3, 2.5):
        with pytest.raises(ArgumentError, match="'steps' parameter of plot"):
            model.plot(steps=bad)  # type: ignore[arg-type]
