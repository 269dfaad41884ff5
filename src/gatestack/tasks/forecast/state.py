"""What a forecaster carries from one step of a series to the next: the state of a stream, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.nn.lstm import LSTMState
from gatestack.nn.stack import StackState
from gatestack.tasks.forecast.network import ForecastNetwork
from gatestack.tasks.forecast.panel import Chunk
from gatestack.tasks.forecast.scaling import (
    LEVELS,
    MOMENTS,
    ScaleOverTime,
    SeriesScale,
    TrailingScale,
)

__all__ = ["SeriesState"]

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class SeriesState:
    """The state of N series after their last step.

    Attributes:
        target: (N, window) float32, the last values, gaps filled, newest last.
        moments: (N, 4) float32, at the last step.
        hidden: (N, reach + 1, H), the outputs of the last layer up to the last step.
        layers: the state of each layer.
        scaling: the running scale.
        begun: (N,) bool, False while a series has no observed value yet.
    """

    target: Tensor
    moments: Tensor
    hidden: Tensor
    layers: StackState
    scaling: ScaleOverTime
    begun: Tensor

    def forecast(self, network: ForecastNetwork, future: Tensor, static: Tensor) -> Tensor:
        """Forecast from the last step of each series.

        Args:
            network: in eval mode.
            future: (N, horizon, known columns) in the user's unit.
            static: (N, static columns).

        Returns:
            Parameters of the distribution, (N, horizon, parameters), in the user's unit.
        """
        rows = torch.arange(len(self.target))
        past = torch.zeros(len(rows), 1 + future.shape[1], network.shape.past)
        covariates = torch.cat([past, torch.nn.functional.pad(future, (0, 0, 1, 0))], dim=2)
        chunk = self._chunk(self.moments, covariates, None, static, self.target)
        with torch.no_grad():
            return network.forecast(chunk, self.hidden, rows, torch.zeros_like(rows))

    def advance(
        self,
        network: ForecastNetwork,
        value: Tensor,
        covariates: Tensor,
        observed: Tensor | None,
        static: Tensor,
    ) -> SeriesState:
        """Go on by one step.

        Args:
            network: in eval mode.
            value: (N,) of the target; NaN where it is missing.
            covariates: (N, columns) of the same step.
            observed: (N, columns), None when all are real.
            static: (N, static columns).
        """
        real = ~torch.isnan(value)
        scaling = self.scaling.take(np.arange(len(value)))
        found = scaling.advance(torch.nan_to_num(value)[:, None].numpy(), real[:, None].numpy())
        moments = torch.from_numpy(found[:, 0])
        filled = torch.where(real, value, self.target[:, -1])
        begun = self.begun | real
        # Before the first real value the network reads zeros.
        moments[:, LEVELS] = torch.where(begun[:, None], moments[:, LEVELS], filled[:, None])
        # The first value also stands for those before it, as at the start of a whole series.
        before = torch.where(self.begun[:, None], self.target, filled[:, None])
        target = torch.cat([before[:, 1:], filled[:, None]], dim=1)
        ahead = torch.nn.functional.pad(covariates[:, None], (0, 0, 0, network.shape.horizon))
        seen = None if observed is None else observed[:, None].expand(-1, ahead.shape[1], -1)
        chunk = self._chunk(moments, ahead, seen, static, target)._replace(observed=real.float()[:, None])
        with torch.no_grad():
            hidden, layers = network.states(chunk, self.layers)
        joined = torch.cat([self.hidden[:, 1:], hidden], dim=1)
        return SeriesState(target, moments, joined, layers, scaling, begun)

    @staticmethod
    @torch.no_grad()
    def start(network: ForecastNetwork, rows: int, scaling: ScaleOverTime) -> SeriesState:
        """Give the state before the first step of `rows` series."""
        shape = network.shape
        return SeriesState(
            target=torch.zeros(rows, shape.window),
            moments=_before_the_start(rows),
            hidden=torch.zeros(rows, network.head.reach + 1, shape.widths[-1]),
            layers=network.first_state(rows),
            scaling=scaling,
            begun=torch.zeros(rows, dtype=torch.bool),
        )

    def take(self, rows: npt.NDArray[np.integer]) -> SeriesState:
        """Give a copy that holds these rows, in this order; a row may be named more than once."""
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        layers = tuple(
            (layer[0][:, index], layer[1][:, index]) if isinstance(layer, tuple) else layer[:, index]
            for layer in self.layers
        )
        return SeriesState(
            self.target[index],
            self.moments[index],
            self.hidden[index],
            layers,
            self.scaling.take(np.asarray(rows)),
            self.begun[index],
        )

    @classmethod
    def join(cls, parts: Sequence[SeriesState]) -> SeriesState:
        """Put the series of several states together."""
        tensors = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("target", "moments", "hidden", "begun")
        }
        layers = tuple(_join_layer(layer) for layer in zip(*(part.layers for part in parts), strict=True))
        scaling = parts[0].scaling.join([part.scaling for part in parts])
        return cls(**tensors, layers=layers, scaling=scaling)

    def to_arrays(self) -> Arrays:
        """Give everything as arrays, for a file."""
        tensors = {name: getattr(self, name) for name in ("target", "moments", "hidden", "begun")}
        for number, layer in enumerate(self.layers):
            parts = layer if isinstance(layer, tuple) else (layer,)
            tensors |= {f"layer_{number}.{name}": part for name, part in zip("hc", parts, strict=False)}
        arrays: Arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        return arrays | {f"scaling.{name}": array for name, array in self.scaling.state().items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> SeriesState:
        """Read what `to_arrays` gave."""
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        layers: list[LSTMState | Tensor] = []
        while f"layer_{len(layers)}.h" in tensors:
            name = f"layer_{len(layers)}"
            h, c = tensors[f"{name}.h"], tensors.get(f"{name}.c")
            layers.append(h if c is None else (h, c))
        carried = {name[8:]: array for name, array in arrays.items() if name.startswith("scaling.")}
        kind = TrailingScale if "recent" in carried else SeriesScale
        plain = {name: tensors[name] for name in ("target", "moments", "hidden", "begun")}
        return cls(**plain, layers=tuple(layers), scaling=kind.from_state(carried))

    @staticmethod
    def _chunk(
        moments: Tensor, covariates: Tensor, seen: Tensor | None, static: Tensor, target: Tensor
    ) -> Chunk:
        """Make a chunk of one step, the last one."""
        ones = torch.ones(len(moments), 1)
        return Chunk(target, ones, moments[:, None], covariates, seen, static)


def _before_the_start(rows: int) -> Tensor:
    """Give the moments of series without a value: levels 0, scales 1."""
    moments = torch.ones(rows, len(MOMENTS))
    moments[:, LEVELS] = 0.0
    return moments


def _join_layer(layer: tuple[LSTMState | Tensor, ...]) -> LSTMState | Tensor:
    if isinstance(layer[0], tuple):
        h, c = (torch.cat([part[index] for part in layer], dim=1) for index in range(2))
        return h, c
    return torch.cat([part for part in layer if isinstance(part, Tensor)], dim=1)
