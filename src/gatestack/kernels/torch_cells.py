"""One layer as a loop over steps in torch: the cells with all their options, written for reading.

What torch's fused operators lack is computed here, differentiable, on any device. The compiled kernels are
tested against this file, and it against `gatestack.reference`, which shares no code with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gatestack.kernels import dropout
from gatestack.kernels.spec import DirectionWeights, LayerSpec

__all__ = ["Ragged", "run_loop"]

_EPSILON = 1e-5  # of the layer normalisation, as in torch


@dataclass(frozen=True, eq=False)
class Ragged:
    """The real steps of a batch whose rows begin at step 0.

    Args:
        lengths: (N,) int64 on the device of x, or None when every step is real.
        real: (N, T) bool, or None.
    """

    lengths: Tensor | None
    real: Tensor | None

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None) -> Ragged:
        """Say which steps of x (N, T, ·) are real, from lengths (N,) on any device."""
        if lengths is None:
            return cls(None, None)
        lengths = lengths.to(x.device)
        return cls(lengths, torch.arange(x.shape[1], device=x.device) < lengths[:, None])

    def cleared(self, x: Tensor) -> Tensor:
        """Set x (N, T, F) to zero after each row's length: a NaN there would reach the weights' gradients."""
        return x if self.real is None else x.masked_fill(~self.real[:, :, None], 0.0)

    def turned(self, x: Tensor) -> Tensor:
        """Turn round the real steps of each row of x (N, T, F) and leave the rest in place.

        With lengths 3, 2 and T = 3: `a b c -> c b a`, `d e . -> e d .`; a flip of the whole row would give `.
        e d`.
        """
        if self.lengths is None:
            return x.flip(1)
        position = torch.arange(x.shape[1], device=x.device)
        lengths = self.lengths[:, None]
        source = torch.where(position < lengths, lengths - 1 - position, position)  # -> (N, T)
        return x.gather(1, source[:, :, None].expand_as(x))


def run_loop(
    layer: LayerSpec,
    number: int,
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[DirectionWeights],
    ragged: Ragged,
    *,
    training: bool,
    seed: int | Tensor,
) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
    """Run a layer over x (N, T, C), zero where a step is not real.

    Returns:
        output (N, T, D·P), final states (D, N, ·) each, cell states (N, T, D·H) of an LSTM.
    """
    outputs, cells, finals = [], [], []
    for direction, weight in enumerate(weights):
        step = _Step(layer, number, direction, weight, x.shape[1], training=training, seed=seed)
        output, cell, final = step.over(
            ragged.turned(x) if direction == 1 else x,
            tuple(state[direction] for state in states),
            ragged,
        )
        outputs.append(ragged.turned(output) if direction == 1 else output)
        cells.append(ragged.turned(cell) if direction == 1 else cell)
        finals.append(final)
    final_states = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    every = torch.cat(cells, dim=2) if layer.cell == "lstm" else None
    return torch.cat(outputs, dim=2), final_states, every


class _Step:
    """One direction of one layer in one call: its weights and its masks."""

    def __init__(
        self,
        layer: LayerSpec,
        number: int,
        direction: int,
        weights: DirectionWeights,
        time: int,
        *,
        training: bool,
        seed: int | Tensor,
    ) -> None:
        self.layer, self.number, self.direction, self.weights = layer, number, direction, weights
        self.time, self.training, self.seed = time, training, seed

    def over(
        self, x: Tensor, state: tuple[Tensor, ...], ragged: Ragged
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Run over x (N, T, C) in the order it has -> output (N, T, P), cells (N, T, H), final state."""
        layer, weights = self.layer, self.weights
        batch, time = x.shape[:2]
        wide = self._normed(x @ weights.weight_ih.T, weights.gain_ih, weights.bias_ih)  # -> (N, T, G·H)
        hidden = self._mask(x, dropout.HIDDEN, layer.hidden_dropout, 1, layer.output_size, ragged)
        candidate = self._mask(x, dropout.CANDIDATE, layer.candidate_dropout, time, layer.hidden_size, ragged)
        keep_h = self._kept(x, dropout.ZONEOUT_HIDDEN, layer.zoneout_hidden, layer.output_size, ragged)
        keep_c = self._kept(x, dropout.ZONEOUT_CELL, layer.zoneout_cell, layer.hidden_size, ragged)
        hs = [wide.new_zeros(batch, 0, layer.output_size)]
        cs = [wide.new_zeros(batch, 0, layer.hidden_size)]
        for t in range(time):
            fed = state[0] if hidden is None else state[0] * hidden[:, 0]
            dropped = None if candidate is None else candidate[:, t]
            if layer.cell == "lstm":
                h, c = self._lstm(wide[:, t], fed, state[1], dropped)
                new: tuple[Tensor, ...] = (
                    self._zoned(h, state[0], layer.zoneout_hidden, keep_h, t),
                    self._zoned(c, state[1], layer.zoneout_cell, keep_c, t),
                )
            else:
                h = (
                    self._rnn(wide[:, t], fed)
                    if layer.gates == 1
                    else self._gru(wide[:, t], fed, state[0], dropped)
                )
                new = (self._zoned(h, state[0], layer.zoneout_hidden, keep_h, t),)
            if ragged.real is not None:
                now = ragged.real[:, t, None]
                state = tuple(torch.where(now, a, b) for a, b in zip(new, state, strict=True))
                new = tuple(part.masked_fill(~now, 0.0) for part in new)
            else:
                state = new
            hs.append(new[0][:, None])
            cs.append(new[-1][:, None])
        return torch.cat(hs, dim=1), torch.cat(cs, dim=1), state

    def _lstm(self, wide: Tensor, h: Tensor, c: Tensor, dropped: Tensor | None) -> tuple[Tensor, Tensor]:
        weights = self.weights
        i, f, g, o = (wide + self._recurrent(h)).chunk(4, dim=1)
        if weights.peephole is not None:
            i, f = i + weights.peephole[0] * c, f + weights.peephole[1] * c
        g = torch.tanh(g)
        if dropped is not None:
            g = g * dropped
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * g
        if weights.peephole is not None:
            o = o + weights.peephole[2] * c
        h = torch.sigmoid(o) * torch.tanh(self._normed(c, weights.gain_c, weights.bias_c))
        return h if weights.weight_hr is None else h @ weights.weight_hr.T, c

    def _gru(self, wide: Tensor, fed: Tensor, h: Tensor, dropped: Tensor | None) -> Tensor:
        size = self.layer.hidden_size
        if self.layer.cell == "gru":
            r_x, z_x, n_x = wide.chunk(3, dim=1)
            r_h, z_h, n_h = self._recurrent(fed).chunk(3, dim=1)
            r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
            n = torch.tanh(n_x + r * n_h)
        else:
            weight, bias = self.weights.weight_hh, self.weights.bias_hh
            gates = wide[:, : 2 * size] + fed @ weight[: 2 * size].T
            n = wide[:, 2 * size :]
            if bias is not None:
                gates, n = gates + bias[: 2 * size], n + bias[2 * size :]
            r, z = torch.sigmoid(gates).chunk(2, dim=1)
            n = torch.tanh(n + (r * fed) @ weight[2 * size :].T)
        if dropped is not None:
            n = n * dropped
        return (1 - z) * n + z * h

    def _rnn(self, wide: Tensor, h: Tensor) -> Tensor:
        total = wide + self._recurrent(h)
        return torch.tanh(total) if self.layer.cell == "rnn_tanh" else torch.relu(total)

    def _recurrent(self, h: Tensor) -> Tensor:
        weights = self.weights
        return self._normed(h @ weights.weight_hh.T, weights.gain_hh, weights.bias_hh)

    def _normed(self, product: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
        """Normalise where the layer does, then add the bias."""
        if gain is not None:
            return torch.nn.functional.layer_norm(product, product.shape[-1:], gain, bias, _EPSILON)
        return product if bias is None else product + bias

    def _mask(
        self, x: Tensor, kind: int, probability: float, steps: int, units: int, ragged: Ragged
    ) -> Tensor | None:
        """A mask of dropout (N, steps, units): 0, or 1/(1 − p); None where nothing is dropped."""
        kept = self._drawn(x, kind, probability, steps, units, ragged)
        return None if kept is None else kept.to(x.dtype) / (1 - probability)

    def _kept(self, x: Tensor, kind: int, probability: float, units: int, ragged: Ragged) -> Tensor | None:
        return self._drawn(x, kind, probability, self.time, units, ragged)

    def _drawn(
        self, x: Tensor, kind: int, probability: float, steps: int, units: int, ragged: Ragged
    ) -> Tensor | None:
        if not self.training or probability == 0:
            return None
        shape = (x.shape[0], steps, units)
        kept = dropout.keep_mask(self.seed, kind, self.number, self.direction, shape, probability, x.device)
        # A step's bits belong to its place in time, whichever direction reads it.
        return ragged.turned(kept) if self.direction == 1 and steps > 1 else kept

    def _zoned(self, new: Tensor, old: Tensor, probability: float, keep: Tensor | None, t: int) -> Tensor:
        if probability == 0:
            return new
        if keep is None:
            return (1 - probability) * new + probability * old
        return torch.where(keep[:, t], new, old)
