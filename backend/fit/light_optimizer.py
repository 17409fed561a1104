"""How a fit learns its light: in logarithms, and at all sizes at once.

Few samples see a texel of a fine cube map. Alone, it takes hundreds of steps to reach the radiance of a sky.
The light is therefore the exponential of a sum of cube maps, from 4 x 4 texels a face to the finest. The coarse ones
learn in a few steps what their texels have in common; the fine ones learn the rest. A step is a share of the radiance,
for a sun as for a shadow.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from backend.fit.adam_state import adam_tensors
from render.light.environment import EnvironmentLight

COARSEST = 4
DARKEST, BRIGHTEST = 1e-4, 6e4


class LightOptimizer:
    """Adam on the pyramid of a light's logarithm. It changes `light.base` in place, by the gradient of it."""

    def __init__(self, light: EnvironmentLight) -> None:
        self._light = light
        with torch.no_grad():
            finest = light.base.clamp(DARKEST, BRIGHTEST).log()
        self.levels = [finest.requires_grad_(True)]
        while self.levels[0].shape[1] % 2 == 0 and self.levels[0].shape[1] // 2 >= COARSEST:
            size = self.levels[0].shape[1] // 2
            self.levels.insert(0, finest.new_zeros(6, size, size, finest.shape[-1]).requires_grad_(True))
        on_gpu = finest.device.type == "cuda"
        rate = torch.zeros((), device=finest.device) if on_gpu else 0.0
        self._adam = torch.optim.Adam(self.levels, lr=rate, betas=(0.9, 0.99), fused=True, capturable=on_gpu)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """As those of a PyTorch optimizer."""
        return self._adam.param_groups

    def tensors(self) -> dict[str, torch.Tensor]:
        """The levels and what Adam keeps of them, besides the light."""
        levels = {f"light_level{number}": level.detach() for number, level in enumerate(self.levels)}
        return levels | adam_tensors(self._adam, list(self.levels), "light")

    def zero_grad(self) -> None:
        """Forget the gradient of `light.base`."""
        self._light.base.grad = None

    def step(self) -> None:
        """Take a step by `light.base.grad`. Raises ValueError where there is none."""
        base = self._light.base
        if base.grad is None:
            raise ValueError("the light has no gradient: call backward on a loss that reads it first")
        with torch.enable_grad():
            logarithm = _sum_of(self.levels)
        gradients = torch.autograd.grad(logarithm, self.levels, base.grad * base.detach())
        for level, gradient in zip(self.levels, gradients, strict=True):
            level.grad = gradient
        self._adam.step()
        with torch.no_grad():
            base.copy_(_sum_of(self.levels).exp().clamp(max=BRIGHTEST))


def _sum_of(levels: list[torch.Tensor]) -> torch.Tensor:
    """The sum of cube maps [6, R, R, C] whose sizes double, coarsest first, each enlarged to the size of the finest."""
    total = levels[0].permute(0, 3, 1, 2)
    for level in levels[1:]:
        wide = F.interpolate(total, scale_factor=2, mode="bilinear", align_corners=False)
        total = wide + level.permute(0, 3, 1, 2)
    return total.permute(0, 2, 3, 1)
