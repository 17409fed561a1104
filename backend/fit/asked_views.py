"""The views that are kept back: now and then the fit asks them how much the priors should weigh (`backend.fit.balance`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from backend.fit.balance import rebalance_
from backend.fit.objective import bound_of
from backend.fit.sample_table import StepRows
from backend.fit.state import FitState, level_of_detail
from render.material.priors import Priors
from render.shading.kernels.fused_samples import fused_sample_gradients
from render.texture.fixed_lookup import Taps, pyramid


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

    def ask(self, rows: torch.Tensor, squared: torch.Tensor | None, times: int) -> None:
        """Change the weights of the priors, and the bound of the loss. rows: of the maps' pyramid. squared: see `rebalance_`, as
        `times`; None: change the bound alone."""
        state = self._state
        # Of a team's maps, the rows have what other processes have changed beside the band of this one.
        texels = rows[: state.resolution**2].reshape(state.texels.shape).detach().requires_grad_(True)
        gradient, loss = None, torch.zeros((), device=rows.device)
        for part in self._parts:
            found, own = self._gradient(rows, part)
            weight = len(part.rows) / self._in_all
            gradient = found.mul_(weight) if gradient is None else gradient.add_(found, alpha=weight)
            loss += own * weight
        if gradient is None:
            gradient = torch.zeros_like(rows)
        state.add_up_gradient(gradient)
        state.team.add_up(loss)
        state.bound.copy_(bound_of(loss))
        if squared is not None:
            (folded,) = torch.autograd.grad(pyramid(texels, state.levels), texels, gradient)
            rebalance_(state.priors, self._first, texels.detach(), folded, squared, times, state.own, state.team.add_up)

    def _gradient(self, rows: torch.Tensor, part: LitRows) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient [T, C] of the loss under the part's light, to the rows of the pyramid, and the loss."""
        state, samples = self._state, part.rows
        with torch.no_grad():
            light = state.prefiltered(part.light)
        if state.fuses:
            found = fused_sample_gradients(
                rows, samples.uv, level_of_detail(samples, state.resolution), state.resolution, state.levels,
                samples.normal, samples.tangent, samples.sign, samples.view, samples.color, samples.alpha,
                light, state.ggx, state.plan.model, state.bound, samples.shadow,
            )  # fmt: skip
            return found.texels, found.loss.detach()
        read = rows.detach().requires_grad_(True)
        loss = state.loss_of_values(state.read(read, samples, part.taps), samples, light)
        (gradient,) = torch.autograd.grad(loss, read)
        return gradient, loss.detach()
