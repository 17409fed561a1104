"""How a job is fitted: from the artist's settings and what the references show to the plans of its fits."""

from __future__ import annotations

import torch

from backend.fit.table_fit import FitPlan
from backend.protocol.settings import SMALLEST_RESOLUTION, FitSettings

ITERATIONS = {"draft": 160, "standard": 400, "high": 1000}


def telling_resolution(resolution: int, footprint: torch.Tensor) -> int:
    """The largest map size up to `resolution` whose texels the references can tell apart.

    footprint  [...] of the samples, in uv. Beyond two texels a pixel (median) the finest texels would get noise only:
    such maps are fitted at the smaller size and enlarged at the end (at 2.7 texels a pixel fitting them cost 0.4 dB).
    """
    widest = 2.0 / max(float(footprint.median()), 1e-9)
    while resolution > max(widest, SMALLEST_RESOLUTION) and resolution % 2 == 0:
        resolution //= 2
    return resolution


def plan_for(settings: FitSettings, resolution: int | None = None, on_gpu: bool = False) -> FitPlan:
    """The plan of a fit from the artist's settings; `resolution` to fit at, where it is not the settings'.

    On a GPU an iteration takes 0.6 ms (an H200, light known) where two cores take 100, whether it reads 65 or 400
    thousand pixels: there are twice as many, of six times the pixels, and one size fewer.
    """
    resolution = settings.resolution if resolution is None else resolution
    iterations, batch, most_stages = (
        (2 * ITERATIONS[settings.quality], 6 * 65536, 3) if on_gpu else (ITERATIONS[settings.quality], 65536, 4)
    )
    return FitPlan(
        resolution=resolution,
        iterations=iterations,
        batch=batch,
        stages=max(1, min(most_stages, (resolution // 32).bit_length())),
        model=settings.shading,
        fit_ks="ks" in settings.maps,
        fit_normal="normal" in settings.maps,
        fit_alpha="alpha" in settings.maps,
        learn_light=settings.learn_light,
    )
