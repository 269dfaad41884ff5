"""Runs drawn cases on Keras' JAX backend, in an environment without Gatestack and torch.

    KERAS_BACKEND=jax python keras_jax_worker.py draw|draw_convolutional FIRST LAST OUT.npz

Arrays of the file: `SEED result 0`, `SEED gradient 0`, `SEED kept 0` and so on, as `run_on_torch` names them.
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras_cases import Case, build, draw, draw_convolutional, flat, weighting


def run_on_jax(case: Case) -> dict[str, np.ndarray]:
    """Call a layer, and give results and all gradients; of a stateful one results and the states it keeps."""
    layer = build(keras.layers, case)
    extra = {"training": case.training}
    if case.mask is not None:
        extra["mask"] = jnp.asarray(case.mask)
    if case.options["stateful"]:  # Keras does not hand these states through a call without side effects
        results = [result for x in case.calls for result in flat(layer(jnp.asarray(x), **extra))]
        found = {f"result {n}": result for n, result in enumerate(results)}
        found |= {f"kept {n}": state.value for n, state in enumerate(layer.states)}
        return {name: np.asarray(array) for name, array in found.items()}
    others = [variable.value for variable in layer.non_trainable_variables]

    def total(x: jax.Array, states: list[jax.Array], weights: list[jax.Array]) -> tuple:
        given = extra | ({"initial_state": states} if states else {})
        results = flat(layer.stateless_call(weights, others, x, **given)[0])
        return sum((r * weighting(case, n, r.shape)).sum() for n, r in enumerate(results)), results

    weights = [variable.value for variable in layer.trainable_variables]
    states = [jnp.asarray(state) for state in case.states]
    differentiated = jax.grad(total, argnums=(0, 1, 2), has_aux=True)
    (grad_x, *others_grads), results = differentiated(jnp.asarray(case.calls[0]), states, weights)
    gradients = [grad_x, *(gradient for group in others_grads for gradient in group)]
    found = {f"result {n}": result for n, result in enumerate(results)}
    found |= {f"gradient {n}": gradient for n, gradient in enumerate(gradients)}
    return {name: np.asarray(array) for name, array in found.items()}


if __name__ == "__main__":
    drawn = {"draw": draw, "draw_convolutional": draw_convolutional}[sys.argv[1]]
    first, last, path = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    arrays = {}
    for seed in range(first, last):
        results = run_on_jax(drawn(seed, everywhere=True))
        arrays |= {f"{seed} {name}": array for name, array in results.items()}
    np.savez(path, **arrays)
