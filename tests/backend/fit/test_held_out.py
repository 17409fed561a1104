"""The held-out error: told in order, late on a GPU, and the best state comes back."""

from __future__ import annotations

import math

import pytest
import torch
from support.fit_scenes import ball_dataset, studio_light, tables

from backend.fit.fit_plan import FitPlan
from backend.fit.held_out import HeldOutMeter, Pace
from backend.fit.table_fit import TableFit
from render.material.priors import no_priors


def test_errors_are_told_in_order_with_what_was_kept(device):
    errors = iter([1e-2, 1e-4, 0.0])
    meter = HeldOutMeter(lambda: torch.tensor(next(errors), device=device))
    told = []
    for iteration in (1, 2, 3):
        meter.measure(iteration, (torch.tensor(iteration),))
        told += meter.finished()
    told += meter.finished(every=True)
    assert [(item.iteration, int(item.kept[0])) for item in told] == [(1, 1), (2, 2), (3, 3)]
    assert told[0].psnr_db == pytest.approx(20, abs=1e-3)
    assert told[1].psnr_db == pytest.approx(40, abs=1e-3)
    assert told[2].psnr_db == math.inf
    assert meter.finished(every=True) == []


@pytest.mark.cuda
def test_the_host_stays_within_two_strides_of_the_gpu():
    pace = Pace(torch.device("cuda"), 4)
    busy = torch.rand(2048, 2048, device="cuda")
    marks = []
    for iteration in range(1, 33):
        busy = (busy @ busy).clamp(0, 1)
        marks.append(torch.cuda.Event())
        marks[-1].record()
        pace.keep(iteration)
        if iteration > 8 and iteration % 4 == 0:
            assert marks[iteration - 9].query()


def test_a_fit_ends_with_the_best_that_was_measured():
    train, held_out = tables(ball_dataset(8, 40))
    # Few pixels and no priors: it soon fits their noise.
    noise = torch.randn(train.color.shape, generator=torch.Generator().manual_seed(0))
    train.color.mul_(1 + 0.8 * noise).clamp_(min=0)
    plan = FitPlan(resolution=64, stages=1, iterations=200, learning_rate=0.1)
    fit = TableFit(train, studio_light(32), plan)
    fit.priors = no_priors(8)
    fit.rebalance = lambda: None
    fit.end = lambda: None  # it comes after the last measurement
    history = [status.psnr_db for status in fit.run(held_out, lambda status: None)]
    assert history[-1] < max(history) - 0.1
    reached = float(-10 * torch.log10(fit.error(held_out).mean()))
    assert reached == pytest.approx(max(history), abs=0.03)
