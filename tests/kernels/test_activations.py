"""Sigmoid and tanh of the kernels: within 2 units in the last place, over every float32 there is.

The unit is the distance from one float32 to the next at the true value, 2^-149 among the denormal ones. The
true value is that of NumPy in float64, which is right to about 2^-52 of itself and so to 2^-28 of a unit of
float32; for float64 it is that of the long double of this machine, where that is wider. There half a unit
more is allowed, which instruction sets without fused products need.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from solvers import needs_kernels

from gatestack.kernels import abi, library

LARGEST_ERROR_ULP = {np.dtype(np.float32): 2.0, np.dtype(np.float64): 2.5}
FUNCTIONS = {"sigmoid": 0, "tanh": 1}
BLOCKS = 8  # of all float32 in the slow test, each its own test so that none takes long
pytestmark = needs_kernels
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def activation(name: str, x: np.ndarray) -> np.ndarray:
    """What the kernels make of x, of its dtype."""
    out = np.full_like(x, np.nan)
    raw = library.load().raw
    status = raw.gatestack_activation(
        FUNCTIONS[name], abi.DTYPES[x.dtype.name], x.ctypes.data, out.ctypes.data, x.size
    )
    assert status == abi.Status.OK
    return out


def true_sigmoid(x: np.ndarray) -> np.ndarray:
    """exp(min(x, 0)) / (1 + exp(-|x|)): neither exponent is above zero, so nothing overflows or cancels."""
    with np.errstate(under="ignore"):
        return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def true_tanh(x: np.ndarray) -> np.ndarray:
    """By NumPy."""
    with np.errstate(under="ignore"):
        return np.tanh(x)


TRUE: dict[str, Callable[[np.ndarray], np.ndarray]] = {"sigmoid": true_sigmoid, "tanh": true_tanh}


def is_plainly_right(name: str, x: np.ndarray, found: np.ndarray) -> bool:
    """Whether all results are, within an eighth of a unit, what they must be for tiny or large float32.

    Most float32 are one or the other. sigmoid(x) is 1/2 within 2^-29 where |x| < 2^-27, and tanh(x) is x
    within 2^-27 of it where |x| < 2^-13; beyond 128 both have ended. No answer says that a result is wrong.
    """
    size = np.abs(x)
    if name == "sigmoid" and size.max(initial=0) < 2.0**-27:
        return bool((found == 0.5).all())
    if name == "tanh" and size.max(initial=0) < 2.0**-13:
        return bool((found == x).all())
    if size.min(initial=np.inf) > 128:
        return bool((found == ((x > 0) if name == "sigmoid" else np.sign(x))).all())
    return False


def largest_error_ulp(name: str, x: np.ndarray, wide: type) -> float:
    """Over x, without its NaN; infinite if a result is NaN or leaves the range of the function."""
    nan = np.isnan(x)
    if nan.any():
        x = x[~nan]
    found = activation(name, x)
    if x.dtype == np.float32 and is_plainly_right(name, x, found):
        return 0.125
    lowest = 0.0 if name == "sigmoid" else -1.0
    if not ((found >= lowest) & (found <= 1.0)).all():
        return float("inf")
    true = TRUE[name](x.astype(wide))
    narrow = np.abs(true).astype(x.dtype)
    narrow = np.where(narrow.astype(wide) > np.abs(true), np.nextafter(narrow, x.dtype.type(0)), narrow)
    return float((np.abs(found.astype(wide) - true) / np.spacing(narrow).astype(wide)).max(initial=0))


def sample(dtype: type, bits: type, count: int) -> np.ndarray:
    """Random bit patterns, all magnitudes alike; a dense row where the functions bend; both ends of each."""
    rng = np.random.default_rng(0)
    width = np.dtype(bits).itemsize * 8
    patterns = rng.integers(0, 2**width, size=count, dtype=bits, endpoint=False).view(dtype)
    bend = np.linspace(-20, 20, count, dtype=dtype)
    near_zero = (rng.normal(size=count) * 10.0 ** rng.uniform(-8, 0, size=count)).astype(dtype)
    edges = np.array([-750, -709, -104, -103, -89, -88, -87, -18.4, -9.01, -0.625, -0.35], dtype=dtype)
    around = (edges[:, None] * (1 + np.linspace(-1e-2, 1e-2, 1001))).astype(dtype).ravel()
    return np.concatenate([patterns, bend, near_zero, around, -around])


@each_function
def test_within_two_ulp_over_a_sample_of_float32(name) -> None:
    x = sample(np.float32, np.uint32, 300_000)
    assert largest_error_ulp(name, x, np.float64) <= LARGEST_ERROR_ULP[x.dtype]


@each_function
def test_within_two_ulp_over_a_sample_of_float64(name) -> None:
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("long double is no wider than double on this machine")
    x = sample(np.float64, np.uint64, 100_000)
    assert largest_error_ulp(name, x, np.longdouble) <= LARGEST_ERROR_ULP[x.dtype]


@pytest.mark.slow
@each_function
@pytest.mark.parametrize("block", range(BLOCKS))
def test_within_two_ulp_over_all_float32(name, block) -> None:
    size, step = 2**32 // BLOCKS, 2**20
    bits = np.arange(step, dtype=np.uint32)
    for first in range(block * size, (block + 1) * size, step):
        x = (bits + np.uint32(first)).view(np.float32)
        error = largest_error_ulp(name, x, np.float64)
        assert error <= LARGEST_ERROR_ULP[x.dtype], f"{error} ulp among the bits from {first:#x}"


@each_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ends_zero_and_nan(name, dtype) -> None:
    x = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan, -np.nan], dtype=dtype)
    found = activation(name, x)
    expected = [0, 0.5, 0.5, 1] if name == "sigmoid" else [-1, -0.0, 0.0, 1]
    np.testing.assert_array_equal(found[:4], np.array(expected, dtype=dtype))
    np.testing.assert_array_equal(np.signbit(found[:4]), np.signbit(expected))
    assert np.isnan(found[4:]).all()


@each_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_number_has_the_same_result_in_any_place(name, dtype) -> None:
    """Whole vectors and what is left over at the end go the same way."""
    x = np.random.default_rng(1).normal(scale=3, size=67).astype(dtype)
    whole = activation(name, x)
    for count in range(1, 40):
        for first in (0, 1, 5):
            part = np.ascontiguousarray(x[first : first + count])
            np.testing.assert_array_equal(activation(name, part), whole[first : first + count])


@each_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_may_take_the_place_of_x(name, dtype) -> None:
    x = np.random.default_rng(1).normal(scale=3, size=37).astype(dtype)
    expected = activation(name, x)
    raw = library.load().raw
    assert (
        raw.gatestack_activation(
            FUNCTIONS[name], abi.DTYPES[x.dtype.name], x.ctypes.data, x.ctypes.data, x.size
        )
        == 0
    )
    np.testing.assert_array_equal(x, expected)


def test_the_measure_sees_an_error() -> None:
    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    assert largest_error_ulp("tanh", x, np.float64) > 0.3
    TRUE["shifted"], FUNCTIONS["shifted"] = (lambda x: np.tanh(x) * (1 + 4e-7)), FUNCTIONS["tanh"]
    try:
        assert largest_error_ulp("shifted", x, np.float64) > LARGEST_ERROR_ULP[x.dtype]
    finally:
        del TRUE["shifted"], FUNCTIONS["shifted"]
