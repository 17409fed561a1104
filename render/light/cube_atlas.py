"""Seamless, trilinear, differentiable lookup of cube maps in plain PyTorch."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from render.core.autograd import apply_function
from render.core.kernels.row_sums import RowSums
from render.light.cube_geometry import cube_to_dir, dir_to_cube, texel_centres


class CubeAtlas:
    """All faces of all levels of a cube map in one image, so that one ``grid_sample`` filters seamlessly.

    One texel of padding around each face is taken from the neighboring faces. The texel beyond a corner, where three faces
    meet, is the mean of the three texels that touch it, as in nvdiffrast. Lookups are bilinear in the face and linear
    between levels. What it gets wrong: it takes a neighbor's texels as if the face went on flat, so filtering is
    continuous over edges but not smooth.

    resolutions: of the levels, in any order; levels may share a resolution. Raises ValueError for none, or one below 1.
    """

    def __init__(self, resolutions: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.resolutions = tuple(int(resolution) for resolution in resolutions)
        if not self.resolutions or min(self.resolutions) < 1:
            raise ValueError(f"resolutions must be positive and at least one, these are {list(resolutions)}")
        origins, self.height, self.width = _place_levels(self.resolutions)
        source = torch.full((self.height, self.width), -1, dtype=torch.int64)
        corners: list[Tensor] = []
        start = 0
        texels = sum(6 * resolution * resolution for resolution in self.resolutions)
        for resolution, (top, left) in zip(self.resolutions, origins, strict=True):
            side = resolution + 2
            padded, touching = _padded_faces(resolution)
            # The means at the corners follow the texels of all levels.
            padded = torch.where(padded < 0, texels + 8 * len(corners) - 1 - padded, padded + start)
            source[top : top + side, left : left + 6 * side] = padded.permute(1, 0, 2).reshape(side, 6 * side)
            corners.append(touching + start)
            start += 6 * resolution * resolution
        source = source.reshape(-1)
        # Unused parts of the image, which no lookup reads, take the row of zeros that follows the means.
        self._source = torch.where(source < 0, texels + 8 * self.levels, source).to(device)
        self._corners = torch.cat(corners).to(device)
        order = torch.argsort(source, stable=True)
        order = order[source[order] >= 0]
        counts = torch.bincount(source[order], minlength=texels + 8 * self.levels)
        offsets = torch.cumsum(counts, 0) - counts
        self._back = RowSums(order.int().to(device), offsets.int().to(device))
        # Resolution, top and left of each level's strip.
        self._places = [(r, *origin) for r, origin in zip(self.resolutions, origins, strict=True)]
        self._place_table = torch.tensor(self._places, device=device)

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return len(self.resolutions)

    @property
    def places(self) -> tuple[tuple[int, int, int], ...]:
        """For each level its resolution, and top and left (row and column) of its strip of padded faces in the atlas."""
        return tuple(self._places)

    @property
    def source(self) -> Tensor:
        """Where each texel of the image comes from, int64 [H * W].

        The numbers count the texels of all levels one after another, then eight corners a level; the last means nothing.
        """
        return self._source

    @property
    def corners(self) -> Tensor:
        """The three texels that touch each corner of each level, int64 [8 * levels, 3]."""
        return self._corners

    def pack(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels [6, R_i, R_i, C] -> atlas [1, C, Ha, Wa] (a view whose channels lie innermost); differentiable.

        Raises ValueError if the shapes are not those of the atlas.
        """
        shapes = [tuple(level.shape[:3]) for level in levels]
        if shapes != [(6, resolution, resolution) for resolution in self.resolutions]:
            raise ValueError(f"the atlas holds levels of resolution {list(self.resolutions)}, these are {shapes}")
        channels = levels[0].shape[-1]
        texels = torch.cat([level.reshape(-1, channels) for level in levels])
        packed: Tensor = apply_function(_Pack, texels, self._source, self._corners, self._back)
        return packed.view(1, self.height, self.width, channels).permute(0, 3, 1, 2)

    def sample(self, atlas: Tensor, direction: Tensor, level: Tensor) -> Tensor:
        """Trilinear lookup: atlas of `pack`, direction [..., 3] (any length), level [...] -> [..., C].

        The level is clamped to 0..levels - 1. Differentiable in atlas, direction and level. The gradients to direction
        and level jump where the lookup passes a texel's center or a level.
        """
        shape, channels = direction.shape[:-1], atlas.shape[1]
        face, x, y = dir_to_cube(direction.reshape(-1, 3))
        if self.levels == 1:
            return self._lookup(atlas, face, x, y, torch.zeros_like(face)).reshape(*shape, channels)
        level = level.expand(shape).reshape(-1).clamp(0, self.levels - 1)
        lower = level.detach().floor().clamp(max=self.levels - 2)
        fraction = (level - lower).unsqueeze(-1)
        lower = lower.long()
        values = self._lookup(atlas, face.repeat(2), x.repeat(2), y.repeat(2), torch.cat([lower, lower + 1])).view(
            2, -1, channels
        )
        return torch.lerp(values[0], values[1], fraction).reshape(*shape, channels)

    def _places_of(self, level: Tensor) -> tuple[Tensor, ...]:
        """Resolution, top and left of the strips of levels [N], int64 [N] each."""
        if level.device.type == "cpu":
            return self._place_table[level].unbind(-1)
        # A gather from so small a table makes a GPU wait for the same few words: 0.54 ms for 900 000 lookups on an
        # H200. A chain of comparisons is fused into the operations around it.
        places = [torch.full_like(level, value) for value in self._places[0]]
        for number, place in enumerate(self._places[1:], 1):
            places = [torch.where(level == number, new, old) for new, old in zip(place, places, strict=True)]
        return tuple(places)

    def _lookup(self, atlas: Tensor, face: Tensor, x: Tensor, y: Tensor, level: Tensor) -> Tensor:
        resolution, top, left = self._places_of(level)
        half = resolution * 0.5
        column = x * half + (half + left + face * (resolution + 2) + 1)
        row = y * half + (half + top + 1)
        grid = torch.stack([column * (2 / self.width) - 1, row * (2 / self.height) - 1], dim=-1)
        values = torch.nn.functional.grid_sample(
            atlas, grid.view(1, 1, -1, 2), padding_mode="border", align_corners=False
        )
        return values.view(atlas.shape[1], -1).t()


class _PackContext(Protocol):
    corners: Tensor
    back: RowSums
    texels: int


class _Pack(torch.autograd.Function):
    """Gather texels [T, C] into the image [P, C]; the gradient goes through the stored transpose (a scatter is slower)."""

    @staticmethod
    def forward(ctx: _PackContext, texels: Tensor, source: Tensor, corners: Tensor, back: RowSums) -> Tensor:
        ctx.corners, ctx.back, ctx.texels = corners, back, texels.shape[0]
        means = texels[corners].mean(dim=1)
        zero = texels.new_zeros(1, texels.shape[1])
        return torch.index_select(torch.cat([texels, means, zero]), 0, source)

    @staticmethod
    def backward(ctx: _PackContext, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        sums = ctx.back.apply(gradient.contiguous())
        result = sums[: ctx.texels].clone()
        spread = (sums[ctx.texels :, None] / 3).expand(-1, 3, -1).reshape(-1, sums.shape[1])
        result.index_add_(0, ctx.corners.reshape(-1), spread)
        return result, None, None, None


def _place_levels(resolutions: Sequence[int]) -> tuple[list[tuple[int, int]], int, int]:
    """Put strips of six padded faces on shelves: their top left corners (row, column), and the image's height and width."""
    width = 6 * (max(resolutions) + 2)
    origins = [(0, 0)] * len(resolutions)
    top = left = shelf = 0
    for index in sorted(range(len(resolutions)), key=lambda i: -resolutions[i]):
        side = resolutions[index] + 2
        if left + 6 * side > width:
            top, left, shelf = top + shelf, 0, 0
        shelf = max(shelf, side)
        origins[index] = (top, left)
        left += 6 * side
    return origins, top + shelf, width


def _padded_faces(resolution: int) -> tuple[Tensor, Tensor]:
    """Where the texels of faces with one texel of padding come from.

    Returns int64 [6, R + 2, R + 2], the index of a texel in [6 * R * R] or, beyond a corner, -1 - corner (0..7, one bit
    for each positive axis), and int64 [8, 3], the texels that touch each corner.
    """
    centers = texel_centres(resolution, dtype=torch.float64)
    # Just beyond the edge, so that the row or column along it does not shift on the neighboring face.
    beyond = torch.tensor([1 + 1e-6], dtype=torch.float64)
    padded = torch.cat([-beyond, centers, beyond])
    y, x = torch.meshgrid(padded, padded, indexing="ij")
    outside = (x.abs() > 1) & (y.abs() > 1)
    bits = torch.tensor([1, 2, 4])
    sources = []
    for face in range(6):
        direction = cube_to_dir(face, x, y)
        other, other_x, other_y = dir_to_cube(direction)
        column = ((other_x + 1) * (resolution / 2)).long().clamp(0, resolution - 1)
        row = ((other_y + 1) * (resolution / 2)).long().clamp(0, resolution - 1)
        texel = (other * resolution + row) * resolution + column
        corner = ((direction > 0).long() * bits).sum(-1)
        sources.append(torch.where(outside, -1 - corner, texel))
    source = torch.stack(sources)
    touching: list[list[int]] = [[] for _ in range(8)]
    for face in range(6):
        for bottom, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            number = -1 - int(source[face, -bottom, -right])
            texel_row, texel_column = bottom * (resolution - 1), right * (resolution - 1)
            touching[number].append((face * resolution + texel_row) * resolution + texel_column)
    return source, torch.tensor(touching)
