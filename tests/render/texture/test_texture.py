"""Textures as objects: what they are made of, bounds, unit length, resizing, sRGB."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from render.texture.texture import Texture2D, create_trainable, resized, rgb_to_srgb, sample_together, srgb_to_rgb


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def chain(height: int, width: int, channels: int) -> list[torch.Tensor]:
    sizes = [(height, width)]
    while sizes[-1] != (1, 1):
        sizes.append(tuple(max(side // 2, 1) for side in sizes[-1]))
    return [rand(*size, channels, seed=number) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    "init",
    [
        torch.tensor([0.2, 0.4, 0.6]),
        np.array([0.2, 0.4, 0.6]),
        [0.2, 0.4, 0.6],
        (0.2, 0.4, 0.6),
        torch.tensor([0.2, 0.4, 0.6], dtype=torch.float16).expand(1, 1, 1, 3),
    ],
)
def test_a_constant_is_the_same_everywhere(init):
    texture = Texture2D(init)
    assert texture.resolution == (1, 1)
    assert texture.channels == 3
    assert texture.data.dtype == torch.float32
    value = texture.sample(rand(5, 2) * 9, rand(5, 4))
    torch.testing.assert_close(value, torch.tensor([0.2, 0.4, 0.6]).expand(5, 3), rtol=1e-3, atol=0)


@pytest.mark.parametrize("leading", [(), (1,)])
@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_an_image_is_copied_and_its_mips_are_automatic(leading, kind):
    image = rand(*leading, 5, 6, 2).numpy()
    texture = Texture2D(kind(image))
    assert texture.resolution == (5, 6)
    assert texture.auto_mipmaps
    assert [tuple(level.shape) for level in texture.mips] == [(1, 5, 6, 2)]
    assert len(texture.pyramid()) == 3
    before = texture.data.detach().clone()
    image[:] = 7
    assert torch.equal(texture.data, before)


def test_a_list_is_all_levels_and_each_is_trained():
    texture = Texture2D(chain(8, 4, 3))
    assert not texture.auto_mipmaps
    assert len(list(texture.parameters())) == 4
    uv_da = torch.tensor([[1e-3, 0, 0, 1e-3], [0.75, 0, 0, 0.2], [5.0, 0, 0, 5.0]])
    texture.sample(rand(3, 2), uv_da).sum().backward()
    assert [bool(level.grad.any()) for level in texture.mips] == [True, True, True, True]
    assert Texture2D(chain(8, 4, 3)[:1]).auto_mipmaps


def test_a_short_list_ends_with_its_last_level():
    levels = chain(8, 8, 2)[:2]
    value = Texture2D(levels).sample(torch.tensor([0.25 / 4, 0.5 / 4]), torch.full((4,), 99.0))
    left = 0.75 * levels[1][0, 0] + 0.25 * levels[1][0, -1]
    torch.testing.assert_close(value, left)


def test_a_texture_is_a_module_that_saves_and_moves(device):
    texture = Texture2D(chain(4, 4, 3), (0.0, [0.1, 0.2, 0.3])).to(device)
    assert {str(value.device.type) for value in texture.state_dict().values()} == {device}
    assert set(texture.state_dict()) == {"levels.0", "levels.1", "levels.2", "min_max"}
    other = Texture2D([torch.zeros(4, 4, 3), torch.zeros(2, 2, 3), torch.zeros(1, 1, 3)], (0.0, 1.0)).to(device)
    other.load_state_dict(texture.state_dict())
    assert torch.equal(other.clamp_().mips[0], texture.clamp_().mips[0])
    assert other.sample(torch.zeros(2, 2, device=device), torch.zeros(2, 4, device=device)).device.type == device


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (torch.zeros(2, 3), r"\[C\], \[H, W, C\] or \[1, H, W, C\] and not empty, not \[2, 3\]"),
        (torch.zeros(2, 4, 4, 3), r"not \[2, 4, 4, 3\]"),
        (torch.zeros(0, 4, 3), r"not empty, not \[0, 4, 3\]"),
        (torch.tensor(1.0), r"not \[\]"),
        (np.zeros((4, 4, 3), np.uint8), "floats, not torch.uint8: divide 8-bit values by 255"),
        (torch.full((2, 2, 1), math.nan), "must be finite: replace NaN"),
        (np.full(3, np.inf), "must be finite"),
        ([], "at least one level"),
        (["kd.png"], "tensors or arrays, not of str"),
        ([torch.zeros(4, 4, 3), torch.zeros(3, 2, 3)], r"after \[4, 4, 3\] comes \[2, 2, 3\], not \[3, 2, 3\]"),
        ([torch.zeros(4, 4, 3), torch.zeros(2, 2, 1)], r"as many channels: .* not \[2, 2, 1\]"),
        ([torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)], r"after \[1, 1, 3\] comes none"),
        ([torch.zeros(2, 2, 1), torch.zeros(1, 1, 1).double()], "one type and device, not torch.float32"),
    ],
)
def test_what_is_no_texture_is_refused(init, message):
    with pytest.raises(ValueError, match=message):
        Texture2D(init)


@pytest.mark.parametrize(
    ("uv", "uv_da", "mode", "message"),
    [
        (torch.zeros(4, 3), None, "linear", r"uv must be floats \[..., 2\], not \[4, 3\]"),
        (torch.zeros(4, 2).int(), None, "linear", "uv must be floats .* torch.int32"),
        (torch.zeros(4, 2), torch.zeros(4, 2), "linear", r"uv_da must be .* \[4, 4\], not \[4, 2\]"),
        (torch.zeros(4, 2), torch.zeros(1, 4), "linear-mipmap-linear", r"not \[1, 4\]"),
        (torch.zeros(4, 2), None, "cubic", "no filter mode 'cubic': use one of linear-mipmap-linear, linear"),
    ],
)
def test_wrong_arguments_of_sample_say_what_is_right(uv, uv_da, mode, message):
    with pytest.raises(ValueError, match=message):
        Texture2D(torch.zeros(4, 4, 1)).sample(uv, uv_da, mode)


def test_clamping_keeps_every_level_in_the_bounds_of_its_channel():
    levels = [level * 4 - 2 for level in chain(4, 4, 3)]
    texture = Texture2D(levels, (torch.tensor([0.0, 0.08, -1.0]), torch.tensor([1.0, 0.5, math.inf])))
    texture.clamp_()
    for level, before in zip(texture.mips, levels, strict=True):
        expected = torch.stack(
            [before[..., 0].clamp(0, 1), before[..., 1].clamp(0.08, 0.5), before[..., 2].clamp(min=-1)], -1
        )
        assert torch.equal(level[0], expected)
    assert texture.data.requires_grad
    free = Texture2D(levels[0])
    assert torch.equal(free.clamp_().data[0], levels[0])


@pytest.mark.parametrize(
    ("min_max", "message"),
    [
        ((0.0, 1.0, 2.0), "a lower and an upper bound, not 3"),
        (([0.0, 0.0], 1.0), "one for each of the 3 channels, not 2"),
        ((1.0, 0.5), "must not lie above"),
        ((math.nan, 0.5), "must not lie above"),
    ],
)
def test_wrong_bounds_are_refused(min_max, message):
    with pytest.raises(ValueError, match=message):
        Texture2D(torch.zeros(2, 2, 3), min_max)


def test_normalising_gives_unit_length_at_every_level():
    texture = Texture2D([level * 2 - 1 for level in chain(8, 8, 3)])
    before = [level.detach().clone() for level in texture.mips]
    texture.normalize_()
    for level, old in zip(texture.mips, before, strict=True):
        torch.testing.assert_close(level, old / old.norm(dim=-1, keepdim=True))
    again = [level.detach().clone() for level in texture.mips]
    torch.testing.assert_close(again, [level.detach() for level in texture.normalize_().mips])


@pytest.mark.parametrize("scale", [1e-45, 1e-30, 1e30, 3e38])
def test_the_shortest_and_the_longest_vectors_keep_their_direction(scale):
    texture = Texture2D(torch.tensor([[[0.0, scale, 0.0]]])).normalize_()
    torch.testing.assert_close(texture.data[0, 0, 0].detach(), torch.tensor([0.0, 1.0, 0.0]))


def test_normals_without_direction_become_flat():
    texture = Texture2D(torch.zeros(1, 4, 3))
    with torch.no_grad():
        texture.data[0, 0, 1] = math.nan
        texture.data[0, 0, 2, 0] = math.inf
        texture.data[0, 0, 3] = torch.tensor([3.0, 0.0, 4.0])
    expected = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [0.6, 0, 0.8]])
    torch.testing.assert_close(texture.normalize_().data[0, 0].detach(), expected)


def test_a_texture_made_trainable_is_a_copy_with_its_bounds():
    source = Texture2D(rand(4, 4, 3), (0.0, 0.9))
    copy = create_trainable(source)
    assert torch.equal(copy.data, source.data)
    assert torch.equal(copy.min_max, source.min_max)
    with torch.no_grad():
        copy.data.fill_(0)
    assert bool(source.data.any())
    assert create_trainable(source, min_max=(0.1, 0.2)).min_max[0, 0].item() == pytest.approx(0.1)


@pytest.mark.parametrize("init", [np.array([0.1, 0.5, 0.9]), torch.tensor([0.1, 0.5, 0.9]), [0.1, 0.5, 0.9]])
def test_a_constant_made_larger_stays_constant(init):
    texture = create_trainable(init, (3, 5))
    assert texture.resolution == (3, 5)
    torch.testing.assert_close(texture.data.detach(), torch.tensor([0.1, 0.5, 0.9]).expand(1, 3, 5, 3))


@pytest.mark.parametrize("resolution", [(16, 32), (4, 4), (16, 3), (3, 16), (7, 24), (5, 4), (1, 1), 6])
def test_resizing_keeps_constants_means_and_ramps(resolution):
    """Also where one axis grows and the other shrinks."""
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    ramp = (torch.arange(12) + 0.5).expand(8, 12)[..., None] / 12
    result = create_trainable(ramp, resolution).data.detach()
    assert result.shape == (1, height, width, 1)
    expected = (torch.arange(width) + 0.5) / width
    # Beyond the outermost texel centres a ramp cannot go on.
    torch.testing.assert_close(result[0, :, :, 0], expected.clamp(0.5 / 12, 1 - 0.5 / 12).expand(height, width))


def test_shrinking_averages_and_growing_interpolates():
    image = rand(1, 4, 4, 2)
    torch.testing.assert_close(resized(image, (2, 4))[0, 0], image[0, :2].mean(0))
    grown = resized(image, (4, 8))
    torch.testing.assert_close(grown[0, :, 1], 0.75 * image[0, :, 0] + 0.25 * image[0, :, 1])


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (1, 6), (1, 1)])
def test_a_trained_chain_goes_down_to_one_texel_of_means(shape):
    texture = create_trainable(rand(*shape, 3), auto_mipmaps=False)
    assert texture.mips[-1].shape == (1, 1, 1, 3)
    for level in texture.mips:
        torch.testing.assert_close(level.mean((1, 2)), texture.mips[0].mean((1, 2)))
    assert all(level.requires_grad for level in texture.mips)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 2, 1), (0, 4)), "cannot be 0x4"),
        (([torch.zeros(2, 2, 1), torch.zeros(1, 1, 1)],), "makes the levels itself"),
    ],
)
def test_what_cannot_be_made_trainable_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_trainable(*arguments)


@pytest.mark.parametrize(("channels", "colours"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_srgb_conversion_leaves_alpha_and_comes_back(channels, colours):
    texture = Texture2D(chain(4, 2, channels), (0.0, 1.0))
    linear = srgb_to_rgb(texture)
    assert torch.equal(linear.min_max, texture.min_max)
    assert len(linear.mips) == len(texture.mips)
    for level, old in zip(linear.mips, texture.mips, strict=True):
        assert torch.equal(level[..., colours:], old[..., colours:])
        assert bool((level[..., :colours] < old[..., :colours]).all())
    for level, old in zip(rgb_to_srgb(linear).mips, texture.mips, strict=True):
        torch.testing.assert_close(level, old)
    assert float(srgb_to_rgb(Texture2D([0.5])).data.detach()) == pytest.approx(0.214041, abs=1e-5)
    assert srgb_to_rgb(Texture2D(torch.zeros(4, 4, 3))).auto_mipmaps


def test_srgb_of_many_channels_is_refused():
    with pytest.raises(ValueError, match="of 9 channels are colors"):
        srgb_to_rgb(Texture2D(torch.zeros(9)))


def test_a_texture_learns_a_picture(device):
    """Through trilinear samples, from a constant."""
    picture = Texture2D(rand(8, 12, 3)).to(device)
    learned = create_trainable([0.5, 0.5, 0.5], (8, 12), min_max=(0.0, 1.0), device=device)
    optimiser = torch.optim.Adam(learned.parameters(), lr=0.05)
    uv = (rand(4000, 2, seed=1) * 3 - 1).to(device)
    uv_da = (rand(4000, 4, seed=2) * 0.15).to(device)
    target = picture.sample(uv, uv_da).detach()
    for _ in range(150):
        optimiser.zero_grad()
        (learned.sample(uv, uv_da) - target).square().mean().backward()
        optimiser.step()
        learned.clamp_()
    error = (learned.data - picture.data).detach().square().mean()
    assert -10 * math.log10(error.item()) > 35


@pytest.mark.parametrize("mode", ["linear-mipmap-linear", "linear", "nearest"])
def test_textures_sampled_together_have_the_samples_and_gradients_of_each_alone(mode):
    """Of two sizes, automatic and custom levels, and two types, mixed."""
    textures = [
        Texture2D(rand(8, 8, 3)),
        Texture2D(rand(4, 8, 2, seed=1)),
        Texture2D(chain(8, 8, 1)),
        Texture2D(rand(8, 8, 9, seed=2)),
        Texture2D(rand(8, 8, 4, seed=3).double()),
        Texture2D([0.1, 0.2]),
    ]
    uv, uv_da = rand(3, 20, 2) * 3 - 1, rand(3, 20, 4) * 0.3
    together = sample_together(textures, uv, uv_da, mode)
    sum(value.square().sum() for value in together).backward()
    for texture, value in zip(textures, together, strict=True):
        gradients = [level.grad for level in texture.mips]
        texture.zero_grad()
        alone = texture.sample(uv, uv_da, mode)
        torch.testing.assert_close(value, alone)
        alone.square().sum().backward()
        torch.testing.assert_close(gradients, [level.grad for level in texture.mips])
    torch.testing.assert_close(sample_together(textures[:2], uv)[1], textures[1].sample(uv))
    assert sample_together([], uv) == []
