"""Two-dimensional textures whose texels are learned: a constant, one level with automatic mips, or a chain of levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, pairwise, takewhile
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from render.core.color import linear_to_srgb, srgb_to_linear
from render.core.image_io import ImageError, read_values, write_values
from render.texture.sampling import FILTER_MODES, automatic_levels, halved, sample_levels, shrink_axis

Transform = Callable[[torch.Tensor], torch.Tensor]
Image = torch.Tensor | NDArray[Any]
Init = Image | Sequence[float] | Sequence[Image]
MinMax = torch.Tensor | tuple[Image | float | Sequence[float], Image | float | Sequence[float]]


class Texture2D(torch.nn.Module):
    """A texture with trainable texels, sampled with trilinear filtering and repeat wrapping; on any device.

    init     [C]: one constant value (a sequence of numbers will do);
             [H, W, C] or [1, H, W, C]: the finest level; each `sample` builds the coarser ones again;
             a list of such images, each half the size of the one before (odd sides rounded down): all levels, each
             trained by itself. A list of one is a single level.
             Any size from 1x1, any number of channels. Floating point; arrays and half floats become float32, float64
             tensors stay as they are. Row 0 is at v = 0. Values are copied.
    min_max  lower and upper bound for `clamp_`: two scalars, two [C], or [2, C]; None for no bounds
    device   where the texels are; None: where `init` is

    Automatic levels are area-weighted means, down to the level whose shorter side is 1 (see `level_sizes`). nvdiffrec's
    textures must halve evenly. Ours may have any size: an odd side of n texels shrinks to n // 2 texels that
    share its length equally. Repeat wrapping and bilinear filtering mix opposite borders: keep the islands of an
    unwrapped texture away from them.

    Raises ValueError where shapes or levels do not fit, or values are not finite.
    """

    min_max: torch.Tensor | None

    def __init__(self, init: Init, min_max: MinMax | None = None, device: torch.device | str | None = None) -> None:
        super().__init__()
        images = [_image(level, device) for level in _as_levels(init)]
        for finer, coarser in pairwise(images):
            _check_chain(finer, coarser)
        self.levels = torch.nn.ParameterList([torch.nn.Parameter(image) for image in images])
        self.register_buffer(
            "min_max", None if min_max is None else channel_bounds(min_max, images[0].shape[3], images[0])
        )

    @property
    def mips(self) -> list[torch.nn.Parameter]:
        """The trained levels [1, H, W, C], finest first: one where the mips are automatic."""
        return list(self.levels)

    @property
    def data(self) -> torch.nn.Parameter:
        """The finest level, [1, H, W, C]."""
        finest: torch.nn.Parameter = self.levels[0]
        return finest

    @property
    def auto_mipmaps(self) -> bool:
        """Whether coarser levels are built from the finest."""
        return len(self.levels) == 1

    @property
    def resolution(self) -> tuple[int, int]:
        """Height and width of the finest level."""
        return self.data.shape[1], self.data.shape[2]

    @property
    def channels(self) -> int:
        return self.data.shape[3]

    def pyramid(self) -> list[torch.Tensor]:
        """The levels that `sample` reads, [1, H, W, C] each, finest first; differentiable (see `next_level`)."""
        return automatic_levels(self.data) if self.auto_mipmaps else list(self.levels)

    def sample(
        self, uv: torch.Tensor, uv_da: torch.Tensor | None = None, filter_mode: str = "linear-mipmap-linear"
    ) -> torch.Tensor:
        """The texture at uv: [..., 2] -> [..., C].

        uv           float, repeated outside 0..1; u along rows, v = 0 at the upper edge of row 0. Far outside, float32
                     has no digits left for the fraction; values that are not finite count as 0
        uv_da        [..., 4]: du/dx, du/dy, dv/dx, dv/dy, the change of uv over a pixel. It chooses the level by
                     nvdiffrast's rule (`footprint_level`). None: the finest level
        filter_mode  "linear-mipmap-linear", "linear" (finest level, bilinear) or "nearest" (finest level, one texel)

        Differentiable in the texels, in uv (not with "nearest") and, through the level, in uv_da. Where the level is
        clamped (magnified, or past the last) uv_da has no gradient. Where the footprint is round, nvdiffrast gives
        uv_da no gradient, and ours gives the mean of the two axes' gradients. It does not wait for the device.
        Raises ValueError for shapes that do not fit or an unknown filter mode.
        """
        return sample_together([self], uv, uv_da, filter_mode)[0]

    @torch.no_grad()
    def clamp_(self) -> Self:
        """Clamp every level to `min_max` in place, channel by channel; nothing where there are no bounds."""
        if self.min_max is not None:
            for level in self.levels:
                level.clamp_(self.min_max[0], self.min_max[1])
        return self

    @torch.no_grad()
    def normalize_(self) -> Self:
        """Scale every texel of every level to unit length in place, over all channels: for normal maps.

        A texel whose length is zero or not finite has no direction: it becomes (0, ..., 0, 1), the flat normal of a
        normal map. (nvdiffrec's `normalize_` leaves the texture as it was.)
        """
        for level in self.levels:
            # Divide by the largest channel first: the squares of very small or large channels do not fit into a float.
            largest = level.abs().amax(-1, keepdim=True)
            unit = F.normalize(level / largest, dim=-1)
            flat = torch.zeros_like(level)
            flat[..., -1] = 1
            level.copy_(torch.where((largest > 0) & largest.isfinite(), unit, flat))
        return self

    def extra_repr(self) -> str:
        levels = "automatic mips" if self.auto_mipmaps else f"{len(self.levels)} levels"
        return f"{self.resolution[0]}x{self.resolution[1]}x{self.channels}, {levels}"


def sample_together(
    textures: Sequence[Texture2D],
    uv: torch.Tensor,
    uv_da: torch.Tensor | None = None,
    filter_mode: str = "linear-mipmap-linear",
) -> list[torch.Tensor]:
    """The samples of several textures at the same uv, each as `Texture2D.sample` gives it.

    Textures of the same size, number of levels and type are read as one texture of all their channels, which finds the
    texels, and sorts them for the gradient, only once.
    """
    if filter_mode not in FILTER_MODES:
        raise ValueError(f"there is no filter mode {filter_mode!r}: use one of {', '.join(FILTER_MODES)}")
    if uv.ndim < 1 or uv.shape[-1] != 2 or not uv.is_floating_point():
        raise ValueError(f"uv must be floats [..., 2], not {list(uv.shape)} {uv.dtype}")
    if uv_da is not None and uv_da.shape != (*uv.shape[:-1], 4):
        raise ValueError(
            f"uv_da must be [..., 4] with the leading sizes of uv: {[*uv.shape[:-1], 4]}, not {list(uv_da.shape)}"
        )
    trilinear = filter_mode == "linear-mipmap-linear" and uv_da is not None
    groups: dict[tuple[tuple[int, int], int, torch.dtype], list[int]] = {}
    for number, texture in enumerate(textures):
        key = (texture.resolution, len(texture.levels) if trilinear else 1, texture.data.dtype)
        groups.setdefault(key, []).append(number)
    samples: dict[int, torch.Tensor] = {}
    for members in groups.values():
        together = [textures[number] for number in members]
        depth = len(together[0].levels) if trilinear else 1
        images = [torch.cat([texture.levels[level] for texture in together], -1) for level in range(depth)]
        if trilinear and depth == 1:
            images = automatic_levels(images[0])
        values = sample_levels(images, uv, uv_da, filter_mode)
        parts = torch.split(values, [texture.channels for texture in together], -1)
        samples.update(zip(members, parts, strict=True))
    return [samples[number] for number in range(len(textures))]


def create_trainable(
    init: Texture2D | Init,
    resolution: int | tuple[int, int] | None = None,
    auto_mipmaps: bool = True,
    min_max: MinMax | None = None,
    device: torch.device | str | None = None,
) -> Texture2D:
    """A new texture that starts from a texture (its finest level), an image, or a constant [C].

    resolution    (height, width) or one number for both; None keeps the size. Axes that grow are interpolated
                  linearly between texel centers, axes that shrink are averaged by area; one may grow while the other
                  shrinks. (nvdiffrec refuses that, and aligns corners when it enlarges, which shifts the picture.)
    auto_mipmaps  False: every level down to 1x1 is trained by itself, and starts as the mean of the finer one. (Where
                  one side is already 1, nvdiffrec drops every other texel of the other side instead: the 1x1 level
                  below its 1x2 level is the left texel.)
    min_max       bounds for `clamp_`; None takes the bounds of the texture
    device        None: where `init` is

    Raises ValueError as Texture2D, and for a resolution that is not positive or for a list of levels.
    """
    if isinstance(init, Texture2D):
        min_max = init.min_max if min_max is None else min_max
        init = init.data
    levels = _as_levels(init)
    if len(levels) > 1:
        raise ValueError("create_trainable makes the levels itself: give it the finest, or give Texture2D the list")
    image = _image(levels[0], device)
    if resolution is not None:
        image = resized(image, (resolution, resolution) if isinstance(resolution, int) else resolution)
    chain = [image]
    while not auto_mipmaps and chain[-1].shape[1:3] != (1, 1):
        height, width = halved(*chain[-1].shape[1:3])
        chain.append(shrink_axis(shrink_axis(chain[-1], 1, height), 2, width))
    return Texture2D(chain, min_max)


def resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[N, H, W, C] resampled to (height, width), each axis by itself: linear where it grows, by area where it shrinks."""
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"a texture cannot be {height}x{width}: both sides must be 1 or more")
    image = shrink_axis(image, 1, min(height, image.shape[1]))
    image = shrink_axis(image, 2, min(width, image.shape[2]))
    if image.shape[1:3] != (height, width):
        planes = image.permute(0, 3, 1, 2)
        planes = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
        image = planes.permute(0, 2, 3, 1)
    return image.contiguous()


def srgb_to_rgb(texture: Texture2D) -> Texture2D:
    """A new texture with every level decoded from sRGB to linear; alpha, levels and `min_max` stay.

    Alpha is the 4th of four channels and the 2nd of two. Raises ValueError for more channels than four.
    """
    return _recoded(texture, srgb_to_linear)


def rgb_to_srgb(texture: Texture2D) -> Texture2D:
    """A new texture with every level encoded from linear to sRGB (negatives to 0); the rest as in `srgb_to_rgb`."""
    return _recoded(texture, linear_to_srgb)


@torch.no_grad()
def _recoded(texture: Texture2D, curve: Transform) -> Texture2D:
    if texture.channels > 4:
        raise ValueError(f"which of {texture.channels} channels are colors? Convert a texture of at most 4")
    colors = {2: 1, 4: 3}.get(texture.channels, texture.channels)
    levels = [torch.cat([curve(level[..., :colors]), level[..., colors:]], -1) for level in texture.levels]
    return Texture2D(levels, texture.min_max)


def load_texture2D(
    path: str | Path,
    transform: Transform | None = None,
    channels: int | None = None,
    min_max: MinMax | None = None,
    device: torch.device | str = "cpu",
) -> Texture2D:
    """A texture from an image file. If there is only `name_0.png`, `name_1.png`, ... instead, all these levels.

    path       PNG and the like, with 8 or 16 bits, as 0..1; HDR and EXR as they are. Nothing is decoded: colors of a
               PNG are sRGB (see `srgb_to_rgb`)
    transform  applied to each level, a float32 tensor [H, W, C], after `channels`; e.g. `lambda x: x * 2 - 1`
    channels   how many to keep, the first ones. Missing ones are added: gray is repeated, alpha is 1. None: as stored

    nvdiffrec divides 16-bit values by 255 too, prefers `name_0.png` to the file named, and gives fewer channels
    than requested where the file has fewer. Raises ImageError for files that cannot be read or lack channels, ValueError
    for levels that do not halve.
    """
    path = Path(path)
    files = [path]
    if not path.is_file() and _level_path(path, 0).is_file():
        files = list(takewhile(Path.is_file, (_level_path(path, number) for number in count())))
    levels = []
    for file in files:
        image = torch.from_numpy(_with_channels(file, read_values(file), channels))
        levels.append(image if transform is None else transform(image))
    return Texture2D(levels, min_max, device)


@torch.no_grad()
def save_texture2D(path: str | Path, texture: Texture2D, transform: Transform | None = None, bits: int = 8) -> None:
    """Write a texture to an image file, or a custom mip list to `name_0.png`, `name_1.png`, ...; overwrites them.

    path       .png: clamped to 0..1 and rounded to `bits` (8 or 16); .exr and .hdr: linear floats as they are
    transform  applied first to each level, a tensor [H, W, C]; e.g. `lambda x: x * 0.5 + 0.5` for normals

    Two channels are written as three, the third 0 (load them with `channels=2`). More than four cannot be written.
    Raises ImageError for values that the file cannot hold and for a file that cannot be written. Before it writes
    anything, it raises ImageError where `load_texture2D` would read another file as part of this texture: one with the
    plain name beside levels, or a level left over from a longer list.
    """
    path = Path(path)
    files = [path]
    if not texture.auto_mipmaps:
        files = [_level_path(path, number) for number in range(len(texture.levels))]
        for stale in (path, _level_path(path, len(files))):
            if stale.exists():
                raise ImageError(
                    f"{stale} would be read as part of the levels of {path}: remove it or use another name"
                )
    for file, level in zip(files, texture.levels, strict=True):
        image = level[0].detach()
        image = image if transform is None else transform(image)
        write_values(file, image.cpu().numpy(), bits)


def _level_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}_{number}{path.suffix}")


def _with_channels(path: Path, image: NDArray[np.float32], channels: int | None) -> NDArray[np.float32]:
    have = image.shape[-1]
    if channels is None or channels == have:
        return image
    if channels < 1:
        raise ValueError(f"a texture has one or more channels, not {channels}")
    if channels < have:
        return np.ascontiguousarray(image[..., :channels])
    if have == 1 and channels in (3, 4):
        image = image.repeat(3, -1)
    if channels == 4 and image.shape[-1] == 3:
        image = np.concatenate([image, np.ones_like(image[..., :1])], -1)
    if image.shape[-1] != channels:
        raise ImageError(f"{path} has {have} channels, not {channels}: ask for fewer, or save it with more")
    return image


def _as_levels(init: Init) -> list[Image]:
    if isinstance(init, (torch.Tensor, np.ndarray)):
        return [init]
    values = list(init)
    if not values:
        raise ValueError("a texture needs at least one level or one channel: the list given is empty")
    images = [value for value in values if not isinstance(value, (int, float))]
    if not images:
        return [torch.tensor(values, dtype=torch.float32)]
    if len(images) < len(values):
        raise ValueError("a texture is made of numbers or of tensors and arrays, not of both in one list")
    return images


def _image(value: Image, device: torch.device | str | None) -> torch.Tensor:
    """A finite copy [1, H, W, C] in float32 or float64."""
    if not isinstance(value, (torch.Tensor, np.ndarray)):
        raise ValueError(f"a texture is made of tensors or arrays, not of {type(value).__name__}")
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = torch.from_numpy(value.astype(np.float32))
    image = torch.as_tensor(value)
    if not image.is_floating_point():
        raise ValueError(f"a texture holds floats, not {image.dtype}: divide 8-bit values by 255")
    shape = list(image.shape)
    if image.ndim == 1:
        image = image[None, None, None]
    elif image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[0] != 1 or 0 in image.shape:
        raise ValueError(f"a texture is [C], [H, W, C] or [1, H, W, C] and not empty, not {shape}")
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    image = image.detach().to(device=device, dtype=dtype, copy=True).contiguous()
    if not bool(torch.isfinite(image).all()):
        raise ValueError("a texture's first values must be finite: replace NaN and infinity first")
    return image


def _check_chain(finer: torch.Tensor, coarser: torch.Tensor) -> None:
    expected = (1, *halved(*finer.shape[1:3]), finer.shape[3])
    if tuple(coarser.shape) != expected or tuple(finer.shape[1:3]) == (1, 1):
        raise ValueError(
            f"each mip level must have half the size of the one before and as many channels: after {list(finer.shape[1:])}"
            f" comes {list(expected[1:]) if finer.shape[1:3] != (1, 1) else 'none'}, not {list(coarser.shape[1:])}"
        )
    if (finer.dtype, finer.device) != (coarser.dtype, coarser.device):
        raise ValueError(
            f"all mip levels must be of one type and device, not {finer.dtype} on {finer.device} and "
            f"{coarser.dtype} on {coarser.device}"
        )


def channel_bounds(min_max: MinMax, channels: int, like: torch.Tensor) -> torch.Tensor:
    """Lower and upper bounds as [2, channels], of the type and on the device of `like`; a number counts for all channels.

    Raises ValueError where their count does not fit or a lower bound lies above its upper bound.
    """
    if len(min_max) != 2:
        raise ValueError(f"min_max is a lower and an upper bound, not {len(min_max)} values")
    bounds = []
    for bound in min_max:
        bound = torch.as_tensor(bound, dtype=like.dtype, device=like.device).detach().reshape(-1)
        if len(bound) not in (1, channels):
            raise ValueError(f"a bound is one number or one for each of the {channels} channels, not {len(bound)}")
        bounds.append(bound.expand(channels))
    both = torch.stack(bounds)
    if not bool((both[0] <= both[1]).all()):
        raise ValueError(f"the lower bounds {both[0].tolist()} must not lie above the upper ones {both[1].tolist()}")
    return both
