"""Where the test data lie: meshes, environments and recorded outputs."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("PBRFIT_DATA") or Path(__file__).parents[3] / "shared" / "data")
