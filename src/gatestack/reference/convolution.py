"""A convolution over any number of dimensions of space, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gatestack.reference.cell import Array

Index: TypeAlias = tuple[slice | int, ...]


@dataclass(frozen=True)
class Convolution:
    """Stride, padding and dilation; kernels are not mirrored, as everywhere in learning.

    Along each axis, for an input of n positions, a kernel of k, stride s and dilation d:

        y[i] = sum over j of W[j] x[s i + d j - before]          x[…] = 0 outside
        "valid":  before = 0,                                     ⌊(n - (k - 1) d - 1) / s⌋ + 1 outputs
        "same":   before = ⌊total / 2⌋,                           ⌈n / s⌉ outputs
                  total = max((⌈n / s⌉ - 1) s + (k - 1) d + 1 - n, 0)

    Args:
        stride: s for each axis, at least 1.
        dilation: d for each axis, at least 1.
        same: pad so that ⌈n / s⌉ outputs come out; otherwise not at all.

    Example:
        >>> import numpy as np
        >>> differences = Convolution(stride=(1,), dilation=(1,), same=False)
        >>> differences.forward(np.array([[[1.0, 4.0, 9.0]]]), np.array([[[-1.0, 1.0]]]))
        array([[[3., 5.]]])

    Source:
        Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285;
        the padding of "same" is TensorFlow's.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    same: bool

    def output_space(self, space: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Say how many outputs there are along each axis.

        Example:
            >>> Convolution(stride=(2, 2), dilation=(1, 1), same=True).output_space((7, 8), (3, 3))
            (4, 4)
        """
        if self.same:
            return tuple(-(-n // s) for n, s in zip(space, self.stride, strict=True))
        return tuple(
            (n - (k - 1) * d - 1) // s + 1
            for n, k, s, d in zip(space, kernel, self.stride, self.dilation, strict=True)
        )

    def _before(self, space: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Say how many zeros stand before the input along each axis."""
        if not self.same:
            return (0,) * len(space)
        out = self.output_space(space, kernel)
        return tuple(
            max((m - 1) * s + (k - 1) * d + 1 - n, 0) // 2
            for n, m, k, s, d in zip(space, out, kernel, self.stride, self.dilation, strict=True)
        )

    def _taps(self, space: tuple[int, ...], kernel: tuple[int, ...]) -> Iterator[tuple[Index, Index, Index]]:
        """Give, for each j, where W[j] stands, which outputs see the input through it, and what they see."""
        before, out = self._before(space, kernel), self.output_space(space, kernel)
        both = slice(None), slice(None)  # all rows or outputs, all channels
        for j in np.ndindex(*kernel):
            seeing, seen = [], []
            axes = zip(j, space, out, before, self.stride, self.dilation, strict=True)
            for tap, n, m, b, s, d in axes:
                at = d * tap - b  # output i sees the position s i + at
                first = max(0, -(at // s))
                last = min(m - 1, (n - 1 - at) // s)
                count = max(0, last - first + 1)
                start = s * first + at
                seeing.append(slice(first, first + count))
                seen.append(slice(start, start + s * count, s) if count else slice(0, 0))
            yield (*both, *j), (*both, *seeing), (*both, *seen)

    def forward(self, x: Array, weight: Array) -> Array:
        """Convolve.

        Args:
            x: (N, C, *space).
            weight: (K, C, *kernel).

        Returns:
            (N, K, *space_out).
        """
        space, kernel = x.shape[2:], weight.shape[2:]
        y = np.zeros((x.shape[0], weight.shape[0], *self.output_space(space, kernel)))
        for j, seeing, seen in self._taps(space, kernel):
            y[seeing] += np.einsum("kc,nc...->nk...", weight[j], x[seen])
        return y

    def backward(self, x: Array, weight: Array, d_y: Array) -> tuple[Array, Array]:
        """Give the gradients of x and of the weight.

            d_x[s i + d j - before] += sum over k of W[j] d_y[i]        d_W[j] = sum over i of d_y[i] x[…]

        Args:
            x: as in `forward`.
            weight: as in `forward`.
            d_y: gradient of the output, (N, K, *space_out).

        Returns:
            Gradients of the shapes of x and weight.
        """
        d_x, d_weight = np.zeros_like(x), np.zeros_like(weight)
        summed = (0, *range(2, x.ndim))
        for j, seeing, seen in self._taps(x.shape[2:], weight.shape[2:]):
            d_x[seen] += np.einsum("kc,nk...->nc...", weight[j], d_y[seeing])
            d_weight[j] = np.tensordot(d_y[seeing], x[seen], axes=(summed, summed))
        return d_x, d_weight
