"""The light prefilters against brute force in float64, the furnace, the cube's symmetries and a dense matrix."""

import itertools
import math

import pytest
import torch
from support.data_folder import DATA

from render.core.image_io import read_image
from render.light.cubemap import CubeAtlas, latlong_to_cubemap, texel_directions, texel_solid_angles
from render.light.prefilter import (
    SpecularLevel,
    build_specular_operator,
    default_levels,
    diffuse_cubemap,
    evaluate_irradiance,
    irradiance_sh,
    prefilter_reference,
    roughness_to_level,
    specular_cubemap,
)

FOREST = DATA / "forest_1k.hdr"


def bumpy(resolution: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """A random cube with bright texels, so that errors of single weights show."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, resolution, resolution, 3, generator=generator, dtype=dtype) ** 8 * 20


def forest(resolution: int) -> torch.Tensor:
    if not FOREST.exists():
        pytest.skip(f"the forest environment {FOREST} is missing")
    return latlong_to_cubemap(torch.from_numpy(read_image(FOREST)), resolution).double()


def relative(ours: torch.Tensor, truth: torch.Tensor) -> float:
    return float((ours - truth).norm() / truth.norm())


def random_directions(count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)


def errors_of_texels(base: torch.Tensor) -> list[float]:
    """Relative L2 errors of up to 24 texels of each rough default level, against brute force."""
    levels = default_levels(base.shape[1])
    cubes = build_specular_operator(base.shape[1], levels, dtype=torch.float64).apply(base)
    torch.testing.assert_close(cubes[0], base, rtol=0, atol=0)
    errors = []
    for level, cube in list(zip(levels, cubes, strict=True))[1:]:
        texels = torch.randperm(6 * level.resolution**2, generator=torch.Generator().manual_seed(2))[:24]
        directions = texel_directions(level.resolution, dtype=torch.float64).reshape(-1, 3)[texels]
        truth = prefilter_reference(base, level.roughness, directions, 6 if level.roughness < 0.2 else 1)
        errors.append(relative(cube.reshape(-1, 3)[texels], truth))
    return errors


def test_texels_match_brute_force_on_a_bumpy_cube():
    """Independent random texels: measured 0.2 to 0.55 %."""
    assert max(errors_of_texels(bumpy(32))) < 0.01


def test_texels_match_brute_force_in_the_forest():
    """A real environment: measured 0.1 to 0.4 %."""
    assert max(errors_of_texels(forest(32))) < 0.01


def test_total_error_at_any_roughness_and_direction():
    """Levels, bilinear and linear filtering together, base 64: measured 1.1 to 5.2 %, 3 % on average."""
    base = forest(64)
    levels = default_levels(64)
    atlas = CubeAtlas([level.resolution for level in levels])
    packed = atlas.pack(build_specular_operator(64, levels, dtype=torch.float64).apply(base))
    errors = []
    for index, roughness in enumerate((0.18, 0.22, 0.33, 0.5, 0.75, 0.95)):
        directions = random_directions(24, index)
        level = roughness_to_level(torch.full((24,), roughness, dtype=torch.float64), levels)
        found = atlas.sample(packed, directions, level)
        errors.append(relative(found, prefilter_reference(base, roughness, directions, 3 if roughness < 0.3 else 1)))
    assert max(errors) < 0.07
    assert sum(errors) / len(errors) < 0.04


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-13)])
def test_white_furnace_is_one(dtype: torch.dtype, tolerance: float):
    white = torch.ones(6, 32, 32, 3, dtype=dtype)
    for cube in build_specular_operator(32, dtype=dtype).apply(white):
        torch.testing.assert_close(cube, torch.ones_like(cube), rtol=0, atol=tolerance)
    diffuse = diffuse_cubemap(white)
    torch.testing.assert_close(diffuse, torch.ones_like(diffuse), rtol=0, atol=tolerance)


@pytest.mark.parametrize("base_resolution", [8, 12, 5])
def test_operator_and_transpose_equal_a_dense_matrix(base_resolution: int):
    levels = (
        SpecularLevel(base_resolution, 0.0),
        SpecularLevel(base_resolution, 0.2),
        SpecularLevel(3, 0.5),
        SpecularLevel(4, 1.0),
    )
    operator = build_specular_operator(base_resolution, levels, dtype=torch.float64)
    size = 6 * base_resolution**2
    columns = torch.eye(size, dtype=torch.float64).reshape(6, base_resolution, base_resolution, size)
    dense = torch.cat([cube.reshape(-1, size) for cube in operator.apply(columns)])
    assert float(dense.min()) >= 0
    torch.testing.assert_close(dense.sum(dim=1), torch.ones(len(dense), dtype=torch.float64))
    base = bumpy(base_resolution).requires_grad_()
    cubes = operator.apply(base)
    flat = torch.cat([cube.reshape(-1, 3) for cube in cubes])
    torch.testing.assert_close(flat, dense @ base.detach().reshape(-1, 3))
    weight = torch.rand(flat.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((flat * weight).sum(), base)
    torch.testing.assert_close(gradient.reshape(-1, 3), dense.t() @ weight)


def test_gradients():
    levels = (SpecularLevel(4, 0.0), SpecularLevel(2, 0.0), SpecularLevel(4, 0.3), SpecularLevel(2, 0.8))
    operator = build_specular_operator(4, levels, dtype=torch.float64)
    base = bumpy(4)[..., :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: tuple(operator.apply(given)), base)
    normal = random_directions(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda given, n: evaluate_irradiance(irradiance_sh(given), n), (base, normal))
    roughness = torch.tensor([0.07, 0.12, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: roughness_to_level(r, default_levels(128)), roughness)


def turn_about_y(cube: torch.Tensor) -> torch.Tensor:
    """The light turned by 90 degrees about +y: the value in direction (x, y, z) moves to (z, y, -x)."""
    resolution = cube.shape[1]
    directions = texel_directions(resolution, dtype=torch.float64)
    x, y, z = directions.unbind(-1)
    came_from = torch.stack([-z, y, x], dim=-1).reshape(-1, 3)
    nearest = (came_from @ directions.reshape(-1, 3).t()).argmax(dim=1)
    return cube.reshape(-1, cube.shape[-1])[nearest].reshape(cube.shape)


def test_turning_the_light_turns_the_levels():
    base = bumpy(16)
    turned = turn_about_y(base)
    assert relative(turned, base) > 0.1
    operator = build_specular_operator(16, dtype=torch.float64)
    for plain, after in zip(operator.apply(base), operator.apply(turned), strict=True):
        torch.testing.assert_close(after, turn_about_y(plain))


def test_diffuse_is_the_cosine_convolution():
    """Exact for light of degree 2 at most; a few percent off in a real environment."""
    direction = texel_directions(32, dtype=torch.float64)
    normal = random_directions(40)
    light = (2 + direction[..., 1:2] + 0.7 * direction[..., :1] * direction[..., 2:]).contiguous()
    # The cosine lobe over pi keeps 1 of degree 0, 2/3 of degree 1, 1/4 of degree 2.
    expected = 2 + normal[:, 1:2] * 2 / 3 + 0.7 / 4 * normal[:, :1] * normal[:, 2:]
    torch.testing.assert_close(evaluate_irradiance(irradiance_sh(light), normal), expected, rtol=0, atol=2e-3)
    base = forest(32)
    area = texel_solid_angles(32, dtype=torch.float64).reshape(-1).repeat(6)
    cosine = (normal @ direction.reshape(-1, 3).t()).clamp(min=0) * area / math.pi
    assert relative(evaluate_irradiance(irradiance_sh(base), normal), cosine @ base.reshape(-1, 3)) < 0.05


@pytest.mark.parametrize("base_resolution", [16, 32, 64, 128, 256, 512])
def test_default_levels_are_ordered_and_no_finer_than_the_base(base_resolution: int):
    levels = default_levels(base_resolution)
    assert levels[0] == SpecularLevel(base_resolution, 0.0)
    assert levels[-1].roughness == 1.0
    assert all(a.roughness < b.roughness for a, b in itertools.pairwise(levels))
    assert all(a.resolution >= b.resolution for a, b in itertools.pairwise(levels))


def test_roughness_to_level_passes_the_levels_and_keeps_order():
    levels = default_levels(128)
    known = torch.tensor([level.roughness for level in levels])
    torch.testing.assert_close(roughness_to_level(known, levels), torch.arange(len(levels)).float())
    steps = roughness_to_level(torch.linspace(0, 1, 500), levels)
    assert bool((steps.diff() > 0).all())
    assert roughness_to_level(torch.tensor([-1.0, 2.0]), levels).tolist() == [0, len(levels) - 1]


def test_specular_cubemap_is_one_level():
    base = bumpy(16)
    levels = (SpecularLevel(16, 0.0), SpecularLevel(8, 0.4))
    expected = build_specular_operator(16, levels, dtype=torch.float64).apply(base)
    torch.testing.assert_close(specular_cubemap(base, 0.4, 8), expected[1])
    torch.testing.assert_close(specular_cubemap(base, 0.0), base)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"roughness=1\.5"):
        build_specular_operator(8, (SpecularLevel(8, 1.5),))
    with pytest.raises(ValueError, match=r"one of \[8, 4, 2\]"):
        build_specular_operator(8, (SpecularLevel(3, 0.0),))
    with pytest.raises(ValueError, match=r"\(6, 8, 8\)"):
        build_specular_operator(8).apply(torch.zeros(6, 4, 4, 3))
