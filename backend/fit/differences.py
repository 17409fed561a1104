"""References of a fit that starts from a bake: what differs, and nothing of what both renderers see differently.

Each view is rendered twice by the same renderer with the same random numbers: with the materials as they are, and with the
baked ones. Where the bake is right the two are the same, noise and all. So a fit gets, in place of a reference, its own
shading of the bake plus the difference of the two renders: it has nothing to do where the bake is right, and what the renderers
see differently, such as light between surfaces, cancels (a control variate, as in Hammersley and Handscomb, "Monte Carlo
Methods", 1964). What it gets wrong: the renderers' difference is that of the bake, and changes with the materials.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch

from backend.fit.baked_start import BakedStart
from backend.fit.objective import shade_samples
from backend.fit.sample_table import SampleTable, StepRows
from backend.fit.state import level_of_detail
from backend.fit.view_lights import ViewLights
from render.bsdf.ggx import ggx_table
from render.shading.models import ShadingModel
from render.texture.fixed_lookup import mip_count, pyramid
from render.texture.kernels.texture_lookup import lookup_at
from render.texture.map_size import size_of

_ROWS_AT_ONCE = 1 << 18
_Rows = TypeVar("_Rows", SampleTable, StepRows)


def differences(table: SampleTable) -> SampleTable:
    """The rows with what the references have and their bake has not, in place of the references' color."""
    assert table.baked is not None
    return replace(table, color=table.color - table.baked)


@torch.no_grad()
def with_lobes(rows: StepRows, start: BakedStart) -> StepRows:
    """Rows with what the start says that lies over the base."""
    if start.lobes is None:
        return rows
    resolution = size_of(start.lobes)
    levels = mip_count(resolution)
    texels = pyramid(start.lobes, levels)
    read = [
        lookup_at(texels, part.uv.reshape(-1, 2), level_of_detail(part, resolution), resolution, levels)
        for some in torch.split(torch.arange(len(rows), device=rows.uv.device), _ROWS_AT_ONCE)
        for part in (rows.rows(some),)
    ]
    return replace(rows, lobes=torch.cat(read).reshape(*rows.valid.shape, -1))


@torch.no_grad()
def with_shading(rows: StepRows, start: BakedStart, lights: ViewLights, model: ShadingModel) -> StepRows:
    """Rows of differences with the shading of the start added, at its resolution: what a fit is to make of them. All of
    the lights are known.

    At each size of the maps the start is another one, so that it always has nothing to do where the bake is right. Such a
    color may be negative.
    """
    resolution = size_of(start.texels)
    levels = mip_count(resolution)
    texels, ggx = pyramid(start.texels, levels), ggx_table(rows.color.device)
    colors = rows.color.clone()
    for number, chosen in lights.parts(rows):
        light = lights.known[number]
        assert light is not None  # differences are taken in known lights alone
        for some in torch.split(chosen, _ROWS_AT_ONCE):
            part = rows.rows(some)
            read = lookup_at(texels, part.uv.reshape(-1, 2), level_of_detail(part, resolution), resolution, levels)
            colors[some] += shade_samples(read.reshape(*part.valid.shape, -1), part, light, ggx, model)[:, :3]
    return replace(rows, color=colors)
