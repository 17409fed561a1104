"""The error of the held-out views during a fit, as `backend.fit.held_out` measures it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backend.fit.asked_views import LitRows
from backend.fit.objective import shade_samples
from backend.fit.sample_table import SampleTable, StepRows
from backend.fit.state import FitState, level_of_detail
from render.core.color import linear_to_srgb
from render.shading.kernels.fused_samples import fused_sample_error
from render.texture.fixed_lookup import Taps


class JudgedViews:
    """parts: the rows of this process; in_all: how many all processes of the team have."""

    def __init__(self, state: FitState, parts: Sequence[LitRows], in_all: int) -> None:
        self._state, self._parts, self._in_all = state, parts, in_all

    @torch.no_grad()
    def error(self, levels: torch.Tensor) -> torch.Tensor:
        """The mean squared error, a scalar on the device; levels: the rows of the maps' pyramid."""
        total = torch.zeros((), device=levels.device)
        for part in self._parts:
            total += self._mean_error(levels, part) * (len(part.rows) / self._in_all)
        self._state.team.add_up(total)
        return total

    def _mean_error(self, levels: torch.Tensor, part: LitRows) -> torch.Tensor:
        state, rows = self._state, part.rows
        if not state.fuses:
            return squared_error(state, levels, rows, part.light, part.taps).mean()
        return fused_sample_error(
            levels, rows.uv, level_of_detail(rows, state.resolution), state.resolution, state.levels,
            rows.normal, rows.tangent, rows.sign, rows.view, rows.color,
            state.prefiltered(part.light), state.ggx, state.plan.model, rows.shadow,
        )  # fmt: skip


def squared_error(
    state: FitState, levels: torch.Tensor, rows: SampleTable | StepRows, light: int, taps: Taps | None = None
) -> torch.Tensor:
    """Squared sRGB error of each pixel, [P, 3], with colors clipped to 0..1, under the light of this number; levels: the rows of
    the maps' pyramid."""
    values = state.read(levels, rows, taps).reshape(*rows.valid.shape, -1)
    prediction = shade_samples(values, rows, state.prefiltered(light), state.ggx, state.plan.model)
    return (linear_to_srgb(prediction[:, :3]).clamp(max=1) - linear_to_srgb(rows.color).clamp(max=1)).square()
