"""`python -m benchmarks one_closure`: how near a single closure can be to a mix of two, and how near the bake's is already.

A texel of a mix gets one base color, metallic and roughness. The bake makes them from sums (`blender_addon/baking/energy.py`,
whose formulas are used here as they are); the best ones are found by descent, without noise, from all sides and in the lights
they are judged in. The difference of the two is what a fit can gain at most where a look is such a mix. PSNR in sRGB. What it
leaves out: neighbors, shadows, and lobes that the renderer lacks.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backend.fit.objective import shade_samples
from backend.fit.sample_table import StepRows
from benchmarks.measure import check_output, circumstances, print_table, write_json
from benchmarks.tuning_cases import sky
from render.bsdf.ggx import ggx_table
from render.core.color import linear_to_srgb
from render.light.environment import PrefilteredLight, env_from_latlong
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS

ADDON = Path(__file__).resolve().parents[1] / "blender_addon"
DIELECTRIC = 0.04  # reflectance seen from straight ahead at IOR 1.5
PAIRS = {"paint and metal": (0.0, 1.0), "two paints": (0.0, 0.0), "two metals": (1.0, 1.0)}
ROUGHNESSES = {"as rough": 0.0, "rougher and smoother": 0.4}
_STEPS, _RATE, _LAST_RATE = 250, 0.02, 0.02


@dataclass(frozen=True)
class Seen:
    """Rows that look at texels, as many each, and their light."""

    rows: StepRows
    light: PrefilteredLight


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--texels", type=int, default=300, help="mixes of each kind (default: 300)")
    parser.add_argument("--looks", type=int, default=64, help="directions of each texel in each light (default: 64)")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Find the best closures, print a table, and write the record."""
    check_output(options.json)
    generator = torch.Generator().manual_seed(0)
    seen = [Seen(rows(options.texels * options.looks, generator), light) for light in lights()]
    found: dict[str, dict[str, float]] = {}
    for name, metallic in PAIRS.items():
        for kind, apart in ROUGHNESSES.items():
            first, second, share = mixes(options.texels, metallic, apart, generator)
            found[f"{name}, {kind}"] = judged(first, second, share, seen, options.looks)
    heading = ["mix", "bake, dB", "best, dB", "gain, dB"]
    print_table("One closure", [heading, *([name, *row.values()] for name, row in found.items())])
    if options.json:
        settings = {"texels": options.texels, "looks": options.looks}
        write_json(options.json, circumstances(torch.device("cpu")) | {"settings": settings, "mixes": found})


def judged(
    first: torch.Tensor, second: torch.Tensor, share: torch.Tensor, seen: list[Seen], looks: int
) -> dict[str, float]:
    """The PSNR of the bake's closures and of the best ones beside mixes: share [T] of the second, texels [T, C]."""
    weight = share.repeat_interleave(looks)[:, None]
    wanted = [
        coded((1 - weight) * shaded(first, part, looks) + weight * shaded(second, part, looks)).detach()
        for part in seen
    ]
    baked = merged(first, second, share)
    best = baked.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([best], lr=_RATE)
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * _LAST_RATE ** (step / _STEPS)
        optimizer.zero_grad()
        error(best, seen, wanted, looks).backward()
        assert best.grad is not None  # `backward` has made it
        best.grad[:, NORMAL] = 0
        optimizer.step()
        with torch.no_grad():
            best[:, : METALLIC.stop].clamp_(0, 1)
            best[:, ROUGHNESS].clamp_(min=0.02)
    with torch.no_grad():
        own, found = (float(-10 * torch.log10(error(texels, seen, wanted, looks))) for texels in (baked, best))
    found = max(own, found)  # what is exact cannot be improved
    return {"bake_db": round(own, 1), "best_db": round(found, 1), "gain_db": round(found - own, 1)}


def error(texels: torch.Tensor, seen: list[Seen], wanted: list[torch.Tensor], looks: int) -> torch.Tensor:
    """The mean squared error in sRGB code values."""
    parts = [(coded(shaded(texels, part, looks)) - own).square().mean() for part, own in zip(seen, wanted, strict=True)]
    return torch.stack(parts).mean()


def shaded(texels: torch.Tensor, part: Seen, looks: int) -> torch.Tensor:
    """Radiance [T * looks, 3] of texels [T, C]."""
    values = texels.repeat_interleave(looks, 0)[:, None]
    return shade_samples(values, part.rows, part.light, ggx_table(texels.device), "principled")[:, :3]


def coded(linear: torch.Tensor) -> torch.Tensor:
    """sRGB code values, 0..1."""
    return linear_to_srgb(linear.clamp(min=0)).clamp(max=1)


def mixes(
    count: int, metallic: tuple[float, float], apart: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two closures [T, C] of any colors, and the share [T] of the second. apart: how much less rough it is at most."""
    rough = 0.4 + 0.4 * torch.rand(count, generator=generator)
    smooth = (rough - apart).clamp(min=0.1)
    closures = []
    for metal, roughness in zip(metallic, (rough, smooth), strict=True):
        texels = torch.zeros(count, NORMAL.stop)
        low, high = (0.3, 0.9) if metal else (0.02, 0.75)
        texels[:, KD] = low + (high - low) * torch.rand(count, 3, generator=generator)
        texels[:, ROUGHNESS], texels[:, METALLIC] = roughness[:, None], metal
        texels[:, NORMAL.stop - 1] = 1.0
        closures.append(texels)
    return closures[0], closures[1], torch.rand(count, generator=generator)


def merged(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """The one closure that the bake makes of two, [T, C]."""
    energy = addon_module("baking.energy")

    def of_both(value: Any) -> Any:
        weight = share[:, None]
        return ((1 - weight) * value(first) + weight * value(second)).numpy()

    def reflected(texels: torch.Tensor) -> torch.Tensor:
        return DIELECTRIC * (1 - texels[:, METALLIC]) + texels[:, METALLIC] * texels[:, KD]

    total = of_both(reflected)
    scattered = of_both(lambda texels: (1 - texels[:, METALLIC]) * texels[:, KD])
    color, metallic = energy.one_closure(scattered, total, of_both(lambda texels: texels[:, METALLIC])[:, 0])
    roughness = energy.roughness_of(of_both(lambda texels: reflected(texels) * texels[:, ROUGHNESS]), total)
    texels = first.clone()
    texels[:, KD], texels[:, METALLIC.start] = torch.from_numpy(color), torch.from_numpy(metallic)
    texels[:, ROUGHNESS.start] = torch.from_numpy(roughness)
    return texels


def rows(count: int, generator: torch.Generator) -> StepRows:
    """Points that look any way, seen from any side that they show, [count, 1, ...]."""
    normal, other, view = (
        torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) for _ in range(3)
    )
    cosine = (view * normal).sum(-1, keepdim=True)
    view = torch.where(cosine < 0, view - 2 * cosine * normal, view)
    tangent = torch.nn.functional.normalize(torch.linalg.cross(normal, other), dim=-1)
    one = torch.ones(count, 1)
    return StepRows(
        normal=normal[:, None],
        tangent=tangent[:, None],
        sign=one[..., None],
        view=view[:, None],
        uv=torch.zeros(count, 1, 2),
        footprint=one,
        valid=one > 0,
        color=torch.zeros(count, 3),
        alpha=one[:, 0],
        view_index=torch.zeros(count, dtype=torch.int32),
    )


def lights() -> list[PrefilteredLight]:
    """A sky of clouds and lamps, and the same turned around."""
    image = sky()
    with torch.no_grad():
        found = [
            env_from_latlong(torch.roll(image, shift, dims=1), 64, image.device).build_mips()
            for shift in (0, image.shape[1] // 3)
        ]
    return found


def addon_module(name: str) -> Any:
    """A module of the add-on that needs no Blender, without the add-on's own __init__, which would register it."""
    package = types.ModuleType("pbrfit_addon")
    package.__path__ = [str(ADDON)]
    sys.modules.setdefault(package.__name__, package)
    return importlib.import_module(f"{package.__name__}.{name}")
