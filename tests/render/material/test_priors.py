"""The priors of maps, against autograd."""

from __future__ import annotations

import pytest
import torch

from render.material.material import METALLIC
from render.material.priors import EDGE, Priors, add_prior_gradient_, no_priors, prior_terms

SIZE, CHANNELS = 9, 8


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def energy(texels: torch.Tensor, priors: Priors) -> torch.Tensor:
    """The term whose gradient the priors add."""
    count = texels.shape[0] * texels.shape[1]
    change = texels if priors.start is None else texels - priors.start
    total = texels.new_zeros(())
    for step in (change[1:] - change[:-1], change[:, 1:] - change[:, :-1]):
        total = total + (EDGE**2 * ((1 + (step / EDGE) ** 2).sqrt() - 1) * priors.smooth).sum() / count
    metallic = texels[..., METALLIC]
    total = total + (priors.two_valued * metallic * (1 - metallic)).sum() / count
    if priors.stiffness is not None:
        total = total + (priors.pull * priors.stiffness * change.square() / 2).sum() / count
    return total


@pytest.mark.parametrize("channels", [8, 9])
@pytest.mark.parametrize("has_start", [False, True])
def test_the_gradient_is_that_of_the_terms(channels: int, has_start: bool) -> None:
    texels = (random(SIZE, SIZE, channels) * 0.2).requires_grad_()
    known = (random(SIZE, SIZE, channels, seed=1) * 0.2, random(SIZE, SIZE, channels, seed=2)) if has_start else ()
    priors = Priors(random(channels, seed=3), random(1, seed=4), random(channels, seed=5), *known)
    energy(texels, priors).backward()
    gradient = torch.ones_like(texels)
    add_prior_gradient_(gradient, texels.detach(), priors)
    torch.testing.assert_close(gradient - 1, texels.grad)


def test_without_weights_nothing_is_added() -> None:
    gradient = torch.zeros(SIZE, SIZE, CHANNELS)
    add_prior_gradient_(gradient, random(SIZE, SIZE, CHANNELS).float(), no_priors(CHANNELS))
    assert float(gradient.abs().max()) == 0


def test_a_change_of_a_terms_weight_is_one_of_the_priors() -> None:
    priors = no_priors(CHANNELS)
    for term in prior_terms(torch.rand(SIZE, SIZE, CHANNELS), priors):
        term.weight.fill_(3.0)
    assert priors.smooth.tolist() == [3.0] * CHANNELS
    assert priors.two_valued.tolist() == [3.0]
