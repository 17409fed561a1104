"""Visibility by Triton's kernels against the portable rasteriser: the same triangle at every sample.

Where there is no GPU, Triton interprets its kernels: `test_interpreted.py` runs this file in that mode.
"""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

from render.geometry.camera import Camera, look_at, orthographic, perspective
from render.raster.kernels import triton_provider as rasterize
from render.raster.kernels.triton_provider import (
    CAMERA_VALUES,
    EMPTY,
    VisibilityBuffer,
    can_rasterize,
    triton_fragments,
)
from render.raster.portable import Fragments, visible_fragments

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
RESOLUTION = (21, 37)


@pytest.fixture(autouse=True)
def _triton(request):
    device = request.node.callspec.params.get("device") if hasattr(request.node, "callspec") else None
    if device is not None and not can_rasterize(device):
        pytest.skip("no Triton for this device; test_interpreted.py has its turn where Triton is installed")


def soup(count: int, size: float, nearest: float = 0.5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Triangles anywhere, in clip space [3 * count, 4]; with `nearest` below 0 some reach behind the eye."""
    g = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 1, 3, generator=g, dtype=torch.float64) * 2 - 1
    point = centre + size * (torch.rand(count, 3, 3, generator=g, dtype=torch.float64) * 2 - 1)
    w = torch.rand(count, 3, 1, generator=g, dtype=torch.float64) * 2 + nearest
    return torch.cat([point * w, w], -1).reshape(-1, 4), torch.arange(3 * count).reshape(-1, 3)


def assert_same(ours: Fragments, theirs: Fragments) -> None:
    for name in Fragments.__dataclass_fields__:
        a, b = getattr(ours, name).cpu(), getattr(theirs, name).cpu()
        assert a.shape == b.shape, name
        assert torch.equal(a, b) if not a.is_floating_point() else torch.allclose(a, b, atol=1e-6), name


def assert_as_portable(clip: torch.Tensor, triangles: torch.Tensor, device: str, resolution=RESOLUTION) -> Fragments:
    ours = triton_fragments(clip.to(device), triangles.to(device), resolution)
    assert_same(ours, visible_fragments(clip, triangles, resolution))
    return ours


@pytest.mark.parametrize(
    ("count", "size", "nearest"),
    [(150, 0.03, 0.5), (30, 0.2, 0.5), (12, 1.0, 0.5), (12, 1.0, -1.0), (30, 0.3, -0.3), (1, 30.0, 0.5)],
    ids=["tiny", "small", "large", "behind the eye", "small and behind", "one over all"],
)
def test_the_same_triangles(device, count, size, nearest):
    found = assert_as_portable(*soup(count, size, nearest), device)
    assert len(found.pixel) > 0


def test_several_views(device):
    clip, triangles = soup(25, 0.4)
    turned = clip[:, [1, 0, 2, 3]]
    found = assert_as_portable(torch.stack([clip, turned, clip.flip(0)]), triangles, device)
    assert set(found.view.tolist()) == {0, 1, 2}


def test_edges_through_centres(device):
    """A square whose diagonal, sides and inner corners lie on the very centres of pixels: each pixel exactly once."""
    x, y = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    # Pixel (row, column) 4 and its multiples: centres of a view 16 by 16.
    point = torch.stack([(2 * (4 * x) + 1) / 16 - 1, (2 * (4 * y) + 1) / 16 - 1, 0 * x, 0 * x + 1], -1).double()
    corner = torch.arange(25).reshape(5, 5)
    a, b, c, d = (part.reshape(-1) for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)])
    found = assert_as_portable(point.reshape(-1, 4), triangles, device, (16, 16))
    assert len(found.pixel) == 256


def test_the_first_of_equal_surfaces(device):
    clip, triangles = soup(3, 0.8)
    found = assert_as_portable(clip, torch.cat([triangles, triangles.flip(0), triangles]), device)
    assert int(found.triangle.max()) < 3


def test_nothing_to_see(device):
    """Behind the eye, beyond the near or far plane, outside the picture, without area, not finite, no triangles at all."""
    corners = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]], dtype=torch.float64)
    behind, near, far, beside, flat, broken = (corners.clone() for _ in range(6))
    behind[:, 3] = -1
    near[:, 2], far[:, 2] = -1.5, 1.5
    beside[:, 0] += 5
    flat[2] = flat[1]
    broken[1, 0] = torch.nan
    for clip in (behind, near, far, beside, flat, broken):
        assert len(assert_as_portable(clip, torch.tensor([[0, 1, 2]]), device).pixel) == 0
    assert (
        len(triton_fragments(corners.to(device), torch.zeros(0, 3, dtype=torch.int64, device=device), RESOLUTION).pixel)
        == 0
    )


def test_more_layers(device, monkeypatch):
    """Equal surfaces among them; a few triangles of a view at a time, as of large meshes."""
    clip, triangles = soup(8, 1.2)
    clip, triangles = torch.stack([clip, clip[:, [1, 0, 2, 3]]]), torch.cat([triangles, triangles])
    theirs = visible_fragments(clip, triangles, (9, 13), 4)
    assert int(theirs.layer.max()) == 3
    assert_same(triton_fragments(clip.to(device), triangles.to(device), (9, 13), 4), theirs)
    monkeypatch.setattr(rasterize, "_TRIANGLES_AT_A_TIME", 10)
    assert_same(triton_fragments(clip.to(device), triangles.to(device), (9, 13), 4), theirs)


def cameras() -> list[Camera]:
    view = look_at(torch.tensor([1.0, 2.0, 2.5]), torch.tensor([0.1, 0.0, 0.0]))
    wide = view.clone()
    wide[:3, :3] *= 1.7
    return [Camera(view, perspective(0.8, 1.5)), Camera(wide, perspective(1.2)), Camera(view, orthographic(1.2, 1.5))]


def composed(device: str) -> torch.Tensor:
    from render.raster.kernels.rasterize_triton import compose_cameras

    matrices = torch.stack([torch.stack([camera.view, camera.projection]) for camera in cameras()]).double().to(device)
    result = torch.empty(3, CAMERA_VALUES, dtype=torch.float64, device=device)
    compose_cameras[(3,)](matrices, result)
    return result


def test_cameras(device):
    rows = composed(device).cpu()
    for row, camera in zip(rows, cameras(), strict=True):
        expected = camera.projection.double() @ camera.view.double()
        torch.testing.assert_close(row[:16].reshape(4, 4), expected, rtol=1e-12, atol=1e-12)
        eye = camera.position if camera.is_perspective else camera.view_direction(torch.zeros(3))
        torch.testing.assert_close(row[16:19].float(), eye, rtol=1e-5, atol=1e-6)
        assert bool(row[19]) == camera.is_perspective
        torch.testing.assert_close(row[20:].float(), camera.view[2])


@pytest.mark.parametrize("spp", [1, 2, 4])
def test_samples_of_pixels_and_world_positions(device, spp):
    """Keys lie pixel by pixel, depth above triangle; a buffer serves again once it is emptied."""
    height, width = 9, 25
    clip, triangles = soup(25, 0.5)
    position = 0.4 * clip[:, :3].float()
    buffer = VisibilityBuffer(3, len(triangles), (height, width), spp, device)
    fine = visible_fragments(
        torch.stack([c.to_clip(position) for c in cameras()]), triangles, (height * spp, width * spp)
    )
    expected = torch.full((3 * height * spp * width * spp,), -1, dtype=torch.int64)
    expected[fine.pixel] = fine.triangle
    covered = (expected >= 0).float().reshape(3, 1, height * spp, width * spp)
    groups = F.max_pool2d(covered, 8 * spp, ceil_mode=True)
    assert 0 < int(groups.sum()) < groups.numel()
    depth = torch.full(expected.shape, torch.nan)
    depth[fine.pixel] = fine.depth
    for _ in range(2):
        buffer.draw(position.to(device), composed(device), triangles.int().to(device))
        keys = buffer.keys[0].cpu().reshape(3, height, width, spp, spp).permute(0, 1, 3, 2, 4).reshape(-1)
        assert torch.equal(torch.where(keys == EMPTY, -1, keys & 0xFFFFFFFF), expected)
        found = torch.where(keys == EMPTY, torch.nan, (keys >> 32).double() / (2**30 - 1) - 1)
        torch.testing.assert_close(found.float(), depth, equal_nan=True, rtol=0, atol=1e-6)
        buffer.keys.fill_(EMPTY)
        assert torch.equal(buffer.marks.cpu(), groups.reshape(-1).to(torch.int8))
        buffer.marks.zero_()
        buffer.counters.zero_()


@pytest.mark.skipif(INTERPRETED, reason="this is about the portable way")
def test_the_portable_way_where_there_is_no_triton():
    clip, triangles = soup(12, 1.0)
    assert not can_rasterize("cpu")
    assert_same(triton_fragments(clip, triangles, RESOLUTION), visible_fragments(clip, triangles, RESOLUTION))
