"""The weights of the priors follow what views say that are kept back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ball_dataset, studio_light, tables

from backend.fit.balance import LEAST, MOST, SMOOTH_KD, first_priors, rebalance_, split_views
from backend.fit.fit_plan import FitPlan
from backend.fit.sample_table import SampleTable
from backend.fit.table_fit import TableFit
from render.material.material import KD
from render.material.priors import prior_terms

SIZE = 16


@pytest.fixture(scope="module")
def table() -> SampleTable:
    return tables(ball_dataset(20, 48))[0]


def test_whole_views_are_kept_back(table: SampleTable) -> None:
    fitted, back = split_views(table, 10**9, torch.Generator().manual_seed(0))
    views, others = table.view_index[back].unique(), table.view_index[fitted].unique()
    assert len(views) == 1
    assert len(others) == len(table.view_index.unique()) - 1
    assert not torch.isin(views, others).any()
    assert len(fitted) + len(back) == len(table)


def test_of_few_views_none_is_kept_back(table: SampleTable) -> None:
    few = table.rows((table.view_index < 5).nonzero()[:, 0])
    fitted, back = split_views(few, 10**9, torch.Generator().manual_seed(0))
    assert len(back) == 0
    assert fitted.tolist() == list(range(len(few)))


@pytest.mark.parametrize(("along", "grows"), [(1.0, True), (-1.0, False)])
def test_a_prior_that_helps_the_kept_back_views_grows(along: float, grows: bool) -> None:
    texels = torch.rand(SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    priors = first_priors(8, torch.device("cpu"))
    (smooth,) = [term for term in prior_terms(texels, priors) if term.channels == KD]
    gradient = torch.zeros_like(texels)
    gradient[..., KD] = along * smooth.gradient
    before = priors.smooth.clone()
    rebalance_(priors, first_priors(8, texels.device), texels, gradient, torch.ones_like(texels))
    assert bool((priors.smooth[KD] > before[KD]).all()) == grows
    assert priors.smooth[3:].tolist() == pytest.approx(before[3:].tolist())


def test_a_weight_of_which_the_views_say_nothing_goes_back() -> None:
    priors, first = first_priors(8, torch.device("cpu")), first_priors(8, torch.device("cpu"))
    priors.smooth.mul_(100)
    texels = torch.rand(SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(200):
        rebalance_(priors, first, texels, torch.zeros_like(texels), torch.ones_like(texels))
    torch.testing.assert_close(priors.smooth, first.smooth, rtol=0.05, atol=0)


def test_weights_stay_in_their_range() -> None:
    texels = torch.rand(SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    priors, first = first_priors(8, torch.device("cpu")), first_priors(8, torch.device("cpu"))
    (smooth,) = [term for term in prior_terms(texels, priors) if term.channels == KD]
    for sign, bound in ((1.0, MOST["smooth"]), (-1.0, LEAST)):
        gradient = torch.zeros_like(texels)
        gradient[..., KD] = sign * smooth.gradient
        for _ in range(60):
            rebalance_(priors, first, texels, gradient, torch.ones_like(texels), times=1)
        assert priors.smooth[0].item() == pytest.approx(bound)


def test_noise_makes_a_fit_smoother(table: SampleTable) -> None:
    noisy = replace(table, color=table.color.clone())
    noisy.color.mul_(torch.exp(0.5 * torch.randn(table.color.shape, generator=torch.Generator().manual_seed(0))))
    weights = []
    for rows in (table, noisy):
        fit = TableFit(rows, studio_light(32), FitPlan(resolution=64, stages=1, iterations=160, batch=8192))
        fit.run(None, lambda status: None)
        weights.append(float(fit.priors.smooth[0]))
    assert weights[0] < SMOOTH_KD
    assert weights[1] > 5 * weights[0]
