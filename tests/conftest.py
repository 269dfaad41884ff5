"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    if not _SHARED_DATA.is_dir():
        pytest.skip("the shared data sets are not on this machine (looked for ../shared/data)")
    return _SHARED_DATA
