"""The networks of the detector: one foretells the next step, one repeats a window from a summary of it.

Both read standardised values of C channels, gaps filled with the last value before them. What is unusual at
a step is the deviation u_t of each channel:

    forecast         u_t = (x_t - m_t) / s_t, with mean m_t and scale s_t foretold from the steps before t
    reconstruction   u_t = mean over the window that ends at t of |x - x'|

where x' is the window as the decoder repeats it, last step first.

Source:
    Malhotra et al. 2016, "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection": the decoder starts
    from the encoder's last state, works in reverse order, reads the true values in training and its own
    afterwards. Departure: errors are averaged over the window that ends at a step, so that a score is known
    at each step at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gatestack.nn.stack import StackState
from gatestack.tasks.detect.options import Architecture
from gatestack.tasks.layers import make_stack

__all__ = [
    "LARGEST_REPEATED",
    "LOG_SCALES",
    "DetectorNetwork",
    "EncoderDecoder",
    "Method",
    "NetworkShape",
    "NetworkState",
    "NextStep",
    "make_network",
]

Method = Literal["forecast", "reconstruction"]
NetworkState = dict[str, Tensor]

# Degrees of freedom of the foretold distribution: heavy tails, so that outliers of the training part pull
# little.
_FREEDOM = 4.0
LOG_SCALES = (-6.0, 3.0)
_WINDOWS_AT_ONCE = 1024
LARGEST_REPEATED = 8.0


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """The sizes of a detector's network.

    Attributes:
        channels: number of value columns, C.
        calendar: number of calendar features, K.
        widths: width of each layer, lowest first.
        window: steps of a training example, and of a window that is repeated.
        flags: a second input per channel says where a value is real.
    """

    channels: int
    calendar: int
    widths: tuple[int, ...]
    window: int
    flags: bool

    def to_dict(self) -> dict[str, Any]:
        """Give the sizes as JSON values."""
        return asdict(self)


class DetectorNetwork(nn.Module, ABC):
    """What fitting and running need of a network; `forward` gives the loss of a batch of windows.

    Args:
        shape: the sizes.
        architecture: what regularises the layers.
    """

    def __init__(self, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__()
        self.shape, self.architecture = shape, architecture
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, values: Tensor, observed: Tensor, calendar: Tensor) -> Tensor:
        """Give the mean loss of windows; arguments as of `losses`."""
        loss, weight = self.losses(values, observed, calendar)
        return (loss * weight).sum() / weight.sum().clamp(min=1)

    @abstractmethod
    def losses(self, values: Tensor, observed: Tensor, calendar: Tensor) -> tuple[Tensor, Tensor]:
        """Score windows: values (N, T, C) filled, observed (N, T, C) of 0 and 1, calendar (N, T, K).

        Returns:
            The loss of each step that is told, and its weight, 0 where nothing was observed, (N, T', C) each.
        """

    @abstractmethod
    def first_state(self) -> NetworkState:
        """Give the state before the first step of a series."""

    @abstractmethod
    def run(
        self, values: Tensor, calendar: Tensor, state: NetworkState
    ) -> tuple[Tensor, Tensor, NetworkState]:
        """Go on by some steps of one series.

        Args:
            values: (T, C), NaN where missing.
            calendar: (T, K).
            state: after the step before.

        Returns:
            What was expected (T, C); the deviations (T, C), NaN where there is none; the new state.
        """


class NextStep(DetectorNetwork):
    """Foretells mean and scale of each channel's next value; starts as "the value stays"."""

    def __init__(self, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__(shape, architecture)
        inputs = shape.channels * (3 if shape.flags else 2) + shape.calendar
        self.stack = make_stack(shape.widths, architecture, input_size=inputs)
        self.head = nn.Linear(shape.widths[-1], 2 * shape.channels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def losses(self, values: Tensor, observed: Tensor, calendar: Tensor) -> tuple[Tensor, Tensor]:
        """Give the negative log-likelihood under Student's t after the first step, less constants."""
        mean, log_scale, _ = self._foretell(values, values[:, :1], observed, calendar, None)
        away = (values[:, 1:] - mean[:, :-1]) * torch.exp(-log_scale[:, :-1])
        loss = log_scale[:, :-1] + (_FREEDOM + 1) / 2 * torch.log1p(away.square() / _FREEDOM)
        return loss, observed[:, 1:]

    def first_state(self) -> NetworkState:
        """Know nothing: no value, nothing foretold."""
        nothing = self.head.weight.new_full((self.shape.channels,), math.nan)
        state = {"last": nothing, "mean": nothing, "log_scale": nothing}
        for number, width in enumerate(self.shape.widths):
            for part in "hc":
                state[f"{part}_{number}"] = self.head.weight.new_zeros(1, 1, width)
        return state

    def run(
        self, values: Tensor, calendar: Tensor, state: NetworkState
    ) -> tuple[Tensor, Tensor, NetworkState]:
        """Foretell each next step; see the base."""
        filled = fill_forward(values, state["last"])
        before = torch.where(state["last"].isnan(), filled[0], state["last"])[None, None]
        layers = tuple((state[f"h_{n}"], state[f"c_{n}"]) for n in range(len(self.shape.widths)))
        observed = (~values.isnan()).to(values.dtype)[None]
        mean, log_scale, after = self._foretell(filled[None], before, observed, calendar[None], layers)
        expected = torch.cat([state["mean"][None], mean[0]])
        scale = torch.exp(torch.cat([state["log_scale"][None], log_scale[0]]))
        new = {"last": filled[-1], "mean": expected[-1], "log_scale": log_scale[0, -1]}
        for number, (h, c) in enumerate(after):
            new |= {f"h_{number}": h, f"c_{number}": c}
        return expected[:-1], (values - expected[:-1]) / scale[:-1], new

    def _foretell(
        self, values: Tensor, before: Tensor, observed: Tensor, calendar: Tensor, state: StackState | None
    ) -> tuple[Tensor, Tensor, StackState]:
        change = torch.diff(values, dim=1, prepend=before)
        # asinh: values far outside of what was learned move the layers no further than they know.
        parts = [torch.asinh(values), torch.asinh(change), calendar]
        if self.shape.flags:
            parts.append(observed)
        hidden, after = self.stack(torch.cat(parts, dim=-1), state)
        step, log_scale = self.head(self.dropout(hidden)).chunk(2, dim=-1)
        return values + step, log_scale.clamp(*LOG_SCALES), after


class EncoderDecoder(DetectorNetwork):
    """Repeats a window, last step first, from the state in which the encoder has read it."""

    def __init__(self, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__(shape, architecture)
        channels = shape.channels
        inputs = channels * (2 if shape.flags else 1)
        self.encoder = make_stack(shape.widths, architecture, input_size=inputs)
        self.decoder = make_stack(shape.widths, architecture, input_size=channels)
        self.head = nn.Linear(shape.widths[-1], channels)

    def losses(self, values: Tensor, observed: Tensor, calendar: Tensor) -> tuple[Tensor, Tensor]:
        """Give the squared error, last step first; the decoder reads the true values, and no calendar."""
        del calendar
        values = torch.asinh(values)
        first, state = self._encode(values, observed)
        backwards = values.flip(1)
        hidden, _ = self.decoder(backwards[:, :-1], state)
        repeated = torch.cat([first, self.head(self.dropout(hidden))], dim=1)
        return (repeated - backwards).square(), observed.flip(1)

    def first_state(self) -> NetworkState:
        """Have read nothing: a window of missing values."""
        return {"recent": self.head.weight.new_full((self.shape.window - 1, self.shape.channels), math.nan)}

    def run(
        self, values: Tensor, calendar: Tensor, state: NetworkState
    ) -> tuple[Tensor, Tensor, NetworkState]:
        """Repeat the window that ends at each step; nothing is said before a whole window has been read."""
        del calendar
        known = torch.cat([state["recent"], values])
        windows = known.unfold(0, self.shape.window, 1).transpose(1, 2)  # -> (T, window, C)
        parts = [self._repeat(part) for part in torch.split(windows, _WINDOWS_AT_ONCE)]
        expected, errors = (torch.cat(found) for found in zip(*parts, strict=True))
        errors = torch.where(values.isnan(), math.nan, errors)
        return expected, errors, {"recent": known[1 - self.shape.window :]}

    def _repeat(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        whole = ~windows[:, 0].isnan()  # a window that begins with a gap is left out
        known = fill_forward(windows.transpose(0, 1), torch.zeros_like(windows[:, 0])).transpose(0, 1)
        filled = torch.asinh(known)
        observed = ~windows.isnan()
        value, state = self._encode(filled, observed.to(filled.dtype))
        error = torch.zeros_like(windows[:, 0])
        newest = value[:, 0]
        for step in reversed(range(self.shape.window)):
            away = (_back(value[:, 0]) - known[:, step]).abs()
            error += torch.where(observed[:, step], away, 0.0)
            if step:
                hidden, state = self.decoder(value, state)
                value = self.head(hidden)
        error /= observed.sum(dim=1).clamp(min=1)
        unknown = ~whole
        return _back(newest).masked_fill(unknown, math.nan), error.masked_fill(unknown, math.nan)

    def _encode(self, values: Tensor, observed: Tensor) -> tuple[Tensor, StackState]:
        read = torch.cat([values, observed], dim=-1) if self.shape.flags else values
        hidden, state = self.encoder(read)
        return self.head(self.dropout(hidden[:, -1:])), state


def _back(repeated: Tensor) -> Tensor:
    """Undo asinh; what the network gives has no bounds of its own."""
    return torch.sinh(repeated.clamp(-LARGEST_REPEATED, LARGEST_REPEATED))


def make_network(method: Method, shape: NetworkShape, architecture: Architecture) -> DetectorNetwork:
    """Make the network of a method."""
    return {"forecast": NextStep, "reconstruction": EncoderDecoder}[method](shape, architecture)


def fill_forward(values: Tensor, last: Tensor) -> Tensor:
    """Fill gaps along the first axis with the value before them, the first ones with `last`, or 0.

    Args:
        values: (T, …), NaN where missing.
        last: (…), NaN where there is none.
    """
    known = torch.cat([torch.nan_to_num(last)[None], values])
    steps = torch.arange(len(known)).view(-1, *[1] * (values.dim() - 1))
    source = torch.where(known.isnan(), 0, steps).cummax(dim=0).values
    return known.gather(0, source)[1:]
