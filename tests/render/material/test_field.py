"""The field of materials in space: the grid's addresses, gradients, ranges, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from render.material.field import MLPTexture3D
from render.material.hash_grid import HashGrid, HashGridConfig, vertex_taps

BOX = torch.tensor([[-1.0, -2.0, 0.5], [1.0, 0.0, 3.0]])
SMALL = HashGridConfig(levels=4, table_size=2**14, base_resolution=4, finest_resolution=32)
# Dense, dense and hashed, with collisions.
TINY = HashGridConfig(levels=3, table_size=2**5, base_resolution=1, finest_resolution=7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def positions(count: int, seed: int = 0) -> torch.Tensor:
    return BOX[0] + torch.rand(count, 3, generator=seeded(seed)) * (BOX[1] - BOX[0])


def field(grid: HashGridConfig = SMALL, **settings) -> MLPTexture3D:
    return MLPTexture3D(BOX, grid=grid, generator=seeded(), **settings)


def test_the_default_grid_is_that_of_nvdiffrec():
    config = HashGridConfig()
    resolutions = config.resolutions()
    assert (len(resolutions), resolutions[0], resolutions[-1]) == (16, 16, 4096)
    assert config.entries()[:3] == [17**3, 24**3, 34**3]
    assert set(config.entries()[6:]) == {2**19}
    assert HashGridConfig(levels=1).resolutions() == [16]


def test_vertices_have_their_own_entry_while_the_table_holds_them():
    index, weight = vertex_taps(torch.rand(500, 3, generator=seeded(), dtype=torch.float64), 3, 64)
    vertices = torch.stack([index % 4, index // 4 % 4, index // 16], -1).double()
    assert int(index.max()) < 64
    # Weights are those that give back the point itself.
    point = (vertices * weight[..., None]).sum(1) / 3
    torch.testing.assert_close(point, torch.rand(500, 3, generator=seeded(), dtype=torch.float64))
    torch.testing.assert_close(weight.sum(1), torch.ones(500, dtype=torch.float64))


def test_hashed_addresses_follow_the_formula_of_the_paper():
    point = torch.tensor([[0.999, 0.5, 0.25], [0.0, 1.0, 0.3]], dtype=torch.float64)
    index, _ = vertex_taps(point, 4096, 2**19)
    for row, values in zip(index.tolist(), point.tolist(), strict=True):
        low = [min(math.floor(value * 4096), 4095) for value in values]
        for corner in range(8):
            x, y, z = (low[k] + (corner >> k & 1) for k in range(3))
            expected = (x ^ (y * 2654435761 & 0xFFFFFFFF) ^ (z * 805459861 & 0xFFFFFFFF)) % 2**19
            assert row[corner] == expected


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_the_faces_of_the_cube_belong_to_it(edge):
    index, weight = vertex_taps(torch.full((1, 3), edge), 3, 64)
    assert index[0, weight[0] > 0.5].tolist() == [0 if edge == 0 else 63]


def test_a_level_is_trilinear_between_its_vertices():
    grid = HashGrid(HashGridConfig(1, 2, 64, 3, 3), seeded(), torch.float64)
    axis = torch.arange(4, dtype=torch.float64)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    with torch.no_grad():
        grid.tables[0].copy_(torch.stack([x * y * z, 1 + x - 2 * y], -1).reshape(-1, 2))
    point = torch.rand(100, 3, generator=seeded(1), dtype=torch.float64)
    px, py, pz = (point * 3).unbind(-1)
    value = grid(point)
    torch.testing.assert_close(value[:, 1], 1 + px - 2 * py)
    # Products of coordinates are trilinear as they are.
    torch.testing.assert_close(value[:, 0], px * py * pz)


def test_gradients_to_every_weight_and_to_position_are_those_of_finite_differences(device):
    texture = field(TINY, channels=2, width=4, hidden=2, dtype=torch.float64).to(device)
    parameters = dict(texture.named_parameters())
    with torch.no_grad():
        # As large as trained features are, so that no gradient drowns in the differences' error.
        for name, value in parameters.items():
            value.copy_(torch.randn(value.shape, generator=seeded(len(name)), dtype=torch.float64) * 0.7)
    position = positions(6).double().to(device).requires_grad_()

    def sample(position, *values):
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(texture, named, (position,))

    texture.forward = texture.sample
    assert torch.autograd.gradcheck(sample, (position, *parameters.values()), eps=1e-7, atol=1e-5)


def test_the_network_is_linear_layers_with_relu_between_and_a_sigmoid():
    texture = field(TINY, channels=2, width=5, hidden=2, min_max=(-1.0, [2.0, 3.0]), dtype=torch.float64)
    with torch.no_grad():
        for value in texture.parameters():
            value.copy_(torch.randn(value.shape, generator=seeded(value.numel()), dtype=torch.float64))
    position = positions(50).double()
    features = texture.grid((position - BOX[0]) / (BOX[1] - BOX[0])).detach().numpy()
    assert [tuple(weight.shape) for weight in texture.weights] == [(5, 6), (5, 5), (2, 5)]
    first, second, last = (weight.detach().numpy() for weight in texture.weights)
    out = np.maximum(np.maximum(features @ first.T, 0) @ second.T, 0) @ last.T
    expected = -1 + np.array([3.0, 4.0]) / (1 + np.exp(-out))
    np.testing.assert_allclose(texture.sample(position).detach().numpy(), expected, rtol=1e-6)


def test_it_learns_a_known_field_to_thirty_decibels(device):
    def truth(position: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.5 * torch.sin(position * torch.tensor([5.0, 6.0, 4.0], device=device))

    texture = field(SMALL, channels=3, width=16).to(device)
    optimiser = torch.optim.Adam(texture.parameters(), lr=2e-2, betas=(0.9, 0.99), eps=1e-15)
    for step in range(150):
        position = positions(2048, step).to(device)
        optimiser.zero_grad()
        (texture.sample(position) - truth(position)).square().mean().backward()
        optimiser.step()
    position = positions(4096, 1000).to(device)
    error = (texture.sample(position) - truth(position)).detach().square().mean()
    assert -10 * math.log10(error.item()) > 30


def test_values_stay_in_the_range_of_their_channel_and_start_in_its_middle(device):
    low, high = torch.linspace(-1, 0, 9), torch.linspace(0.5, 2, 9)
    texture = field(min_max=(low, high)).to(device)
    start = texture.sample(positions(100).to(device)).detach().cpu()
    torch.testing.assert_close(start, ((low + high) / 2).expand(100, 9), rtol=0, atol=1e-3)
    with torch.no_grad():
        for weight in texture.parameters():
            weight.mul_(1e6)
    value = texture.sample(positions(1000, 1).to(device)).detach().cpu()
    assert bool(((value >= low - 1e-6) & (value <= high + 1e-6)).all())
    assert bool((value.std(0) > 0.1).all())


def test_clamping_changes_nothing():
    texture = field()
    before = [value.clone() for value in texture.state_dict().values()]
    assert texture.clamp_() is texture
    assert all(torch.equal(a, b) for a, b in zip(before, texture.state_dict().values(), strict=True))


def test_a_generator_fixes_the_first_values():
    values = [field().sample(positions(5)) for _ in range(2)]
    assert torch.equal(*values)
    other = MLPTexture3D(BOX, grid=SMALL, generator=seeded(1)).sample(positions(5))
    assert not torch.equal(values[0], other)


@pytest.mark.parametrize("leading", [(), (0,), (4,), (2, 3, 5)])
def test_any_leading_shape_is_kept(leading):
    value = field(channels=7).sample(torch.zeros(*leading, 3))
    assert value.shape == (*leading, 7)
    value.sum().backward()


def trained(seed: int = 3) -> MLPTexture3D:
    """A field with contrast."""
    texture = field()
    with torch.no_grad():
        for table in texture.grid.tables:
            table.copy_(torch.randn(table.shape, generator=seeded(seed)))
    return texture


def test_a_point_has_its_value_whatever_points_are_beside_it():
    texture, position = trained(), positions(64)
    jitter = position + torch.randn(64, 3, generator=seeded(5)) * 0.01
    both = texture.sample(torch.stack([position, jitter]))
    torch.testing.assert_close(both[0], texture.sample(position))
    torch.testing.assert_close(both[1], texture.sample(jitter))


def test_a_small_jitter_changes_little_also_across_cells():
    texture, position = trained(), positions(4000)
    jitter = torch.randn(4000, 3, generator=seeded(5))
    changes = [
        (texture.sample(position + jitter * size) - texture.sample(position)).detach().abs().max().item()
        for size in (1e-3, 1e-4, 1e-5)
    ]
    assert changes[1] < changes[0] / 4
    assert changes[2] < changes[1] / 4


def test_positions_outside_have_the_value_of_the_nearest_on_the_box():
    texture = trained()
    position = (positions(200) - BOX.mean(0)) * 4 + BOX.mean(0)
    inside = position.clamp(BOX[0], BOX[1])
    torch.testing.assert_close(texture.sample(position), texture.sample(inside), rtol=1e-4, atol=1e-4)
    outside = position[(position != inside).all(-1)].requires_grad_()
    texture.sample(outside).sum().backward()
    assert len(outside) > 10
    assert not outside.grad.any()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45])
def test_no_position_gives_a_value_that_is_not_finite(number):
    texture = trained()
    position = torch.tensor([[number] * 3, [0.0, number, 1.0]], requires_grad=True)
    value = texture.sample(position)
    value.sum().backward()
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(position.grad).all())
    assert all(bool(torch.isfinite(weight.grad).all()) for weight in texture.parameters())


def test_training_repeats_itself():
    def gradient() -> list[torch.Tensor]:
        texture = trained()
        texture.sample(positions(3000)).square().sum().backward()
        return [weight.grad for weight in texture.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradient(), gradient(), strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aabb": [[0.0, 0, 0], [1, 0, 1]]}, "has no volume: grow it a little along flat axes"),
        ({"aabb": [[0.0, 0, 0], [1, -1, 1]]}, "has no volume"),
        ({"aabb": [[0.0, 0, 0], [1, math.inf, 1]]}, "has no volume"),
        ({"aabb": np.array([[0.0, math.nan, 0], [1, 1, 1]])}, "has no volume"),
        ({"aabb": torch.zeros(3, 2)}, r"\[2, 3\], not \[3, 2\]"),
        ({"min_max": (0.0, math.inf)}, "bounds of a field must be finite"),
        ({"min_max": ([0.0, 1.0], 1.0)}, "one for each of the 9 channels, not 2"),
        ({"min_max": (1.0, 0.0)}, "must not lie above"),
        ({"hidden": 0}, "at least one channel, one neuron and one hidden layer"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MLPTexture3D(**({"aabb": BOX, "grid": TINY} | settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table_size": 1000}, "a power of two of at least 2, not 1000"),
        ({"levels": 0}, "at least one level"),
        ({"base_resolution": 32, "finest_resolution": 16}, "between base_resolution 32 and 2\\^20, not be 16"),
    ],
)
def test_wrong_grids_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        HashGridConfig(**settings)


@pytest.mark.parametrize("position", [torch.zeros(4, 2), torch.zeros(4, 3).int(), torch.tensor(1.0)])
def test_positions_of_another_shape_are_refused(position):
    with pytest.raises(ValueError, match=r"positions must be floats \[..., 3\]"):
        field(TINY).sample(position)
