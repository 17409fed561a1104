"""How far coat, sheen and emission are from Cycles: spheres of one material in a white furnace and in three HDRIs.

    python -m benchmarks.lobe_truth --json benchmarks/results/lobe_truth_2_cores.json

Blender's module `bpy` must be installed. Spheres, HDRIs and PSNR are those of `benchmarks.shading_truth`. `without` is the
same material shaded without coat, sheen and emission, as the renderer did before it knew them; `base` is the material
without them against Cycles' picture of the same: more than that nobody can ask of the lobes over it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from backend.cli.machine import machine_description
from benchmarks.cycles_spheres import SphereGrid, render_spheres, sphere_points
from benchmarks.shading_truth import BRIGHTEST, HDRIS, LEAST_N_DOT_V, LIGHT_RESOLUTION, environment_of
from render.bsdf.ggx import ggx_table
from render.core.color import psnr
from render.light.cubemap import latlong_to_cubemap
from render.light.environment import EnvironmentLight, PrefilteredLight
from render.shading.lobes import Lobes
from render.shading.models import outgoing_radiance

FURNACE = "furnace"
Color = tuple[float, float, float]
RED, GOLD, DARK = (0.6, 0.05, 0.03), (0.9, 0.6, 0.2), (0.08, 0.08, 0.1)


@dataclass(frozen=True)
class LobeCase:
    """A material; what is not named is at its default."""

    base_color: Color
    roughness: float = 0.5
    metallic: float = 0.0
    coat: float = 0.0
    coat_roughness: float = 0.03
    sheen: float = 0.0
    sheen_tint: Color = (1.0, 1.0, 1.0)
    sheen_roughness: float = 0.5
    emission: Color = (0.0, 0.0, 0.0)
    emission_strength: float = 0.0

    @property
    def lobes(self) -> Lobes:
        """The lobes of one point, [1, C]; None for what it has not."""
        sheen = torch.tensor([[*(self.sheen * part for part in self.sheen_tint), self.sheen_roughness]])
        return Lobes(
            emission=torch.tensor([self.emission]) * self.emission_strength if self.emission_strength else None,
            coat=torch.tensor([[self.coat, self.coat_roughness]]) if self.coat else None,
            sheen=sheen if self.sheen else None,
        )


CASES: dict[str, tuple[LobeCase, ...]] = {
    "coat over red": tuple(LobeCase(RED, coat=1, coat_roughness=r) for r in (0.03, 0.1, 0.3, 0.6)),
    "coat over metal": tuple(LobeCase(GOLD, 0.4, 1, coat=1, coat_roughness=r) for r in (0.03, 0.1, 0.3, 0.6)),
    "sheen over black": tuple(LobeCase(DARK, sheen=1, sheen_roughness=r) for r in (0.2, 0.3, 0.5, 0.8)),
    "sheen over red": tuple(
        LobeCase(RED, sheen=1, sheen_tint=(0.4, 0.7, 1.0), sheen_roughness=r) for r in (0.2, 0.3, 0.5, 0.8)
    ),
    "emission": (
        LobeCase(DARK, emission=(1.0, 0.5, 0.2), emission_strength=0.6),
        LobeCase(RED, emission=(0.2, 0.8, 1.0), emission_strength=0.3, coat=1, coat_roughness=0.2),
        LobeCase(RED, emission=(0.2, 0.8, 1.0), emission_strength=0.3, sheen=1),
        LobeCase(GOLD, 0.4, 0.5, 0.5, 0.1, 0.5, (1.0, 0.9, 0.6), 0.4, (1.0, 0.1, 0.1), 0.2),
    ),
}
"""By row; each has four."""
COLUMNS = 4


def render_cases(environment: np.ndarray | None, samples: int, with_lobes: bool, pixels: int) -> torch.Tensor:
    """Cycles' pictures of all cases, [rows, 4, pixels, pixels, 3]."""
    rows = list(CASES.values())
    grid = SphereGrid(roughness=(0.5,) * COLUMNS, metallic=(0.0,) * len(rows), pixels=pixels)

    def change(inputs, row: int, column: int) -> None:
        case = rows[row][column]
        inputs["Base Color"].default_value = (*case.base_color, 1.0)
        inputs["Roughness"].default_value, inputs["Metallic"].default_value = case.roughness, case.metallic
        if with_lobes:
            inputs["Coat Weight"].default_value = case.coat
            inputs["Coat Roughness"].default_value = case.coat_roughness
            inputs["Sheen Weight"].default_value = case.sheen
            inputs["Sheen Tint"].default_value = (*case.sheen_tint, 1.0)
            inputs["Sheen Roughness"].default_value = case.sheen_roughness
            inputs["Emission Color"].default_value = (*case.emission, 1.0)
            inputs["Emission Strength"].default_value = case.emission_strength

    return grid.cells(render_spheres(grid, environment, "MULTI_GGX", samples, change=change))[..., :3]


@torch.no_grad()
def shade_case(
    case: LobeCase, light: PrefilteredLight, points: tuple[torch.Tensor, torch.Tensor], with_lobes: bool
) -> torch.Tensor:
    """Radiance [P, 3] of points (normal, view), each [P, 3]."""
    normal, view = points
    count = len(normal)
    kd = torch.tensor(case.base_color).expand(count, 3)
    ks = torch.tensor([0.0, case.roughness, case.metallic]).expand(count, 3)
    found = case.lobes
    wide = {
        name: value.expand(count, -1)
        for name in ("emission", "coat", "sheen")
        if (value := getattr(found, name)) is not None
    }
    lobes = Lobes(**wide) if with_lobes else None
    return outgoing_radiance(kd, ks, normal, view, light, ggx_table(), lobes=lobes)


def light_of(environment: np.ndarray | None) -> PrefilteredLight:
    """A prefiltered light; None: the white furnace."""
    if environment is None:
        return EnvironmentLight(torch.ones(6, 64, 64, 3)).build_mips()
    with torch.no_grad():
        return EnvironmentLight(latlong_to_cubemap(torch.from_numpy(environment), LIGHT_RESOLUTION)).build_mips()


def compare(environment: np.ndarray | None, samples: int, pixels: int = 48, full: bool = True) -> dict:
    """PSNR in dB by row of the cases: of the `model`, and with `full` those of `without` and `base`."""
    light = light_of(environment)
    normal, view, n_dot_v = sphere_points(pixels)
    inside = n_dot_v > LEAST_N_DOT_V
    points = normal[inside].float(), view[inside].float()
    reference = render_cases(environment, samples, True, pixels)
    plain = render_cases(environment, samples, False, pixels) if full else reference
    found: dict = {}
    for row, (name, cases) in enumerate(CASES.items()):
        kinds: dict[str, list[float]] = {"model": [], "without": [], "base": []}
        for column, case in enumerate(cases):
            truth, base = (cells[row, column][inside] for cells in (reference, plain))
            ours, bare = (shade_case(case, light, points, with_lobes) for with_lobes in (True, False))
            for kind, image, target in (("model", ours, truth), ("without", bare, truth), ("base", bare, base)):
                kinds[kind].append(round(psnr(image, target), 2))
        found[name] = kinds if full else {"model": kinds["model"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--samples", type=int, default=512, help="of Cycles a pixel (default 512)")
    arguments = parser.parse_args()
    import bpy

    start = time.perf_counter()
    worlds = {}
    for world in (FURNACE, *HDRIS):
        worlds[world] = compare(None if world == FURNACE else environment_of(world), arguments.samples)
        for name, kinds in worlds[world].items():
            for kind, values in kinds.items():
                print(f"{world:>9} {name:>16} {kind:>8} " + " ".join(f"{value:5.1f}" for value in values), flush=True)
    if arguments.json is not None:
        result = {
            "machine": machine_description(),
            "date": datetime.date.today().isoformat(),
            "versions": {"blender": bpy.app.version_string, "torch": torch.__version__},
            "settings": {
                "cycles_samples": arguments.samples,
                "least_n_dot_v": LEAST_N_DOT_V,
                "brightest": BRIGHTEST,
                "light_resolution": LIGHT_RESOLUTION,
                "cases": {name: [asdict(case) for case in cases] for name, cases in CASES.items()},
            },
            "seconds": round(time.perf_counter() - start, 1),
            "psnr_db": worlds,
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.flush()
    # Blender's module may not come down in good order.
    os._exit(0)


if __name__ == "__main__":
    main()
