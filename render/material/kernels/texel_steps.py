"""The maps' part of an iteration in a few kernels: fold the pyramid's gradient, priors, Adam, projection, the new pyramid.

The plain way is `render.texture.fixed_lookup.pyramid`, `render.material.priors`, `torch.optim.Adam` and
`render.material.material.project_`: a hundred operators that read and write the maps twenty times.
"""

from __future__ import annotations

import torch

from render.core.kernels.launch import grid
from render.material.material import METALLIC, MIN_NORMAL_Z, MIN_ROUGHNESS, NORMAL, ROUGHNESS
from render.material.priors import EDGE, Priors, smooth_share

_BLOCK = 256
_TEXELS = 64


class TexelSteps:
    """Adam's steps of maps [R, R, C] float32, changed in place, and the rows of their pyramid with `levels` levels.

    priors  `render.material.priors.Priors`; their weights are read in every step
    fitted  bool [C], the channels that are changed
    epsilon Adam's: what it adds to the deviation of a gradient

    Attributes: ``rows`` [T, C], the pyramid; ``rate``, a float on the device, the learning rate of the next step;
    ``second`` [R, R, C], Adam's mean of the squared gradients, not yet divided by what makes it unbiased.
    """

    def __init__(
        self,
        texels: torch.Tensor,
        levels: int,
        priors: Priors,
        fitted: torch.Tensor,
        epsilon: float = 1e-8,
    ) -> None:
        self._texels, self._priors, self._epsilon = texels, priors, epsilon
        self._sizes = [texels.shape[0] >> level for level in range(levels)]
        self._starts = [sum(size * size for size in self._sizes[:level]) for level in range(levels + 1)]
        self._fitted = fitted.float().contiguous()
        self.rows = texels.new_empty(self._starts[-1], texels.shape[2])
        self._first, self.second = torch.zeros_like(texels), torch.zeros_like(texels)
        self.rate, self._count = texels.new_zeros(()), texels.new_zeros(())
        self._fill()

    def step(self, gradient: torch.Tensor) -> None:
        """Take a step with the gradient [T, C] of the rows, which is overwritten; then the rows are those of the new maps."""
        # Late: Triton is not there on every machine.
        from render.material.kernels.texel_steps_triton import fold_level, step_texels

        channels, size = self._texels.shape[2], self._sizes[0]
        parts = self._levels_of(gradient)
        for level in range(len(parts) - 1, 1, -1):
            values = parts[level - 1].numel()
            fold_level[grid(values, _BLOCK)](
                parts[level - 1], parts[level], self._sizes[level], values, CHANNELS=channels, BLOCK=_BLOCK
            )
        self._count += 1
        texels, priors = size * size, self._priors
        has_start = priors.start is not None and priors.stiffness is not None
        step_texels[grid(texels, _TEXELS)](
            self.rows, self._texels, gradient, parts[min(1, len(parts) - 1)], self._first, self.second,
            priors.start if has_start else self.rows, priors.stiffness if has_start else self.rows,
            self.rate, self._count, priors.smooth, priors.pull, priors.two_valued, self._fitted,
            smooth_share(texels), 1.0 / texels, self._epsilon, size, texels,
            HAS_COARSE=len(parts) > 1, HAS_START=has_start, CHANNELS=channels,
            LANES=1 << (channels - 1).bit_length(),
            INVERSE_EDGE=1 / EDGE, ROUGHNESS=ROUGHNESS.start, METALLIC=METALLIC.start, NORMAL=NORMAL.start,
            MIN_ROUGHNESS=MIN_ROUGHNESS, MIN_UP=MIN_NORMAL_Z, BLOCK=_TEXELS,
        )  # fmt: skip
        self._fill()

    def tensors(self) -> dict[str, torch.Tensor]:
        """What Adam keeps, besides the maps. Whoever changes these or the maps calls `refresh`."""
        return {"maps_first": self._first, "maps_second": self.second, "maps_count": self._count}

    def refresh(self) -> None:
        """Make the rows those of the maps as they are now."""
        self._fill()

    def _levels_of(self, rows: torch.Tensor) -> list[torch.Tensor]:
        return [rows[start:end] for start, end in zip(self._starts, self._starts[1:], strict=False)]

    def _fill(self) -> None:
        # Late: Triton is not there on every machine.
        from render.material.kernels.texel_steps_triton import halve_texels

        parts, channels = self._levels_of(self.rows), self._texels.shape[2]
        if len(parts) == 1:
            self.rows.copy_(self._texels.detach().reshape(self.rows.shape))
        for first in range(0, len(parts) - 1, 2):
            twice = first + 2 < len(parts)
            last = first + 2 if twice else first + 1
            values = parts[last].numel()
            source = self._texels if first == 0 else parts[first]
            halve_texels[grid(values, _BLOCK)](
                source, parts[first + 1], parts[last], self.rows, self._sizes[first], values,
                TWICE=twice, COPY=first == 0, CHANNELS=channels, BLOCK=_BLOCK,
            )  # fmt: skip
