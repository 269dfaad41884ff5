"""The kernels pass every check that the reference passes, and the checks notice when they are broken."""

from __future__ import annotations

import pytest
from broken_kernels import BROKEN_KERNELS, BrokenSeam
from reference.checks import CHECKS
from seam_adapter import RUN_BY_KERNELS, whole_seam
from solvers import needs_kernels

BACKENDS = ("torch", pytest.param("native", marks=needs_kernels))
# Entry by entry, which takes seconds; test_gradcheck.py does the same through the kernels.
BY_GRADCHECK = {"finite_differences"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", RUN_BY_KERNELS)
@pytest.mark.parametrize("check", [name for name in CHECKS if name not in BY_GRADCHECK])
def test_the_kernels_pass(check: str, variant: str, backend: str) -> None:
    CHECKS[check](whole_seam(variant, backend))


CASES = [
    pytest.param(broken, variant, id=f"{broken.name} [{variant}]")
    for broken in BROKEN_KERNELS
    for variant in broken.variants
]


@needs_kernels
@pytest.mark.parametrize(("broken", "variant"), CASES)
def test_broken_kernels_are_caught(broken: BrokenSeam, variant: str) -> None:
    implementation = broken.implementation(variant, "native")
    for name in broken.caught_by:
        if name not in BY_GRADCHECK:
            with pytest.raises(AssertionError):
                CHECKS[name](implementation)


def test_every_broken_kernel_is_named_once_and_caught_by_something() -> None:
    assert all(set(broken.caught_by) - BY_GRADCHECK for broken in BROKEN_KERNELS)
    pairs = [(broken.name, variant) for broken in BROKEN_KERNELS for variant in broken.variants]
    assert len(set(pairs)) == len(pairs)
