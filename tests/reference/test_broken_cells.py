"""Every broken cell is caught, by the checks that its entry names; what those checks are blind to is stated.

The true reference passes the same checks: test_cells.py.
"""

from __future__ import annotations

import pytest

from .broken_cells import BROKEN_CELLS, BrokenCell
from .broken_options import BROKEN_OPTIONS
from .checks import CHECKS

ALL_BROKEN = (*BROKEN_CELLS, *BROKEN_OPTIONS)
CASES = [
    pytest.param(broken, variant, id=f"{broken.name} [{variant}]")
    for broken in ALL_BROKEN
    for variant in broken.variants
]


@pytest.mark.parametrize(("broken", "variant"), CASES)
def test_caught(broken: BrokenCell, variant: str) -> None:
    implementation = broken.implementation(variant)
    for name in broken.caught_by:
        with pytest.raises(AssertionError):
            CHECKS[name](implementation)
    for name in broken.missed_by:
        CHECKS[name](implementation)


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_catches_something(check: str) -> None:
    assert [broken.name for broken in ALL_BROKEN if check in broken.caught_by]


def test_names_are_unique() -> None:
    names = [broken.name for broken in ALL_BROKEN]
    assert len(set(names)) == len(names)


def test_a_change_that_no_longer_fits_is_an_error() -> None:
    stale = BrokenCell("stale", "lstm", (("no such text", ""),), ("lstm",), caught_by=())
    with pytest.raises(LookupError, match="no longer holds"):
        stale.implementation("lstm")
