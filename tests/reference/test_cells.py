"""The reference passes every check, for every cell."""

from __future__ import annotations

import pytest

from .adapter import reference_implementation
from .checks import CHECKS
from .problems import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", CHECKS)
def test_the_reference_passes(check: str, variant: str) -> None:
    CHECKS[check](reference_implementation(variant))
