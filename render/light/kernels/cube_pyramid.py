"""Halve cube maps to a pyramid of means weighted by solid angle, and the transpose: two sizes in each launch.

The plain PyTorch way is `SparseRows.pyramid` of `render.light.specular_operator` and its transpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from render.core.kernels.launch import grid

_BLOCK = 128


def _pairs(count: int) -> list[tuple[int, bool]]:
    """The steps from each of `count` maps to the next, two at a time where possible: (index of the finer map, are there two)."""
    return [(first, first + 2 < count) for first in range(0, count - 1, 2)]


def fill_pyramid(levels: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> None:
    """Fill all maps except the first, each with the means of 2 x 2 texels of the one before it.

    levels   float32 [6, R_i, R_i, 3], each half of the one before it, contiguous
    weights  for each step float32 [R_i, R_i]: the share of a texel in its mean
    """
    # Late: Triton is not there on every machine.
    from render.light.kernels.cube_pyramid_triton import halve

    for first, twice in _pairs(len(levels)):
        last = first + 2 if twice else first + 1
        texels = 6 * levels[last].shape[1] ** 2
        halve[grid(texels)](
            levels[first], weights[first], levels[first + 1], weights[last - 1], levels[last],
            levels[first].shape[1], texels, TWICE=twice, BLOCK=_BLOCK,
        )  # fmt: skip


def fold_pyramid(gradients: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> None:
    """The transpose of `fill_pyramid`: gradients of all maps, added up in the first one; the others are overwritten."""
    # Late: Triton is not there on every machine.
    from render.light.kernels.cube_pyramid_triton import halve_transposed

    for first, twice in reversed(_pairs(len(gradients))):
        last = first + 2 if twice else first + 1
        texels = 6 * gradients[first].shape[1] ** 2
        halve_transposed[grid(texels)](
            gradients[first], weights[first], gradients[first + 1], weights[last - 1], gradients[last],
            gradients[first].shape[1], texels, TWICE=twice, BLOCK=_BLOCK,
        )  # fmt: skip
