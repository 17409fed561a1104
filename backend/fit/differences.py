"""References of a fit that starts from a bake: what differs, and nothing of what both renderers see differently.

Each view is rendered twice by the same renderer with the same random numbers: with the materials as they are, and with the
baked ones. Where the bake is right the two are the same, noise and all. So a fit gets, in place of a reference, its own
shading of the bake plus the difference of the two renders: it has nothing to do where the bake is right, and what the renderers
see differently, such as light between surfaces, cancels (a control variate, as in Hammersley and Handscomb, "Monte Carlo
Methods", 1964). What it gets wrong: the renderers' difference is that of the bake, and changes with the materials.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from backend.fit.baked_start import BakedStart
from backend.fit.known_lights import KnownLights
from backend.fit.objective import shade_samples
from backend.fit.sample_table import SampleTable
from backend.fit.state import level_of_detail
from render.bsdf.ggx import ggx_table
from render.shading.models import ShadingModel
from render.texture.fixed_lookup import lookup, mip_count, pyramid, trilinear_taps

_ROWS_AT_ONCE = 1 << 18


@torch.no_grad()
def as_differences(table: SampleTable, start: BakedStart, lights: KnownLights, model: ShadingModel) -> SampleTable:
    """The rows with other colors: the shading of the start, plus what the references have and their bake has not.

    Such a color may be negative. Rows that bring no render of the bake stay as they are.
    """
    if table.baked is None or len(table) == 0:
        return table
    resolution = start.texels.shape[0]
    levels = mip_count(resolution)
    texels, ggx = pyramid(start.texels, levels), ggx_table(table.color.device)
    colors = torch.empty_like(table.color)
    for number, chosen in lights.parts(table):
        lights.show(number)
        for some in chosen.split(_ROWS_AT_ONCE):
            rows = table.rows(some)
            taps = trilinear_taps(rows.uv.reshape(-1, 2), level_of_detail(rows, resolution), resolution, levels)
            values = lookup(texels, taps).reshape(*rows.valid.shape, -1)
            colors[some] = shade_samples(values, rows, lights.shown, ggx, model)[:, :3]
    return replace(table, color=table.color - table.baked + colors)
