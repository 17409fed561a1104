"""The kernel that shades, compares and differentiates samples, against the plain way in float64.

Where there is no GPU, Triton interprets its kernels: `test_interpreted.py` runs this file again in that mode.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from backend.fit.objective import LEAST_BOUND, sample_loss, shade_samples
from backend.fit.sample_table import StepRows
from render.bsdf.ggx import GgxTable, ggx_table
from render.core.color import linear_to_srgb
from render.light.cube_atlas import CubeAtlas
from render.light.environment import PrefilteredLight
from render.light.prefilter import default_levels, irradiance_sh
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS
from render.shading.kernels.fused_samples import SampleGradients, can_fuse, fused_sample_error, fused_sample_gradients
from render.shading.visibility import ShadowFactors
from render.texture.fixed_lookup import lookup, mip_count, pyramid, trilinear_taps
from render.texture.map_size import MapSize

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
RESOLUTION = MapSize(8, 32)
LEVELS = mip_count(RESOLUTION)
LOSS_TOLERANCE = 1e-5
# Float32 rounds the slope of some of the samples to the wrong side of a kink.
GRADIENT_TOLERANCE = 1e-4


def some_samples(count: int = 150, seed: int = 0, shadowed: bool = False) -> dict:
    """Rows of a table: all angles to the eye, some face away; texel coordinates beyond 0..1; all levels."""
    g = torch.Generator().manual_seed(seed)

    def unit() -> torch.Tensor:
        return F.normalize(torch.randn(count, 3, generator=g), dim=-1)

    normal = unit()
    shadow = None
    if shadowed:
        shadow = ShadowFactors(torch.rand(count, 3, generator=g), torch.rand(count, 3, 3, generator=g))
    return {
        "uv": torch.rand(count, 2, generator=g) * 4 - 2,
        "level": torch.rand(count, generator=g) * (LEVELS + 1) - 1,
        "normal": normal,
        "tangent": unit(),
        "sign": torch.where(torch.rand(count, 1, generator=g) < 0.5, -1.0, 1.0),
        "view": F.normalize(normal + 0.9 * unit(), dim=-1),
        "color": torch.rand(count, 3, generator=g) * 2,
        "alpha": torch.rand(count, generator=g),
        "shadow": shadow,
    }


def some_texels(seed: int = 0) -> torch.Tensor:
    texels = torch.rand(*RESOLUTION, 8, generator=torch.Generator().manual_seed(seed))
    texels[..., NORMAL] = texels[..., NORMAL] * torch.tensor([1.0, 1.0, 0.7]) - torch.tensor([0.5, 0.5, -0.3])
    return texels


def some_light(resolution: int = 16, seed: int = 0, brightest: float = 8.0) -> PrefilteredLight:
    g = torch.Generator().manual_seed(seed)
    levels = default_levels(resolution)
    cubes = [torch.rand(6, level.resolution, level.resolution, 3, generator=g) ** 4 * brightest for level in levels]
    layout = CubeAtlas([level.resolution for level in levels])
    return PrefilteredLight(irradiance_sh(cubes[0]), layout.pack(cubes), layout, levels)


def moved(values, **to):
    if isinstance(values, dict):
        return {name: moved(value, **to) for name, value in values.items()}
    if isinstance(values, ShadowFactors):
        return ShadowFactors(values.diffuse.to(**to), values.specular.to(**to))
    return None if values is None else values.to(**to)


def plain_loss(rows: torch.Tensor, samples: dict, light, table, model: str) -> torch.Tensor:
    return sample_loss(*plain_values(rows, samples), light, table, model, torch.tensor(LEAST_BOUND))


def plain_prediction(rows: torch.Tensor, samples: dict, light, model: str) -> torch.Tensor:
    return shade_samples(*plain_values(rows, samples), light, ggx_table(dtype=torch.float64), model)


def plain_values(rows: torch.Tensor, samples: dict) -> tuple[torch.Tensor, StepRows]:
    taps = trilinear_taps(samples["uv"], samples["level"], RESOLUTION, LEVELS)
    taps = replace(taps, weight=taps.weight.to(rows))
    layers = {name: values[:, None] for name, values in samples.items() if name not in ("color", "alpha", "shadow")}
    layers["footprint"] = layers.pop("level")
    shadow = samples["shadow"]
    if shadow is not None:
        shadow = ShadowFactors(shadow.diffuse[:, None], shadow.specular[:, None])
    count = torch.zeros(len(samples["color"]), dtype=torch.int32)
    step = StepRows(
        **layers,
        valid=count[:, None] == 0,
        color=samples["color"],
        alpha=samples["alpha"],
        view_index=count,
        shadow=shadow,
    )
    return lookup(rows, taps)[:, None], step


def learned(light: PrefilteredLight, **to) -> PrefilteredLight:
    atlas, irradiance = (part.detach().to(**to).requires_grad_(True) for part in (light.atlas, light.irradiance))
    return replace(light, atlas=atlas, irradiance=irradiance)


def plain(texels: torch.Tensor, samples: dict, light: PrefilteredLight, model: str) -> list[torch.Tensor]:
    """Loss and gradients to the rows, the atlas and the irradiance."""
    rows = pyramid(texels, LEVELS).double().requires_grad_(True)
    light, table = learned(light, dtype=torch.float64), ggx_table(dtype=torch.float64)
    loss = plain_loss(rows, moved(samples, dtype=torch.float64), light, table, model)
    loss.backward()
    return [loss.detach(), rows.grad, light.atlas.grad, light.irradiance.grad]


def fused(
    texels: torch.Tensor, samples: dict, light: PrefilteredLight, model: str, device: str, **options
) -> list[torch.Tensor]:
    rows = pyramid(texels, LEVELS).to(device).requires_grad_(True)
    light, table = learned(light, device=device), GgxTable(ggx_table().values.to(device))
    if not can_fuse(rows, light, model):
        pytest.skip(
            "no Triton for this device; tests/render/test_interpreted.py runs this test where Triton is installed"
        )
    samples = moved(samples, device=device)
    found = fused_sample_gradients(
        rows,
        resolution=RESOLUTION,
        levels=LEVELS,
        light=light,
        table=table,
        model=model,
        huber=LEAST_BOUND,
        learn_light=True,
        **samples,
        **options,
    )
    return [part.cpu() for part in parts_of(found)]


def parts_of(found: SampleGradients) -> list[torch.Tensor]:
    """Loss and gradients as `plain` gives them."""
    assert float(found.atlas[..., 3].abs().max()) == 0
    return [found.loss, found.texels, found.atlas[..., :3].permute(2, 0, 1)[None], found.irradiance]


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.double() - theirs).norm() / theirs.norm())


def assert_same(ours: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float = GRADIENT_TOLERANCE) -> None:
    assert abs(float(ours[0]) / float(theirs[0]) - 1) < LOSS_TOLERANCE
    channels = zip(ours[1].unbind(-1), theirs[1].unbind(-1), strict=True)
    errors = [relative(*channel) for channel in channels] + [
        relative(*pair) for pair in zip(ours[2:], theirs[2:], strict=True)
    ]
    assert max(errors) < tolerance, errors


@pytest.mark.parametrize("shadowed", [False, True])
@pytest.mark.parametrize("model", ["principled", "nvdiffrec"])
def test_loss_and_gradients(device, model, shadowed):
    scene = some_texels(), some_samples(shadowed=shadowed), some_light(), model
    assert_same(fused(*scene, device), plain(*scene))


def test_a_batch_within_the_rows(device):
    samples = some_samples()
    chosen = {name: None if values is None else values[20:121] for name, values in samples.items()}
    first = torch.tensor(20, device=device)
    ours = fused(some_texels(), samples, some_light(), "principled", device, first=first, count=101)
    assert_same(ours, plain(some_texels(), chosen, some_light(), "principled"))


def test_a_batch_in_two_lights(device):
    """Two calls, each for the rows of its light, give the mean over all rows."""
    texels, samples, lights = some_texels(), some_samples(), (some_light(), some_light(seed=7))
    halves = slice(0, 60), slice(60, 150)
    expected_loss, expected = 0.0, 0.0
    for light, part in zip(lights, halves, strict=True):
        own = {name: None if values is None else values[part] for name, values in samples.items()}
        loss, gradient, *_ = plain(texels, own, light, "principled")
        expected_loss += loss * len(own["uv"]) / 150
        expected = expected + gradient * len(own["uv"]) / 150
    ours_loss, onto = 0.0, None
    for light, part in zip(lights, halves, strict=True):
        where = {"first": torch.tensor(part.start, device=device), "count": part.stop - part.start}
        loss, onto, *_ = fused(texels, samples, light, "principled", device, **where, total=150, onto=onto)
        ours_loss, onto = ours_loss + loss, onto.to(device)
    assert_same([ours_loss, onto.cpu()], [expected_loss, expected])


def test_a_light_of_one_level(device):
    layout = CubeAtlas([8])
    cube = torch.rand(6, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    light = PrefilteredLight(irradiance_sh(cube), layout.pack([cube]), layout, default_levels(1)[:1])
    scene = some_texels(), some_samples(), light, "principled"
    assert_same(fused(*scene, device), plain(*scene))


def corner_cases() -> tuple[torch.Tensor, dict]:
    """Each sample has its own texel: the ends of every range, the nodes of the table and of the levels; the eye is anywhere."""
    texels, samples = some_texels().reshape(-1, 8), some_samples(256)
    choices = torch.cartesian_prod(
        torch.tensor([0.0, 0.05, 1.0]),
        torch.tensor([0.0, 1e-4, 0.1, 0.15, 0.99999, 1.0]),
        torch.tensor([0.0, 0.5, 1.0]),
    ).repeat(5, 1)[:256]
    texels[:, KD], texels[:, ROUGHNESS], texels[:, METALLIC] = choices[:, :1], choices[:, 1:2], choices[:, 2:]
    number = torch.arange(256)
    height, width = RESOLUTION
    uv = torch.stack([(number % width + 0.5) / width, (number // width + 0.5) / height], -1)
    samples |= {"uv": uv, "level": torch.full((256,), -2.0)}
    across = F.normalize(torch.linalg.cross(samples["normal"], samples["tangent"]), dim=-1)
    # The eye is straight in front, at a grazing angle, and behind.
    samples["view"][0:60] = samples["normal"][0:60]
    samples["view"][60:120] = across[60:120]
    samples["view"][120:150] = -samples["normal"][120:150]
    return texels.reshape(*RESOLUTION, 8), samples


@pytest.mark.parametrize("model", ["principled", "nvdiffrec"])
def test_corner_cases(device, model):
    scene = *corner_cases(), some_light(), model
    assert_same(fused(*scene, device), plain(*scene))


@pytest.mark.parametrize("model", ["principled", "nvdiffrec"])
@pytest.mark.parametrize("brightest", [0.0, 5e5])
def test_nothing_is_not_a_number(device, model, brightest):
    texels, samples = corner_cases()
    # Normals, tangents and views without length, and texel coordinates of a broken mesh.
    texels.view(-1, 8)[0:20, NORMAL] = 0
    samples["normal"][20:30] = 0
    samples["tangent"][25:40] = 0
    samples["view"][35:50] = 0
    samples["uv"][50:53] = torch.tensor([torch.nan, torch.inf, -torch.inf])[:, None]
    ours = fused(texels, samples, some_light(brightest=brightest), model, device)
    for part in ours:
        assert bool(torch.isfinite(part).all())
    expected = plain(texels, samples, some_light(brightest=brightest), model)
    assert float(ours[0]) == pytest.approx(float(expected[0]), rel=1e-4)


def test_a_known_light_has_no_gradient(device):
    texels, samples, light = some_texels(), some_samples(60), some_light()
    loss, once, *_ = fused(texels, samples, light, "nvdiffrec", device)
    table = GgxTable(ggx_table().values.to(device))
    found = fused_sample_gradients(
        pyramid(texels, LEVELS).to(device),
        resolution=RESOLUTION,
        levels=LEVELS,
        light=moved_light(light, device),
        table=table,
        model="nvdiffrec",
        huber=LEAST_BOUND,
        **moved(samples, device=device),
    )
    assert found.atlas is None
    assert found.irradiance is None
    torch.testing.assert_close(found.loss.cpu(), loss, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(found.texels.cpu(), once, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("model", ["principled", "nvdiffrec"])
def test_the_error_of_samples(device, model):
    texels, samples, light = some_texels(), some_samples(70, shadowed=True), some_light(brightest=1.5)
    rows = pyramid(texels, LEVELS).to(device)
    if not can_fuse(rows, moved_light(light, device), model):
        pytest.skip(
            "no Triton for this device; tests/render/test_interpreted.py runs this test where Triton is installed"
        )
    columns = {name: values for name, values in moved(samples, device=device).items() if name != "alpha"}
    table = GgxTable(ggx_table().values.to(device))
    error = fused_sample_error(
        rows,
        resolution=RESOLUTION,
        levels=LEVELS,
        light=moved_light(light, device),
        table=table,
        model=model,
        **columns,
    )
    double = learned(light, dtype=torch.float64)
    prediction = plain_prediction(pyramid(texels, LEVELS).double(), moved(samples, dtype=torch.float64), double, model)
    encoded = linear_to_srgb(prediction[:, :3]).clamp(max=1) - linear_to_srgb(samples["color"].double()).clamp(max=1)
    assert float(error) == pytest.approx(float(encoded.square().mean()), rel=1e-4)


def test_what_cannot_be_fused(device):
    rows, light = torch.zeros(20, 8, device=device), moved_light(some_light(), device)
    if not can_fuse(rows, light, "nvdiffrec"):
        pytest.skip("no Triton for this device")
    assert not can_fuse(rows, light, "sampled")
    assert not can_fuse(rows.double(), light, "nvdiffrec")
    assert not can_fuse(torch.zeros(20, 9, device=device), light, "nvdiffrec")
    assert not can_fuse(rows, light.xfm(torch.eye(3)), "nvdiffrec")
    assert not can_fuse(rows, light, "nvdiffrec", layers=2)
    assert not can_fuse(rows, light, "nvdiffrec", samples=0)
    samples = moved(some_samples(5), device=device)
    options = {"resolution": 4, "levels": 1, "light": light, "table": None, "model": "nvdiffrec", "huber": LEAST_BOUND}
    with pytest.raises(ValueError, match="normal has 3 float32"):
        fused_sample_gradients(rows, **samples | {"normal": torch.zeros(4, 3, device=device)}, **options)
    with pytest.raises(ValueError, match="first row and its count"):
        fused_sample_gradients(rows, **samples, **options, count=2)
    with pytest.raises(ValueError, match="not 6"):
        fused_sample_gradients(rows, **samples, **options, first=torch.tensor(0, device=device), count=6)


def moved_light(light: PrefilteredLight, device: str) -> PrefilteredLight:
    return replace(light, atlas=light.atlas.to(device), irradiance=light.irradiance.to(device))


@pytest.mark.cuda
def test_in_a_cuda_graph():
    """The graph is captured once, and at each replay it reads the batch that `first` names."""
    texels, samples, light = some_texels(), moved(some_samples(300), device="cuda"), some_light()
    rows = pyramid(texels, LEVELS).cuda().requires_grad_(True)
    light, table = learned(light, device="cuda"), GgxTable(ggx_table().values.cuda())
    first = torch.zeros((), dtype=torch.int64, device="cuda")

    def step() -> list[torch.Tensor]:
        found = fused_sample_gradients(
            rows, resolution=RESOLUTION, levels=LEVELS, light=light, table=table, model="principled", huber=LEAST_BOUND,
            **samples, first=first, count=100, learn_light=True,
        )  # fmt: skip
        return [found.loss, found.texels, found.atlas, found.irradiance]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for start in (0, 200, 100):
        first.fill_(start)
        graph.replay()
        for ours, theirs in zip(captured, step(), strict=True):
            assert relative(ours, theirs.double()) < 1e-5


@pytest.mark.skipif(INTERPRETED, reason="this is about the plain way")
def test_the_plain_way_where_there_is_no_triton():
    assert not can_fuse(torch.zeros(20, 8), some_light(), "nvdiffrec")
