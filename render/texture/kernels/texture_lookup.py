"""Trilinear lookups that compute their taps when they need them: for positions that change, or are too many to store taps.

The plain way, `render.texture.fixed_lookup`, stores eight indices and weights a sample, and as many for its transpose: about
200 bytes. On a GPU it costs less to compute them again than to read them.
"""

from __future__ import annotations

from typing import Protocol

import torch

from render.core.autograd import SavingContext, apply_function
from render.core.kernels import has_triton
from render.texture.fixed_lookup import lookup, trilinear_taps
from render.texture.map_size import MapSize, Size, map_size

_BLOCK = 64


class _PyramidContext(SavingContext, Protocol):
    """What `_Lookup` keeps for its gradient, beside tensors: the shape of the rows and that of the pyramid."""

    shape: torch.Size
    resolution: MapSize
    levels: int


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _PyramidContext,
        texels: torch.Tensor,
        uv: torch.Tensor,
        level: torch.Tensor,
        resolution: MapSize,
        levels: int,
    ) -> torch.Tensor:
        # Late: Triton is not there on every machine.
        from render.texture.kernels.texture_lookup_triton import look_up

        ctx.save_for_backward(uv, level)
        ctx.shape, ctx.resolution, ctx.levels = texels.shape, resolution, levels
        result = texels.new_empty(len(uv), texels.shape[1])
        look_up[_grid(uv)](texels, uv, level, result, len(uv), *resolution, **_sizes(texels.shape[1], levels))
        return result

    @staticmethod
    def backward(ctx: _PyramidContext, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        # Late: Triton is not there on every machine.
        from render.texture.kernels.texture_lookup_triton import spread

        uv, level = ctx.saved_tensors
        texels = gradient.new_zeros(ctx.shape)
        spread[_grid(uv)](
            gradient.contiguous(), uv, level, texels, len(uv), *ctx.resolution, **_sizes(ctx.shape[1], ctx.levels)
        )
        return texels, None, None, None, None


def _grid(uv: torch.Tensor) -> tuple[int]:
    return ((len(uv) + _BLOCK - 1) // _BLOCK,)


def _sizes(channels: int, levels: int) -> dict[str, int]:
    return {"LEVELS": levels, "CHANNELS": channels, "LANES": 1 << (channels - 1).bit_length(), "BLOCK": _BLOCK}


def lookup_at(
    texels: torch.Tensor, uv: torch.Tensor, level: torch.Tensor, resolution: Size, levels: int
) -> torch.Tensor:
    """Read a pyramid (`render.texture.fixed_lookup.pyramid`) of a texture [H, W, C]; differentiable in the texels.

    texels  float32 [rows, C]; uv float32 [S, 2]; level float32 [S], clamped to 0..levels - 1 -> [S, C]
    Repeat wrapping. Atomics sum the gradient, so its last digits vary from run to run.
    """
    if has_triton(texels.device) and texels.dtype == torch.float32 and len(uv) > 0:
        arguments = (texels.contiguous(), uv.contiguous(), level.contiguous(), map_size(resolution), levels)
        samples: torch.Tensor = apply_function(_Lookup, *arguments)
        return samples
    return lookup(texels, trilinear_taps(uv, level, resolution, levels))
