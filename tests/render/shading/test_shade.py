"""The pixel shader: buffers, modes, conventions of normals, two-sided faces, jitter, errors, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.shapes import studio

from render.light.environment import EnvironmentLight, env_from_latlong
from render.material.material import FieldMaterial, MaterialMaps, TextureMaterial, initial_maps
from render.raster.surface import SurfacePoints
from render.shading.shade import NVDIFFREC_SHADING, Shading, shade, surface_normal
from render.texture.texture import Texture2D


def points(count: int = 40, dtype: torch.dtype = torch.float32, seed: int = 0, device: str = "cpu") -> SurfacePoints:
    """Random points whose frames face the eye."""
    generator = torch.Generator().manual_seed(seed)

    def unit(n: int = 3) -> torch.Tensor:
        return F.normalize(torch.randn(count, n, generator=generator, dtype=torch.float64), dim=-1)

    normal, view = unit(), unit()
    normal = torch.where((normal * view).sum(-1, keepdim=True) < 0, -normal, normal)
    uv = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    fields = {
        "position": unit() * 2,
        "normal": normal,
        "tangent": F.normalize(torch.linalg.cross(normal, unit()), dim=-1),
        "sign": torch.where(uv[:, :1] > 0.5, 1.0, -1.0).double(),
        "view": view,
        "uv": uv * 3 - 1,
        "footprint": torch.full((count,), 0.05, dtype=torch.float64),
        "geometric_normal": normal,
        "uv_da": torch.randn(count, 4, generator=generator, dtype=torch.float64) * 0.02,
        "facing": torch.where(uv[:, 1:] > 0.5, 1.0, -1.0).double(),
    }
    return SurfacePoints(**{name: value.to(device, dtype) for name, value in fields.items()})


def material(device: str = "cpu", alpha: bool = True) -> TextureMaterial:
    generator = torch.Generator().manual_seed(3)
    kd = torch.rand(8, 12, 4 if alpha else 3, generator=generator)
    ks = torch.rand(6, 6, 3, generator=generator) * torch.tensor([0.5, 0.8, 1.0]) + torch.tensor([0.0, 0.2, 0.0])
    normal = F.normalize(torch.rand(5, 7, 3, generator=generator) - torch.tensor([0.5, 0.5, -1.0]), dim=-1)
    return TextureMaterial(*(Texture2D(values.to(device)) for values in (kd, ks, normal)))


@pytest.fixture(scope="module")
def light():
    with torch.no_grad():
        return env_from_latlong(torch.from_numpy(studio()), 32).build_mips()


def test_buffers_carry_alpha_last(light):
    buffers = shade(points(), material(), light, kd_grad=True)
    alpha = material().kd.sample(points().uv, points().uv_da)[..., 3]
    assert {name: buffer.shape[-1] for name, buffer in buffers.items()} == {"shaded": 4, "occlusion": 2, "kd_grad": 2}
    for buffer in buffers.values():
        torch.testing.assert_close(buffer[..., -1], alpha)
    opaque = shade(points(), material(alpha=False), light)
    assert set(opaque) == {"shaded", "occlusion"}
    assert bool((opaque["shaded"][..., 3] == 1).all())


def test_modes_show_what_they_say(light):
    p, m = points(), material()
    sample = m.sample(p)
    torch.testing.assert_close(shade(p, m, None, "kd")["shaded"][..., :3], sample.kd)
    torch.testing.assert_close(shade(p, m, None, "ks")["shaded"][..., :3], sample.ks)
    normal = surface_normal(p, sample.normal, Shading())
    torch.testing.assert_close(shade(p, m, None, "normal")["shaded"][..., :3] * 2 - 1, normal)
    torch.testing.assert_close(shade(p, m, None, "tangent")["shaded"][..., :3] * 2 - 1, p.tangent * p.facing)
    white = shade(p, m, light, "white")["shaded"][..., :3]
    torch.testing.assert_close(white, light.diffuse(normal))
    diffuse = shade(p, m, light, "diffuse")["shaded"][..., :3]
    torch.testing.assert_close(diffuse, sample.kd * white * (1 - sample.ks[..., :1]))
    torch.testing.assert_close(shade(p, m, light)["occlusion"][..., :1], sample.ks[..., :1])


def test_a_directx_map_is_an_opengl_map_with_green_turned(light):
    p, m = points(), material()
    turned = TextureMaterial(m.kd, m.ks, Texture2D(m.normal.mips[0].detach() * torch.tensor([1.0, -1.0, 1.0])))
    for shading in (Shading(), NVDIFFREC_SHADING):
        ours = shade(p, m, light, shading=shading)["shaded"]
        torch.testing.assert_close(shade(p, turned, light, shading=replace(shading, opengl=False))["shaded"], ours)
        assert not torch.allclose(shade(p, turned, light, shading=shading)["shaded"], ours)


def test_no_normal_map_is_a_flat_one(light):
    p, m = points(), material()
    without = shade(p, TextureMaterial(m.kd, m.ks), light)["shaded"]
    torch.testing.assert_close(shade(p, m, light, shading=Shading(normal_map=False))["shaded"], without)
    torch.testing.assert_close(surface_normal(p, None, Shading()), p.normal)


def test_one_sided_faces_keep_their_own_normal():
    p = points()
    turned = surface_normal(p, None, Shading())
    kept = surface_normal(p, None, Shading(two_sided=False))
    torch.testing.assert_close(kept, turned * p.facing)


def test_bent_normals_never_turn_away_from_the_eye():
    p = points(400)
    steep = torch.tensor([0.95, 0.0, 0.3]).expand(400, 3)
    away = (surface_normal(p, steep, Shading()) * p.view).sum(-1)
    bent = (surface_normal(p, steep, Shading(bend_normals=True)) * p.view).sum(-1)
    assert bool((away < -0.1).any())
    assert float(bent.min()) > -1e-3


def test_a_mirrored_uv_mirrors_the_bump_in_both_frames():
    p = points()
    flat_sign = replace(p, sign=torch.ones_like(p.sign))
    mirrored = replace(p, sign=-torch.ones_like(p.sign))
    bump = torch.tensor([0.2, 0.4, 0.9]).expand(40, 3)
    turned = torch.tensor([0.2, -0.4, 0.9]).expand(40, 3)
    for shading in (Shading(), Shading(bend_normals=True)):
        torch.testing.assert_close(surface_normal(mirrored, bump, shading), surface_normal(flat_sign, turned, shading))


def test_kd_grad_is_the_change_of_kd_and_repeats_with_its_generator(light):
    def of(m, seed: int) -> torch.Tensor:
        return shade(points(2000), m, light, "kd", kd_grad=True, generator=torch.Generator().manual_seed(seed))[
            "kd_grad"
        ]

    smooth = TextureMaterial(Texture2D(torch.tensor([0.2, 0.5, 0.7])), Texture2D(torch.tensor([0.0, 0.5, 0.0])))
    assert float(of(smooth, 0)[..., 0].detach().abs().max()) < 1e-6
    torch.testing.assert_close(of(material(), 1), of(material(), 1))
    assert not torch.equal(of(material(), 1), of(material(), 2))
    # A linear field with slope 1 in every direction and channel: the mean change is the mean jitter itself.
    field = FieldMaterial(lambda x: torch.cat([x, torch.zeros(*x.shape[:-1], 5), torch.ones_like(x[..., :1])], -1))
    expected = 0.01 * (2 / torch.pi) ** 0.5
    assert float(of(field, 0)[..., 0].mean()) == pytest.approx(expected, rel=0.05)
    maps = initial_maps(16, alpha=False)
    assert float(of(maps, 0)[..., 0].max()) < 1e-6


def test_a_field_may_have_alpha_but_no_other_channels(light):
    def field(channels: int) -> FieldMaterial:
        return FieldMaterial(lambda x: torch.full((*x.shape[:-1], channels), 0.5))

    assert bool((shade(points(), field(10), light)["shaded"][..., 3] == 0.5).all())
    assert bool((shade(points(), field(9), light)["shaded"][..., 3] == 1).all())
    with pytest.raises(ValueError, match="channels=9"):
        shade(points(), field(6), light)


def test_errors_name_the_cure(light):
    with pytest.raises(ValueError, match="choose pbr"):
        shade(points(), material(), light, "shiny")
    with pytest.raises(ValueError, match="needs a light"):
        shade(points(), material(), None)


@pytest.mark.parametrize(
    "shading", [Shading(), Shading(energy="single"), NVDIFFREC_SHADING, Shading(bend_normals=True)]
)
def test_gradients_reach_every_texture(light, shading):
    m = material()
    shade(points(200), m, light, shading=shading)["shaded"].sum().backward()
    for texture in (m.kd, m.ks, m.normal):
        assert float(texture.mips[0].grad.abs().sum()) > 0
        assert bool(torch.isfinite(texture.mips[0].grad).all())


@pytest.mark.parametrize("shading", [Shading(), Shading(energy="single"), NVDIFFREC_SHADING])
@pytest.mark.parametrize("radiance", [0.0, 1.0, 5e5])
def test_no_nan_or_infinity_from_what_a_user_can_make(shading, radiance):
    base = torch.zeros(6, 16, 16, 3)
    base[2, 4, 4] = radiance
    with torch.no_grad():
        prefiltered = EnvironmentLight(base).build_mips()
    p = points(300, seed=5)
    zero = torch.zeros(300, 3)
    broken = replace(
        p,
        normal=torch.where(p.uv[:, :1] > 1.5, zero, p.normal),
        tangent=torch.where(p.uv[:, :1] < -0.5, zero, p.tangent),
        uv_da=torch.where(p.uv[:, 1:] > 1.0, torch.zeros(300, 4), p.uv_da * 1e6),
        footprint=torch.where(p.uv[:, 0] > 1.0, torch.zeros(300), p.footprint * 1e6),
    )
    for roughness in (0.0, 0.5, 1.0):
        for metallic in (0.0, 1.0):
            m = material()
            ks = Texture2D(torch.tensor([0.0, roughness, metallic]))
            m = TextureMaterial(m.kd, ks, Texture2D(m.normal.mips[0].detach() * torch.tensor([1.0, 1.0, 0.0])))
            shaded = shade(broken, m, prefiltered, shading=shading)["shaded"]
            assert bool(torch.isfinite(shaded).all())
            shaded.sum().backward()
            for texture in (m.kd, m.ks, m.normal):
                assert bool(torch.isfinite(texture.mips[0].grad).all())


def test_packed_maps_and_separate_textures_agree(light):
    """Here a pixel sees about one texel, so their levels of detail are the same too."""
    maps = initial_maps(32, alpha=True)
    maps.texels[..., :5] = torch.rand(32, 32, 5, generator=torch.Generator().manual_seed(0))
    separate = TextureMaterial(
        Texture2D(torch.cat([maps.texels[..., :3], maps.texels[..., 8:]], -1)),
        Texture2D(torch.cat([torch.zeros(32, 32, 1), maps.texels[..., 3:5]], -1)),
        Texture2D(maps.texels[..., 5:8]),
    )
    p = points()
    square = replace(p, uv_da=torch.tensor([1 / 32, 0, 0, 1 / 32]).expand(40, 4), footprint=torch.full((40,), 1 / 32))
    ours = shade(square, MaterialMaps(maps.texels), light)["shaded"]
    torch.testing.assert_close(shade(square, separate, light)["shaded"], ours, rtol=1e-4, atol=1e-4)
