"""Visibility by nvdiffrast, where it is installed: the fast provider on NVIDIA GPUs.

nvdiffrast (github.com/NVlabs/nvdiffrast) is not a dependency: its license allows research and evaluation only, and it is
compiled on the user's machine. Without it, `render.raster.portable.visible_fragments` does all the work.

Only the triangle of each pixel and layer comes from nvdiffrast. Barycentrics, depths and derivatives follow in closed form
as for the portable provider, so both agree to rounding wherever they see the same triangle. They see the same triangle
except within 1/16 pixel of an edge, because nvdiffrast snaps vertices to that grid first.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Any

import torch

from render.raster.portable import Fragments, Rasterizer, fragments_of_triangles


class ProviderError(RuntimeError):
    """A provider of visibility that cannot be used here; the message names the cause and the cure."""


def nvdiffrast_is_installed() -> bool:
    return importlib.util.find_spec("nvdiffrast") is not None


def nvdiffrast_rasterizer(device: torch.device | str) -> Rasterizer:
    """nvdiffrast as a `Rasterizer` for tensors on a CUDA device. Raises ProviderError if it cannot run here."""
    if torch.device(device).type != "cuda":
        raise ProviderError(
            f"nvdiffrast needs a CUDA device, not {device}: use render.raster.portable.visible_fragments"
        )
    if not nvdiffrast_is_installed():
        raise ProviderError(
            "nvdiffrast is not installed: install it as its own documentation says, or use visible_fragments"
        )
    return _rasterize


@lru_cache(maxsize=8)
def _context(device: torch.device) -> Any:
    import nvdiffrast.torch  # late: not there on every machine

    return nvdiffrast.torch.RasterizeCudaContext(device=device)


def _rasterize(
    position_clip: torch.Tensor, triangles: torch.Tensor, resolution: tuple[int, int], layers: int = 1
) -> Fragments:
    """The same as `visible_fragments`."""
    import nvdiffrast.torch  # late: not there on every machine

    exact = position_clip.detach().double()
    exact = exact[None] if exact.ndim == 2 else exact
    found = []
    with nvdiffrast.torch.DepthPeeler(
        _context(exact.device), exact.float().contiguous(), triangles.int().contiguous(), list(resolution)
    ) as peeler:
        for layer in range(layers):
            raster, _ = peeler.rasterize_next_layer()
            triangle = raster[..., 3].reshape(-1)
            pixel = triangle.nonzero()[:, 0]
            found.append(torch.stack([pixel, torch.full_like(pixel, layer), triangle[pixel].long() - 1]))
            if len(pixel) == 0:
                break
    pixel, layer, triangle = torch.cat(found, dim=1)
    return fragments_of_triangles(exact, triangles, resolution, pixel, layer, triangle)
