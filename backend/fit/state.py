"""What the iterations of a fit change and weigh, and the plain way of one iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from backend.fit.fused_light_optimizer import FusedLight
from backend.fit.light_optimizer import LightOptimizer
from backend.fit.objective import add_smoothness_gradient_, sample_loss
from backend.fit.sample_table import SampleTable, StepRows
from render.bsdf.ggx import GgxTable
from render.light.environment import EnvironmentLight, PrefilteredLight
from render.material.material import METALLIC, NORMAL, ROUGHNESS, project_
from render.shading.models import ShadingModel
from render.texture.fixed_lookup import pyramid


@dataclass(frozen=True)
class StepPlan:
    """What an iteration weighs and changes; see `backend.fit.table_fit.FitPlan`."""

    model: ShadingModel
    smooth_kd: float
    smooth_ks: float
    smooth_normal: float
    metallic_prior: float
    fit_normal: bool
    fit_ks: bool
    learn_light: bool
    light_learning_rate: float
    white_balance: float


@dataclass
class FitState:
    """What the iterations change: the maps, the light and their optimisers. `levels` of the maps' pyramid.

    `fuses`: the iterations are `backend.fit.fused_steps.FusedIteration`s; then the light's optimiser is a `FusedLight`.
    """

    texels: torch.Tensor
    levels: int
    light: EnvironmentLight
    known_light: PrefilteredLight | None
    ggx: GgxTable
    plan: StepPlan
    optimizer: torch.optim.Optimizer
    light_optimizer: LightOptimizer | FusedLight | None
    fuses: bool = False

    @property
    def resolution(self) -> int:
        return self.texels.shape[0]

    def prefiltered(self) -> PrefilteredLight:
        """The light as it is now."""
        return self.light.build_mips() if self.known_light is None else self.known_light

    def iterate(self, loss_of: Callable[[torch.Tensor, PrefilteredLight], torch.Tensor]) -> torch.Tensor:
        """Loss and its gradient, priors, and a step of the optimisers, whose learning rates are set before.

        loss_of  gives the loss of a batch from the rows of the maps' pyramid, and the light
        """
        plan = self.plan
        if self.light_optimizer is not None:
            self.light_optimizer.zero_grad()
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(pyramid(self.texels, self.levels), self.prefiltered())
        if self.light_optimizer is not None and plan.white_balance > 0:
            loss = loss + plan.white_balance * self.light.regularizer()
        loss.backward()
        if self.light_optimizer is not None:
            self.light_optimizer.step()
        self._add_priors_()
        self._freeze_unfitted_()
        self.optimizer.step()
        project_(self.texels.data)
        return loss.detach()

    def loss_of_values(self, read: torch.Tensor, rows: StepRows, light: PrefilteredLight) -> torch.Tensor:
        """The loss of rows whose material values are [P * K, C]."""
        return sample_loss(read.reshape(*rows.valid.shape, -1), rows, light, self.ggx, self.plan.model)

    def smoothness(self) -> torch.Tensor:
        """Weight of each channel's smoothness, [C]."""
        plan = self.plan
        weights = self.texels.new_full((self.texels.shape[2],), plan.smooth_kd)
        weights[ROUGHNESS.start : METALLIC.stop] = plan.smooth_ks
        weights[NORMAL] = plan.smooth_normal
        return weights

    def fitted(self) -> torch.Tensor:
        """Which channels are changed, bool [C]."""
        channels = torch.ones(self.texels.shape[2], dtype=torch.bool, device=self.texels.device)
        channels[NORMAL] = self.plan.fit_normal
        channels[ROUGHNESS.start : METALLIC.stop] = self.plan.fit_ks
        return channels

    @torch.no_grad()
    def _add_priors_(self) -> None:
        gradient, texels, plan = self.texels.grad, self.texels.data, self.plan
        add_smoothness_gradient_(gradient, texels, self.smoothness())
        scale = plan.metallic_prior / (texels.shape[0] * texels.shape[1])
        gradient[..., METALLIC] += scale * (1 - 2 * texels[..., METALLIC])

    def _freeze_unfitted_(self) -> None:
        if not self.plan.fit_normal:
            self.texels.grad[..., NORMAL] = 0
        if not self.plan.fit_ks:
            self.texels.grad[..., ROUGHNESS.start : METALLIC.stop] = 0


def level_of_detail(rows: SampleTable | StepRows, resolution: int) -> torch.Tensor:
    """The pyramid's level each sample reads, [P * K]."""
    return torch.log2((rows.footprint * resolution).clamp(min=1e-6)).reshape(-1)


def set_learning_rates(state: FitState, learning_rate: float) -> None:
    """For the maps, and for the light in proportion; into tensors on CUDA, which the captured optimisers read."""
    light_rate = learning_rate * state.plan.light_learning_rate
    for optimizer, rate in ((state.optimizer, learning_rate), (state.light_optimizer, light_rate)):
        if optimizer is None:
            continue
        group = optimizer.param_groups[0]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def adam(parameter: torch.Tensor) -> torch.optim.Adam:
    """Adam as the fit uses it, its learning rate a tensor where a graph is to read it."""
    on_gpu = parameter.device.type == "cuda"
    rate = torch.zeros((), device=parameter.device) if on_gpu else 0.0
    return torch.optim.Adam([parameter], lr=rate, betas=(0.9, 0.99), fused=True, capturable=on_gpu)
