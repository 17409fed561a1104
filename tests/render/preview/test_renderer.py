"""Preview frames against the pictures of `render_mesh`, which must be the same.

Without Triton, plain PyTorch draws the frames; where there is no GPU, `test_interpreted.py` runs this file again through the
kernels, and where there is one, `pytest -m cuda` does.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from render.geometry.camera import Camera, look_at, orthographic, perspective
from render.geometry.mesh import Mesh
from render.images.render_mesh import render_mesh
from render.light.cube_atlas import CubeAtlas
from render.light.environment import PrefilteredLight
from render.light.prefilter import default_levels, irradiance_sh
from render.material.material import NORMAL, MaterialMaps, material_layout
from render.preview.plain import Drawing
from render.preview.renderer import PreviewRenderer
from render.raster.kernels.triton_provider import can_rasterize
from render.shading.shade import Shading
from render.texture.map_size import Size, map_size

SIZE = (10, 15)
TOLERANCE = 1e-3
GRAY_SKY = torch.tensor([0.2, 0.4, 0.6])


def sphere(across: int = 10, down: int = 5) -> Mesh:
    """A coarse unit sphere, open at the poles, with uvs beyond 0..1."""
    u, v = torch.meshgrid(torch.linspace(0, 1, across + 1), torch.linspace(0.02, 0.98, down + 1), indexing="ij")
    theta, phi = u * 2 * math.pi, v * math.pi
    normal = torch.stack([theta.cos() * phi.sin(), phi.cos(), theta.sin() * phi.sin()], -1).reshape(-1, 3)
    tangent = torch.stack([-theta.sin(), 0 * theta, theta.cos(), torch.where(u < 0.5, 1.0, -1.0)], -1).reshape(-1, 4)
    uv = torch.stack([2 * u, 1.5 * v], -1).reshape(-1, 2)
    a = torch.arange(across * (down + 1)).reshape(across, down + 1)[:, :-1].reshape(-1)
    b, c = a + 1, a + down + 1
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([c, b, c + 1], -1)])
    return Mesh(normal.clone(), normal, tangent, uv, triangles, torch.zeros(len(triangles), dtype=torch.int64))


def some_maps(resolution: Size = 16, alpha: bool = False, seed: int = 0) -> MaterialMaps:
    texels = torch.rand(*map_size(resolution), 9 if alpha else 8, generator=torch.Generator().manual_seed(seed))
    texels[..., NORMAL] = F.normalize(texels[..., NORMAL] - torch.tensor([0.5, 0.5, -1.0]), dim=-1)
    return MaterialMaps(texels)


def some_light(resolution: int = 16, seed: int = 0) -> PrefilteredLight:
    g = torch.Generator().manual_seed(seed)
    levels = default_levels(resolution)
    cubes = [torch.rand(6, level.resolution, level.resolution, 3, generator=g) ** 4 * 8 for level in levels]
    layout = CubeAtlas([level.resolution for level in levels])
    return PrefilteredLight(irradiance_sh(cubes[0]), layout.pack(cubes), layout, levels)


def camera(x: float = 1.0, y: float = 1.5, z: float = 2.0) -> Camera:
    return Camera(look_at(torch.tensor([x, y, z]), torch.zeros(3)), perspective(0.8, SIZE[1] / SIZE[0]))


def flat_camera() -> Camera:
    return Camera(look_at(torch.tensor([1.0, 0.5, 1.2]), torch.zeros(3)), orthographic(1.2, SIZE[1] / SIZE[0]))


def renderer(device: str, maps: MaterialMaps | None = None) -> PreviewRenderer:
    result = PreviewRenderer(sphere(), device)
    result.set_maps(some_maps() if maps is None else maps)
    result.set_light(some_light())
    return result


def expected(
    cameras: list[Camera], maps: MaterialMaps, spp: int = 1, bsdf: str = "pbr", model: str = "principled", **options
):
    options = {"spp": spp, "msaa": spp > 1, "shading": Shading(model=model), "antialiased": False} | options
    return render_mesh(sphere(), cameras, maps, some_light(), SIZE, bsdf=bsdf, **options)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert bool((theirs[..., 3] > 0).any()), "the scene is not in sight"
    torch.testing.assert_close(ours.cpu().float(), theirs, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("model", ["principled", "nvdiffrec"])
@pytest.mark.parametrize("spp", [1, 2])
def test_shaded(device, model, spp):
    """From inside the sphere, where triangles show their back and cross the near plane, and from outside."""
    inside = Camera(look_at(torch.tensor([0.0, 0.3, 0.7]), torch.zeros(3)), perspective(1.2, 1.5, near=0.5))
    cameras = [inside, flat_camera()] if spp == 1 else [inside]
    assert_same(
        renderer(device).frame(cameras, SIZE, spp, model, background=GRAY_SKY),
        expected(cameras, some_maps(), spp, model=model, background=GRAY_SKY)["shaded"],
    )


@pytest.mark.parametrize("spp", [1, 2])
@pytest.mark.parametrize("alone", [None, "emission", "coat", "sheen"])
def test_lobes(device, alone, spp):
    """Coat, sheen and emission, from both sides; together with alpha, else one of them alone."""
    has = {name: alone in (None, name) for name in ("emission", "coat", "sheen")}
    layout = material_layout(alpha=alone is None, **has)
    texels = torch.rand(16, 16, layout.channels, generator=torch.Generator().manual_seed(6))
    texels[..., :8] = some_maps().texels
    maps = MaterialMaps(texels, layout)
    inside = Camera(look_at(torch.tensor([0.0, 0.3, 0.7]), torch.zeros(3)), perspective(1.2, 1.5, near=0.5))
    cameras = [inside, flat_camera()] if spp == 1 else [inside]
    ours = renderer(device, maps).frame(cameras, SIZE, spp)
    assert_same(ours, expected(cameras, maps, spp)["shaded"])
    texels[..., 8:] = 1.0 if alone is None else 0.0
    assert not torch.allclose(ours.cpu(), expected(cameras, MaterialMaps(texels, layout), spp)["shaded"], atol=0.02)


def test_lobes_of_one_material_of_several(device):
    """The others have none; occlusion dims what is reflected, not what shines."""
    layout = material_layout(emission=True, coat=True)
    texels = torch.rand(8, 8, layout.channels, generator=torch.Generator().manual_seed(6))
    texels[..., :8] = some_maps(8).texels
    beside = sphere()
    beside.position.add_(torch.tensor([0.4, 0.0, 0.0]))
    preview = PreviewRenderer([sphere(), beside], device)
    preview.set_light(some_light())
    preview.set_maps(some_maps(), material=0)
    preview.set_maps(MaterialMaps(texels, layout), openness=torch.zeros(8, 8), material=1)
    shown = preview.frame(camera(), SIZE).clone()
    texels[..., layout.emission] = 0
    preview.set_maps(MaterialMaps(texels, layout), openness=torch.zeros(8, 8), material=1)
    dark = preview.frame(camera(), SIZE)
    only = PreviewRenderer([sphere(), beside], device)
    only.set_light(some_light())
    only.set_maps(some_maps(), material=0)
    only.set_maps(some_maps(8), openness=torch.zeros(8, 8), material=1)
    assert_same(dark, only.frame(camera(), SIZE).cpu())
    assert float((shown - dark).max()) > 0.1
    with pytest.raises(ValueError, match="'principled'"):
        preview.frame(camera(), SIZE, model="nvdiffrec")


@pytest.mark.parametrize(("spp", "layers"), [(1, 1), (1, 3), (2, 1), (2, 2)])
def test_alpha_over_a_picture(device, spp, layers):
    """With layers, also over the surface that is seen through it."""
    backdrop = torch.rand(1, *SIZE, 3, generator=torch.Generator().manual_seed(2))
    maps = some_maps(alpha=True)
    frame = renderer(device, maps).frame(camera(), SIZE, spp, "nvdiffrec", background=backdrop, layers=layers)
    theirs = expected([camera()], maps, spp, model="nvdiffrec", background=backdrop, layers=layers)
    assert_same(frame, theirs["shaded"])
    assert float(frame[..., 3].max()) < 1


def test_sixteen_samples(device):
    """At the silhouette some samples see nothing; inside, some see other triangles."""
    ours = renderer(device).frame(camera(), SIZE, 4, channel="kd", background=GRAY_SKY)
    assert_same(ours, expected([camera()], some_maps(), 4, "kd", background=GRAY_SKY)["shaded"])
    assert len(ours[..., 3].unique()) > 8


@pytest.mark.parametrize(("channel", "bsdf"), [("kd", "kd"), ("normal", "normal"), ("light", "white")])
def test_channels(device, channel, bsdf):
    ours = renderer(device).frame(camera(), SIZE, channel=channel)
    assert_same(ours, expected([camera()], some_maps(), bsdf=bsdf)["shaded"])


@pytest.mark.parametrize(("channel", "column"), [("roughness", 1), ("metallic", 2)])
def test_gray_channels(device, channel, column):
    ours = renderer(device).frame(camera(), SIZE, channel=channel, background=GRAY_SKY)
    ks = expected([camera()], some_maps(), bsdf="ks")["shaded"]
    behind = (1 - ks[..., 3:]) * GRAY_SKY
    assert_same(ours, torch.cat([ks[..., column : column + 1] + behind, ks[..., 3:]], dim=-1))


@pytest.mark.parametrize("spp", [1, 2])
def test_depth(device, spp):
    """The mean depth of the samples, whatever the material's alpha; an empty sample is at the far end."""
    ours = renderer(device, some_maps(alpha=True)).frame(
        [camera(), flat_camera()], SIZE, spp, channel="depth", background=torch.ones(3)
    )
    fine = (SIZE[0] * spp, SIZE[1] * spp)
    images = render_mesh(
        sphere(), [camera(), flat_camera()], some_maps(), None, fine, bsdf="kd", buffers=("depth", "id")
    )
    depth, covered = (F.avg_pool2d(images[name][..., 0].clamp(max=1).float(), spp) for name in ("depth", "id"))
    assert_same(ours, torch.stack([depth, depth, depth, covered], dim=-1))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("size", [(8, 64), (32, 16)])
def test_maps_that_are_not_square(device, size, several):
    """The one material, or the first of two: the other one's ball is out of sight."""
    maps, openness = some_maps(size), torch.rand(size, generator=torch.Generator().manual_seed(3))
    parts = [sphere(), shifted(1e3)] if several else [sphere()]
    preview = PreviewRenderer(parts, device)
    preview.set_maps(maps)
    if several:
        preview.set_maps(some_maps(4), None, 1)
    preview.set_light(some_light())
    assert_same(preview.frame(camera(), SIZE, channel="kd"), expected([camera()], maps, bsdf="kd")["shaded"])
    assert_same(preview.frame(camera(), SIZE), expected([camera()], maps)["shaded"])
    preview.set_maps(maps, openness)
    gray = MaterialMaps(torch.cat([openness[..., None].expand(*size, 3), maps.texels[..., 3:]], -1))
    ours = preview.frame(camera(), SIZE, channel="occlusion")
    assert_same(ours, expected([camera()], gray, bsdf="kd")["shaded"])


def shifted(x: float) -> Mesh:
    mesh = sphere(6, 3)
    return replace(mesh, position=mesh.position * 0.6 + torch.tensor([x, 0.0, 0.0]))


@pytest.mark.parametrize(("channel", "spp", "layers"), [("kd", 1, 2), ("occlusion", 2, 1), ("shaded", 2, 2)])
def test_several_parts(device, channel, spp, layers):
    """Three balls cut each other, and the outer ones share a material; they look like one mesh whose texture has both."""
    balls = [shifted(x) for x in (-0.5, 0.0, 0.6)]
    preview = PreviewRenderer(balls, device, [1, 0, 1])
    preview.set_light(some_light())
    colors = {0: (0.9, 0.2, 0.1, 0.5), 1: (0.1, 0.3, 0.8, 1.0)}  # and alpha
    opened = {0: torch.tensor([[0.25]]), 1: None}
    together = torch.zeros(16, 16, 9)
    for number, (size, side) in enumerate(((4, slice(0, 8)), (16, slice(8, 16)))):
        values = torch.tensor([*colors[number][:3], 0.4, 0.2, 0.0, 0.0, 1.0, colors[number][3]])
        texels = values.expand(size, size, 9).clone()
        preview.set_maps(MaterialMaps(texels if number == 0 else texels[..., :8]), opened[number], number)
        together[:, side] = values
    whole = PreviewRenderer(joined_balls(balls), "cpu")
    openness = torch.ones(16, 16)
    openness[:, :8] = 0.25
    whole.set_maps(MaterialMaps(together), openness)
    whole.set_light(some_light())
    options = {"channel": channel, "spp": spp, "layers": layers, "background": GRAY_SKY}
    ours = preview.frame([camera(), flat_camera()], SIZE, **options)
    assert_same(ours, reference_of(whole, **options))
    assert len(ours[..., 0].unique()) > 3


def joined_balls(balls: list[Mesh]) -> Mesh:
    """One mesh; the uvs of the middle ball lie at the center of the texture's left half, the others' in the right half."""
    parts = {name: torch.cat([getattr(ball, name) for ball in balls]) for name in Mesh.__dataclass_fields__}
    starts = torch.tensor([0] + [len(ball.position) for ball in balls[:-1]]).cumsum(0)
    parts["triangles"] = torch.cat([ball.triangles + start for ball, start in zip(balls, starts, strict=True)])
    places = [torch.tensor([0.25 if number == 1 else 0.75, 0.5]) for number in range(3)]
    parts["uv"] = torch.cat([place.expand(len(ball.uv), 2) for ball, place in zip(balls, places, strict=True)])
    return Mesh(**parts)


def reference_of(
    preview: PreviewRenderer, spp: int, layers: int, channel: str, background: torch.Tensor
) -> torch.Tensor:
    """The frame as it is drawn without kernels."""
    light = preview._light
    drawing = Drawing(preview.parts, [camera(), flat_camera()], light, SIZE, spp, layers, channel, "principled")
    return drawing.draw(background)


def test_openness_darkens_what_is_shaded(device):
    maps, openness = some_maps(), torch.rand(16, 16, generator=torch.Generator().manual_seed(3))
    preview = renderer(device, maps)
    preview.set_maps(maps, openness)
    gray = some_maps()
    gray.texels[..., :3] = openness[..., None]
    assert_same(preview.frame(camera(), SIZE, channel="occlusion"), expected([camera()], gray, bsdf="kd")["shaded"])
    flat = torch.full((1, 1), 0.25)
    preview.set_maps(maps, flat)
    for model in ("principled", "nvdiffrec"):
        theirs = expected([camera()], maps, model=model)["shaded"] * torch.tensor([0.25, 0.25, 0.25, 1.0])
        assert_same(preview.frame(camera(), SIZE, model=model), theirs)


def test_distance(device):
    """The distance along the camera's axis at the pixel's center, even of a transparent surface."""
    preview = renderer(device, some_maps(alpha=True))
    ours = preview.frame([camera(), flat_camera()], SIZE, channel="distance", background=torch.full((3,), 1e10)).cpu()
    cameras = [camera(), flat_camera()]
    images = render_mesh(sphere(), cameras, some_maps(), None, SIZE, bsdf="kd", buffers=("depth", "id"))
    seen = images["id"][..., 0] > 0
    assert torch.equal(ours[~seen][:, :3], torch.full_like(ours[~seen][:, :3], 1e10))
    for number, eye in enumerate(cameras):
        depth = images["depth"][number, ..., 0][seen[number]].double()
        clip = torch.stack([0 * depth, 0 * depth, depth, 1 + 0 * depth], -1)
        place = clip @ torch.linalg.inv(eye.projection.double()).T
        expected_distance = (-place[:, 2] / place[:, 3]).float()[:, None].expand(-1, 3)
        torch.testing.assert_close(ours[number][seen[number]][:, :3], expected_distance, rtol=1e-4, atol=1e-4)
        assert bool((ours[number][seen[number]][:, 3] == 1).all())


def test_parts_can_be_placed_again(device):
    preview = renderer(device)
    preview.frame(camera(), SIZE, channel="kd")
    moved = replace(sphere(), position=sphere().position * 0.5 + torch.tensor([0.3, 0.2, 0.0]))
    preview.place(moved)
    theirs = render_mesh(moved, camera(), some_maps(), None, SIZE, bsdf="kd", antialiased=False)["shaded"]
    assert_same(preview.frame(camera(), SIZE, channel="kd"), theirs)


def test_cameras_and_backgrounds_of_any_device(device):
    preview = renderer(device)
    theirs = expected([camera()], some_maps(), bsdf="kd", background=GRAY_SKY)["shaded"]
    for nearby in (camera(), camera().to(device)):
        for behind in (GRAY_SKY, GRAY_SKY.to(device), GRAY_SKY.double()):
            assert_same(preview.frame(nearby, SIZE, channel="kd", background=behind), theirs)


def test_half_floats(device):
    bright = some_maps()
    bright.texels[..., :3] *= 1e7
    ours = renderer(device).frame(camera(), SIZE, model="nvdiffrec", dtype=torch.float16)
    assert ours.dtype == torch.float16
    assert_same(ours, expected([camera()], some_maps(), model="nvdiffrec")["shaded"])
    dazzling = renderer(device, bright).frame(camera(), SIZE, model="nvdiffrec", dtype=torch.float16)
    assert float(dazzling.max()) == torch.finfo(torch.float16).max


def test_what_changes_between_frames(device):
    """One renderer; the camera, the maps (of any size, with or without alpha) and the light change."""
    preview = renderer(device)
    for maps in (some_maps(seed=1), some_maps(8, seed=2), some_maps(8, alpha=True, seed=3), some_maps(6, seed=4)):
        preview.set_maps(maps)
        ours = preview.frame(camera(-1.0), SIZE, channel="kd")
        assert_same(ours, expected([camera(-1.0)], maps, bsdf="kd")["shaded"])
    for light in (some_light(seed=3), some_light(8)):
        preview.set_light(light)
        ours = preview.frame(camera(), SIZE, model="nvdiffrec")
        theirs = render_mesh(
            sphere(), camera(), maps, light, SIZE, shading=Shading(model="nvdiffrec"), antialiased=False
        )
        assert_same(ours, theirs["shaded"])


def test_maps_are_copied(device):
    maps = some_maps()
    preview = renderer(device, maps)
    before = preview.frame(camera(), SIZE, channel="kd").clone()
    maps.texels.zero_()
    assert torch.equal(preview.frame(camera(), SIZE, channel="kd"), before)


def test_out_of_sight(device):
    """A frame shows only the background, after a frame that showed something."""
    preview = renderer(device)
    preview.frame(camera(), SIZE, channel="kd")
    away = Camera(look_at(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0.0, 0.0, 9.0])), perspective(0.8))
    frame = preview.frame(away, SIZE, channel="kd", background=GRAY_SKY).cpu()
    assert torch.equal(frame, torch.cat([GRAY_SKY, torch.zeros(1)]).expand(1, *SIZE, 4))


def test_a_turned_light(device):
    """Lights that the kernels do not know are drawn without kernels."""
    turned = some_light().xfm(torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]))
    preview = renderer(device)
    preview.set_light(turned)
    theirs = render_mesh(sphere(), camera(), some_maps(), turned, SIZE, antialiased=False)
    assert_same(preview.frame(camera(), SIZE), theirs["shaded"])


def test_errors(device):
    preview = PreviewRenderer(sphere(), device)
    with pytest.raises(ValueError, match="set_maps"):
        preview.frame(camera(), SIZE)
    preview.set_maps(some_maps())
    with pytest.raises(ValueError, match="set_light"):
        preview.frame(camera(), SIZE)
    preview.set_light(some_light())
    cases = (
        ({"channel": "smell"}, "smell"),
        ({"model": "sampled"}, "sampled"),
        ({"dtype": torch.int32}, "int32"),
        ({"spp": 0}, "spp 0"),
        ({"layers": 0}, "layers 0"),
    )
    for settings, named in cases:
        with pytest.raises(ValueError, match=named):
            preview.frame(camera(), SIZE, **settings)
    with pytest.raises(ValueError, match="resize it"):
        preview.frame(camera(), SIZE, background=torch.zeros(3, 4, 3))
    with pytest.raises(ValueError, match="0 cameras"):
        preview.frame([], SIZE)


@pytest.mark.cuda
def test_frames_of_a_graph_wait_for_nothing():
    """From the third frame on: the camera moves, the maps change, and nothing synchronizes."""
    preview = renderer("cuda")
    assert can_rasterize("cuda")
    for _ in range(2):
        first = preview.frame(camera(), SIZE)
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        second = preview.frame(camera(-1.0, 0.5), SIZE, background=GRAY_SKY)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    assert first.data_ptr() == second.data_ptr()
    assert_same(second, expected([camera(-1.0, 0.5)], some_maps(), background=GRAY_SKY)["shaded"])
    preview.set_maps(some_maps(seed=5))
    assert_same(preview.frame(camera(), SIZE), expected([camera()], some_maps(seed=5))["shaded"])
