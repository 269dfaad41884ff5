"""The order in which Keras 3 has the layers of a Functional model, whatever their order in the file.

By it Keras numbers the weights in a `.keras` file. A layer stands before another when the longest way from it
to an output is longer; where that is equal, when a search from the outputs finds it first. Masks are on the
way too: Keras computes them by operations of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from gatestack.convert.keras.formulas import RealSteps, Reference

__all__ = ["Step", "layer_order"]

Step: TypeAlias = "tuple[str, int] | RealSteps"
"""A call of a layer, by name and number; or an operation of a mask."""


def layer_order(calls: Mapping[tuple[str, int], Sequence[Step]], outputs: Sequence[Step]) -> list[str]:
    """Order layers as Keras does.

    Args:
        calls: for each call of a layer, what it is computed of: calls of layers, then that of its mask.
        outputs: of the model.

    Returns:
        Names of layers; those that no output needs stand at the end.

    Example:
        >>> calls = {("x", 0): [], ("a", 0): [("x", 0)], ("b", 0): [("x", 0)], ("c", 0): [("b", 0)]}
        >>> layer_order(calls, [("a", 0), ("c", 0)])
        ['x', 'b', 'a', 'c']
    """
    found, finished = _searched(calls, outputs)
    depths: dict[Step, int] = {}
    layers: dict[str, int] = {}
    for step in reversed(finished):
        depth = depths.setdefault(step, 0)
        if not isinstance(step, RealSteps):
            depth = depths[step] = layers[step[0]] = max(depth, layers.get(step[0], 0))
        for source in _sources(calls, step):
            depths[source] = max(depth + 1, depths.get(source, 0))
    ordered = sorted(layers, key=lambda name: (-layers[name], found[name]))
    rest = dict.fromkeys(name for name, _ in calls if name not in layers)
    return [*ordered, *rest]


def _searched(
    calls: Mapping[tuple[str, int], Sequence[Step]], outputs: Sequence[Step]
) -> tuple[dict[str, int], list[Step]]:
    """Search from the outputs -> when each layer was found first, and steps, each after what it needs."""
    found: dict[str, int] = {}
    finished: dict[Step, None] = {}
    for output in outputs:
        waiting = [(output, False)]
        while waiting:
            step, done = waiting.pop()
            if step in finished:
                continue
            if done:
                finished[step] = None
                continue
            if not isinstance(step, RealSteps):
                found.setdefault(step[0], len(found))
            waiting.append((step, True))
            waiting += [(source, False) for source in reversed(_sources(calls, step))]
    return found, list(finished)


def _sources(calls: Mapping[tuple[str, int], Sequence[Step]], step: Step) -> list[Step]:
    if not isinstance(step, RealSteps):
        return list(calls[step])
    found: list[Step] = []
    for one in step.operands:
        if isinstance(one, RealSteps):
            found.append(one)
        elif isinstance(one, Reference):
            found.append((one.layer, one.call))
    return found
