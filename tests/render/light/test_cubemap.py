"""Cube maps: geometry, lat-long images, and the seamless atlas, against nvdiffrec's and nvdiffrast's own output."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from support.data_folder import DATA

from render.light.cubemap import (
    CubeAtlas,
    cube_to_dir,
    cubemap_to_latlong,
    dir_to_cube,
    latlong_to_cubemap,
    sample_latlong,
    texel_directions,
    texel_solid_angles,
)

GOLDEN = Path(os.environ.get("PBRFIT_GOLDEN") or DATA / "golden")


def golden(name: str) -> dict[str, torch.Tensor]:
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"nvdiffrec's output {path} is missing (PBRFIT_GOLDEN names another folder)")
    with np.load(path) as data:
        return {key: torch.from_numpy(data[key]) for key in data}


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def test_faces_are_opengl_order_and_invert():
    axes = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    zero = torch.zeros(())
    for face in range(6):
        assert cube_to_dir(face, zero, zero).tolist() == axes[face]
        x, y = torch.rand(2, 50, dtype=torch.float64) * 2 - 1
        back_face, back_x, back_y = dir_to_cube(cube_to_dir(face, x, y) * 3.7)
        assert bool((back_face == face).all())
        torch.testing.assert_close(torch.stack([back_x, back_y]), torch.stack([x, y]))


@pytest.mark.parametrize("resolution", [1, 2, 5, 64])
def test_solid_angles_cover_the_sphere(resolution: int):
    area = texel_solid_angles(resolution, dtype=torch.float64)
    assert float(area.sum()) * 6 == pytest.approx(4 * math.pi, rel=1e-13)
    if resolution == 64:  # a small texel: dx dy / r^3
        center = (torch.arange(64, dtype=torch.float64) * 2 + 1) / 64 - 1
        radius = (1 + center[:, None] ** 2 + center**2).sqrt()
        torch.testing.assert_close(area, (2 / 64) ** 2 / radius**3, rtol=3e-4, atol=0)


def test_directions_are_unit_and_lie_on_their_faces():
    directions = texel_directions(8, dtype=torch.float64)
    assert directions.shape == (6, 8, 8, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(6, 8, 8, dtype=torch.float64))
    faces, _, _ = dir_to_cube(directions)
    assert bool((faces == torch.arange(6).view(6, 1, 1)).all())


def test_latlong_matches_nvdiffrec_both_ways():
    data = golden("light_a.npz")
    resolution = data["base"].shape[1]
    assert relative(latlong_to_cubemap(data["latlong"], resolution, filter="linear"), data["base"]) < 1e-5
    size = tuple(data["latlong_back"].shape[:2])
    assert relative(cubemap_to_latlong(data["base"], size, nvdiffrec_rows=True), data["latlong_back"]) < 1e-5
    # nvdiffrec's is half a row off at the poles; ours gives back the image that the cube was made from.
    smooth = sample_latlong(data["latlong"], torch.nn.functional.normalize(torch.randn(4, 3), dim=-1))
    assert smooth.shape == (4, 3)
    rows = torch.cos((torch.arange(64) + 0.5) * math.pi / 64)[:, None, None].expand(64, 128, 1)
    there_and_back = cubemap_to_latlong(latlong_to_cubemap(rows, 128, filter="linear"), (64, 128))
    assert float((there_and_back - rows).abs().max()) < 2e-3
    assert float((cubemap_to_latlong(latlong_to_cubemap(rows, 128), (64, 128), True) - rows).abs().max()) > 5e-3


def test_latlong_is_blenders_equirectangular():
    """Blender looks up u = 1/2 - atan2(y, x) / 2 pi and v upwards; the axes turn (X, Y, Z) into (-Y, Z, -X)."""
    height, width = 32, 64
    v, u = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    image = torch.stack([torch.cos(2 * math.pi * u), torch.sin(2 * math.pi * u), torch.cos(math.pi * v)], dim=-1)
    blender = torch.nn.functional.normalize(torch.randn(500, 3), dim=-1)
    blender = blender[blender[:, 2].abs() < 0.9]
    x, y, z = blender.unbind(-1)
    blender_u = 0.5 - torch.atan2(y, x) / math.tau
    expected = torch.stack([torch.cos(math.tau * blender_u), torch.sin(math.tau * blender_u), z], dim=-1)
    found = sample_latlong(image, torch.stack([-y, z, -x], dim=-1))
    assert float((found - expected).abs().max()) < 6e-3


@pytest.mark.parametrize(("height", "resolution"), [(64, 32), (128, 16), (256, 8), (96, 24)])
def test_area_filter_keeps_the_energy_of_one_texel(height: int, resolution: int):
    """A one-texel sun anywhere: the plain lookup misses it or counts it twice, the average keeps its energy."""
    generator = torch.Generator().manual_seed(3)
    cube_area = texel_solid_angles(resolution)[..., None]
    errors, plain = [], []
    for _ in range(12):
        row = int(torch.randint(height // 8, height - height // 8, (1,), generator=generator))
        column = int(torch.randint(0, 2 * height, (1,), generator=generator))
        image = torch.zeros(height, 2 * height, 1)
        image[row, column] = 1000.0
        theta = math.pi * (row + 0.5) / height
        energy = 1000.0 * math.sin(theta) * (math.pi / height) ** 2
        errors.append(abs(float((latlong_to_cubemap(image, resolution) * cube_area).sum()) / energy - 1))
        linear = latlong_to_cubemap(image, resolution, filter="linear")
        plain.append(abs(float((linear * cube_area).sum()) / energy - 1))
    assert max(errors) < 0.09
    assert sum(errors) < 0.03 * len(errors)
    assert max(plain) > 2 * max(errors)


def test_latlong_wraps_round_and_over_the_poles():
    image = torch.rand(8, 16, 3, dtype=torch.float64)
    seam = torch.tensor([[-1e-9, 0.3, 1.0], [1e-9, 0.3, 1.0]], dtype=torch.float64)
    left, right = sample_latlong(image, seam)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-6)
    pole = torch.tensor([[1e-9, 1.0, 2e-9], [-1e-9, 1.0, -2e-9]], dtype=torch.float64)
    here, there = sample_latlong(image, pole)
    torch.testing.assert_close(here, there, rtol=0, atol=1e-6)
    assert latlong_to_cubemap(torch.full((4, 8, 2), 2.5), 16).allclose(torch.tensor(2.5))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="'cubic'"):
        latlong_to_cubemap(torch.zeros(4, 8, 3), 4, filter="cubic")
    with pytest.raises(ValueError, match="height, width, channels"):
        latlong_to_cubemap(torch.zeros(8, 4), 4)
    with pytest.raises(ValueError, match=r"\[8, 4\]"):
        CubeAtlas([8, 4]).pack([torch.zeros(6, 8, 8, 3)])
    with pytest.raises(ValueError, match="positive"):
        CubeAtlas([4, 0])


def test_lookup_matches_nvdiffrast():
    data = golden("cube_lookup.npz")
    levels = [data[f"mip_{level}"] for level in range(4)]
    atlas = CubeAtlas([level.shape[1] for level in levels])
    found = atlas.sample(atlas.pack(levels), data["direction"], data["lod"])
    assert found.shape == data["sample"].shape
    assert relative(found, data["sample"]) < 1e-4
    exact = atlas.sample(
        atlas.pack([level.double() for level in levels]), data["direction"].double(), data["lod"].double()
    )
    assert relative(exact, data["sample"].double()) < 2e-6


@pytest.mark.parametrize("resolutions", [[8], [1], [4, 4, 2, 1], [3, 8, 5]])
def test_lookup_is_continuous_over_edges_and_corners(resolutions: list[int]):
    atlas = CubeAtlas(resolutions)
    packed = atlas.pack([torch.rand(6, resolution, resolution, 2, dtype=torch.float64) for resolution in resolutions])
    # Points on edges and at corners, approached from both sides.
    point = torch.rand(400, 3, dtype=torch.float64) * 2 - 1
    point[:, 0] = 1
    point[:, 1] = torch.where(torch.rand(400) < 0.5, 1.0, -1.0).double()
    point[:100, 2] = point[:100, 1]
    point = point[:, torch.randperm(3)] * torch.where(torch.rand(400, 1) < 0.5, 1, -1)
    nudge = torch.randn(400, 3, dtype=torch.float64) * 1e-9
    level = torch.rand(400, dtype=torch.float64) * (len(resolutions) + 1) - 1
    there = atlas.sample(packed, point + nudge, level)
    back = atlas.sample(packed, point - nudge, level)
    torch.testing.assert_close(there, back, rtol=0, atol=1e-6)


def test_lookup_at_centres_returns_the_texels():
    levels = [torch.rand(6, resolution, resolution, 3) for resolution in (16, 16, 4)]
    atlas = CubeAtlas([16, 16, 4])
    packed = atlas.pack(levels)
    assert packed.shape == (1, 3, atlas.height, atlas.width)
    for index, level in enumerate(levels):
        directions = texel_directions(level.shape[1])
        found = atlas.sample(packed, directions * 0.3, torch.full(directions.shape[:-1], float(index)))
        torch.testing.assert_close(found, level, rtol=0, atol=2e-5)
    constant = atlas.pack([torch.full_like(level, 3.25) for level in levels])
    directions = torch.randn(1000, 3)
    assert atlas.sample(constant, directions, torch.rand(1000) * 2).allclose(torch.tensor(3.25))


@pytest.mark.parametrize("resolutions", [[3, 2, 1], [2]])
def test_gradients_of_pack_and_sample(resolutions: list[int]):
    torch.manual_seed(1)
    atlas = CubeAtlas(resolutions)
    levels = [torch.rand(6, r, r, 2, dtype=torch.float64, requires_grad=True) for r in resolutions]
    direction = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    level = (torch.rand(9, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: atlas.pack(given), levels)
    if len(resolutions) == 1:
        level = level.detach()

    def lookup(direction: torch.Tensor, level: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        return atlas.sample(atlas.pack(given), direction, level)

    assert torch.autograd.gradcheck(lookup, (direction, level, *levels))


def test_any_direction_gives_a_finite_result():
    atlas = CubeAtlas([4, 2])
    packed = atlas.pack([torch.rand(6, 4, 4, 3), torch.rand(6, 2, 2, 3)]).requires_grad_()
    direction = torch.tensor([[0.0, 0, 0], [1, 1, 1], [-1, -1, -1], [1e-30, 0, 0], [0, 1e20, -1e20]])
    direction.requires_grad_()
    level = torch.tensor([-5.0, 0.5, 99.0, 1.0, 0.0], requires_grad=True)
    value = atlas.sample(packed, direction, level)
    value.sum().backward()
    assert all(bool(t.isfinite().all()) for t in (value, packed.grad, direction.grad, level.grad))


def test_nvdiffrecs_lookup_wraps_from_pole_to_pole():
    """nvdiffrec's mistake: half of the zenith's light comes from the ground; elsewhere the lookups are the same."""
    image = torch.zeros(8, 16, 3)
    image[:4] = 1.0
    ours, theirs = (latlong_to_cubemap(image, 64, filter=name) for name in ("linear", "nvdiffrec"))
    zenith = (2, slice(31, 33), slice(31, 33))
    torch.testing.assert_close(ours[zenith], torch.ones(2, 2, 3))
    assert float(theirs[zenith].max()) < 0.6
    near = texel_directions(64)[..., 1].abs() > math.cos(math.pi / 16) - 1e-6
    torch.testing.assert_close(ours[~near], theirs[~near])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (4, 3), (33, 20)])
@pytest.mark.parametrize("filter", ["area", "linear", "nvdiffrec"])
def test_latlong_images_of_any_shape(shape: tuple[int, int], filter: str):
    image = torch.rand(*shape, 2, dtype=torch.float64, requires_grad=True)
    for resolution in (1, 4, 5):
        cube = latlong_to_cubemap(image, resolution, filter=filter)
        values, texels = cube.detach(), image.detach()
        assert float(texels.min()) - 1e-9 <= float(values.min())
        assert float(values.max()) <= float(texels.max()) + 1e-9
    (gradient,) = torch.autograd.grad(cube.sum(), image)
    assert float(gradient.sum()) == pytest.approx(2 * 6 * 25)


@pytest.mark.parametrize("filter", ["area", "linear", "nvdiffrec"])
def test_gradients_of_latlong(filter: str):
    image = torch.rand(5, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: latlong_to_cubemap(given, 3, filter=filter), image)
    cube = torch.rand(6, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: cubemap_to_latlong(given, (4, 6)), cube)


def test_an_empty_latlong_image_is_refused():
    with pytest.raises(ValueError, match="at least one texel"):
        latlong_to_cubemap(torch.zeros(0, 4, 3), 4)
