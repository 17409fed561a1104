"""The margins of fitted maps: what lies beside faces, at full size and in mip levels that Pillow makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.shapes import joined, plane

from backend.fit.dilation import uv_charts
from backend.job.margins import Margins
from render.geometry.mesh import Mesh
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, initial_maps

SIZE = 128
LEVELS = 6


def square(left: float, top: float, width: float = 0.25, height: float = 0.25) -> Mesh:
    """A plane whose UV map is a rectangle, v pointing down."""
    mesh = plane(1.0, 0.0, 2)
    return replace(mesh, uv=mesh.uv * torch.tensor([width, height]) + torch.tensor([left, top]))


def two_islands() -> tuple[Margins, torch.Tensor, torch.Tensor]:
    """The margins of two squares, and which texels each covers."""
    parts = square(0.125, 0.125), square(0.5, 0.125)
    first, second = (uv_charts(part, SIZE).covered for part in parts)
    mesh = joined(*parts)
    return Margins(mesh, uv_charts(mesh, SIZE)), first, second


def maps_of(first: torch.Tensor, second: torch.Tensor):
    """Maps with one look on each island, and another beside them."""
    maps = initial_maps(SIZE, True)
    maps.texels[:] = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0])
    maps.texels[first] = torch.tensor([0.9, 0.3, 0.5, 0.2, 1.0, 0.6, 0.0, 0.8, 1.0])
    maps.texels[second] = torch.tensor([0.4, 0.7, 0.5, 0.7, 0.5, 0.0, 0.6, 0.8, 0.5])
    return maps


def test_every_texel_is_as_the_nearest_island():
    margins, first, second = two_islands()
    maps = maps_of(first, second)
    filled = margins.fill(maps.texels, kept=0.0)
    torch.testing.assert_close(filled[first | second], maps.texels[first | second])
    middle = (first.nonzero()[:, 1].max() + second.nonzero()[:, 1].min()) // 2
    row = int(first.nonzero()[:, 0].float().mean())
    assert (filled[row, : middle + 1] == filled[row, 30]).all()
    assert (filled[row, middle + 1 : 100] == filled[row, 80]).all()
    assert (filled[row, -1] == filled[row, 30]).all()  # over the border, since maps repeat


@pytest.mark.parametrize("channel", range(9))
def test_no_mip_level_holds_anything_but_the_islands(channel):
    margins, first, second = two_islands()
    maps = maps_of(first, second)
    values = margins.fill(maps.texels, kept=0.0)[..., channel].numpy().astype(np.float32)
    own = maps.texels[first | second][:, channel]
    image = Image.fromarray(values)
    for level in range(LEVELS + 1):
        small = np.asarray(image.reduce(2**level))
        assert small.min() >= float(own.min()) - 1e-5
        assert small.max() <= float(own.max()) + 1e-5
        for island in (first, second) if level <= 2 else ():
            touched = np.asarray(Image.fromarray(island.numpy().astype(np.float32)).reduce(2**level)) > 0.0
            assert np.abs(small[touched] - float(maps.texels[island][0, channel])).max() < 1e-5


def test_texels_that_faces_read_at_their_border_stay_as_fitted():
    margins, first, second = two_islands()
    maps = maps_of(first, second)
    filled = margins.fill_maps(maps, None)
    border = (margins.distance > 0.0) & (margins.distance < 1.5)
    assert border.any()
    assert torch.equal(filled.texels[border], maps.texels[border])
    assert (filled.texels[margins.distance > 1.5][:, ALPHA] > 0.0).all()


def test_beyond_a_width_is_a_new_material():
    margins, first, second = two_islands()
    texels = margins.fill_maps(maps_of(first, second), 4).texels
    far = margins.distance > 4.0
    new = texels[far]
    assert (new[:, KD] == 0.8).all()
    assert (new[:, ROUGHNESS] == 0.5).all()
    assert (new[:, METALLIC] == 0.0).all()
    assert (new[:, NORMAL] == torch.tensor([0.0, 0.0, 1.0])).all()
    assert (new[:, ALPHA] == 1.0).all()
    within = (margins.distance > 1.5) & ~far
    assert within.any()
    assert (texels[within][:, KD] != 0.8).all()


def test_maps_may_be_larger_than_what_is_known_of_the_faces():
    margins, first, second = two_islands()
    maps = maps_of(first, second)
    large = replace(maps, texels=maps.texels.repeat_interleave(2, 0).repeat_interleave(2, 1))
    wide = margins.fill_maps(large, 8).texels
    torch.testing.assert_close(wide[::2, ::2], margins.fill_maps(maps, 4).texels)
    torch.testing.assert_close(wide[1::2, 1::2], wide[::2, ::2])


def test_in_a_wide_texture_the_nearest_texel_is_the_nearest_in_texels():
    part = square(0.0, 0.0, 0.5, 1.0)
    margins = Margins(part, uv_charts(part, (16, 64)))
    texture = torch.arange(64.0).expand(16, 64)[..., None]
    filled = margins.fill(texture, kept=0.0)[..., 0]
    assert (filled[:, :32] == texture[:, :32, 0]).all()
    assert (filled[:, 32:48] == 31).all()
    assert (filled[:, 48:] == 0).all()  # over the border
    wide = margins.fill(texture.repeat_interleave(2, 0).repeat_interleave(2, 1), kept=0.0)[..., 0]
    assert (wide[::2, ::2] == filled).all()


def test_a_face_thinner_than_a_texel_keeps_its_values():
    part = joined(square(0.125, 0.125), square(0.5, 0.7505, 0.25, 0.002))
    charts = uv_charts(part, SIZE)
    thin = slice(95, 97), slice(66, 94)
    assert not charts.covered[thin].any()
    texture = torch.zeros(SIZE, SIZE, 1)
    texture[96] = 1.0
    filled = Margins(part, charts).fill(texture)
    assert filled[96, 70:90].mean() > 0.5
