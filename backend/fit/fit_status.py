"""Where a fit is, as it tells after every iteration."""

from __future__ import annotations

from dataclasses import dataclass

from render.texture.map_size import MapSize


@dataclass(frozen=True)
class FitStatus:
    """Where a fit is: iteration, fraction of the plan's work, map size, held-out PSNR if just measured, seconds so far, left."""

    iteration: int
    fraction: float
    resolution: MapSize
    psnr_db: float | None
    seconds: float
    seconds_left: float
