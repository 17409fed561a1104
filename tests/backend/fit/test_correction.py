"""Rounds of correction: what the renderer of the references sees otherwise than the fit's own cancels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ball_dataset, checked_maps, studio_light, tables

from backend.fit.baked_start import BakedStart
from backend.fit.differences import differences, with_shading
from backend.fit.sample_table import SampleTable
from backend.fit.table_fit import TableFit
from backend.fit.view_lights import ViewLights
from backend.job.plan import plan_for
from backend.protocol.settings import FitSettings
from render.material.material import KD

SETTINGS = FitSettings(resolution=64, quality="draft")


@pytest.fixture(scope="module")
def rows() -> SampleTable:
    return tables(ball_dataset(8, 40))[0]


def bounced(radiance: torch.Tensor) -> torch.Tensor:
    """What a renderer sees that knows light between surfaces: bright ones light each other more than in proportion."""
    return radiance + 0.4 * radiance.square()


def own_shading(rows: SampleTable, texels: torch.Tensor) -> torch.Tensor:
    """What the fit's renderer makes of maps, [P, 3]."""
    with torch.no_grad():
        lights = ViewLights([studio_light(256).build_mips()])
    start = BakedStart(texels, torch.zeros_like(texels))
    black = replace(rows, color=torch.zeros_like(rows.color))
    return with_shading(black, start, lights, "principled").color


def test_each_round_is_nearer_to_the_truth(rows: SampleTable) -> None:
    truth = checked_maps().texels
    seen = replace(rows, color=bounced(own_shading(rows, truth)))
    fit = TableFit(seen, studio_light(256), replace(plan_for(SETTINGS), batch=2048), start=None)
    fit.run(None, lambda status: None)
    maps = fit.maps.texels
    errors = [error_of(maps, truth)]
    for number in (1, 2):
        plan = replace(plan_for(replace(SETTINGS, correction=number)), batch=2048)
        assert plan.stages == 1
        assert plan.iterations < plan_for(SETTINGS).iterations
        assert plan.learning_rate < plan_for(SETTINGS).learning_rate
        start = BakedStart(maps, torch.zeros_like(maps))
        table = differences(replace(seen, baked=bounced(own_shading(rows, maps))))
        fit = TableFit(table, studio_light(256), plan, start=start, differs=True)
        fit.run(None, lambda status: None)
        maps = fit.maps.texels
        errors.append(error_of(maps, truth))
    assert errors[0] > 0.04  # base color that makes up for light between surfaces
    assert errors[1] < 0.65 * errors[0]
    assert errors[2] < errors[1]


def error_of(texels: torch.Tensor, truth: torch.Tensor) -> float:
    """The mean error of the base color where the views see the ball well."""
    return float((texels[8:56, :, KD] - truth[8:56, :, KD]).abs().mean())
