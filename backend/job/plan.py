"""How a job is fitted: the artist's settings, and what the references show, give the plans of its fits."""

from __future__ import annotations

from dataclasses import replace

import torch

from backend.fit.fit_plan import FitPlan, stages_for
from backend.protocol.quality import QUALITIES, SMALLEST_RESOLUTION
from backend.protocol.settings import FitSettings
from render.shading.models import ShadingModel
from render.texture.map_size import MapSize, Size, map_size

# The share of a fit's iterations that a round of correction has, all at the last size: it begins with that fit's maps. A tuning
# scene with light between surfaces came to 31.4 dB with half as many, 32.9 with these, 32.3 with twice as many (unseen light).
_CORRECTION = 0.4
# The rate with which a round begins: a quarter of a fit's, whose long steps would first lose what the fit has found. Base color
# of metal off by 0.75 codes instead of 1.15, of painted metal by 1.79 instead of 1.82, of rougher metal by 5.1 instead of 4.9
# (tuning scenes, one fit each).
_CORRECTION_RATE = 0.01
_MODELS: dict[str, ShadingModel] = {"principled": "principled", "nvdiffrec": "nvdiffrec"}


def telling_resolution(resolution: Size, footprint: torch.Tensor) -> MapSize:
    """The largest map size up to `resolution` whose texels the references can tell apart.

    footprint  [...] of the samples, in uv

    With more than two texels a pixel (median) the finest texels would get only noise. Such maps are fitted at the
    smaller size and enlarged at the end (at 2.7 texels a pixel, fitting them cost 0.4 dB).
    """
    size, widest = map_size(resolution), 2.0 / max(float(footprint.median()), 1e-9)
    while size.edge > widest and _can_halve(size):
        size = size.halved()
    return size


def smaller(plan: FitPlan, halvings: int) -> FitPlan:
    """The plan with maps and batches halved so often, where memory did not suffice."""
    while halvings and _can_halve(plan.resolution):
        halvings -= 1
        resolution = plan.resolution.halved()
        stages = min(plan.stages, max(1, (int(resolution.edge) // 32).bit_length()))
        plan = replace(plan, resolution=resolution, batch=plan.batch // 2, stages=stages)
    return plan


def _can_halve(size: MapSize) -> bool:
    return size.is_even and size.shorter // 2 >= SMALLEST_RESOLUTION


def plan_for(settings: FitSettings, resolution: Size | None = None, on_gpu: bool = False) -> FitPlan:
    """The plan of a fit from the artist's settings. resolution: to fit at, None for that of the settings.

    On a GPU an iteration takes 0.2 ms (H200, light known) instead of 100 ms on two cores, for 65 thousand pixels as for
    400 thousand. So a GPU does five times as many iterations, with six times the pixels; else the plan is the same.
    """
    size = map_size(settings.map_size if resolution is None else resolution)
    on_cpu = QUALITIES[settings.quality].iterations
    if settings.correction:
        on_cpu = round(on_cpu * _CORRECTION)
    rates = {"learning_rate": _CORRECTION_RATE} if settings.correction else {}
    iterations, batch = (5 * on_cpu, 6 * 65536) if on_gpu else (on_cpu, 65536)
    return FitPlan(
        resolution=size,
        iterations=iterations,
        batch=batch,
        stages=1 if settings.correction else stages_for(size, iterations),
        model=_MODELS[settings.shading],
        fit_ks="ks" in settings.maps,
        fit_normal="normal" in settings.maps,
        fit_alpha="alpha" in settings.maps,
        learn_light=settings.learn_light,
        **rates,
    )
