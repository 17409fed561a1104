"""nvdiffrec's prefilter: against a dense sum over all texels, its gradient, its levels, and every resolution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from render.light.cubemap import texel_directions
from render.light.environment import EnvironmentLight, NvdiffrecLight, create_trainable_env_rnd
from render.light.nvdiffrec_prefilter import (
    build_nvdiffrec_prefilter,
    cubemap_mip,
    nvdiffrec_diffuse_cubemap,
    nvdiffrec_mip,
    nvdiffrec_resolutions,
    nvdiffrec_roughness,
    nvdiffrec_specular_cubemap,
)
from render.light.nvdiffrec_rows import cutoff_cosine, texel_areas
from render.light.prefilter import diffuse_cubemap, specular_cubemap


def bumpy(resolution: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, resolution, resolution, 3, generator=generator, dtype=torch.float64) ** 4 * 9


def dense_specular(cube: torch.Tensor, roughness: float, cutoff: float) -> torch.Tensor:
    """The definition: every texel within the cutoff, in float64."""
    direction = texel_directions(cube.shape[1], dtype=torch.float64).reshape(-1, 3)
    cosine = direction @ direction.t()
    square = roughness**4
    half_squared = (1 + cosine) / 2
    lobe = cosine.clamp(min=0) * square / (half_squared * (square - 1) + 1) ** 2
    area = torch.from_numpy(texel_areas(cube.shape[1])).reshape(-1).repeat(6)
    weight = torch.where(cosine >= cutoff_cosine(roughness, cutoff) - 1e-12, lobe * area, 0.0)
    return ((weight / weight.sum(dim=1, keepdim=True)) @ cube.reshape(-1, 3)).reshape(cube.shape)


@pytest.mark.parametrize("resolution", [1, 2, 3, 5, 12, 16])
@pytest.mark.parametrize("roughness", [0.02, 0.08, 0.3, 1.0])
def test_one_level_is_the_sum_over_all_texels(resolution: int, roughness: float):
    cube = bumpy(resolution)
    found = nvdiffrec_specular_cubemap(cube, roughness, 0.9)
    # Between 0.05 and 0.15 the weights are float32's.
    torch.testing.assert_close(
        found, dense_specular(cube, roughness, 0.9), rtol=5e-3 if roughness == 0.08 else 1e-9, atol=0
    )


@pytest.mark.parametrize("resolution", [1, 3, 16])
def test_diffuse_is_the_clamped_cosine(resolution: int):
    cube = bumpy(resolution)
    direction = texel_directions(resolution, dtype=torch.float64).reshape(-1, 3)
    area = torch.from_numpy(texel_areas(resolution)).reshape(-1).repeat(6)
    weight = (direction @ direction.t()).clamp(0, 0.999) * area / 3.141592
    expected = (weight @ cube.reshape(-1, 3)).reshape(cube.shape)
    torch.testing.assert_close(nvdiffrec_diffuse_cubemap(cube), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(diffuse_cubemap(cube, prefilter="nvdiffrec"), expected, rtol=1e-9, atol=1e-12)


def test_the_cutoff_keeps_much_less_than_it_says():
    """nvdiffrec's mistake: 1.24 degrees at roughness 0.08, where 99 % of the lobe's energy need 7.13."""
    assert math.degrees(math.acos(cutoff_cosine(0.08, 0.99))) == pytest.approx(1.24, abs=0.01)


def test_the_texel_areas_are_off_on_one_half():
    """nvdiffrec's mistake: the columns left of the middle have the width of the next column outwards."""
    width = texel_areas(8)[4]
    assert width[0] < width[7] < width[3] < width[4]
    np.testing.assert_allclose(width[1:4], width[7:4:-1])


@pytest.mark.parametrize("resolution", [24, 32])
def test_the_operator_of_a_light_is_its_single_levels(resolution: int):
    mips = [bumpy(resolution)]
    while len(mips) < len(nvdiffrec_resolutions(resolution)):
        mips.append(cubemap_mip(mips[-1]))
    *specular, diffuse = build_nvdiffrec_prefilter(resolution, dtype=torch.float64).apply(mips)
    assert len(specular) == len(mips)
    for level, (mip, cube) in enumerate(zip(mips, specular, strict=True)):
        single = specular_cubemap(mip, nvdiffrec_roughness(level, len(mips)), prefilter="nvdiffrec")
        torch.testing.assert_close(cube, single)
    torch.testing.assert_close(diffuse, nvdiffrec_diffuse_cubemap(mips[-1]))


def test_gradients_of_the_operator():
    for cube in (bumpy(2), bumpy(3)):
        given = cube[..., :2].clone().requires_grad_()
        for roughness in (0.09, 0.4, 1.0):
            assert torch.autograd.gradcheck(lambda c, r=roughness: nvdiffrec_specular_cubemap(c, r), given)
        assert torch.autograd.gradcheck(nvdiffrec_diffuse_cubemap, given)


def test_the_transpose_is_that_of_the_operator():
    base, weight = bumpy(18).requires_grad_(), None
    mips = [base, bumpy(9, 1).requires_grad_()]
    found = build_nvdiffrec_prefilter(18, dtype=torch.float64).apply(mips)
    weight = [torch.randn(cube.shape, dtype=torch.float64) for cube in found]
    total = sum((w * cube).sum() for w, cube in zip(weight, found, strict=True))
    total.backward()
    # A linear function through 0 is its own gradient times its argument.
    again = sum((mip.grad * mip.detach()).sum() for mip in mips)
    torch.testing.assert_close(again, total.detach())


def test_the_mip_gradient_is_smooth():
    """A quarter of the parents' gradient, interpolated: even gradients stay even, and the total nearly stays."""
    cube = bumpy(8).requires_grad_()
    mip = cubemap_mip(cube)
    torch.testing.assert_close(mip[2, 1, 3], cube[2, 2:4, 6:8].mean(dim=(0, 1)).detach())
    (even,) = torch.autograd.grad(mip.sum(), cube, retain_graph=True)
    torch.testing.assert_close(even, torch.full_like(even, 0.25))
    one = torch.zeros_like(mip)
    one[4, 2, 1] = 1
    (spread,) = torch.autograd.grad((mip * one).sum(), cube)
    # A quarter by the bilinear weights 9/16, 3/16, 1/16, over 4 x 4 texels; the plain mean would give 1/4 to 2 x 2.
    assert float(spread[4, 4, 2, 0]) == pytest.approx(9 / 64)
    assert float(spread[4, 3, 2, 0]) == pytest.approx(3 / 64)
    assert float(spread.sum()) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("resolution", [1, 2, 3, 16, 20, 32, 40])
def test_any_base_that_can_be_halved_gives_a_light(resolution: int, device: str):
    light = create_trainable_env_rnd(resolution, device=device)
    mips = light.build_mips(prefilter="nvdiffrec")
    assert isinstance(mips, NvdiffrecLight)
    assert [cube.shape[1] for cube in mips.specular_cubes] == nvdiffrec_resolutions(resolution)
    direction = torch.nn.functional.normalize(torch.randn(100, 3, device=device), dim=-1)
    value = mips.diffuse(direction) + mips.specular(direction, torch.linspace(0, 1, 100, device=device))
    value.sum().backward()
    assert bool(value.isfinite().all())
    assert bool(light.base.grad.isfinite().all())
    assert float(value.detach().min()) > 0


@pytest.mark.parametrize("resolution", [17, 34, 50])
def test_a_base_that_cannot_be_halved_is_refused_with_a_cure(resolution: int):
    with pytest.raises(ValueError, match=r"use a power of two, or prefilter='accurate'"):
        create_trainable_env_rnd(resolution).build_mips(prefilter="nvdiffrec")


def test_wrong_arguments_are_named():
    cube = bumpy(4)
    with pytest.raises(ValueError, match="roughness above 0"):
        nvdiffrec_specular_cubemap(cube, 0.0)
    with pytest.raises(ValueError, match=r"not 1\.5"):
        nvdiffrec_specular_cubemap(cube, 0.5, cutoff=1.5)
    with pytest.raises(ValueError, match="even R"):
        cubemap_mip(bumpy(3))
    with pytest.raises(ValueError, match=r"\[18, 9\]"):
        build_nvdiffrec_prefilter(18).apply([cube])
    with pytest.raises(ValueError, match="'karis'"):
        specular_cubemap(cube, 0.5, prefilter="karis")
    with pytest.raises(ValueError, match="'karis'"):
        EnvironmentLight(cube).build_mips(prefilter="karis")
    with pytest.raises(ValueError, match="keeps the base's resolution 4"):
        specular_cubemap(cube, 0.5, 2, prefilter="nvdiffrec")


def test_roughness_and_level_agree():
    levels = 4
    known = torch.tensor([nvdiffrec_roughness(level, levels) for level in range(levels)])
    torch.testing.assert_close(nvdiffrec_mip(known, levels), torch.arange(levels).float())
    assert nvdiffrec_mip(torch.tensor([0.0, 2.0]), levels).tolist() == [0, levels - 1]
    assert nvdiffrec_roughness(0, 1) == 1.0
    assert [nvdiffrec_roughness(level, 2) for level in range(2)] == [0.08, 1.0]


def test_black_light_stays_black_and_suns_stay_finite():
    black = EnvironmentLight(torch.zeros(6, 32, 32, 3)).build_mips("nvdiffrec")
    assert all(float(cube.detach().abs().max()) == 0 for cube in (*black.specular_cubes, black.diffuse_cube))
    base = torch.zeros(6, 32, 32, 3)
    base[3, 5, 31] = 5e5
    light = EnvironmentLight(base)
    mips = light.build_mips("nvdiffrec")
    total = sum(cube.sum() for cube in (*mips.specular_cubes, mips.diffuse_cube))
    total.backward()
    assert bool(total.isfinite())
    assert bool(light.base.grad.isfinite().all())
    assert all(float(cube.detach().min()) >= 0 for cube in mips.specular_cubes)
