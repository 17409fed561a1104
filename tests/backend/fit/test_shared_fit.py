"""One fit on several real processes, which add up over gloo, takes the way of one alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ball_dataset, studio_light, tables

from backend.fit.fit_plan import FitPlan
from backend.fit.fit_status import FitStatus
from backend.fit.table_fit import TableFit
from backend.fit.team import ALONE, Team
from backend.job.joined_devices import JoinedDevices
from render.light.environment import create_trainable_env_rnd

# A batch has all rows: which of them come together does not depend on how many processes there are.
PLAN = FitPlan(resolution=64, iterations=60, stages=2, batch=1 << 20)


@pytest.fixture(scope="module")
def ball():
    return tables(ball_dataset(16, 64))


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    devices = JoinedDevices(2)
    yield devices.team()
    devices.close()


def fitted(ball, team: Team, seed: int = 0, **changes) -> TableFit:
    train, held_out = ball
    light = create_trainable_env_rnd(16) if changes.get("learn_light") else studio_light()
    fit = TableFit(train, light, replace(PLAN, **changes), seed, team=team)
    fit.history = fit.run(held_out, lambda _status: None)
    return fit


def decibels(fit: TableFit, rows) -> float:
    return float(-10 * torch.log10(fit.error(rows).mean()))


@pytest.mark.parametrize("changes", [{}, {"learn_light": True}, {"fit_alpha": True}])
def test_two_processes_come_to_the_same_maps_as_one(ball, team, changes):
    alone, shared = fitted(ball, ALONE, **changes), fitted(ball, team, **changes)
    assert shared._team.size == 2
    assert float((alone.maps.texels - shared.maps.texels).abs().mean()) < 1e-4
    assert float((alone.light.base - shared.light.base).abs().mean()) < 1e-3
    assert decibels(alone, ball[1]) > 25
    assert abs(decibels(alone, ball[1]) - decibels(shared, ball[1])) < 0.1
    assert shared.history[-1].psnr_db == pytest.approx(alone.history[-1].psnr_db, abs=0.1)
    assert torch.equal(alone.read_texels(), shared.read_texels())


def test_with_other_batches_they_come_as_near(ball, team):
    plan = {"batch": 8192, "iterations": 120}
    alone, another, shared = (fitted(ball, *how, **plan) for how in ((ALONE,), (ALONE, 1), (team,)))
    spread = abs(decibels(alone, ball[1]) - decibels(another, ball[1]))
    assert decibels(shared, ball[1]) > min(decibels(alone, ball[1]), decibels(another, ball[1])) - max(0.3, 2 * spread)


def test_a_fit_that_was_interrupted_goes_on_in_all_processes(ball, team):
    whole, memory = fitted(ball, team), None

    def remember_at_40(status: FitStatus) -> None:
        nonlocal memory
        if status.iteration == 40:
            memory = first.remember()
            raise InterruptedError

    first = TableFit(ball[0], studio_light(), PLAN, team=team)
    with pytest.raises(InterruptedError):
        first.run(ball[1], remember_at_40)
    second = TableFit(ball[0], studio_light(), PLAN, team=team)
    second.resume(memory)
    second.run(ball[1], lambda _status: None)
    assert float((whole.maps.texels - second.maps.texels).abs().mean()) < 1e-4


def test_where_one_process_would_have_nothing_the_leader_fits_alone(ball, team):
    upper = ball[0].rows((ball[0].uv[:, 0, 1] < 0.4).nonzero()[:, 0])
    assert TableFit(upper, studio_light(), PLAN, team=team)._team is ALONE
