"""What the iterations of a fit change and weigh, and one iteration in plain PyTorch."""

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
    """What an iteration weighs and changes. `backend.fit.table_fit.FitPlan` explains the fields."""

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
    """What the iterations change: the maps, the light and their optimizers.

    levels  of the maps' pyramid
    fuses   whether the iterations are `backend.fit.fused_steps.FusedIteration`s
    light_optimizer, fused_light  of a light that is learned: the second one where the iterations fuse, else the first one
    """

    texels: torch.Tensor
    levels: int
    light: EnvironmentLight
    known_light: PrefilteredLight | None
    ggx: GgxTable
    plan: StepPlan
    optimizer: torch.optim.Optimizer
    light_optimizer: LightOptimizer | None
    fused_light: FusedLight | None = None
    fuses: bool = False

    @property
    def resolution(self) -> int:
        return self.texels.shape[0]

    def prefiltered(self) -> PrefilteredLight:
        """The current light."""
        return self.light.build_mips() if self.known_light is None else self.known_light

    def iterate(self, loss_of: Callable[[torch.Tensor, PrefilteredLight], torch.Tensor]) -> torch.Tensor:
        """Compute the loss and its gradient, add the priors, and step the optimizers. Set their learning rates before.

        loss_of  computes the loss of a batch from the rows of the maps' pyramid and the light
        """
        plan = self.plan
        if self.light_optimizer is not None:
            self.light_optimizer.zero_grad()
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(pyramid(self.texels, self.levels), self.prefiltered())
        if self.light_optimizer is not None and plan.white_balance > 0:
            loss = loss + plan.white_balance * self.light.regularizer()
        torch.autograd.backward(loss)
        if self.light_optimizer is not None:
            self.light_optimizer.step()
        gradient = self.texels.grad
        assert gradient is not None  # `backward` has made it
        self._add_priors_(gradient)
        self._freeze_unfitted_(gradient)
        self.optimizer.step()
        project_(self.texels.data)
        return loss.detach()

    def loss_of_values(self, read: torch.Tensor, rows: StepRows, light: PrefilteredLight) -> torch.Tensor:
        """The loss of rows whose material values are [P * K, C]."""
        return sample_loss(read.reshape(*rows.valid.shape, -1), rows, light, self.ggx, self.plan.model)

    def smoothness(self) -> torch.Tensor:
        """The weight of each channel's smoothness, [C]."""
        plan = self.plan
        weights = self.texels.new_full((self.texels.shape[2],), plan.smooth_kd)
        weights[ROUGHNESS.start : METALLIC.stop] = plan.smooth_ks
        weights[NORMAL] = plan.smooth_normal
        return weights

    def fitted(self) -> torch.Tensor:
        """Which channels the fit changes, bool [C]."""
        channels = torch.ones(self.texels.shape[2], dtype=torch.bool, device=self.texels.device)
        channels[NORMAL] = self.plan.fit_normal
        channels[ROUGHNESS.start : METALLIC.stop] = self.plan.fit_ks
        return channels

    @torch.no_grad()
    def _add_priors_(self, gradient: torch.Tensor) -> None:
        texels, plan = self.texels.data, self.plan
        add_smoothness_gradient_(gradient, texels, self.smoothness())
        scale = plan.metallic_prior / (texels.shape[0] * texels.shape[1])
        gradient[..., METALLIC] += scale * (1 - 2 * texels[..., METALLIC])

    def _freeze_unfitted_(self, gradient: torch.Tensor) -> None:
        if not self.plan.fit_normal:
            gradient[..., NORMAL] = 0
        if not self.plan.fit_ks:
            gradient[..., ROUGHNESS.start : METALLIC.stop] = 0


def level_of_detail(rows: SampleTable | StepRows, resolution: int) -> torch.Tensor:
    """The pyramid's level that each sample reads, [P * K]."""
    return torch.log2((rows.footprint * resolution).clamp(min=1e-6)).reshape(-1)


def set_learning_rates(state: FitState, learning_rate: float) -> None:
    """Set the rate of the maps, and in proportion that of the light; on CUDA in tensors, which captured optimizers read."""
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
    """Adam as the fit uses it. On a GPU its learning rate is a tensor, so that a captured graph can read it."""
    on_gpu = parameter.device.type == "cuda"
    rate = torch.zeros((), device=parameter.device) if on_gpu else 0.0
    return torch.optim.Adam([parameter], lr=rate, betas=(0.9, 0.99), fused=True, capturable=on_gpu)
