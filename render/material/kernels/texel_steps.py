"""The maps' part of an iteration in a few kernels: fold the pyramid's gradient, priors, Adam, projection, the new pyramid.

The plain way is `render.texture.fixed_lookup.pyramid`, `render.material.priors`, `torch.optim.Adam` and
`render.material.material.project_`: a hundred operators that read and write the maps twenty times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from render.core.kernels.launch import grid
from render.material.material import METALLIC, MIN_NORMAL_Z, MIN_ROUGHNESS, NORMAL, ROUGHNESS
from render.material.priors import EDGE, GAIN_EPSILON, KINDS, Priors, smooth_share
from render.texture.bands import Band, row_numbers, rows_of
from render.texture.fixed_lookup import mip_offsets
from render.texture.map_size import size_of

_BLOCK = 256
_TEXELS = 64
# Blocks of texels that a program of `gains` sums: 16 of them write 3 MB of sums for maps of 4096 x 4096.
_TURNS = 16


class TexelSteps:
    """Adam's steps of maps [H, W, C] float32, changed in place, and the rows of their pyramid with `levels` levels.

    priors  `render.material.priors.Priors`; their weights are read in every step
    fitted  bool [C], the channels that are changed
    epsilon Adam's: what it adds to the deviation of a gradient
    band    the rows of the maps that this process changes; None: all. Of the others `rows` has what its samples read
    add_up  makes a tensor the sum of those of all processes, in place, where there are several

    Attributes: ``rows`` [T, C], the pyramid; ``rate``, a float on the device, the learning rate of the next step;
    ``second`` [H, W, C], Adam's mean of the squared gradients, not yet divided by what makes it unbiased.
    """

    def __init__(
        self,
        texels: torch.Tensor,
        levels: int,
        priors: Priors,
        fitted: torch.Tensor,
        epsilon: float = 1e-8,
        band: Band | None = None,
        add_up: Callable[[torch.Tensor], None] = lambda _tensor: None,
    ) -> None:
        self._texels, self._priors, self._epsilon = texels, priors, epsilon
        self._size = size_of(texels)
        self._sizes = [self._size.halved(level) for level in range(levels)]
        self._starts = mip_offsets(self._size, levels)
        self._fitted = fitted.float().contiguous()
        self.rows = texels.new_empty(self._starts[-1], texels.shape[2])
        self._first, self.second = torch.zeros_like(texels), torch.zeros_like(texels)
        self.rate, self._count = texels.new_zeros(()), texels.new_zeros(())
        self._band = band or Band(self._size, levels)
        self._add_up = add_up
        self._shares = self._band.count > 1
        self._told_gradients = self._band.told_gradients() if self._shares else []
        self._told_values, self._mine = self._band.told_values(texels.device)
        self._places = [row_numbers(told, texels.device) for told in (self._told_gradients, self._told_values)]
        self._gradient = torch.zeros_like(self.rows)
        self._added_to = self._band.added_to()
        self._fill()

    def no_gradient(self) -> torch.Tensor:
        """A gradient [T, C] of zeros, always at the same place; in a team, where samples of this process may add to it."""
        for first, end in self._added_to:
            self._gradient[first:end].zero_()
        return self._gradient

    def told(self, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What other processes add to of a gradient [T, C]: the sums of all of them go to `step`. Of one process, nothing."""
        return (rows_of(gradient, self._told_gradients),) if self._shares else ()

    def step(self, gradient: torch.Tensor, told: Sequence[torch.Tensor] = ()) -> None:
        """Take a step with the gradient [T, C] of the rows, which is overwritten; then the rows are those of the new maps.

        told: what `told` has given, as the sum over all processes.
        """
        # Late: Triton is not there on every machine.
        from render.material.kernels.texel_steps_triton import step_texels

        channels, size = self._texels.shape[2], self._size
        parts = self._folded(gradient, told)
        self._count += 1
        texels, priors = size.texels, self._priors
        has_start = priors.start is not None and priors.stiffness is not None
        first, end = (row * size.width for row in self._band.rows(0))
        step_texels[grid(end - first, _TEXELS)](
            self.rows, self._texels, gradient, parts[min(1, len(parts) - 1)], self._first, self.second,
            priors.start if has_start else self.rows, priors.stiffness if has_start else self.rows,
            self.rate, self._count, priors.smooth, priors.pull, priors.two_valued, self._fitted,
            smooth_share(texels), 1.0 / texels, self._epsilon, *size, first, end,
            HAS_COARSE=len(parts) > 1, HAS_START=has_start, CHANNELS=channels,
            LANES=1 << (channels - 1).bit_length(),
            INVERSE_EDGE=1 / EDGE, ROUGHNESS=ROUGHNESS.start, METALLIC=METALLIC.start, NORMAL=NORMAL.start,
            MIN_ROUGHNESS=MIN_ROUGHNESS, MIN_UP=MIN_NORMAL_Z, BLOCK=_TEXELS,
        )  # fmt: skip
        self._fill()

    def gains(self, gradient: torch.Tensor, told: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """What `render.material.priors.prior_gains` says of a gradient [T, C] of the rows, which is overwritten, [3, C, 2].

        Summed over all processes. told: as for `step`.
        """
        # Late: Triton is not there on every machine.
        from render.material.kernels.prior_gains_triton import sum_gains

        channels, size = self._texels.shape[2], self._size
        parts = self._folded(gradient, told)
        priors, texels = self._priors, size.texels
        has_start = priors.start is not None and priors.stiffness is not None
        first, end = (row * size.width for row in self._band.rows(0))
        lanes, (programs,) = 1 << (channels - 1).bit_length(), grid(end - first, _TEXELS * _TURNS)
        sums = gradient.new_empty(programs, len(KINDS), 2, lanes)
        sum_gains[(programs,)](
            self.rows, gradient, parts[min(1, len(parts) - 1)], self.second,
            priors.start if has_start else self.rows, priors.stiffness if has_start else self.rows, sums,
            smooth_share(texels), 1.0 / texels, GAIN_EPSILON, *size, first, end,
            HAS_COARSE=len(parts) > 1, HAS_START=has_start, CHANNELS=channels, LANES=lanes,
            INVERSE_EDGE=1 / EDGE, METALLIC=METALLIC.start, TURNS=_TURNS, BLOCK=_TEXELS,
        )  # fmt: skip
        gains = sums.sum(0)[..., :channels].permute(0, 2, 1).contiguous()
        if self._band.whole:
            self._add_up(gains)
        return gains

    def _folded(self, gradient: torch.Tensor, told: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The levels of the gradient, with what coarser levels add to all but the finest."""
        # Late: Triton is not there on every machine.
        from render.material.kernels.texel_steps_triton import fold_level

        channels = self._texels.shape[2]
        for sums in told:
            gradient.index_copy_(0, self._places[0], sums)
        parts = self._levels_of(gradient)
        for level in range(len(parts) - 1, 1, -1):
            first, end = (row * self._sizes[level - 1].width * channels for row in self._band.rows_and_edges(level - 1))
            fold_level[grid(end - first, _BLOCK)](
                parts[level - 1], parts[level], *self._sizes[level], first, end, CHANNELS=channels, BLOCK=_BLOCK
            )
        return parts

    def tensors(self) -> dict[str, torch.Tensor]:
        """What Adam keeps, besides the maps. Whoever changes these or the maps calls `refresh`."""
        return {"maps_first": self._first, "maps_second": self.second, "maps_count": self._count}

    def refresh(self) -> None:
        """Make the rows those of the maps as they are now."""
        self._fill()

    def _levels_of(self, rows: torch.Tensor) -> list[torch.Tensor]:
        return [rows[start:end] for start, end in zip(self._starts, self._starts[1:], strict=False)]

    def _fill(self) -> None:
        whole = self._band.whole
        if len(self._sizes) == 1:
            self.rows.copy_(self._texels.detach().reshape(self.rows.shape))
        if whole:
            self._halve(0, whole, self._band)
            told = rows_of(self.rows, self._told_values)
            told = torch.where(self._mine[:, None], told, 0.0)  # those of others may be anything yet, also no numbers
            self._add_up(told)
            self.rows.index_copy_(0, self._places[1], told)
        self._halve(whole, len(self._sizes) - 1)

    def _halve(self, finest: int, coarsest: int, band: Band | None = None) -> None:
        """Fill the levels after `finest` to `coarsest`, in a band or everywhere; with the finest of all, that too."""
        # Late: Triton is not there on every machine.
        from render.material.kernels.texel_steps_triton import halve_texels

        parts, channels = self._levels_of(self.rows), self._texels.shape[2]
        for fine in range(finest, coarsest, 2):
            twice = fine + 2 <= coarsest
            last = fine + 2 if twice else fine + 1
            rows = (0, self._sizes[last].height) if band is None else band.own_rows(last)
            first, end = (row * self._sizes[last].width * channels for row in rows)
            source = self._texels if fine == 0 else parts[fine]
            halve_texels[grid(end - first, _BLOCK)](
                source, parts[fine + 1], parts[last], self.rows, self._sizes[fine].width, first, end,
                TWICE=twice, COPY=fine == 0, CHANNELS=channels, BLOCK=_BLOCK,
            )  # fmt: skip
