"""Sampling, levels of detail and mip levels against brute force, linear algebra and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from render.texture.sampling import footprint_level, level_sizes, next_level, sample_levels, shrink_axis, weighted_sum
from render.texture.texture import Texture2D

SHAPES = [(1, 1), (1, 5), (4, 1), (2, 2), (3, 5), (5, 4), (8, 16), (12, 7)]


def rand(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64) * (high - low) + low


def bilinear(image: torch.Tensor, u: float, v: float) -> torch.Tensor:
    """One lookup with repeat wrapping, from the definition."""
    height, width = image.shape[:2]
    x, y = u * width - 0.5, v * height - 0.5
    total = torch.zeros(image.shape[2], dtype=image.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            total += max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row)) * image[row % height, column % width]
    return total


def trilinear(levels: list[torch.Tensor], u: float, v: float, uv_da: torch.Tensor) -> torch.Tensor:
    height, width = levels[0].shape[1:3]
    jacobian = uv_da.reshape(2, 2) * torch.tensor([[width], [height]])
    level = math.log2(max(float(torch.linalg.matrix_norm(jacobian, 2)), 1e-30))
    level = min(max(level, 0), len(levels) - 1)
    low = min(math.floor(level), max(len(levels) - 2, 0))
    high = min(low + 1, len(levels) - 1)
    return torch.lerp(bilinear(levels[low][0], u, v), bilinear(levels[high][0], u, v), level - low)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9, 16])
def test_samples_are_those_of_the_definition(shape, channels, device):
    texture = Texture2D(rand(*shape, channels)).to(device)
    uv = rand(24, 2, seed=1, low=-2.3, high=3.1)
    uv_da = rand(24, 4, seed=2, low=-1, high=1) * 10 ** rand(24, 1, seed=3, low=-3, high=0)
    value = texture.sample(uv.to(device), uv_da.to(device)).cpu()
    levels = [level.detach().cpu() for level in texture.pyramid()]
    expected = torch.stack([trilinear(levels, *point.tolist(), da) for point, da in zip(uv, uv_da, strict=True)])
    torch.testing.assert_close(value, expected)
    linear = texture.sample(uv.to(device), uv_da.to(device), "linear").cpu()
    torch.testing.assert_close(linear, torch.stack([bilinear(levels[0][0], *point.tolist()) for point in uv]))
    torch.testing.assert_close(texture.sample(uv.to(device)).cpu(), linear, rtol=0, atol=0)


def test_nearest_gives_the_texel_that_holds_the_point():
    image = rand(3, 5, 2)
    uv = rand(50, 2, seed=1, low=-2, high=2)
    rows, columns = ((uv[:, k] * size).floor().long() % size for k, size in ((1, 3), (0, 5)))
    torch.testing.assert_close(Texture2D(image).sample(uv, None, "nearest"), image[rows, columns], rtol=0, atol=0)


@pytest.mark.parametrize("leading", [(), (0,), (7,), (2, 3, 5), (0, 4)])
@pytest.mark.parametrize("mode", ["linear-mipmap-linear", "linear", "nearest"])
def test_any_leading_shape_is_kept(leading, mode):
    texture = Texture2D(rand(4, 6, 3))
    uv, uv_da = rand(*leading, 2), rand(*leading, 4)
    value = texture.sample(uv, uv_da, mode)
    assert value.shape == (*leading, 3)
    value.sum().backward()
    flat = texture.sample(uv.reshape(-1, 2), uv_da.reshape(-1, 4), mode)
    torch.testing.assert_close(value.reshape(-1, 3), flat, rtol=0, atol=0)


def test_the_level_is_the_logarithm_of_the_largest_singular_value():
    uv_da = rand(500, 4, low=-1, high=1) * 10 ** rand(500, 1, seed=1, low=-6, high=6)
    jacobian = uv_da.reshape(-1, 2, 2) * torch.tensor([[96.0], [40.0]], dtype=torch.float64)
    expected = torch.log2(torch.linalg.matrix_norm(jacobian, 2))
    torch.testing.assert_close(footprint_level(uv_da, 40, 96), expected)
    torch.testing.assert_close(footprint_level(uv_da.float(), 40, 96), expected.float(), rtol=1e-5, atol=1e-5)


def test_a_footprint_of_four_texels_is_level_two():
    one_axis = torch.tensor([4 / 64, 0.0, 0.0, 0.0])
    assert footprint_level(one_axis, 32, 64).item() == pytest.approx(2)
    assert footprint_level(one_axis[[3, 2, 1, 0]], 64, 32).item() == pytest.approx(2)
    assert footprint_level(torch.tensor([4 / 64, 0.0, 0.0, 4 / 32]), 32, 64).item() == pytest.approx(2)


@pytest.mark.parametrize("number", [0.0, 1e-45, 1e-30, 1e-12, 1e12, 1e20, 3e38, math.inf, -math.inf, math.nan], ids=str)
@pytest.mark.parametrize("pattern", [(1, 1, 1, 1), (1, 0, 0, 0), (1, 0, 0, 1), (0, 1, -1, 0)])
def test_extreme_footprints_take_the_first_or_the_last_level(number, pattern):
    texture = Texture2D(rand(8, 8, 3).float())
    uv = torch.tensor([0.3, 0.8], requires_grad=True)
    entries = [sign * number if sign else 0.0 for sign in pattern]
    uv_da = torch.tensor(entries, requires_grad=True)
    value = texture.sample(uv, uv_da)
    level = -1 if abs(number) > 1 else 0
    expected = bilinear(texture.pyramid()[level][0].detach(), 0.3, 0.8)
    torch.testing.assert_close(value, expected.to(value.dtype), rtol=1e-5, atol=1e-6)
    value.sum().backward()
    for tensor in (uv, uv_da, texture.data):
        assert bool(torch.isfinite(tensor.grad).all())
    assert not uv_da.grad.any()


def test_any_uv_and_any_size_give_finite_samples_and_gradients():
    extremes = [0.0, -0.0, 1e-45, -1e-9, 0.5, 1 - 6e-8, 1.0, -1.0, 1e7, -3e38, math.inf, -math.inf, math.nan]
    uv = torch.stack(torch.meshgrid(torch.tensor(extremes), torch.tensor(extremes), indexing="ij"), -1)
    for height in range(1, 6):
        for width in range(1, 6):
            texture = Texture2D(rand(height, width, 2, seed=height * 8 + width).float())
            point = uv.clone().requires_grad_()
            uv_da = rand(*uv.shape[:-1], 4, low=-2, high=2).float().requires_grad_()
            for mode in ("linear-mipmap-linear", "linear", "nearest"):
                value = texture.sample(point, uv_da, mode).detach()
                assert float(value.min()) >= 0
                assert float(value.max()) <= 1 + 1e-6
            wanted = [point, uv_da, texture.data]
            value = texture.sample(point, uv_da).sum()
            # A texture of one level does not read uv_da.
            for gradient in torch.autograd.grad(value, wanted, allow_unused=(height, width) == (1, 1)):
                assert gradient is None or bool(torch.isfinite(gradient).all())


def test_a_round_footprint_has_the_mean_gradient_of_its_two_axes():
    uv_da = torch.tensor([0.1, 0.0, 0.0, 0.1], dtype=torch.float64, requires_grad=True)
    footprint_level(uv_da, 64, 64).backward()
    half = 0.5 / (0.1 * math.log(2))
    torch.testing.assert_close(uv_da.grad, torch.tensor([half, 0, 0, half], dtype=torch.float64))


@pytest.mark.parametrize(("shape", "channels"), [((1, 1), 2), ((1, 4), 1), ((3, 2), 3), ((4, 8), 9), ((5, 5), 2)])
def test_every_gradient_of_a_custom_chain_is_that_of_finite_differences(shape, channels, device):
    levels, size = [], shape
    while not levels or levels[-1].shape[:2] != (1, 1):
        levels.append(rand(*size, channels, seed=len(levels)).to(device).requires_grad_())
        size = tuple(max(side // 2, 1) for side in size)
    uv = rand(12, 2, seed=5, low=-1.5, high=1.5).to(device)
    uv_da = (rand(12, 4, seed=6, low=-1, high=1) * 10 ** rand(12, 1, seed=7, low=-1.5, high=0)).to(device)

    def sample(uv, uv_da, *levels):
        return sample_levels([level[None] for level in levels], uv, uv_da)

    assert torch.autograd.gradcheck(sample, (uv.requires_grad_(), uv_da.requires_grad_(), *levels), eps=1e-7, atol=1e-5)


def test_the_level_has_a_gradient_only_between_the_first_and_the_last():
    uv_da = torch.tensor([[1e-3, 0, 0, 1e-4], [0.2, 0, 0, 0.1], [40.0, 0, 0, 9.0]], requires_grad=True)
    Texture2D(rand(16, 16, 1).float()).sample(torch.full((3, 2), 0.2), uv_da).sum().backward()
    assert (uv_da.grad != 0).any(-1).tolist() == [False, True, False]


@pytest.mark.parametrize("channels", [2, 12])
@pytest.mark.parametrize("taps", [1, 4, 8])
def test_a_weighted_sum_has_the_gradients_of_a_dense_product(channels, taps):
    """Both ways of summing the gradient: few channels and many."""
    texels = rand(30, channels).requires_grad_()
    weight = rand(200, taps, seed=1).requires_grad_()
    index = torch.randint(0, 25, (200, taps), generator=torch.Generator().manual_seed(2))
    upstream = rand(200, channels, seed=3)
    weighted_sum(texels, index, weight).backward(upstream)
    got = [texels.grad, weight.grad]
    texels.grad = weight.grad = None
    (texels[index] * weight[..., None]).sum(1).backward(upstream)
    torch.testing.assert_close(got, [texels.grad, weight.grad])


def test_sizes_of_levels_stop_where_the_shorter_side_is_one():
    assert level_sizes(64, 128)[-1] == (1, 2)
    assert level_sizes(5, 12) == [(5, 12), (2, 6), (1, 3)]
    assert level_sizes(1, 9) == [(1, 9), (1, 4), (1, 2), (1, 1)]
    assert level_sizes(1, 1) == [(1, 1)]


@pytest.mark.parametrize(("old", "new"), [(5, 2), (7, 3), (3, 1), (8, 4), (9, 3), (10, 4), (6, 6), (17, 8)])
def test_a_shrunken_axis_holds_the_means_over_what_each_texel_covers(old, new):
    image = rand(2, old, 3)
    # Every old texel as `new` equal parts, of which `old` make a new one.
    expected = image.repeat_interleave(new, 1).unflatten(1, (new, old)).mean(2)
    torch.testing.assert_close(shrink_axis(image, 1, new), expected)


@pytest.mark.parametrize("shape", [(8, 16), (6, 4), (5, 8), (7, 3), (1, 6), (3, 1), (2, 2)])
def test_the_next_level_keeps_the_mean_and_its_gradient_keeps_the_sum(shape):
    image = rand(1, *shape, 2).requires_grad_()
    coarse = next_level(image)
    assert coarse.shape[1:3] == tuple(max(side // 2, 1) for side in shape)
    torch.testing.assert_close(coarse.mean((1, 2)), image.mean((1, 2)))
    for row in range(coarse.shape[1]):
        for column in range(coarse.shape[2]):
            (gradient,) = torch.autograd.grad(coarse[0, row, column, 0], image, retain_graph=True)
            assert float(gradient.sum()) == pytest.approx(1)
            assert float(gradient.min()) >= 0


def test_the_gradient_of_a_coarse_texel_is_a_tent():
    image = torch.zeros(1, 8, 8, 1, dtype=torch.float64, requires_grad=True)
    next_level(image)[0, 1, 2, 0].backward()
    rows = torch.tensor([0, 0.25, 0.75, 0.75, 0.25, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(image.grad[0, ..., 0], 0.25 * rows[:, None] * rows.roll(2)[None])
    torch.testing.assert_close(next_level(image.detach() + 3), torch.full((1, 4, 4, 1), 3.0, dtype=torch.float64))


def test_automatic_levels_of_even_sizes_are_block_means():
    image = rand(1, 16, 8, 3)
    pooled = F.avg_pool2d(image.permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)
    torch.testing.assert_close(Texture2D(image).pyramid()[2], pooled)


def test_sampling_is_the_same_in_every_run():
    texture = Texture2D(rand(32, 32, 9).float())
    uv, uv_da = rand(5000, 2).float(), rand(5000, 4, seed=1).float() * 0.2
    gradients = [torch.autograd.grad(texture.sample(uv, uv_da).square().sum(), texture.data)[0] for _ in range(2)]
    assert torch.equal(*gradients)


def test_half_floats_of_uv_are_sampled_as_single_ones():
    texture = Texture2D(rand(16, 16, 3).float())
    uv, uv_da = rand(40, 2).half(), rand(40, 4, seed=1).half() * 0.2
    torch.testing.assert_close(texture.sample(uv, uv_da), texture.sample(uv.float(), uv_da.float()), rtol=0, atol=0)
