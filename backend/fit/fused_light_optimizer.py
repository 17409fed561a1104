"""`backend.fit.light_optimizer.LightOptimizer` in Triton: the same steps of the same pyramid of logarithms, in a few kernels."""

from __future__ import annotations

import torch

from backend.fit.light_optimizer import BRIGHTEST, COARSEST, DARKEST
from render.core.kernels.launch import grid
from render.light.cube_atlas import CubeAtlas
from render.light.environment import EnvironmentLight, prefilter_parts
from render.light.kernels.light_prefilter import LightPrefilter, can_prefilter, light_prefilter
from render.light.prefilter import SpecularLevel
from render.light.prefiltered import PrefilteredLight

_BLOCK = 128
_WIDE = 1024


class FusedLight:
    """Prefilters a learned light and steps it by the gradients of what shading read, without host synchronization.

    `light.base` becomes a view of the pyramid that the prefilter reads, so it always holds the current light.
    Attributes, floats on the device, for the next step: ``rate``, the learning rate; ``white_balance``, the weight of
    `EnvironmentLight.regularizer`.
    """

    def __init__(self, light: EnvironmentLight) -> None:
        self._light = light
        prefilter, self._layout, self._levels_of_light = _parts(light)
        self._prefilter = prefilter
        resolution, device = light.base.shape[1], light.base.device
        self._pyramid = prefilter.empty_pyramid()
        texels = 6 * resolution * resolution
        with torch.no_grad():
            self._pyramid[:texels].copy_(light.base.reshape(-1, 3).clamp(DARKEST, BRIGHTEST))
            light.base.data = self._pyramid[:texels].view(light.base.shape)
        self._sizes = [resolution]
        while self._sizes[0] % 2 == 0 and self._sizes[0] // 2 >= COARSEST:
            self._sizes.insert(0, self._sizes[0] // 2)
        counts = [6 * size * size for size in self._sizes]
        # All levels of the logarithm one after another, coarsest first; gradients and moments lie in the same order.
        self._values = torch.zeros(sum(counts), 3, device=device)
        self._values[-texels:].copy_(self._pyramid[:texels].log())
        self._first, self._second = torch.zeros_like(self._values), torch.zeros_like(self._values)
        self._counts = counts
        self.rate, self.white_balance, self._count = (torch.zeros((), device=device) for _ in range(3))

    def prefiltered(self) -> PrefilteredLight:
        """The current light, without gradients."""
        filtered = self._prefilter.forward(self._pyramid)
        atlas = filtered.atlas.permute(2, 0, 1)[None]
        return PrefilteredLight(filtered.irradiance, atlas, self._layout, self._levels_of_light)

    def step(self, atlas: torch.Tensor, irradiance: torch.Tensor) -> None:
        """Take a step by the gradients of the atlas [H, W, 4], which it overwrites, and of the irradiance [9, 3]."""
        # Late: Triton is not there on every machine.
        from render.core.kernels.adam_triton import adam_values
        from render.light.kernels.cube_pyramid_triton import enlarge_transposed, to_logarithm

        fine = self._prefilter.backward(atlas, irradiance)
        texels = self._counts[-1]
        balance = self.white_balance / (3 * texels)
        to_logarithm[grid(texels)](fine, self._pyramid, texels, balance, BRIGHTEST, BLOCK=_BLOCK)
        gradient = torch.empty_like(self._values)
        parts = torch.split(gradient, self._counts)
        parts[-1].copy_(fine[:texels])
        for level in range(len(parts) - 1, 0, -1):
            count = self._counts[level - 1]
            enlarge_transposed[grid(count)](parts[level], parts[level - 1], self._sizes[level - 1], count, BLOCK=_BLOCK)
        self._count += 1
        values = gradient.numel()
        adam_values[grid(values, _WIDE)](
            self._values, gradient, self._first, self._second, self.rate, self._count, values, BLOCK=_WIDE
        )
        self._sum_up()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The levels and what Adam keeps of them. Whoever changes these calls `refresh`."""
        kept = {"values": self._values, "first": self._first, "second": self._second, "count": self._count}
        return {f"light_{name}": tensor for name, tensor in kept.items()}

    def refresh(self) -> None:
        """Make the light that of its levels."""
        self._sum_up()

    def _sum_up(self) -> None:
        """Write the base again from the levels of its logarithm."""
        # Late: Triton is not there on every machine.
        from render.light.kernels.cube_pyramid_triton import enlarge_and_add

        parts = torch.split(self._values, self._counts)
        total = parts[0]
        if len(parts) == 1:
            self._pyramid[: self._counts[-1]] = total.exp().clamp(max=BRIGHTEST)
        for level, part in enumerate(parts[1:], 1):
            count, is_last = self._counts[level], level == len(parts) - 1
            result = self._pyramid if is_last else torch.empty_like(part)
            enlarge_and_add[grid(count)](
                total, part, result, self._sizes[level], count, BRIGHTEST, EXP=is_last, BLOCK=_BLOCK
            )
            total = result


def can_fuse_light(light: EnvironmentLight) -> bool:
    """Whether `FusedLight` can learn this light."""
    operator, _, _ = prefilter_parts(light)
    return light.rotation is None and can_prefilter(light.base, operator)


def _parts(light: EnvironmentLight) -> tuple[LightPrefilter, CubeAtlas, tuple[SpecularLevel, ...]]:
    operator, layout, levels = prefilter_parts(light)
    return light_prefilter(operator, layout), layout, levels
