"""What every test shares: threads that sleep while they wait, and where the data lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_folder import DATA

from backend.threads import yield_idle_threads

# Before any test imports torch: spinning threads would make a busy machine many times slower.
yield_idle_threads()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of meshes, environments and golden outputs; skips where it is not there."""
    if not (DATA / "golden").is_dir():
        pytest.skip(f"the test data are missing: there is no {DATA} (PBRFIT_DATA names another folder)")
    return DATA
