"""`python -m benchmarks studio_search`: find lights under which a texel's unknowns are told apart best.

Random designs of `blender_addon/references/studio_designs.py` are measured as `studio_lights` measures, the best ones of them
refined by descent on few normals and materials at a time, and the best result is printed. A design stays
within bounds: lamps not so small and bright that their renders are noisy, and no side lit by one lamp alone or hardly lit.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.measure import print_table
from benchmarks.studio_lights import (
    CAPS,
    COSINE_OF_CAP,
    Lit,
    information,
    looks_at,
    materials,
    measure,
    render_noise,
    standard_errors,
    summary,
)
from render.geometry.camera import fibonacci_directions
from render.light.cube_geometry import texel_directions, texel_solid_angles
from render.light.environment import EnvironmentLight

RESOLUTION = 32
SHARPNESS = (4.0, 180.0)  # at the upper end the radiance has halved 5 degrees from the axis
COLOR, SKY = (0.25, 1.0), (0.1, 1.0)
STRENGTH = (0.3, 30.0)
LARGEST_SHARE, LEAST_LIGHT = 0.5, 0.4  # of a lamp in what a side gets, and what each side gets, times the mean
_POWER = 8  # of the mean over texels that stands for their 95th percentile
_NORMALS, _MATERIALS = 16, 12
_SPREAD = 3000


@dataclass
class Design:
    """Lights that can be changed: unbounded values of lamps [L, lamps, 8], direction 3, color 3, sharpness, strength, and of
    skies [L, 3, 3], colors above, at the horizon and below."""

    lamps: torch.Tensor
    skies: torch.Tensor

    def bounded(self) -> tuple[torch.Tensor, ...]:
        """Directions [L, lamps, 3], colors [L, lamps, 3], sharpness and strength [L, lamps], skies [L, 3, 3]."""
        lamps = self.lamps
        color = _within(lamps[..., 3:6], *COLOR)
        sharpness = _within(lamps[..., 6], math.log(SHARPNESS[0]), math.log(SHARPNESS[1])).exp()
        strength = _within(lamps[..., 7], math.log(STRENGTH[0]), math.log(STRENGTH[1])).exp()
        return F.normalize(lamps[..., :3], dim=-1), color, sharpness, strength, _within(self.skies, *SKY)

    def parts(self, directions: torch.Tensor) -> torch.Tensor:
        """Radiance [L, 1 + lamps, ..., 3] of the sky and each lamp in directions [..., 3], Blender's axes; each light white
        and 1 in the mean."""
        axis, color, sharpness, strength, sky = self.bounded()
        up = directions[..., 2:]
        share = up.abs().sqrt()
        above, horizon, below = (sky[:, place].reshape(-1, *[1] * (directions.dim() - 1), 3) for place in range(3))
        soft = torch.lerp(horizon.expand(-1, *directions.shape), torch.where(up > 0, above, below), share)
        cosine = torch.einsum("...i,lki->lk...", directions, axis)
        few = [1] * (directions.dim() - 1)
        fall = torch.exp(sharpness.reshape(*sharpness.shape, *few) * (cosine - 1))
        lit = fall[..., None] * (strength[..., None] * color).reshape(*strength.shape, *few, 3)
        return torch.cat([soft[:, None], lit], dim=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this search."""
    parser.add_argument("--lights", type=int, default=2, help="lights (default: 2)")
    parser.add_argument("--lamps", type=int, default=4, help="lamps of each (default: 4)")
    parser.add_argument("--tries", type=int, default=40, help="random designs (default: 40)")
    parser.add_argument("--refined", type=int, default=2, help="the best of them that are refined (default: 2)")
    parser.add_argument("--steps", type=int, default=200, help="steps of descent of each (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")


def run(options: argparse.Namespace) -> None:
    """Search, and print the best design and its errors."""
    generator = torch.Generator().manual_seed(options.seed)
    tried = [random_design(options.lights, options.lamps, generator) for _ in range(options.tries)]
    tried.sort(key=lambda design: judged(design, 8))
    found = [refined(design, options.steps, generator) for design in tried[: options.refined]]
    best = min(found, key=lambda design: judged(design, 24))
    result = summary(measure(lights_of(best), 64)) | {"judged": judged(best, 32), "penalty": float(penalty(best))}
    print_table("Best design", [["figure", "value"], *([name, value] for name, value in result.items())])
    print(text(best))


def random_design(lights: int, lamps: int, generator: torch.Generator) -> Design:
    """A design of random lamps and skies."""
    return Design(torch.randn(lights, lamps, 8, generator=generator), torch.randn(lights, 3, 3, generator=generator))


def refined(design: Design, steps: int, generator: torch.Generator) -> Design:
    """A design after descent."""
    leaves = [design.lamps.clone().requires_grad_(True), design.skies.clone().requires_grad_(True)]
    optimizer = torch.optim.Adam(leaves, lr=0.08)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 0.004)
    moving = Design(*leaves)
    all_materials = materials()
    for step in range(steps):
        optimizer.zero_grad()
        normals = F.normalize(torch.randn(_NORMALS, 3, generator=generator), dim=-1)
        # Half of the steps with something near that hides a quarter of the sky: no side may hang on one lamp.
        cap = F.normalize(torch.randn(3, generator=generator), dim=-1) if step % 2 else None
        few = all_materials[torch.randperm(len(all_materials), generator=generator)[:_MATERIALS]]
        found = information(lights_of(moving, cap), looks_at(normals), few, _NORMALS)
        errors = standard_errors(found).flatten(0, 1)
        worst = errors.pow(_POWER).mean(0).log() / _POWER
        (worst.mean() + penalty(moving)).backward()  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
        optimizer.step()
        schedule.step()
    return Design(*(leaf.detach() for leaf in leaves))


@torch.no_grad()
def judged(design: Design, normals: int) -> float:
    """What a search makes least: the logarithm of the score, and the penalties."""
    seen = [summary(measure(lights_of(design, cap), normals))["score"] for cap in (None, *torch.tensor(CAPS))]
    return float(math.log(seen[0]) / 2 + np.log(seen[1:]).mean() / 2 + penalty(design))


def lights_of(design: Design, hidden: torch.Tensor | None = None) -> list[Lit]:
    """The lights, differentiable in the design. hidden: [3], the middle of a quarter of the sky that is black."""
    directions = texel_directions(RESOLUTION)
    x, y, z = directions.unbind(-1)
    open_sky = 1.0 if hidden is None else (directions @ hidden < COSINE_OF_CAP).float()[..., None]
    parts = design.parts(torch.stack([-z, -x, y], dim=-1)).sum(1)
    areas = texel_solid_angles(RESOLUTION)[None, None, ..., None] / (4 * math.pi)
    means = (parts * areas).sum(dim=(1, 2, 3))
    spread = fibonacci_directions(_SPREAD)
    radiance = design.parts(spread).sum(1) / means[:, None]
    found = []
    for image, seen in zip(parts / means[:, None, None, None], radiance, strict=True):
        light = EnvironmentLight(torch.zeros(6, RESOLUTION, RESOLUTION, 3))
        del light.base  # a parameter cannot be a result
        light.base = image * open_sky  # type: ignore[assignment]
        found.append(Lit(light.build_mips(), render_noise(seen, spread)))
    return found


def penalty(design: Design) -> torch.Tensor:
    """0 within bounds; grows where a side gets too little light of a color, or too much of it from one lamp."""
    directions, sides = fibonacci_directions(1500), fibonacci_directions(48)
    weights = (sides @ directions.T).clamp(min=0)
    got = torch.einsum("nd,lkdc->lknc", weights / weights.sum(1, keepdim=True), design.parts(directions))
    whole = got.sum(1)
    # Lamps that are near each other are one.
    axis = design.bounded()[0]
    near = torch.exp(4 * (axis @ axis.transpose(1, 2) - 1))
    share = torch.einsum("lkn,lkj->ljn", (got[:, 1:] / whole[:, None]).mean(-1), near)
    mean = whole.mean(1, keepdim=True)
    return 30 * (F.relu(share - LARGEST_SHARE).square().amax() + F.relu(LEAST_LIGHT - whole / mean).square().amax())


def text(design: Design) -> str:
    """DESIGNS and SKIES of a design as Python."""
    axes, colors, sharpness, strengths, skies = (value.detach().numpy() for value in design.bounded())

    def numbers(values: np.ndarray, digits: int) -> str:
        return "(" + ", ".join(f"{round(float(value), digits)}" for value in values) + ")"

    lines = ["DESIGNS = ("]
    for light in range(len(axes)):
        lines.append("    (")
        lines += [
            f"        ({numbers(axis, 2)}, {numbers(color, 2)}, {sharp:.0f}.0, {strength:.2g}),"
            for axis, color, sharp, strength in zip(
                axes[light], colors[light], sharpness[light], strengths[light], strict=True
            )
        ]
        lines.append("    ),")
    inner = ", ".join("(" + ", ".join(numbers(color, 2) for color in sky) + ")" for sky in skies)
    return "\n".join([*lines, ")", f"SKIES = ({inner})"])


def _within(value: torch.Tensor, least: float, most: float) -> torch.Tensor:
    return least + (most - least) * torch.sigmoid(value)
