"""The views that are kept back: now and then the fit asks them how much the priors should weigh (`backend.fit.balance`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from backend.fit.balance import rebalance_
from backend.fit.objective import bound_of
from backend.fit.sample_table import StepRows
from backend.fit.state import FitState, level_of_detail
from backend.fit.steps import Steps
from render.material.priors import Priors
from render.shading.kernels.fused_samples import fused_sample_gradients
from render.texture.fixed_lookup import Taps


@dataclass(frozen=True)
class LitRows:
    """Rows that one light lights, and their taps where those are worth keeping. light: its number."""

    light: int
    rows: StepRows
    taps: Taps | None


class AskedViews:
    """parts: the rows, of this process; in_all: how many all processes have. first: the weights with which the fit began."""

    def __init__(self, state: FitState, parts: Sequence[LitRows], in_all: int, first: Priors) -> None:
        self._state, self._parts, self._in_all, self._first = state, parts, in_all, first

    def ask(self, steps: Steps, times: int) -> None:
        """Change the weights of the priors, and the bound of the loss; the views are asked so many `times` in the whole fit.

        Before the first of the steps, change the bound alone.
        """
        state, rows = self._state, steps.pyramid_rows()
        gradient, loss = steps.no_gradient(), torch.zeros((), device=rows.device)
        for part in self._parts:
            loss += self._add_gradient(rows, part, gradient)
        gains = steps.gains(gradient, loss)
        state.bound.copy_(bound_of(loss))
        if gains is not None:
            rebalance_(state.priors, self._first, gains, times)

    def _add_gradient(self, rows: torch.Tensor, part: LitRows, gradient: torch.Tensor) -> torch.Tensor:
        """Add that of a part's share of the loss to the gradient [T, C] of the pyramid's rows. Returns its share."""
        state, samples = self._state, part.rows
        with torch.no_grad():
            light = state.prefiltered(part.light)
        if state.fuses:
            found = fused_sample_gradients(
                rows, samples.uv, level_of_detail(samples, state.resolution), state.resolution, state.levels,
                samples.normal, samples.tangent, samples.sign, samples.view, samples.color, samples.alpha,
                light, state.ggx, state.plan.model, state.bound, samples.shadow, total=self._in_all, onto=gradient,
            )  # fmt: skip
            return found.loss.detach()
        read = rows.detach().requires_grad_(True)
        loss = state.loss_of_values(state.read(read, samples, part.taps), samples, light)
        loss = loss * (len(samples) / self._in_all)
        gradient += torch.autograd.grad(loss, read)[0]
        return loss.detach()
