"""An iteration of the fit in kernels from end to end, for opaque maps on a GPU with Triton.

With the light learned it takes 60 launches instead of 280; with the light known, 20 instead of 118. What one kernel
writes, the next reads once (docs/performance.md has the times).
"""

from __future__ import annotations

import torch

from backend.fit.sample_table import StepRows
from backend.fit.state import FitState, adam_epsilon
from render.material.kernels.texel_steps import TexelSteps
from render.shading.kernels.fused_samples import fused_sample_gradients


class FusedIteration:
    """Iterations over `size` rows of the table from row `first`, int64 on the device; `level`: each row's level of detail."""

    def __init__(self, state: FitState, table: StepRows, level: torch.Tensor, first: torch.Tensor, size: int) -> None:
        self._state, self._table, self._level, self._first, self._size = state, table, level, first, size
        self._light = state.fused_light
        self._texels = TexelSteps(
            state.texels.detach(), state.levels, state.priors, state.fitted(), adam_epsilon(state.texels)
        )

    @property
    def squared_gradients(self) -> torch.Tensor:
        """Adam's mean of the maps' squared gradients, [R, R, C], without the factor that makes it unbiased."""
        return self._texels.second

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the optimizer of the maps keeps."""
        return self._texels.tensors()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over maps, light and what their optimizers keep, which somebody has changed."""
        self._texels.refresh()
        if self._light is not None:
            self._light.refresh()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next iteration: for the maps, and in proportion for the light."""
        self._texels.rate.fill_(learning_rate)
        if self._light is not None:
            self._light.rate.fill_(learning_rate * self._state.plan.light_learning_rate)
            self._light.white_balance.fill_(self._state.plan.white_balance_at(learning_rate))

    @torch.no_grad()
    def run(self) -> torch.Tensor:
        """Run one iteration. Returns the loss of its samples, without priors, a scalar on the device."""
        state, table = self._state, self._table
        light = state.prefiltered() if self._light is None else self._light.prefiltered()
        found = fused_sample_gradients(
            self._texels.rows,
            table.uv,
            self._level,
            state.resolution,
            state.levels,
            table.normal,
            table.tangent,
            table.sign,
            table.view,
            table.color,
            table.alpha,
            light,
            state.ggx,
            state.plan.model,
            state.bound,
            table.shadow,
            first=self._first,
            count=self._size,
            learn_light=self._light is not None,
        )
        if self._light is not None:
            # `learn_light` asks for both.
            assert found.atlas is not None
            assert found.irradiance is not None
            self._light.step(found.atlas, found.irradiance)
        self._texels.step(found.texels)
        return found.loss
