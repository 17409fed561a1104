"""Trilinear texture sampling on any device: mip levels, level of detail, and the texels a sample reads with their weights.

A lookup is a short weighted sum of texel rows. One array holds the rows of all mip levels, so one `embedding_bag`
(PyTorch's fastest gather-and-sum) reads both levels. The gradient to the texels is the transposed sum. The gradients
to uv and to the level of detail come through the weights by ordinary automatic differentiation, and cost nothing
where they are not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F

from render.core.autograd import SavingContext, apply_function

FILTER_MODES = ("linear-mipmap-linear", "linear", "nearest")

# Up to this many channels, a scatter per channel is faster than the sorted transpose on a CPU (52 against 58 ms for
# 1.6 million taps at nine channels, 21 against 125 ms at two).
_SCATTER_CHANNELS = 8
# Screen derivatives beyond this count as infinite: their squares would overflow.
_LARGEST_DERIVATIVE = 1e15


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the automatic mip levels, finest first: both sides halve (odd ones rounded down) until the shorter is 1.

    nvdiffrec stops there too, so 64x128 ends at 1x2. For a texture of one row or column, the longer side halves down
    to 1x1.
    """
    sizes = [(height, width)]
    line = min(height, width) == 1
    while (max(sizes[-1]) if line else min(sizes[-1])) > 1:
        sizes.append(halved(*sizes[-1]))
    return sizes


def halved(height: int, width: int) -> tuple[int, int]:
    """The size of the next coarser level."""
    return max(height // 2, 1), max(width // 2, 1)


def shrink_axis(image: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """Reduce one axis (counted from the front) to `size` texels, each the mean over exactly the part it covers.

    A texel that is covered in part counts in part. For a whole ratio the result is the plain block mean.
    (F.interpolate's "area" gives texels that are covered in part their full weight.)
    """
    old = image.shape[axis]
    if old == size:
        return image
    if old == 2 * size:
        first, second = torch.unflatten(image, axis, (size, 2)).unbind(axis + 1)
        return (first + second) * 0.5
    if old % size == 0:
        return torch.unflatten(image, axis, (size, old // size)).mean(axis + 1)
    # The integral up to each border, in float64, because the result is the difference of two sums.
    lines = image.movedim(axis, 0).double()
    integral = torch.cat([torch.zeros_like(lines[:1]), lines.cumsum(0)])
    border = torch.arange(size + 1, device=image.device, dtype=torch.float64) * (old / size)
    whole = border.floor().clamp(max=old - 1).long()
    part = (border - whole).reshape(-1, *[1] * (lines.ndim - 1))
    at_border = integral[whole] + part * lines[whole]
    return ((at_border[1:] - at_border[:-1]) * (size / old)).to(image.dtype).movedim(0, axis)


class _FinerSize(Protocol):
    """What `_NextLevel` keeps for its gradient: height and width of the finer level."""

    size: tuple[int, int]


class _NextLevel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _FinerSize, image: torch.Tensor) -> torch.Tensor:
        ctx.size = (image.shape[1], image.shape[2])
        height, width = halved(*ctx.size)
        return shrink_axis(shrink_axis(image, 1, height), 2, width).contiguous()

    @staticmethod
    def backward(ctx: _FinerSize, gradient: torch.Tensor) -> torch.Tensor:
        height, width = gradient.shape[1:3]
        rows = _spread(height, ctx.size[0], gradient)
        columns = _spread(width, ctx.size[1], gradient)
        image = (gradient / (rows[:, None, None] * columns[:, None])).permute(0, 3, 1, 2)
        wide = F.interpolate(image, size=ctx.size, mode="bilinear", align_corners=False)
        return wide.permute(0, 2, 3, 1)


def _spread(coarse: int, fine: int, like: torch.Tensor) -> torch.Tensor:
    """The sum of the weights that the fine texels give each coarse one in the linear enlargement from `coarse` to `fine`."""
    center = (torch.arange(fine, device=like.device, dtype=like.dtype) + 0.5) * (coarse / fine) - 0.5
    center = center.clamp(0, coarse - 1)
    low = center.floor()
    share = center - low
    total = torch.zeros(coarse, device=like.device, dtype=like.dtype)
    total.index_add_(0, low.long(), 1 - share)
    return total.index_add_(0, (low + 1).clamp(max=coarse - 1).long(), share)


def next_level(image: torch.Tensor) -> torch.Tensor:
    """The next coarser mip level of [1, H, W, C]: [1, H/2, W/2, C], odd sides rounded down, area-weighted means.

    The gradient is nvdiffrec's smooth one: it spreads a coarse texel's gradient bilinearly (clamped at the border) over
    the finer level, not in blocks of 2x2 as the exact transpose of the mean would. Every coarse texel's gradient keeps
    its sum, so a change of the whole texture has its exact gradient. For a single texel it is an approximation.
    """
    level: torch.Tensor = apply_function(_NextLevel, image)
    return level


def automatic_levels(image: torch.Tensor) -> list[torch.Tensor]:
    """[1, H, W, C] and all its coarser levels (`level_sizes`, `next_level`), finest first."""
    levels = [image]
    for _ in level_sizes(*image.shape[1:3])[1:]:
        levels.append(next_level(levels[-1]))
    return levels


def footprint_level(uv_da: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Level of detail of a pixel's footprint in a texture of height x width: [..., 4] -> [...], not clamped above.

    uv_da   du/dx, du/dy, dv/dx, dv/dy per pixel
    The footprint of a round pixel is an ellipse, the image of the unit circle under the Jacobian in texels. The level
    is the base-2 logarithm of its longer half axis, the Jacobian's larger singular value: nvdiffrast's rule for
    isotropic filtering. So oblique surfaces are blurred across the footprint's short axis too. Differentiable. Where
    both axes are equal the larger has no derivative, and the derivative is that of their mean square. A zero or NaN
    screen derivative counts as zero: a level far below 0. An infinite one gives a level beyond every texture's last.
    """
    scale = (width, width, height, height)
    finite = torch.nan_to_num(uv_da, nan=0.0, posinf=_LARGEST_DERIVATIVE, neginf=-_LARGEST_DERIVATIVE)
    finite = finite.clamp(-_LARGEST_DERIVATIVE, _LARGEST_DERIVATIVE)
    sx, sy, tx, ty = (part * factor for part, factor in zip(finite.unbind(-1), scale, strict=True))
    # Scaled before squaring: the squares would overflow or vanish.
    with torch.no_grad():
        unit = torch.stack([sx, sy, tx, ty]).abs().amax(0).clamp(min=1e-15)
    sx, sy, tx, ty = sx / unit, sy / unit, tx / unit, ty / unit
    along_x, along_y, across = sx * sx + tx * tx, sy * sy + ty * ty, sx * sy + tx * ty
    spread = (0.25 * (along_x - along_y).square() + across.square()).clamp(min=1e-24).sqrt()
    longer = 0.5 * (along_x + along_y) + spread
    # `longer` is at least a half wherever there is a footprint: the clamp only changes zero footprints.
    return 0.5 * torch.log2(longer.clamp(min=0.25)) + torch.log2(unit)


@lru_cache(maxsize=256)
def _size_table(sizes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Heights, widths and first rows of the levels as int64 tensors; cached, so that no sample copies them to the device."""
    first = [0]
    for height, width in sizes:
        first.append(first[-1] + height * width)
    with torch.inference_mode(False):
        heights, widths = (torch.tensor([size[k] for size in sizes], device=device) for k in (0, 1))
        return heights, widths, torch.tensor(first[:-1], device=device)


def wrapped(uv: torch.Tensor) -> torch.Tensor:
    """uv in 0..1 under repeat wrapping, any shape; values that are not finite become 0."""
    uv = torch.nan_to_num(uv, nan=0.0, posinf=0.0, neginf=0.0)
    return uv - uv.detach().floor()


def linear_taps(
    uv: torch.Tensor, level: torch.Tensor | None, sizes: Sequence[tuple[int, int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Texel rows and weights of lookups with repeat wrapping: trilinear, or bilinear in the finest level (level None).

    uv      [S, 2]; the center of the texel in row i, column j is at ((j + 0.5) / W, (i + 0.5) / H)
    level   [S] level of detail, clamped to the levels there are; differentiable inside, as uv is
    sizes   (height, width) of each level; one array holds the texels of all, row by row, level after level
    Returns int64 [S, T] and weights [S, T] that sum to one; T is 4, or 8 between levels.
    """
    uv = wrapped(uv)
    heights, widths, first = _size_table(tuple(sizes), uv.device)
    if level is None or len(sizes) == 1:
        return _bilinear_taps(uv, heights[:1], widths[:1], first[:1], None)
    level = level.clamp(0, len(sizes) - 1)
    base = level.detach().floor().long().clamp(max=len(sizes) - 2)
    fraction = level - base
    parts = []
    for number, share in ((base, 1 - fraction), (base + 1, fraction)):
        parts.append(_bilinear_taps(uv, heights[number], widths[number], first[number], share))
    return torch.cat([parts[0][0], parts[1][0]], 1), torch.cat([parts[0][1], parts[1][1]], 1)


def _bilinear_taps(
    uv: torch.Tensor, height: torch.Tensor, width: torch.Tensor, first: torch.Tensor, share: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
    left, top = x.detach().floor(), y.detach().floor()
    fx, fy = x - left, y - top
    left, top = left.long(), top.long()
    columns, rows = [], []
    for step in (0, 1):
        columns.append(torch.remainder(left + step, width))
        rows.append(first + torch.remainder(top + step, height) * width)
    # Keep the order of the factors: constant and trained taps then round in the same way.
    near, far = (1 - fx, fx) if share is None else (share * (1 - fx), share * fx)
    index = torch.stack([rows[0] + columns[0], rows[0] + columns[1], rows[1] + columns[0], rows[1] + columns[1]], 1)
    return index, torch.stack([near * (1 - fy), far * (1 - fy), near * fy, far * fy], 1)


def nearest_taps(uv: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The one texel row that each uv [S, 2] lies in, int64 [S, 1], and weights of one; no gradient to uv."""
    height, width = size
    uv = wrapped(uv.detach())
    column = (uv[:, 0] * width).long().clamp(max=width - 1)
    row = (uv[:, 1] * height).long().clamp(max=height - 1)
    return (row * width + column)[:, None], torch.ones_like(uv[:, :1])


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: SavingContext, texels: torch.Tensor, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(texels, index, weight)
        return F.embedding_bag(index, texels, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx: SavingContext, gradient: torch.Tensor) -> tuple[torch.Tensor | None, None, torch.Tensor | None]:
        texels, index, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_texels = to_weight = None
        if ctx.needs_input_grad[0]:
            to_texels = _transposed_sum(gradient, index, weight, len(texels))
        if ctx.needs_input_grad[2]:
            taps = [(texels.index_select(0, index[:, k]) * gradient).sum(1) for k in range(index.shape[1])]
            to_weight = torch.stack(taps, 1)
        return to_texels, None, to_weight


def weighted_sum(texels: torch.Tensor, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """sum over t of weight[s, t] * texels[index[s, t]]: rows [R, C], index and weight [S, T] -> [S, C].

    Differentiable (once) in the texels and the weights. Indices become int32, which halves the memory traffic.
    """
    if len(index) == 0:
        return texels[:0] + weight[:, :1].to(texels.dtype)
    index = index.int() if len(texels) < 2**31 else index
    weight = weight.to(texels.dtype).contiguous()
    result: torch.Tensor = apply_function(_WeightedSum, texels.contiguous(), index.contiguous(), weight)
    return result


def _transposed_sum(gradient: torch.Tensor, index: torch.Tensor, weight: torch.Tensor, rows: int) -> torch.Tensor:
    """The gradient to the texel rows.

    Sorting the taps by row makes it another gather-and-sum, without atomics, so it is the same in every run. On a CPU
    a scatter repeats itself exactly too and, for few channels, is faster.
    """
    flat = index.reshape(-1)
    if gradient.device.type == "cpu" and gradient.shape[1] <= _SCATTER_CHANNELS:
        wide = flat.long()
        planes = gradient.new_zeros(gradient.shape[1], rows)
        for channel, plane in enumerate(planes):
            plane.scatter_add_(0, wide, (weight * gradient[:, channel, None]).reshape(-1))
        return planes.T.contiguous()
    ordered, order = torch.sort(flat, stable=True)
    count = torch.zeros(rows, dtype=torch.int64, device=flat.device)
    count.scatter_add_(0, ordered.long(), torch.ones(1, dtype=torch.int64, device=flat.device).expand(len(flat)))
    offset = torch.cumsum(count, 0) - count
    taps = index.shape[1]
    # The number of taps is almost always a power of two, and a shift is four times as fast as a division.
    sample = order >> (taps.bit_length() - 1) if taps & (taps - 1) == 0 else order // taps
    return F.embedding_bag(sample, gradient, offset, per_sample_weights=weight.reshape(-1)[order], mode="sum")


def sample_levels(
    levels: Sequence[torch.Tensor], uv: torch.Tensor, uv_da: torch.Tensor | None, filter_mode: str = FILTER_MODES[0]
) -> torch.Tensor:
    """Sample mip levels [1, H_i, W_i, C] (sizes each half of the one before) at uv [..., 2] -> [..., C].

    The same as `Texture2D.sample`, which checks the shapes. Only "linear-mipmap-linear" reads levels beyond the first.
    """
    height, width, channels = levels[0].shape[1:]
    # Half floats have too few digits for uv and too small a range for footprints.
    flat, used = _single(uv).reshape(-1, 2), levels[:1]
    if filter_mode == "nearest":
        index, weight = nearest_taps(flat, (height, width))
    else:
        detail = None
        if filter_mode == "linear-mipmap-linear" and uv_da is not None and len(levels) > 1:
            used, detail = levels, footprint_level(_single(uv_da).reshape(-1, 4), height, width)
        index, weight = linear_taps(flat, detail, [(level.shape[1], level.shape[2]) for level in used])
    rows = torch.cat([level.reshape(-1, channels) for level in used])
    return weighted_sum(rows, index, weight).reshape(*uv.shape[:-1], channels)


def _single(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()
