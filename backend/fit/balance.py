"""How much the priors of a fit weigh: found while it runs, by views that it does not fit to.

No weight of smoothness suits every surface. Where the maps vary from texel to texel it must be small; where they are even, or
the references are noisy, it must be large. So a few training views are kept back, and now and then the fit asks them
about each prior: a step along its gradient changes their error by the product of the two gradients (each divided by Adam's
deviation, as Adam steps). Where the error falls, the weight grows, else it shrinks. This is the one-step hypergradient of
Luketina et al., "Scalable Gradient-Based Tuning of Continuous Regularization Hyperparameters" (ICML 2016), taken by its
sign: how sure the sign is decides how far the weight goes. What it gets wrong: it looks one step ahead only, and the views must
see what the others see.
"""

from __future__ import annotations

import torch

from backend.fit.baked_start import BakedStart
from backend.fit.sample_table import SampleTable, StepRows
from render.material.material import METALLIC, NORMAL, ROUGHNESS
from render.material.priors import KINDS, Priors, weight_groups

# Where the weights begin: even surfaces, as most are. The views are asked long before the fit is fine.
SMOOTH_KD, SMOOTH_KS, SMOOTH_NORMAL, TWO_VALUED, PULL = 0.03, 0.03, 0.1, 3e-4, 0.1
# What says 0 or 1 of metallic in a correction of a fit from gray; the views are not asked. Rough metal and bright paint differ by
# less than their noise, so the views would let metallic stay in between. Base color off by 0.8 codes instead of 1.6 and
# roughness by 0.013 instead of 0.026 on metal of roughness 0.35 to 0.65, 5.1 instead of 5.7 and 0.069 instead of 0.081 up to
# 0.85; no worse on painted metal, and where metal and paint are mixed (tuning scenes, one correction, with its learning rate).
TWO_VALUED_WHEN_CORRECTED = 1e-3
LEAST = 1e-5
# What says 0 or 1 of metallic must not outweigh smoothness: where no view sees anything, it would decide alone.
MOST = {"smooth": 10.0, "pull": 10.0, "two_valued": 3e-3}
# Each time the views are asked, a weight changes by at most a factor whose logarithm lies between these two: so much that
# all times together reach as far as `REACH`, e^20. Long steps follow noise (up to 20 dB on even surfaces with 2000
# iterations), short ones come too late (up to 14 dB with 300; tuning cases).
SHORTEST_STEP, LONGEST_STEP, REACH = 0.3, 0.7, 20.0
# The share of its way (as a logarithm) that a weight goes back to where it began: without it, weights of which the views say
# nothing wander off (up to 4 dB; tuning cases).
HOMESICK = 0.03
# One view in so many is kept back, and none of fewer than the second number.
_KEPT_BACK, _FEWEST_VIEWS = 16, 8


def first_priors(channels: int, device: torch.device, two_valued: float = TWO_VALUED) -> Priors:
    """The priors of maps with so many channels, with the weights with which a fit begins; two_valued: see `two_valued_of`."""
    smooth = torch.full((channels,), SMOOTH_KD, device=device)
    smooth[ROUGHNESS.start : METALLIC.stop] = SMOOTH_KS
    smooth[NORMAL] = SMOOTH_NORMAL
    weight = torch.full((1,), two_valued, device=device)
    return Priors(smooth, weight, torch.full((channels,), PULL, device=device))


def two_valued_of(start: BakedStart | None) -> float:
    """How much it weighs at first that metallic is 0 or 1: nothing where anything is known, which says more."""
    if start is None:
        return TWO_VALUED
    return 0.0 if bool((start.stiffness > 0).any()) else TWO_VALUED_WHEN_CORRECTED


def split_views(
    table: SampleTable | StepRows, most: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which rows the fit fits to, and at most `most` rows of views that it keeps back, both int64 [N]."""
    views = torch.unique(table.view_index)
    everything = torch.arange(len(table), device=views.device)
    if len(views) < _FEWEST_VIEWS:
        return everything, everything[:0]
    shuffled = views[torch.randperm(len(views), generator=generator, device=views.device)]
    back = torch.isin(table.view_index, shuffled[: max(1, round(len(views) / _KEPT_BACK))])
    rows = everything[back]
    return everything[~back], rows[torch.randperm(len(rows), generator=generator, device=rows.device)[:most]]


@torch.no_grad()
def rebalance_(priors: Priors, first: Priors, gains: torch.Tensor, times: int = 50) -> None:
    """Change the weights of the priors in place.

    first  the weights with which the fit began; what says nothing goes back there
    gains  [3, C, 2], what the views that were kept back say (`render.material.priors.prior_gains`)
    times  how often the views are asked in the whole fit
    """
    longest = min(LONGEST_STEP, max(SHORTEST_STEP, REACH / max(times, 1)))
    smooth, pull = KINDS.index("smooth"), KINDS.index("pull")
    for channels in weight_groups(gains.shape[1]):
        _weigh(priors.smooth[channels], first.smooth[channels], gains[smooth, channels], longest, MOST["smooth"])
        if priors.stiffness is not None:
            _weigh(priors.pull[channels], first.pull[channels], gains[pull, channels], longest, MOST["pull"])
    if priors.start is None:  # see `two_valued_of`
        two_valued = gains[KINDS.index("two_valued"), METALLIC]
        _weigh(priors.two_valued, first.two_valued, two_valued, longest, MOST["two_valued"])


def _weigh(weight: torch.Tensor, home: torch.Tensor, gains: torch.Tensor, longest: float, most: float) -> None:
    """Change a weight, in place, by what its channels' gains [n, 2] say together."""
    total, squares = gains.sum(0)
    surety = total / squares.sqrt().clamp(min=1e-30)
    step = longest * torch.tanh(surety / 2) + HOMESICK * (home / weight).log()
    weight.mul_(step.exp()).clamp_(LEAST, most)
