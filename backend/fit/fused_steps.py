"""An iteration of the fit in kernels from end to end, for opaque maps on a GPU with Triton.

With the light learned it takes 60 launches instead of 280; with one known light, 20 instead of 118. What one kernel
writes, the next reads once (docs/performance.md has the times).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from backend.fit.sample_table import StepRows
from backend.fit.state import FitState, adam_epsilon
from render.light.environment import PrefilteredLight
from render.material.kernels.texel_steps import TexelSteps
from render.shading.kernels.fused_samples import SampleGradients, fused_sample_gradients


@dataclass(frozen=True)
class BatchPart:
    """The rows of a batch that one light lights: `count` rows from the batch's row `start`. light: its number."""

    light: int
    start: int
    count: int


@lru_cache(maxsize=8)
def _second_stream(device: str) -> torch.cuda.Stream:
    """The stream of what runs beside the maps' kernels."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # PyTorch does not annotate it


class FusedIteration:
    """Iterations over batches of the table that begin at row `first`, int64 on the device, and have these parts.

    level: each row's level of detail.
    """

    def __init__(
        self, state: FitState, table: StepRows, level: torch.Tensor, first: torch.Tensor, parts: Sequence[BatchPart]
    ) -> None:
        self._state, self._table, self._level, self._first, self._parts = state, table, level, first, parts
        self._light = state.fused_light
        self._texels = TexelSteps(
            state.texels.detach(),
            state.levels,
            state.priors,
            state.fitted(),
            adam_epsilon(state.texels),
            state.band,
            state.team.add_up,
        )
        # The learned light as the samples of the next iteration read it, at one place, since a graph remembers places.
        self._lit = None if self._light is None else self._light.prefiltered()
        device = state.texels.device
        self._beside = _second_stream(str(device)) if device.type == "cuda" else None

    @property
    def squared_gradients(self) -> torch.Tensor:
        """Adam's mean of the maps' squared gradients, [H, W, C], without the factor that makes it unbiased."""
        return self._texels.second

    @property
    def rows(self) -> torch.Tensor:
        """The rows of the maps' pyramid [T, C]; in a team, those that this process reads."""
        return self._texels.rows

    def no_gradient(self) -> torch.Tensor:
        """A gradient of zeros for `gains`, [T, C]."""
        return self._texels.no_gradient()

    @torch.no_grad()
    def gains(self, gradient: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        """`render.material.priors.prior_gains` of a gradient [T, C], over all processes, whose losses become their sum."""
        told = self._texels.told(gradient)
        self._state.team.add_up(loss, *told)
        return self._texels.gains(gradient, told)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the optimizer of the maps keeps."""
        return self._texels.tensors()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over maps, light and what their optimizers keep, which somebody has changed."""
        self._texels.refresh()
        if self._light is not None:
            self._light.refresh()
            self._relight()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next iteration: for the maps, and in proportion for the light."""
        self._texels.rate.fill_(learning_rate)
        if self._light is not None:
            self._light.rate.fill_(learning_rate * self._state.plan.light_learning_rate)
            self._light.white_balance.fill_(self._state.plan.white_balance_at(learning_rate))

    @torch.no_grad()
    def run(self) -> torch.Tensor:
        """Run one iteration. Returns the loss of its samples, without priors, a scalar on the device."""
        total = round(sum(part.count for part in self._parts) / self._state.share)
        gradient = self._texels.no_gradient()
        loss: torch.Tensor | None = None
        of_light: tuple[torch.Tensor, torch.Tensor] | None = None
        for part in self._parts:
            known = self._state.lights.known[part.light]
            light = self._lit if known is None else known
            assert light is not None  # the one that is learned here is a `FusedLight`
            found = self._gradients(part, light, known is None, total, gradient)
            loss = found.loss if loss is None else loss + found.loss
            if found.atlas is not None and found.irradiance is not None:
                of_light = found.atlas, found.irradiance
        assert loss is not None  # a batch has rows
        told = self._texels.told(gradient)
        self._state.team.add_up(loss, *(of_light or ()), *told)
        if self._beside is None or of_light is None:
            self._step_light(of_light)
            self._texels.step(gradient, told)
        else:
            # The light's kernels are small, one after another, and the maps' wait for memory: each leaves room for the other.
            now = torch.cuda.current_stream(gradient.device)
            self._beside.wait_stream(now)
            with torch.cuda.stream(self._beside):
                self._step_light(of_light)
            self._texels.step(gradient, told)
            now.wait_stream(self._beside)
        return loss

    def _step_light(self, gradients: tuple[torch.Tensor, torch.Tensor] | None) -> None:
        if self._light is not None and gradients is not None:
            self._light.step(*gradients)
            self._relight()

    def _relight(self) -> None:
        if self._light is not None and self._lit is not None:
            new = self._light.prefiltered()
            self._lit.atlas.copy_(new.atlas)
            self._lit.irradiance.copy_(new.irradiance)

    def _gradients(
        self, part: BatchPart, light: PrefilteredLight, learn_light: bool, total: int, onto: torch.Tensor
    ) -> SampleGradients:
        state, table = self._state, self._table
        return fused_sample_gradients(
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
            first=self._first + part.start if part.start else self._first,
            count=part.count,
            learn_light=learn_light,
            total=total,
            onto=onto,
        )
