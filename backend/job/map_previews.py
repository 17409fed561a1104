"""Previews of the maps while their fit runs, small and not too often; and copies of the maps for live previews."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from backend.job.atlas import Atlas
from backend.job.control import JobControl
from backend.job.live_maps import FULL_SIZE
from backend.job.snapshot import Snapshot
from render.core.color import linear_to_srgb
from render.light.environment import EnvironmentLight
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps
from render.texture.map_size import MapSize, size_of

LARGEST_PREVIEW = 128
INTERVAL_S = 0.5
# A preview may cost this share of the fit's time.
MOST_SHARE = 0.01
_SRGB_STEPS = 4096


class MapPreviewer:
    """Shows the previews of one set of maps through a job's control, at most one in half a second and for 1% of the time.

    Where somebody watches or follows the job, it leaves copies instead (`backend.job.live_maps`).
    """

    def __init__(
        self,
        control: JobControl,
        set_index: int,
        openness: torch.Tensor | None,
        light: EnvironmentLight | None = None,
    ) -> None:
        """openness: [h, w] of any size, 1 where nothing occludes, or None: 1 everywhere. light: the learned one, or None."""
        self._control = control
        self._set_index = set_index
        self._openness = openness
        self._light = light
        self._next = 0.0

    def offer(self, maps: MaterialMaps) -> None:
        """Show the maps if it is time to."""
        live = self._control.live
        if live.is_watched:
            self.leave(maps, live.wanted(self._set_index))
            return
        began = time.monotonic()
        if began < self._next:
            return
        self._control.show(self._set_index, preview_images(maps, self._openness))
        now = time.monotonic()
        self._next = now + max(INTERVAL_S, (now - began) / MOST_SHARE)

    def show(self, maps: MaterialMaps) -> None:
        """Show the maps now."""
        live = self._control.live
        if live.is_watched:
            self.leave(maps, FULL_SIZE)
        if not live.size:
            self._control.show(self._set_index, preview_images(maps, self._openness))

    def leave(self, maps: MaterialMaps, size: int) -> None:
        """Leave a copy no larger than this size; 0: none."""
        if not size:
            return
        began = time.monotonic()
        texels = maps.texels.detach()
        copy = _reduced(texels, size) if max(texels.shape[:2]) > size else texels.clone()
        base = None if self._light is None else self._light.base.detach().clone()
        ready = None
        if texels.device.type == "cuda":
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
            ready.record()
        self._control.live.leave(self._set_index, Snapshot(copy, self._openness, base, ready), size)
        self._control.live.spend(time.monotonic() - began)


class AtlasPreviewer:
    """Shows the tiles of an atlas, one set after another, as often as one previewer shows its set."""

    def __init__(self, control: JobControl, atlas: Atlas, previewers: list[MapPreviewer]) -> None:
        self._live = control.live
        self._atlas = atlas
        self._previewers = previewers
        self._turn = 0
        self._next = 0.0

    def offer(self, maps: MaterialMaps) -> None:
        """Show the next set's tile if it is time to."""
        if self._live.is_watched:
            size = self._live.wanted(self._turn)
            if size:
                self._previewers[self._turn].leave(self._atlas.part(maps, self._turn), size)
                self._turn = (self._turn + 1) % len(self._previewers)
            return
        began = time.monotonic()
        if began < self._next:
            return
        number, self._turn = self._turn, (self._turn + 1) % len(self._previewers)
        self._previewers[number].show(self._atlas.part(maps, number))
        now = time.monotonic()
        self._next = now + max(INTERVAL_S, (now - began) / MOST_SHARE)


def preview_images(
    maps: MaterialMaps, openness: torch.Tensor | None, size: int = LARGEST_PREVIEW
) -> dict[str, NDArray[np.uint8]]:
    """The previews `kd` (sRGB), `orm` and `normal` of maps, uint8 [h, w, 4], at most `size` pixels high and wide."""
    texels = _small(maps.texels.detach(), size)
    height, width = texels.shape[:2]
    scales, offsets, srgb = _encoding(str(texels.device))
    levels = texels[..., : NORMAL.stop] * scales + offsets
    images = torch.full((3, height, width, 4), 255, dtype=torch.uint8, device=texels.device)
    images[0, ..., :3] = torch.take(srgb, levels[..., KD].clamp_(0, _SRGB_STEPS - 1).long())
    images[1, ..., 1:3] = levels[..., ROUGHNESS.start : METALLIC.stop].to(torch.uint8)
    images[2, ..., :3] = levels[..., NORMAL].to(torch.uint8)
    if maps.has_alpha:
        images[0, ..., 3:] = _eight_bits(texels[..., ALPHA])
    if openness is not None:
        images[1, ..., :1] = _eight_bits(_resized(openness.to(texels)[..., None], MapSize(height, width)))
    return dict(zip(("kd", "orm", "normal"), images.cpu().numpy(), strict=True))


@lru_cache(maxsize=4)
def _encoding(device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Factors [8] and summands [8] that turn texels into levels, and a table of sRGB: the levels of kd are its rows.

    To encode 512 x 512 texels takes 6 ms of a core with the table, 20 ms with the formula.
    """
    steps = _SRGB_STEPS - 1
    scales = torch.tensor([steps] * 3 + [255.0] * 2 + [127.5] * 3, device=device)
    offsets = torch.tensor([0.5] * 5 + [128.0] * 3, device=device)
    table = linear_to_srgb(torch.arange(_SRGB_STEPS, device=device) / steps)
    return scales, offsets, _eight_bits(table)


def _eight_bits(values: torch.Tensor) -> torch.Tensor:
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def _small(texels: torch.Tensor, size: int) -> torch.Tensor:
    """Texels [H, W, C] at no more than `size`: every n-th texel, and means of four of those."""
    longer = max(texels.shape[:2])
    step = max(1, longer // (2 * size))
    small = texels[::step, ::step]
    if max(small.shape[:2]) <= size:
        return small
    height, width = (max(1, edge * size // longer) for edge in texels.shape[:2])
    return _resized(small, MapSize(height, width))


def _reduced(texels: torch.Tensor, size: int) -> torch.Tensor:
    """A copy of texels [H, W, C] at no more than `size`: on a GPU as `_small`, on a CPU every n-th texel, since there the
    means take as long as a step of the fit.
    """
    if texels.device.type == "cuda":
        return _small(texels, size).contiguous()
    step = -(-max(texels.shape[:2]) // size)
    return texels[::step, ::step].clone()


def _resized(texture: torch.Tensor, size: MapSize) -> torch.Tensor:
    if size_of(texture) == size:
        return texture
    image = texture.permute(2, 0, 1)[None]
    if texture.shape[0] > size.height:
        resized = F.interpolate(image, size=size, mode="area")
    else:
        resized = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0)
