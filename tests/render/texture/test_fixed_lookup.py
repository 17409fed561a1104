"""Trilinear lookup by constant taps against grid_sample, box means and a dense matrix."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from render.texture.fixed_lookup import Taps, lookup, mip_count, pyramid, trilinear_taps
from render.texture.map_size import Size, map_size


def random_texture(resolution: Size, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*map_size(resolution), channels, generator=generator, dtype=torch.float64)


def random_uv(count: int, low: float = 0.0, high: float = 1.0, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 2, generator=generator, dtype=torch.float64) * (high - low) + low


def box_mip(texture: torch.Tensor, level: int) -> torch.Tensor:
    size = 2**level
    return F.avg_pool2d(texture.permute(2, 0, 1)[None], size)[0].permute(1, 2, 0) if level else texture


def bilinear(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """grid_sample of the texture repeated on all sides, uv in 0..1."""
    tiled = texture.repeat(3, 3, 1).permute(2, 0, 1)[None]
    grid = ((uv + 1) / 3 * 2 - 1)[None, None]
    return F.grid_sample(tiled, grid, mode="bilinear", align_corners=False)[0, :, 0].T


def dense_matrix(taps: Taps) -> torch.Tensor:
    matrix = torch.zeros(len(taps.index), taps.rows, dtype=torch.float64)
    return matrix.scatter_add_(1, taps.index, taps.weight.double())


@pytest.mark.parametrize(
    ("resolution", "levels"),
    [(512, 8), (8, 2), (4, 1), (12, 2), (7, 1), (24, 3), ((8, 512), 2), ((64, 16), 3), ((12, 7), 1)],
)
def test_the_number_of_levels_halves_even_sizes_down_to_four(resolution, levels):
    assert mip_count(resolution) == levels


@pytest.mark.parametrize("size", [(16, 16), (16, 48), (32, 8)])
def test_a_pyramid_holds_box_means(size):
    texture = random_texture(size)
    rows = pyramid(texture, 3)
    expected = torch.cat([box_mip(texture, level).reshape(-1, 3) for level in range(3)])
    torch.testing.assert_close(rows, expected)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("size", [(16, 16), (16, 64), (32, 8)])
def test_a_whole_level_is_bilinear_in_its_mip(level, size):
    texture, uv = random_texture(size), random_uv(200)
    taps = trilinear_taps(uv, torch.full((200,), float(level), dtype=torch.float64), size, 3)
    torch.testing.assert_close(
        lookup(pyramid(texture, 3), taps), bilinear(box_mip(texture, level), uv), rtol=0, atol=1e-6
    )


def test_between_levels_the_two_are_mixed():
    texture, uv = random_texture(16), random_uv(200)
    taps = trilinear_taps(uv, torch.full((200,), 1.25, dtype=torch.float64), 16, 3)
    expected = 0.75 * bilinear(box_mip(texture, 1), uv) + 0.25 * bilinear(box_mip(texture, 2), uv)
    torch.testing.assert_close(lookup(pyramid(texture, 3), taps), expected, rtol=0, atol=1e-6)


def test_levels_beyond_the_pyramid_are_clamped():
    texture, uv = random_texture(16), random_uv(50)
    rows = pyramid(texture, 3)
    for asked, given in ((-3.0, 0.0), (9.0, 2.0)):
        values = [lookup(rows, trilinear_taps(uv, torch.full((50,), x).double(), 16, 3)) for x in (asked, given)]
        torch.testing.assert_close(values[0], values[1], rtol=0, atol=0)


def test_texel_centres_give_the_texel_itself():
    texture = random_texture(8)
    row, column = 5, 2
    uv = torch.tensor([[(column + 0.5) / 8, (row + 0.5) / 8]])
    value = lookup(pyramid(texture, 2), trilinear_taps(uv, torch.zeros(1), 8, 2))
    torch.testing.assert_close(value[0], texture[row, column], rtol=0, atol=1e-6)


def test_the_texture_repeats_in_both_directions():
    texture, uv = random_texture(16), random_uv(100)
    level = torch.rand(100, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2
    rows = pyramid(texture, 3)
    value = lookup(rows, trilinear_taps(uv, level, 16, 3))
    for shift in ((1.0, 0.0), (0.0, -1.0), (-3.0, 2.0)):
        moved = lookup(rows, trilinear_taps(uv + torch.tensor(shift), level, 16, 3))
        torch.testing.assert_close(moved, value, rtol=0, atol=1e-6)


def test_the_seam_blends_the_first_and_the_last_column():
    texture = torch.zeros(8, 8, 1, dtype=torch.float64)
    texture[:, 0], texture[:, -1] = 1.0, 3.0
    value = lookup(pyramid(texture, 1), trilinear_taps(torch.tensor([[1.0, 0.5]]), torch.zeros(1), 8, 1))
    assert value.item() == pytest.approx(2.0)


def test_weights_of_every_sample_sum_to_one():
    taps = trilinear_taps(random_uv(300, -2, 3), random_uv(300)[:, 0] * 4 - 1, 32, 4)
    torch.testing.assert_close(taps.weight.sum(1), torch.ones(300))
    assert float(taps.weight.min()) >= 0
    assert int(taps.index.max()) < taps.rows == sum((32 >> level) ** 2 for level in range(4))


def test_the_stored_transpose_is_the_adjoint_of_the_lookup():
    generator = torch.Generator().manual_seed(3)
    taps = trilinear_taps(random_uv(400, -1, 2), random_uv(400, 0, 3, 5)[:, 0], 16, 3)
    texels = torch.randn(taps.rows, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    samples = torch.randn(400, 4, generator=generator, dtype=torch.float64)
    values = lookup(texels, taps)
    values.backward(samples)
    forward, backward = (values * samples).sum(), (texels * texels.grad).sum()
    assert abs(float((forward - backward).detach())) < 1e-10 * float((values * samples).detach().norm())
    torch.testing.assert_close(texels.grad, dense_matrix(taps).T @ samples)


def test_texels_that_no_sample_reads_get_no_gradient():
    taps = trilinear_taps(torch.full((3, 2), 0.5), torch.zeros(3), 16, 2)
    texels = torch.ones(taps.rows, 2, requires_grad=True)
    lookup(texels, taps).sum().backward()
    untouched = torch.ones(taps.rows, dtype=torch.bool)
    untouched[taps.touched] = False
    assert untouched.sum() >= taps.rows - 8
    assert not texels.grad[untouched].any()
    assert texels.grad.sum() == pytest.approx(6.0)


def test_at_one_level_the_gradient_is_that_of_the_dense_equivalent():
    texture, uv = random_texture(12).requires_grad_(), random_uv(300)
    weight = torch.randn(300, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    (lookup(pyramid(texture, 1), trilinear_taps(uv, torch.zeros(300).double(), 12, 1)) * weight).sum().backward()
    dense = texture.detach().clone().requires_grad_()
    (bilinear(dense, uv) * weight).sum().backward()
    torch.testing.assert_close(texture.grad, dense.grad, rtol=1e-5, atol=1e-6)


def test_in_a_wide_texture_too_the_gradient_is_that_of_the_dense_equivalent():
    texture, uv = random_texture((8, 24)).requires_grad_(), random_uv(300)
    weight = torch.randn(300, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    taps = trilinear_taps(uv, torch.zeros(300).double(), (8, 24), 1)
    (lookup(pyramid(texture, 1), taps) * weight).sum().backward()
    dense = texture.detach().clone().requires_grad_()
    (bilinear(dense, uv) * weight).sum().backward()
    torch.testing.assert_close(texture.grad, dense.grad, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_coarse_level_of_a_wide_texture_keeps_its_sum_and_place():
    texture = torch.zeros(8, 16, 1, dtype=torch.float64, requires_grad=True)
    gradient = torch.zeros(128 + 32, 1, dtype=torch.float64)
    gradient[128 + 8 + 5] = 1.0  # row 1, column 5
    pyramid(texture, 2).backward(gradient)
    down = torch.tensor([0, 0.25, 0.75, 0.75, 0.25, 0, 0, 0], dtype=torch.float64)
    across = torch.zeros(16, dtype=torch.float64)
    across[9:13] = torch.tensor([0.25, 0.75, 0.75, 0.25], dtype=torch.float64)
    torch.testing.assert_close(texture.grad[..., 0], 0.25 * down[:, None] * across[None])


def test_the_gradient_of_a_coarse_level_is_smooth_and_keeps_its_sum():
    """The exact transpose of the box mean would leave a block of 2 x 2 equal texels."""
    texture = torch.zeros(8, 8, 1, dtype=torch.float64, requires_grad=True)
    gradient = torch.zeros(64 + 16, 1, dtype=torch.float64)
    gradient[64 + 5] = 1.0
    pyramid(texture, 2).backward(gradient)
    image = texture.grad[..., 0]
    assert float(image.sum()) == pytest.approx(1.0)
    # Coarse texel (1, 1) covers fine rows and columns 2 and 3; bilinear weights reach one texel further.
    ramp = torch.tensor([0, 0.25, 0.75, 0.75, 0.25, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(image, 0.25 * ramp[:, None] * ramp[None])


def test_the_gradient_of_the_finest_level_is_not_smoothed():
    texture = torch.zeros(8, 8, 1, dtype=torch.float64, requires_grad=True)
    gradient = torch.zeros(64 + 16, 1, dtype=torch.float64)
    gradient[19] = 1.0
    pyramid(texture, 2).backward(gradient)
    assert texture.grad.reshape(-1).nonzero().tolist() == [[19]]
