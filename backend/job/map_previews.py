"""The maps of a running fit, small and not too often, for the artist to watch; and copies of them for live previews."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from backend.job.atlas import Atlas
from backend.job.control import JobControl
from backend.job.live_maps import FULL_SIZE
from render.core.color import linear_to_srgb
from render.light.environment import EnvironmentLight
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps

LARGEST_PREVIEW = 128
INTERVAL_S = 0.5
# A preview may cost this share of the fit's time.
MOST_SHARE = 0.01
_SRGB_STEPS = 4096


@dataclass(frozen=True)
class Snapshot:
    """A copy of a set's maps in the making: texels float32 [R, R, 8 or 9] as in `MaterialMaps`; openness [r, r] or None,
    which nobody writes to; base [6, B, B, 3] of a light that is learned, or None. On CUDA they are there after `ready`.
    """

    texels: torch.Tensor
    openness: torch.Tensor | None
    base: torch.Tensor | None
    ready: torch.cuda.Event | None

    @property
    def is_there(self) -> bool:
        """Whether nothing need be waited for: a GPU may be a hundred milliseconds behind the fit's thread."""
        return self.ready is None or self.ready.query()


class MapPreviewer:
    """Shows the previews of one set of maps through a job's control, at most one in half a second and 1% of the time.

    Where somebody watches or follows the job, it leaves copies instead, as `backend.job.live_maps` says.
    """

    def __init__(
        self,
        control: JobControl,
        set_index: int,
        openness: torch.Tensor | None,
        light: EnvironmentLight | None = None,
    ) -> None:
        """openness: [R, R] of any size, 1 where nothing occludes; None: nowhere anything does. light: the learned one."""
        self._control = control
        self._set_index = set_index
        self._openness = openness
        self._light = light
        self._next = 0.0

    def offer(self, maps: MaterialMaps) -> None:
        """Shows the maps where it is time to."""
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
        """Shows the maps now."""
        live = self._control.live
        if live.is_watched:
            self.leave(maps, FULL_SIZE)
        if not live.size:
            self._control.show(self._set_index, preview_images(maps, self._openness))

    def leave(self, maps: MaterialMaps, size: int) -> None:
        """Leaves a copy at no more than this size; 0: none."""
        if not size:
            return
        began = time.monotonic()
        texels = maps.texels.detach()
        copy = _reduced(texels, size) if texels.shape[0] > size else texels.clone()
        base = None if self._light is None else self._light.base.detach().clone()
        ready = None
        if texels.device.type == "cuda":
            ready = torch.cuda.Event()
            ready.record()
        self._control.live.leave(self._set_index, Snapshot(copy, self._openness, base, ready), size)
        self._control.live.spend(time.monotonic() - began)


class AtlasPreviewer:
    """Shows the tiles of an atlas, one set after the other, as often as one previewer shows its set."""

    def __init__(self, control: JobControl, atlas: Atlas, previewers: list[MapPreviewer]) -> None:
        self._live = control.live
        self._atlas = atlas
        self._previewers = previewers
        self._turn = 0
        self._next = 0.0

    def offer(self, maps: MaterialMaps) -> None:
        """Shows one set's tile where it is time to."""
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
) -> dict[str, np.ndarray]:
    """The previews `kd` (sRGB), `orm` and `normal` of some maps, uint8 [h, w, 4], of at most `size` pixels."""
    texels = _small(maps.texels.detach(), size)
    edge = texels.shape[0]
    scales, offsets, srgb = _encoding(str(texels.device))
    levels = texels[..., : NORMAL.stop] * scales + offsets
    images = torch.full((3, edge, edge, 4), 255, dtype=torch.uint8, device=texels.device)
    images[0, ..., :3] = torch.take(srgb, levels[..., KD].clamp_(0, _SRGB_STEPS - 1).long())
    images[1, ..., 1:3] = levels[..., ROUGHNESS.start : METALLIC.stop].to(torch.uint8)
    images[2, ..., :3] = levels[..., NORMAL].to(torch.uint8)
    if maps.has_alpha:
        images[0, ..., 3:] = _eight_bits(texels[..., ALPHA])
    if openness is not None:
        images[1, ..., :1] = _eight_bits(_resized(openness.to(texels)[..., None], edge))
    return dict(zip(("kd", "orm", "normal"), images.cpu().numpy(), strict=True))


@lru_cache(maxsize=4)
def _encoding(device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Factors and summands [8] that take texels to levels, those of kd being rows of the table of sRGB that follows.

    By a table the encoding of 512 x 512 texels takes 6 ms of a core, by the formula 20.
    """
    steps = _SRGB_STEPS - 1
    scales = torch.tensor([steps] * 3 + [255.0] * 2 + [127.5] * 3, device=device)
    offsets = torch.tensor([0.5] * 5 + [128.0] * 3, device=device)
    table = linear_to_srgb(torch.arange(_SRGB_STEPS, device=device) / steps)
    return scales, offsets, _eight_bits(table)


def _eight_bits(values: torch.Tensor) -> torch.Tensor:
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def _small(texels: torch.Tensor, size: int) -> torch.Tensor:
    """Texels [R, R, C] at no more than `size`: every so manieth, and means of four of those."""
    step = max(1, texels.shape[0] // (2 * size))
    texels = texels[::step, ::step]
    return _resized(texels, size) if texels.shape[0] > size else texels


def _reduced(texels: torch.Tensor, size: int) -> torch.Tensor:
    """A copy of texels [R, R, C] at no more than `size`: their means, or on a CPU, where those take as long as a step of the
    fit, every so manieth.
    """
    if texels.device.type == "cuda":
        return _small(texels, size).contiguous()
    step = -(-texels.shape[0] // size)
    return texels[::step, ::step].clone()


def _resized(texture: torch.Tensor, size: int) -> torch.Tensor:
    if texture.shape[0] == size:
        return texture
    image = texture.permute(2, 0, 1)[None]
    options = {"mode": "area"} if texture.shape[0] > size else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(image, size=(size, size), **options)[0].permute(1, 2, 0)
