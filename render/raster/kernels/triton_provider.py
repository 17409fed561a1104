"""Visibility on a GPU without any other library: the provider that does `render.raster.portable.visible_fragments` in Triton.

It draws all views of a call together, a million triangles at a time, layer by layer. It finds the nearest triangle in
float64, with the same edges, samples and order of depths as the portable provider, so the triangles are the same except
where surfaces agree to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from render.core.kernels import has_triton, passes_tuples
from render.raster.portable import Fragments, fragments_of_triangles, visible_fragments

EMPTY = torch.iinfo(torch.int64).max
# The lane that sets a triangle up also fills it if its box holds at most this many samples.
_SMALL = 16
_BLOCK = 64
# Larger triangles are filled by tiles of this many columns and rows of samples.
_TILE = (16, 8)
_WARPS = 1
_PROGRAMS_PER_PROCESSOR = 32
# The most triangles of one launch, all views together: 136 bytes each.
_TRIANGLES_AT_A_TIME = 1 << 20
# The most samples of the views that are drawn together: 8 bytes each.
_SAMPLES_AT_A_TIME = 1 << 26
# The number of values of a camera, see `compose_cameras`.
CAMERA_VALUES = 24
# Rows and columns are kept in 16 bits, samples of a view in 31.
_LARGEST_SIDE = 2**16 - 1
_MOST_SAMPLES = 2**31 - 1


def can_rasterize(device: torch.device | str, resolution: tuple[int, int] = (1, 1), spp: int = 1) -> bool:
    """Whether the kernels run on tensors of this device, and for images of this size."""
    height, width = resolution[0] * spp, resolution[1] * spp
    is_small = max(height, width) <= _LARGEST_SIDE and height * width <= _MOST_SAMPLES
    return is_small and has_triton(torch.device(device)) and passes_tuples()


class VisibilityBuffer:
    """What some views of one size see of one mesh; allocated once, drawn any number of times.

    keys      int64 [layers, views * height * width * spp^2]: for each sample EMPTY, or the depth in steps of 2^-30 in the high
              bits and the triangle's number in the low bits. The samples of a pixel follow each other
    marks     int8 [views * ceil(height / 8) * ceil(width / 8)]: 1 for each 8 x 8 pixels that see anything
    counters  int64, for each launch
    The reader of the keys sets them to EMPTY again, and the marks and counters to 0, before the next drawing.
    """

    def __init__(
        self,
        views: int,
        triangles: int,
        resolution: tuple[int, int],
        spp: int,
        device: torch.device | str,
        layers: int = 1,
    ) -> None:
        self.views, self.triangles, self.resolution, self.spp, self.layers = views, triangles, resolution, spp, layers
        samples = views * resolution[0] * resolution[1] * spp * spp
        self.keys = torch.full((layers, samples), EMPTY, device=device)
        groups = (resolution[0] + 7) // 8 * ((resolution[1] + 7) // 8)
        self.marks = torch.zeros(views * groups, dtype=torch.int8, device=device)
        self._launches = list(_launches(views, triangles))
        entries = max((part[1] * (part[3] - part[2]) for part in self._launches), default=1)
        self._starts = torch.empty(entries, dtype=torch.int64, device=device)
        self._records = torch.empty(entries, 16, dtype=torch.float64, device=device)
        # Every second counter is used: all have the same alignment then, so the kernels are compiled only once.
        self.counters = torch.zeros(layers, 2 * len(self._launches), dtype=torch.int64, device=device)

    def draw(self, positions: torch.Tensor, cameras: torch.Tensor | None, triangles: torch.Tensor) -> None:
        """Leave the nearest triangles of each sample in the keys, layer by layer.

        positions  float64 [N, V, 4] in clip space; or, with cameras, float32 [V, 3] in world space
        cameras    float64 [N, 24], from `compose_cameras`
        triangles  int32 [T, 3]
        It does not wait for the device and allocates nothing.
        """
        for layer in range(self.layers if self.keys.numel() else 0):
            self._draw_layer(layer, positions, cameras, triangles)

    def _draw_layer(
        self, layer: int, positions: torch.Tensor, cameras: torch.Tensor | None, triangles: torch.Tensor
    ) -> None:
        # Late: Triton is not there on every machine.
        from render.raster.kernels.rasterize_triton import fill_tiles, set_up_triangles

        (height, width), keys = self.resolution, self.keys[layer]
        in_front = self.keys[max(0, layer - 1)]
        options = {"PEEL": layer > 0, "SPP": self.spp, "WIDE": _TILE[0], "HIGH": _TILE[1]}
        for number, (view, views, first, last) in enumerate(self._launches):
            lists = self.marks, self._starts, self._records, self.counters[layer, 2 * number :]
            set_up_triangles[((last - first + _BLOCK - 1) // _BLOCK, views)](
                positions, positions if cameras is None else cameras, triangles, keys, in_front, *lists,
                positions.shape[-2], first, last, view, width, height,
                CLIP=cameras is None, **options, SMALL=_SMALL, BLOCK=_BLOCK, num_warps=_BLOCK // 32,
            )  # fmt: skip
            digits = (max(1, views * (last - first) - 1).bit_length() + 4) // 5
            fill_tiles[(_programs(keys.device),)](
                keys, in_front, *lists, width, height, **options, SEARCH=digits, num_warps=_WARPS
            )


def _launches(views: int, triangles: int) -> Iterator[tuple[int, int, int, int]]:
    """First view, number of views, first and last triangle of each launch; a launch has as many triangles as fit."""
    if triangles == 0:
        return
    together = max(1, _TRIANGLES_AT_A_TIME // triangles)
    for view in range(0, views, together):
        for first in range(0, triangles, _TRIANGLES_AT_A_TIME):
            yield view, min(together, views - view), first, min(first + _TRIANGLES_AT_A_TIME, triangles)


def _programs(device: torch.device) -> int:
    """As many programs as run at the same time; the interpreter runs one after the other."""
    if device.type != "cuda":
        return 2
    return _PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def triton_fragments(
    position_clip: torch.Tensor, triangles: torch.Tensor, resolution: tuple[int, int], layers: int = 1
) -> Fragments:
    """The same as `visible_fragments`, which does the work where the kernels do not run."""
    if not can_rasterize(position_clip.device, resolution):
        return visible_fragments(position_clip, triangles, resolution, layers)
    height, width = resolution
    clip = position_clip.detach().double().contiguous()
    clip = clip[None] if clip.ndim == 2 else clip
    corners = triangles.int().contiguous()
    at_a_time = max(1, _SAMPLES_AT_A_TIME // (layers * height * width))
    found = [corners.new_zeros(3, 0, dtype=torch.int64)]
    for first in range(0, len(clip), at_a_time):
        part = clip[first : first + at_a_time]
        buffer = VisibilityBuffer(len(part), len(corners), resolution, 1, clip.device, layers)
        with torch.cuda.device(clip.get_device()):  # -1, a tensor on the CPU, changes nothing
            buffer.draw(part, None, corners)
        layer, pixel = (buffer.keys != EMPTY).nonzero().unbind(1)
        triangle = buffer.keys[layer, pixel] & 0xFFFFFFFF
        found.append(torch.stack([pixel + first * height * width, layer, triangle]))
    pixel, layer, triangle = torch.cat(found, dim=1)
    if len(found) > 2:
        order = torch.argsort(layer, stable=True)
        pixel, layer, triangle = pixel[order], layer[order], triangle[order]
    return fragments_of_triangles(clip, triangles, resolution, pixel, layer, triangle)
