"""How a fit learns its light: in logarithms, and at all sizes at once.

A texel of a fine cube map is seen by few samples, and by itself takes hundreds of steps to reach the radiance of a sky.
The light is therefore the exponential of a sum of cube maps, from 4 x 4 texels a face to the finest: coarse ones learn
in a few steps what is common to their texels, fine ones what is left, and a step is a share of the radiance, whether of
a sun or a shadow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from render.light.environment import EnvironmentLight

COARSEST = 4
DARKEST, BRIGHTEST = 1e-4, 6e4


class LightOptimizer:
    """Adam on the pyramid of a light's logarithm; changes `light.base` in place, by its gradient."""

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
    def param_groups(self) -> list[dict]:
        """As those of a torch optimiser."""
        return self._adam.param_groups

    def zero_grad(self) -> None:
        self._light.base.grad = None

    def step(self) -> None:
        """A step by `light.base.grad`."""
        base = self._light.base
        with torch.enable_grad():
            logarithm = _sum_of(self.levels)
        gradients = torch.autograd.grad(logarithm, self.levels, base.grad * base.detach())
        for level, gradient in zip(self.levels, gradients, strict=True):
            level.grad = gradient
        self._adam.step()
        with torch.no_grad():
            base.copy_(_sum_of(self.levels).exp().clamp(max=BRIGHTEST))


def _sum_of(levels: list[torch.Tensor]) -> torch.Tensor:
    """Cube maps [6, R, R, C] of doubling size, coarsest first, enlarged and added: the finest's size."""
    total = levels[0].permute(0, 3, 1, 2)
    for level in levels[1:]:
        wide = F.interpolate(total, scale_factor=2, mode="bilinear", align_corners=False)
        total = wide + level.permute(0, 3, 1, 2)
    return total.permute(0, 2, 3, 1)
