"""Visibility on a GPU without any other library: a provider as `render.rasterize.visible_fragments`, by Triton's kernels.

All views of a call are drawn together, a few million triangles at a time, layer by layer. Which triangle is nearest is
decided in float64 by the same edges, samples and order of depths, so the triangles are the same save where surfaces tie to
the last digit.
"""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache

import torch

from render.kernels import has_triton
from render.rasterize import Fragments, fragments_of_triangles, visible_fragments

EMPTY = torch.iinfo(torch.int64).max
# Triangles whose box holds at most so many samples are filled by the lane that set them up.
_SMALL = 16
_BLOCK = 64
# The others are filled by tiles of so many samples, so many tiles at a time.
_TILE = (8, 8)
_ITEMS = 16
_WARPS = 4
_PROGRAMS_PER_PROCESSOR = 8
# Of all views drawn together: 12 bytes a triangle and 8 bytes a sample.
_TRIANGLES_AT_A_TIME = 1 << 23
_SAMPLES_AT_A_TIME = 1 << 26

# Kernels pass vectors as tuples, which earlier versions of Triton do not.
_TRITON = (3, 3)


def can_rasterize(device: torch.device | str) -> bool:
    """Whether the kernels run on tensors of this device."""
    return has_triton(torch.device(device)) and _triton_version() >= _TRITON


@lru_cache(maxsize=1)
def _triton_version() -> tuple[int, ...]:
    return tuple(int(part) for part in importlib.metadata.version("triton").split(".")[:2])


class VisibilityBuffer:
    """What some views of one size see of one mesh; allocated once, drawn any number of times.

    keys  int64 [views * height * width * spp^2]: of each sample the depth in steps of 2^-30 above the triangle's number,
          or EMPTY. The samples of a pixel follow each other
    Whoever reads the keys makes them EMPTY again and the counter 0 before the next drawing.
    """

    def __init__(
        self, views: int, triangles: int, resolution: tuple[int, int], spp: int, device: torch.device | str
    ) -> None:
        self.views, self.triangles, self.resolution, self.spp = views, triangles, resolution, spp
        samples = views * resolution[0] * resolution[1] * spp * spp
        self.keys = torch.full((samples,), EMPTY, dtype=torch.int64, device=device)
        listed = max(1, views * triangles)
        self.starts = torch.empty(listed, dtype=torch.int64, device=device)
        self.owners = torch.empty(listed, dtype=torch.int32, device=device)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)

    def draw(
        self,
        positions: torch.Tensor,
        cameras: torch.Tensor | None,
        triangles: torch.Tensor,
        in_front: torch.Tensor | None = None,
    ) -> None:
        """Leave the nearest triangle of each sample in the keys.

        positions  float64 [N, V, 4] in clip space, or with cameras the world's, float32 [V, 3]
        cameras    float64 [N, 20], of `compose_cameras`
        triangles  int32 [T, 3]
        in_front   the keys of the layer in front, for the nearest behind it; None for the first
        No host synchronisation, and nothing is allocated.
        """
        from render.kernels.rasterize_triton import fill_tiles, set_up_triangles

        if self.triangles == 0 or self.keys.numel() == 0:
            return
        in_clip = cameras is None
        arguments = (
            positions, positions if in_clip else cameras, triangles, self.keys,
            self.keys if in_front is None else in_front, self.starts, self.owners, self.counter,
            positions.shape[-2], self.triangles, self.resolution[1], self.resolution[0],
        )  # fmt: skip
        grid = ((self.triangles + _BLOCK - 1) // _BLOCK, self.views)
        options = {"CLIP": in_clip, "PEEL": in_front is not None, "SPP": self.spp, "WIDE": _TILE[0], "HIGH": _TILE[1]}
        set_up_triangles[grid](*arguments, **options, SMALL=_SMALL, BLOCK=_BLOCK, num_warps=_BLOCK // 32)
        search = (self.views * self.triangles).bit_length()
        fill_tiles[(_programs(self.keys.device),)](*arguments, **options, SEARCH=search, ITEMS=_ITEMS, num_warps=_WARPS)


def _programs(device: torch.device) -> int:
    """As many as run at the same time; the interpreter runs one after another."""
    if device.type != "cuda":
        return 2
    return _PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def triton_fragments(
    position_clip: torch.Tensor, triangles: torch.Tensor, resolution: tuple[int, int], layers: int = 1
) -> Fragments:
    """As `visible_fragments`, which does it where there is no Triton for the device."""
    if not can_rasterize(position_clip.device):
        return visible_fragments(position_clip, triangles, resolution, layers)
    height, width = resolution
    clip = position_clip.detach().double().contiguous()
    clip = clip[None] if clip.ndim == 2 else clip
    corners = triangles.int().contiguous()
    at_a_time = min(_TRIANGLES_AT_A_TIME // max(1, len(corners)), _SAMPLES_AT_A_TIME // (height * width))
    found = [corners.new_zeros(3, 0, dtype=torch.int64)]
    for first in range(0, len(clip), max(1, at_a_time)):
        part = clip[first : first + max(1, at_a_time)]
        buffer, in_front = VisibilityBuffer(len(part), len(corners), resolution, 1, clip.device), None
        for layer in range(layers):
            buffer.draw(part, None, corners, in_front)
            pixel = (buffer.keys != EMPTY).nonzero()[:, 0]
            if len(pixel) == 0:
                break
            triangle = buffer.keys[pixel] & 0xFFFFFFFF
            found.append(torch.stack([pixel + first * height * width, torch.full_like(pixel, layer), triangle]))
            in_front, buffer.keys = buffer.keys, torch.full_like(buffer.keys, EMPTY)
            buffer.counter.zero_()
    pixel, layer, triangle = torch.cat(found, dim=1)
    if layers > 1:
        order = torch.argsort(layer, stable=True)
        pixel, layer, triangle = pixel[order], layer[order], triangle[order]
    return fragments_of_triangles(clip, triangles, resolution, pixel, layer, triangle)
