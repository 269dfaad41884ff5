"""The products of a cell: a weight times a vector plus a bias, with the product normalised on request."""

from __future__ import annotations

from gatestack.reference.cell import Array, Record
from gatestack.reference.layer_norm import normalise, normalise_backward


def affine(weight: Array, bias: Array, gain: Array | None, v: Array) -> tuple[Array, Record]:
    """Compute a = W v + b, or a = LN(W v) * gain + b; LN is `normalise`.

    The gates of a cell are one product here, so that LN takes its mean over all of them together.

    Args:
        weight: W, (R, V).
        bias: b, (R,).
        gain: (R,), or None for a product that is not normalised.
        v: (N, V).

    Returns:
        a, (N, R), and the record that `affine_backward` takes.

    Example:
        >>> import numpy as np
        >>> W, b, v = np.array([[1.0], [3.0]]), np.zeros(2), np.array([[2.0]])
        >>> affine(W, b, None, v)[0]
        array([[2., 6.]])
        >>> affine(W, b, np.ones(2), v)[0].round(3)
        array([[-1.,  1.]])

    Source:
        Ba, Kiros & Hinton 2016, "Layer Normalization", arXiv 1607.06450, supplement, equations 20 and 21:
        W_x x and W_h h are normalised apart from each other, each with a gain and a bias of its own.
    """
    product = v @ weight.T
    if gain is None:
        return product + bias, (v,)
    normal, scale = normalise(product)
    return gain * normal + bias, (v, normal, scale)


def affine_backward(
    end: str, weight: Array, gain: Array | None, record: Record, d_a: Array
) -> tuple[Array, dict[str, Array]]:
    """The gradient of `affine`; with p = W v, d_v is the gradient of the loss with respect to v.

        d_b = d_a        d_gain = d_a * LN(p)        d_p = (gradient of LN) (d_a * gain), or d_a
        d_v = W^T d_p    d_W = d_p v^T

    Args:
        end: of the names of the gradients, "ih" or "hh".
        weight: W, (R, V).
        gain: (R,), or None.
        record: what `affine` returned.
        d_a: gradient of a, (N, R).

    Returns:
        d_v, (N, V), and the gradients of weight, bias and, where there is one, gain, summed over the batch.

    Example:
        >>> import numpy as np
        >>> W, b, v = np.array([[1.0], [3.0]]), np.zeros(2), np.array([[2.0]])
        >>> _, record = affine(W, b, None, v)
        >>> affine_backward("ih", W, None, record, np.array([[1.0, 10.0]]))[0]
        array([[31.]])

    Source:
        The chain rule applied to the equation of `affine`.
    """
    gradients = {f"bias_{end}": d_a.sum(axis=0)}
    if gain is None:
        (v,) = record
        d_product = d_a
    else:
        v, normal, scale = record
        gradients[f"gain_{end}"] = (d_a * normal).sum(axis=0)
        d_product = normalise_backward(normal, scale, d_a * gain)
    gradients[f"weight_{end}"] = d_product.T @ v
    return d_product @ weight, gradients
