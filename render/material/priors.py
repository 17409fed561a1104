"""Priors of maps: what moves texels where samples say little, in plain PyTorch. `texel_steps` has them in a kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS

# A step between neighboring texels that counts as an edge; smaller steps are smoothed.
EDGE = 0.03
GAIN_EPSILON = 1e-12
KINDS = ("two_valued", "smooth", "pull")
"""The fields of `Priors` that have weights, in the order of what `prior_gains` returns."""
# Channels that share a weight; alpha is one more where there is one.
_GROUPS = (KD, ROUGHNESS, METALLIC, NORMAL)
# The sum over texels of a smooth surface's squared steps does not depend on the map size. Maps of fewer
# texels than this weigh each step more, so that coarse sizes do not settle on metal or paint from a few noisy samples
# (0.3 dB on the demo).
_PRIOR_TEXELS = 512 * 512


@dataclass(frozen=True)
class Priors:
    """Weights of the priors of maps [H, W, C], as tensors on their device: who changes them in place changes every later step.

    smooth     [C], of evenness: of the texels, or of their difference from `start`
    two_valued [1], of metallic at 0 or 1
    pull       [C], towards `start`
    start      [H, W, C], the maps that the fit began with, or None where it began with no knowledge
    stiffness  [H, W, C], how much more than others a value is pulled towards its start; there where `start` is
    """

    smooth: torch.Tensor
    two_valued: torch.Tensor
    pull: torch.Tensor
    start: torch.Tensor | None = None
    stiffness: torch.Tensor | None = None

    def at_start(self, start: torch.Tensor | None, stiffness: torch.Tensor | None) -> Priors:
        """The same weights (the same tensors) for maps with another start."""
        return replace(self, start=start, stiffness=stiffness)


def no_priors(channels: int, device: torch.device | str = "cpu") -> Priors:
    """Priors that weigh nothing."""
    zero = torch.zeros(channels, device=device)
    return Priors(zero, torch.zeros(1, device=device), zero.clone())


def smooth_share(texels: int) -> float:
    """The share of the smoothness' weight that each of `texels` texels has."""
    return 1.0 / min(texels, _PRIOR_TEXELS)


def unevenness(change: torch.Tensor) -> torch.Tensor:
    """The gradient of the smoothness of maps, or of their changes, [H, W, C], for weight 1 and share 1.

    The term is the sum over texels of e^2 (sqrt(1 + (d / e)^2) - 1) over the steps d to the right and lower neighbor
    (Charbonnier). It is quadratic for small steps, so noise is averaged, and linear for large ones, so edges stay.
    """
    gradient = torch.zeros_like(change)
    for step, near, far in (
        (change[1:] - change[:-1], gradient[:-1], gradient[1:]),
        (change[:, 1:] - change[:, :-1], gradient[:, :-1], gradient[:, 1:]),
    ):
        slope = step / (1 + (step / EDGE).square()).sqrt()
        near -= slope
        far += slope
    return gradient


@dataclass(frozen=True)
class Term:
    """A prior of some channels: its gradient for weight 1, [H, W, n], and its weight, a view of that in the `Priors`.

    name: of the field of `Priors` that has the weight.
    """

    name: str
    weight: torch.Tensor
    channels: slice
    gradient: torch.Tensor


@torch.no_grad()
def prior_terms(texels: torch.Tensor, priors: Priors) -> list[Term]:
    """The terms of all priors of texels [H, W, C]: smoothness and pull of each group of channels, and metallic at 0 or 1.

    The mean over the texels weighs them, but smoothness that over at most 512 x 512.
    """
    count = texels.shape[0] * texels.shape[1]
    metallic = texels[..., METALLIC]
    terms = [Term("two_valued", priors.two_valued, METALLIC, (1 - 2 * metallic) / count)]
    change = texels if priors.start is None else texels - priors.start
    uneven = unevenness(change) * smooth_share(count)
    pulled = None if priors.stiffness is None else change * priors.stiffness / count
    for channels in weight_groups(texels.shape[2]):
        terms.append(Term("smooth", priors.smooth[channels], channels, uneven[..., channels]))
        if pulled is not None:
            terms.append(Term("pull", priors.pull[channels], channels, pulled[..., channels]))
    return terms


def weight_groups(channels: int) -> list[slice]:
    """The groups of channels that share a weight, of maps with so many channels."""
    return [group for group in (*_GROUPS, slice(NORMAL.stop, channels)) if group.start < channels]


@torch.no_grad()
def prior_gains(
    texels: torch.Tensor,
    priors: Priors,
    gradient: torch.Tensor,
    squared: torch.Tensor,
) -> torch.Tensor:
    """How much a loss falls where maps take a step of Adam's along each prior's gradient (for weight 1) instead of its own:
    sums over texels of the products of the two gradients and of their squares, [3, C, 2].

    The first axis has `KINDS`, the second the channels; those that a kind does not have are 0.

    texels, gradient, squared  [H, W, C]: the maps, the loss's gradient, and Adam's mean of the squared gradients, by whose root
                               the products are divided
    """
    stepped = gradient / (squared.sqrt() + GAIN_EPSILON)
    gains = torch.zeros(len(KINDS), texels.shape[2], 2, device=texels.device)
    for term in prior_terms(texels, priors):
        gain = stepped[..., term.channels] * term.gradient
        gains[KINDS.index(term.name), term.channels, 0] = gain.sum((0, 1))
        gains[KINDS.index(term.name), term.channels, 1] = gain.square().sum((0, 1))
    return gains


@torch.no_grad()
def add_prior_gradient_(gradient: torch.Tensor, texels: torch.Tensor, priors: Priors) -> None:
    """Add to `gradient` that of the priors of texels, both [H, W, C], in place."""
    for term in prior_terms(texels, priors):
        gradient[..., term.channels] += term.weight * term.gradient
