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
from gatestack.tasks.forecast.scaling import ScaleOverTime, SeriesScale, TrailingScale

__all__ = ["SeriesState"]

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class SeriesState:
    """The state of N series after their last step.

    Attributes:
        target: (N, window) float32, the last values, gaps filled, newest last.
        level, scale: (N,) float32, at the last step.
        hidden: (N, reach + 1, H), the outputs of the last layer up to the last step.
        layers: the state of each layer.
        scaling: the running scale.
        begun: (N,) bool, False while a series has no observed value yet.
    """

    target: Tensor
    level: Tensor
    scale: Tensor
    hidden: Tensor
    layers: StackState
    scaling: ScaleOverTime
    begun: Tensor

    def forecast(self, network: ForecastNetwork, future: Tensor, static: Tensor) -> Tensor:
        """Forecast from the last step of each series.

        Args:
            network: in eval mode.
            future: (N, horizon, known columns) in the user's unit. static: (N, static columns).

        Returns:
            Quantiles (N, horizon, quantiles) in the user's unit.
        """
        rows = torch.arange(len(self.target))
        past = torch.zeros(len(rows), 1 + future.shape[1], network.shape.past)
        covariates = torch.cat([past, torch.nn.functional.pad(future, (0, 0, 1, 0))], dim=2)
        chunk = self._chunk(self.level, self.scale, covariates, None, static, self.target)
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
            covariates: (N, columns) of the same step. observed: (N, columns), None when all are real.
            static: (N, static columns).
        """
        real = ~torch.isnan(value)
        scaling = self.scaling.take(np.arange(len(value)))
        moments = scaling.advance(torch.nan_to_num(value)[:, None].numpy(), real[:, None].numpy())
        level, scale = (torch.from_numpy(moment[:, 0]) for moment in moments)
        filled = torch.where(real, value, self.target[:, -1])
        # The first value also stands for those before it, as at the start of a whole series.
        before = torch.where(self.begun[:, None], self.target, filled[:, None])
        target = torch.cat([before[:, 1:], filled[:, None]], dim=1)
        ahead = torch.nn.functional.pad(covariates[:, None], (0, 0, 0, network.shape.horizon))
        seen = None if observed is None else observed[:, None].expand(-1, ahead.shape[1], -1)
        chunk = self._chunk(level, scale, ahead, seen, static, target)._replace(
            observed=real.float()[:, None]
        )
        with torch.no_grad():
            hidden, layers = network.states(chunk, self.layers)
        joined = torch.cat([self.hidden[:, 1:], hidden], dim=1)
        return SeriesState(target, level, scale, joined, layers, scaling, self.begun | real)

    @staticmethod
    def start(network: ForecastNetwork, rows: int, scaling: ScaleOverTime) -> SeriesState:
        """Give the state before the first step of `rows` series."""
        shape = network.shape
        chunk = SeriesState._chunk(
            torch.zeros(rows),
            torch.ones(rows),
            torch.zeros(rows, 1 + shape.horizon, shape.past + shape.known),
            None,
            torch.zeros(rows, shape.static),
            torch.zeros(rows, shape.window),
        )
        with torch.no_grad():
            _, layers = network.states(chunk, lengths=torch.zeros(rows, dtype=torch.int64))
        return SeriesState(
            target=torch.zeros(rows, shape.window),
            level=torch.zeros(rows),
            scale=torch.ones(rows),
            hidden=torch.zeros(rows, network.head.reach + 1, shape.widths[-1]),
            layers=layers,
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
            self.level[index],
            self.scale[index],
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
            for name in ("target", "level", "scale", "hidden", "begun")
        }
        layers = tuple(_join_layer(layer) for layer in zip(*(part.layers for part in parts), strict=True))
        scaling = parts[0].scaling.join([part.scaling for part in parts])
        return cls(**tensors, layers=layers, scaling=scaling)

    def to_arrays(self) -> Arrays:
        """Give everything as arrays, for a file."""
        tensors = {name: getattr(self, name) for name in ("target", "level", "scale", "hidden", "begun")}
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
        plain = {name: tensors[name] for name in ("target", "level", "scale", "hidden", "begun")}
        return cls(**plain, layers=tuple(layers), scaling=kind.from_state(carried))

    @staticmethod
    def _chunk(
        level: Tensor, scale: Tensor, covariates: Tensor, seen: Tensor | None, static: Tensor, target: Tensor
    ) -> Chunk:
        """Make a chunk of one step, the last one."""
        ones = torch.ones(len(level), 1)
        # The network looks one value further back than `window` only to see the change of the first step.
        return Chunk(target, ones, level[:, None], scale[:, None], covariates, seen, static)


def _join_layer(layer: tuple[LSTMState | Tensor, ...]) -> LSTMState | Tensor:
    if isinstance(layer[0], tuple):
        h, c = (torch.cat([part[index] for part in layer], dim=1) for index in range(2))
        return h, c
    return torch.cat([part for part in layer if isinstance(part, Tensor)], dim=1)
