"""The shading models against Cycles: a few of the spheres that `benchmarks/shading_truth.py` measures all of."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from benchmarks.cycles_spheres import SphereGrid, render_spheres
from benchmarks.shading_truth import LIGHT_RESOLUTION, Models, compare, environment_of
from render.light.cubemap import latlong_to_cubemap

# dB in sRGB, of pixels with N.V above 0.15.
FURNACE_DB = 42
PRINCIPLED_DB = 28
SAMPLED_DB = 38

GRID = SphereGrid(roughness=(0.2, 0.6, 1.0), metallic=(0.0, 1.0), pixels=28)


@pytest.mark.parametrize(("energy", "distribution"), [("multi", "MULTI_GGX"), ("single", "GGX")])
def test_energy_in_a_white_furnace_is_that_of_blenders_node(energy, distribution):
    reference = render_spheres(GRID, None, distribution, samples=128)
    white = Models(torch.ones(6, 32, 32, 3))
    for model, rows in compare(GRID, reference, white, ("principled", "sampled_32"), energy=energy).items():
        assert min(map(min, rows)) >= FURNACE_DB, model


def test_a_furnace_tells_the_two_energies_apart():
    grid = SphereGrid(roughness=(1.0,), metallic=(0.0, 1.0), pixels=28)
    reference = render_spheres(grid, None, "MULTI_GGX", samples=64)
    wrong = compare(grid, reference, Models(torch.ones(6, 32, 32, 3)), ("principled",), energy="single")
    assert max(map(max, wrong["principled"])) < FURNACE_DB


def test_in_an_hdri_every_model_is_as_near_as_documented():
    environment = environment_of("forest")
    reference = render_spheres(GRID, environment, "MULTI_GGX", samples=256)
    models = Models(latlong_to_cubemap(torch.from_numpy(environment), LIGHT_RESOLUTION))
    found = compare(GRID, reference, models, ("plain", "principled", "sampled_32"))
    for plain, principled, sampled in zip(*(chain(*rows) for rows in found.values()), strict=True):
        assert principled > plain
        assert principled >= PRINCIPLED_DB
        assert sampled >= SAMPLED_DB
