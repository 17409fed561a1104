"""A fit that starts from a bake: what no view contradicts stays, at every size."""

from __future__ import annotations

import pytest
import torch
from support.fit_scenes import ball_dataset, checked_maps, studio_light, tables

from backend.fit.baked_start import BakedStart, carried_over
from backend.fit.fit_plan import FitPlan
from backend.fit.table_fit import TableFit
from render.material.material import KD, MaterialMaps, initial_maps, project_

SIZE = 16


@pytest.fixture
def baked() -> BakedStart:
    """Random maps with detail in every texel."""
    generator = torch.Generator().manual_seed(0)
    texels = torch.rand(SIZE, SIZE, 8, generator=generator) * 0.6 + 0.2
    project_(texels)
    return BakedStart(texels, torch.rand(SIZE, SIZE, 8, generator=generator))


def test_smaller_maps_are_means_of_the_larger(baked: BakedStart) -> None:
    small = baked.at(SIZE // 2)
    torch.testing.assert_close(small.texels[0, 0, KD], baked.texels[:2, :2, KD].mean((0, 1)))
    torch.testing.assert_close(small.stiffness[0, 0], baked.stiffness[:2, :2].mean((0, 1)))
    torch.testing.assert_close(small.texels[..., 5:8].norm(dim=-1), torch.ones(SIZE // 2, SIZE // 2))
    assert baked.at(SIZE) is baked


def test_a_size_that_changed_nothing_gives_the_bake_back(baked: BakedStart) -> None:
    small = MaterialMaps(baked.at(SIZE // 2).texels)
    torch.testing.assert_close(carried_over(small, baked, SIZE).texels, baked.texels)


def test_a_change_is_carried_over_with_the_detail_of_the_bake(baked: BakedStart) -> None:
    small = baked.at(SIZE // 2).texels.clone()
    small[..., KD] += 0.1
    found = carried_over(MaterialMaps(small), baked, SIZE).texels
    torch.testing.assert_close(found[..., KD], baked.texels[..., KD] + 0.1)


def test_a_fit_from_the_truth_stays_nearer_to_it_than_one_from_gray() -> None:
    train, _ = tables(ball_dataset(8, 40))
    truth = checked_maps()
    plan = FitPlan(resolution=truth.resolution, iterations=60, stages=2, batch=4096)
    errors = []
    for texels in (truth.texels, initial_maps(truth.resolution, alpha=False).texels):
        start = BakedStart(texels.clone(), torch.ones_like(texels))
        fit = TableFit(train, studio_light(32), plan, start=start)
        fit.run(None, lambda status: None)
        errors.append(float((fit.maps.texels[..., KD] - truth.texels[..., KD]).abs().mean()))
    assert errors[0] < 0.02
    assert errors[1] > 2 * errors[0]
