"""The weights of the priors follow what views say that are kept back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ball_dataset, studio_light, tables

from backend.fit.baked_start import BakedStart
from backend.fit.balance import (
    LEAST,
    MOST,
    SMOOTH_KD,
    TWO_VALUED,
    TWO_VALUED_WHEN_CORRECTED,
    first_priors,
    rebalance_,
    split_views,
    two_valued_of,
)
from backend.fit.fit_plan import FitPlan
from backend.fit.sample_table import SampleTable
from backend.fit.table_fit import TableFit
from render.material.material import KD
from render.material.priors import prior_gains, prior_terms

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


def test_metallic_is_held_to_0_or_1_where_nothing_is_known_of_it() -> None:
    texels, unknown = torch.rand(SIZE, SIZE, 8), torch.zeros(SIZE, SIZE, 8)
    known = unknown.clone()
    known[0, 0, 0] = 1.0
    assert two_valued_of(None) == TWO_VALUED
    assert two_valued_of(BakedStart(texels, unknown)) == TWO_VALUED_WHEN_CORRECTED
    assert two_valued_of(BakedStart(texels, known)) == 0.0


def test_the_views_are_not_asked_about_it_in_a_correction() -> None:
    texels = torch.rand(SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    start = BakedStart(texels, torch.zeros_like(texels))
    first = first_priors(8, torch.device("cpu"), two_valued_of(start))
    priors = first_priors(8, torch.device("cpu"), two_valued_of(start)).at_start(start.texels, start.stiffness)
    # The same gradient as the prior's: asked, the views would want more of it.
    rebalance_(priors, first, prior_gains(1 - texels, priors, 2 * texels - 1, torch.ones_like(texels)))
    assert float(priors.two_valued) == pytest.approx(TWO_VALUED_WHEN_CORRECTED)
    assert not torch.equal(priors.smooth, first.smooth)


@pytest.mark.parametrize(("along", "grows"), [(1.0, True), (-1.0, False)])
def test_a_prior_that_helps_the_kept_back_views_grows(along: float, grows: bool) -> None:
    texels = torch.rand(SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    priors = first_priors(8, torch.device("cpu"))
    (smooth,) = [term for term in prior_terms(texels, priors) if term.channels == KD]
    gradient = torch.zeros_like(texels)
    gradient[..., KD] = along * smooth.gradient
    before = priors.smooth.clone()
    rebalance_(priors, first_priors(8, texels.device), prior_gains(texels, priors, gradient, torch.ones_like(texels)))
    assert bool((priors.smooth[KD] > before[KD]).all()) == grows
    assert priors.smooth[3:].tolist() == pytest.approx(before[3:].tolist())


def test_a_weight_of_which_the_views_say_nothing_goes_back() -> None:
    priors, first = first_priors(8, torch.device("cpu")), first_priors(8, torch.device("cpu"))
    priors.smooth.mul_(100)
    texels = torch.rand(SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(200):
        rebalance_(priors, first, prior_gains(texels, priors, torch.zeros_like(texels), torch.ones_like(texels)))
    torch.testing.assert_close(priors.smooth, first.smooth, rtol=0.05, atol=0)


def test_weights_stay_in_their_range() -> None:
    texels = torch.rand(SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    priors, first = first_priors(8, torch.device("cpu")), first_priors(8, torch.device("cpu"))
    (smooth,) = [term for term in prior_terms(texels, priors) if term.channels == KD]
    for sign, bound in ((1.0, MOST["smooth"]), (-1.0, LEAST)):
        gradient = torch.zeros_like(texels)
        gradient[..., KD] = sign * smooth.gradient
        for _ in range(60):
            rebalance_(priors, first, prior_gains(texels, priors, gradient, torch.ones_like(texels)), times=1)
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
