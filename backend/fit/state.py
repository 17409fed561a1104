"""What the iterations of a fit change and weigh, and one iteration in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from backend.fit.fused_light_optimizer import FusedLight
from backend.fit.light_optimizer import LightOptimizer
from backend.fit.objective import sample_loss
from backend.fit.sample_table import SampleTable, StepRows
from backend.fit.team import ALONE, Team
from backend.fit.view_lights import ViewLights
from render.bsdf.ggx import GgxTable
from render.light.environment import EnvironmentLight, PrefilteredLight
from render.material.material import METALLIC, NORMAL, ROUGHNESS, project_
from render.material.priors import Priors, add_prior_gradient_
from render.shading.models import ShadingModel
from render.texture.bands import Band
from render.texture.fixed_lookup import Taps, lookup, pyramid
from render.texture.kernels.texture_lookup import lookup_at
from render.texture.map_size import MapSize, size_of

EPSILON = 3e-9 * 512 * 512


@dataclass(frozen=True)
class StepPlan:
    """What an iteration weighs and changes. `backend.fit.fit_plan.FitPlan` explains the fields."""

    model: ShadingModel
    fit_normal: bool
    fit_ks: bool
    learn_light: bool
    learning_rate: float
    light_learning_rate: float
    white_balance: float

    def white_balance_at(self, learning_rate: float) -> float:
        """The weight of the light's white balance in an iteration with this learning rate.

        It picks one of the lights that show the same, and must not hold the fit back: with a constant weight, 43 dB
        instead of 50 on a varied surface (H200, 1000 iterations; tuning cases).
        """
        return self.white_balance * (learning_rate / self.learning_rate) ** 2


@dataclass
class FitState:
    """What the iterations change: the maps, the light and their optimizers.

    levels  of the maps' pyramid
    priors  of the maps at their size
    bound   where the loss of a residual turns from square to linear, a float on the device
    white_balance  its weight in the next iteration, a float on the device
    fuses   whether the iterations are `backend.fit.fused_steps.FusedIteration`s
    lights  those of the references; the one that is learned, if any, is `light`
    light_optimizer, fused_light  of a light that is learned: the second one where the iterations fuse, else the first one
    team    the processes that share the fit
    share   which part of the rows of all of them this one has

    Where iterations fuse, each process of a team steps the texels of its band alone (`render.texture.bands`). Only these are
    right in `texels` until the team collects them. Else each steps all of them, with the gradient of all.
    """

    texels: torch.Tensor
    levels: int
    light: EnvironmentLight
    lights: ViewLights
    ggx: GgxTable
    plan: StepPlan
    priors: Priors
    optimizer: torch.optim.Optimizer
    light_optimizer: LightOptimizer | None
    white_balance: torch.Tensor
    bound: torch.Tensor
    fused_light: FusedLight | None = None
    fuses: bool = False
    team: Team = ALONE
    share: float = 1.0

    @property
    def resolution(self) -> MapSize:
        return size_of(self.texels)

    @property
    def band(self) -> Band | None:
        """The rows that this process steps; None: all."""
        return self.team.band(self.resolution, self.levels) if self.fuses and self.team.size > 1 else None

    def read(self, rows: torch.Tensor, samples: SampleTable | StepRows, taps: Taps | None = None) -> torch.Tensor:
        """What samples read of the rows of the maps' pyramid, [P * K, C]; `taps` of theirs where there are any."""
        if taps is not None:
            return lookup(rows, taps)
        level = level_of_detail(samples, self.resolution)
        return lookup_at(rows, samples.uv.reshape(-1, 2), level, self.resolution, self.levels)

    def prefiltered(self, number: int = 0) -> PrefilteredLight:
        """The known light of this number, or what is learned of the light now."""
        known = self.lights.known[number]
        return self.light.build_mips() if known is None else known

    def iterate(self, loss_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Compute the loss and its gradient, add the priors, and step the optimizers. Set their learning rates before.

        loss_of  computes the loss of a batch from the rows of the maps' pyramid
        """
        plan = self.plan
        if self.light_optimizer is not None:
            self.light_optimizer.zero_grad()
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(pyramid(self.texels, self.levels))
        if self.light_optimizer is not None and plan.white_balance > 0:
            loss = loss + self.white_balance * self.light.regularizer()
        if self.team.size > 1:
            loss = loss * self.share
        torch.autograd.backward(loss)
        gradient, loss = self.texels.grad, loss.detach()
        assert gradient is not None  # `backward` has made it
        self.team.add_up(gradient, loss)
        if self.light_optimizer is not None:
            if self.team.size > 1:
                self._add_up_light()
            if self.light.base.grad is not None:  # None: known lights light the batch
                self.light_optimizer.step()
        add_prior_gradient_(gradient, self.texels.detach(), self.priors)
        self._freeze_unfitted_(gradient)
        self.optimizer.step()
        project_(self.texels.data)
        return loss

    def _add_up_light(self) -> None:
        base = self.light.base
        base.grad = torch.zeros_like(base) if base.grad is None else base.grad
        self.team.add_up(base.grad)

    def loss_of_values(self, read: torch.Tensor, rows: StepRows, light: PrefilteredLight) -> torch.Tensor:
        """The loss of rows whose material values are [P * K, C]."""
        return sample_loss(read.reshape(*rows.valid.shape, -1), rows, light, self.ggx, self.plan.model, self.bound)

    def fitted(self) -> torch.Tensor:
        """Which channels the fit changes, bool [C]."""
        channels = torch.ones(self.texels.shape[2], dtype=torch.bool, device=self.texels.device)
        channels[NORMAL] = self.plan.fit_normal
        channels[ROUGHNESS.start : METALLIC.stop] = self.plan.fit_ks
        return channels

    def _freeze_unfitted_(self, gradient: torch.Tensor) -> None:
        if not self.plan.fit_normal:
            gradient[..., NORMAL] = 0
        if not self.plan.fit_ks:
            gradient[..., ROUGHNESS.start : METALLIC.stop] = 0


def level_of_detail(rows: SampleTable | StepRows, resolution: MapSize) -> torch.Tensor:
    """The pyramid's level that each sample reads, [P * K]."""
    return torch.log2((rows.footprint * resolution.edge).clamp(min=1e-6)).reshape(-1)


def set_learning_rates(state: FitState, learning_rate: float) -> None:
    """Set the rate of the maps, and in proportion that of the light; on CUDA in tensors, which captured optimizers read."""
    state.white_balance.fill_(state.plan.white_balance_at(learning_rate))
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
    epsilon = adam_epsilon(parameter)
    return torch.optim.Adam([parameter], lr=rate, betas=(0.9, 0.99), eps=epsilon, fused=True, capturable=on_gpu)


def adam_epsilon(texels: torch.Tensor) -> float:
    """Adam's epsilon for maps [H, W, C]: in proportion to a texel's share of the loss, 3e-9 for 512 x 512.

    It decides when steps of one size end and steps in proportion to the gradient begin, with which a fit converges.
    """
    return EPSILON / (texels.shape[0] * texels.shape[1])
