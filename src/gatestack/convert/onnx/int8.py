"""Weights as whole numbers of eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["pays", "quantised"]

_FEWEST = 256  # below this a scale per channel and the operator that undoes it weigh more than they save


def pays(array: npt.NDArray[Any], channel_axes: int) -> bool:
    """Say whether a weight becomes smaller: large enough, and several numbers share a scale.

    Example:
        >>> pays(np.zeros((64, 32), np.float32), 1), pays(np.zeros(4096, np.float32), 1)
        (True, False)
    """
    channels = int(np.prod(array.shape[:channel_axes]))
    return array.ndim > channel_axes and array.size >= _FEWEST and array.size >= 8 * channels


def quantised(
    array: npt.NDArray[Any], channel_axes: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a weight to 255 levels, symmetric about zero, with one scale per output channel.

    With a row w of the weight, s = max |w| / 127 and

        q = round(w / s),   so that |w − s q| ≤ s / 2.

    Args:
        array: float32; its first `channel_axes` axes number output channels.
        channel_axes: see there.

    Returns:
        q as int8 (channels, the rest), s as float32 (channels,); a row of zeros has the scale 1.

    Example:
        >>> q, s = quantised(np.array([[1.27, -0.5], [0.0, 0.0]], np.float32), 1)
        >>> q.tolist(), [round(float(one), 4) for one in s]
        ([[127, -50], [0, 0]], [0.01, 1.0])

    Source:
        Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference", Eq. 1, with the zero point 0.
    """
    channels = int(np.prod(array.shape[:channel_axes]))
    rows = array.reshape(channels, -1).astype(np.float32)
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    scales = np.maximum(scales, np.finfo(np.float32).tiny)
    whole = np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8)
    return whole, scales
