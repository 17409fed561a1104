"""The maps of a running fit, small and not too often, for the artist to watch."""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F

from backend.job_atlas import Atlas
from backend.job_control import JobControl
from render.color import linear_to_srgb
from render.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps

LARGEST_PREVIEW = 128
INTERVAL_S = 0.5
# A preview may cost this share of the fit's time.
MOST_SHARE = 0.01


class MapPreviewer:
    """Shows the previews of one set of maps through a job's control, at most one in half a second and 1% of the time."""

    def __init__(self, control: JobControl, set_index: int, openness: torch.Tensor | None) -> None:
        """openness: [R, R] of any size, 1 where nothing occludes; None: nowhere anything does."""
        self._control = control
        self._set_index = set_index
        self._openness = openness
        self._next = 0.0

    def offer(self, maps: MaterialMaps) -> None:
        """Shows the maps where it is time to."""
        began = time.monotonic()
        if began < self._next:
            return
        self.show(maps)
        now = time.monotonic()
        self._next = now + max(INTERVAL_S, (now - began) / MOST_SHARE)

    def show(self, maps: MaterialMaps) -> None:
        """Shows the maps now."""
        self._control.show(self._set_index, preview_images(maps, self._openness))


class AtlasPreviewer:
    """Shows the tiles of an atlas, one set after the other, as often as one previewer shows its set."""

    def __init__(self, atlas: Atlas, previewers: list[MapPreviewer]) -> None:
        self._atlas = atlas
        self._previewers = previewers
        self._turn = 0
        self._next = 0.0

    def offer(self, maps: MaterialMaps) -> None:
        """Shows one set's tile where it is time to."""
        began = time.monotonic()
        if began < self._next:
            return
        number, self._turn = self._turn, (self._turn + 1) % len(self._previewers)
        self._previewers[number].show(self._atlas.part(maps, number))
        now = time.monotonic()
        self._next = now + max(INTERVAL_S, (now - began) / MOST_SHARE)


def preview_images(maps: MaterialMaps, openness: torch.Tensor | None) -> dict[str, np.ndarray]:
    """The previews `kd` (sRGB), `orm` and `normal` of some maps, uint8 [h, w, 4]."""
    texels = _small(maps.texels.detach())
    size = texels.shape[0]
    opaque = torch.ones_like(texels[..., :1])
    alpha = texels[..., ALPHA] if maps.has_alpha else opaque
    open_part = opaque if openness is None else _resized(openness[..., None], size)
    images = {
        "kd": [linear_to_srgb(texels[..., KD]), alpha],
        "orm": [open_part, texels[..., ROUGHNESS], texels[..., METALLIC], opaque],
        "normal": [texels[..., NORMAL] * 0.5 + 0.5, opaque],
    }
    stacked = torch.stack([torch.cat(parts, dim=-1) for parts in images.values()])
    pixels = (stacked.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()
    return dict(zip(images, pixels, strict=True))


def _small(texels: torch.Tensor) -> torch.Tensor:
    """Texels [R, R, C] at no more than `LARGEST_PREVIEW`: every so manieth, and means of four of those."""
    step = max(1, texels.shape[0] // (2 * LARGEST_PREVIEW))
    texels = texels[::step, ::step]
    return _resized(texels, LARGEST_PREVIEW) if texels.shape[0] > LARGEST_PREVIEW else texels


def _resized(texture: torch.Tensor, size: int) -> torch.Tensor:
    if texture.shape[0] == size:
        return texture
    image = texture.permute(2, 0, 1)[None]
    return F.interpolate(image, size=(size, size), mode="area")[0].permute(1, 2, 0)
