"""Sums of rows and texture lookups by Triton against their plain PyTorch: on a GPU, and through Triton's interpreter."""

from __future__ import annotations

import pytest
import torch

from render.core.kernels import has_triton
from render.core.kernels.blocked_rows import BlockedRows
from render.core.kernels.row_sums import RowSums
from render.light.cube_atlas import CubeAtlas
from render.light.environment import create_trainable_env_rnd, prefilter_parts
from render.light.kernels.light_prefilter import can_prefilter, filter_light, light_prefilter
from render.light.prefilter import SpecularLevel, SpecularPrefilter, irradiance_sh
from render.texture.fixed_lookup import lookup, mip_count, pyramid, trilinear_taps
from render.texture.kernels.texture_lookup import lookup_at
from render.texture.map_size import map_size


@pytest.fixture(autouse=True)
def _kernels_run(device):
    if not has_triton(torch.device(device)):
        pytest.skip(
            "no Triton for this device; tests/render/test_interpreted.py has its turn where Triton is installed"
        )


@pytest.mark.parametrize(
    ("width", "weighted", "segments", "longest"),
    [
        (144, True, 20, 300),
        (144, True, 3, 1),
        (3, False, 700, 4),
        (3, True, 50, 20),
        (8, False, 10, 3),
        (1, False, 1, 1),
    ],
)
def test_row_sums_are_those_of_embedding_bag(device, width, weighted, segments, longest):
    generator = torch.Generator().manual_seed(width + segments)
    count = torch.randint(0, longest + 1, (segments,), generator=generator)
    index = torch.randint(0, 500, (int(count.sum()),), generator=generator).int().to(device)
    weight = torch.rand(len(index), generator=generator).to(device) if weighted else None
    sums = RowSums(index, (torch.cumsum(count, 0) - count).int().to(device), weight)
    source = torch.randn(500, width, generator=generator).to(device)
    torch.testing.assert_close(sums.apply(source), sums.reference(source), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "segments", "longest"), [(144, 40, 300), (24, 17, 5), (3, 1, 1), (144, 3, 1400)])
def test_blocked_rows_are_those_of_embedding_bag(device, width, segments, longest):
    generator = torch.Generator().manual_seed(width + segments)
    count = torch.randint(0, longest + 1, (segments,), generator=generator)
    index = torch.randint(0, 1500, (int(count.sum()),), generator=generator).int().to(device)
    weight = torch.rand(len(index), generator=generator).to(device)
    offset = (torch.cumsum(count, 0) - count).int().to(device)
    source = torch.randn(1500, width, generator=generator).to(device)
    blocked = BlockedRows(index, offset, weight, 1500)
    plain = RowSums(index, offset, weight).reference(source)
    torch.testing.assert_close(blocked.apply(source), plain, rtol=1e-4, atol=1e-4)
    assert len(blocked) == segments


@pytest.mark.parametrize("resolution", [4, 6, 8])
def test_a_light_in_few_kernels_is_that_of_the_plain_way(device, resolution):
    resolution *= 8 if device == "cuda" else 1  # the interpreter takes two minutes for 16
    light = create_trainable_env_rnd(resolution, device=device)
    operator, layout, _ = prefilter_parts(light)
    assert can_prefilter(light.base, operator)
    generator = torch.Generator().manual_seed(resolution)
    share = torch.rand(layout.height, layout.width, 3, generator=generator).to(device)
    of_irradiance = torch.rand(9, 3, generator=generator).to(device)
    found = []
    for way in (
        lambda base: filter_light(base, light_prefilter(operator, layout)),
        lambda base: (irradiance_sh(base), layout.pack(operator.apply(base))),
    ):
        base = light.base.detach().clone().requires_grad_(True)
        irradiance, atlas = way(base)
        ((atlas[0].permute(1, 2, 0) * share).sum() + (irradiance * of_irradiance).sum()).backward()
        found.append((irradiance.detach(), atlas.detach(), base.grad))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("resolution", "channels"), [(16, 8), (64, 9), (4, 8), (12, 3), (1, 2), ((8, 32), 8), ((24, 8), 9)]
)
def test_lookups_and_their_transpose_are_those_of_stored_taps(device, resolution, channels):
    generator = torch.Generator().manual_seed(channels)
    levels = mip_count(resolution)
    rows = pyramid(torch.rand(*map_size(resolution), channels, generator=generator), levels).to(device)
    uv = (torch.rand(300, 2, generator=generator) * 4 - 2).to(device)
    level = (torch.rand(300, generator=generator) * (levels + 1) - 0.5).to(device)
    weight = torch.rand(300, channels, generator=generator).to(device)
    found = []
    for read in (
        lambda texels: lookup_at(texels, uv, level, resolution, levels),
        lambda texels: lookup(texels, trilinear_taps(uv, level, resolution, levels)),
    ):
        texels = rows.clone().requires_grad_(True)
        values = read(texels)
        (values * weight).sum().backward()
        found.append((values.detach(), texels.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_prefilter_and_the_atlas_keep_their_gradients(device):
    """Against float64, which takes the plain way."""
    levels = (SpecularLevel(8, 0.0), SpecularLevel(4, 0.4))
    atlas = CubeAtlas([8, 4], device=device)
    base = torch.rand(6, 8, 8, 3, generator=torch.Generator().manual_seed(0)).to(device)
    weight = torch.rand(atlas.height, atlas.width, 3, generator=torch.Generator().manual_seed(1)).to(device)
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf = base.to(dtype).clone().requires_grad_(True)
        operator = SpecularPrefilter(8, levels, torch.device(device), dtype)
        packed = atlas.pack(operator.apply(leaf))[0].permute(1, 2, 0)
        (packed * weight.to(dtype)).sum().backward()
        found.append((packed.detach().double(), leaf.grad.double()))
    for ours, exact in zip(*found, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)
