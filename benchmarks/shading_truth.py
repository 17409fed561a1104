"""How far each shading model is from Cycles: spheres of one material in a white furnace and in three HDRIs.

    python -m benchmarks.shading_truth --json benchmarks/results/shading_truth_2_cores.json --picture shading.png

Blender's module `bpy` must be installed; the HDRIs are those that ship with it, clamped to radiance 20 for Cycles and for
us. Base colour (0.8, 0.4, 0.15); roughness 0.1 to 1.0; metallic 0, 0.5 and 1; one shaded point at the centre of each
pixel with N.V > 0.15. PSNR in sRGB clipped to 0..1. `plain` is split-sum with the node's energy, looked up along R at
the surface's roughness: what `principled` must be ahead of. `sampled_256` shows how much of what is left is noise in the
references.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from backend.cli.machine import machine_description
from benchmarks.cycles_spheres import SphereGrid, render_spheres, sphere_points
from benchmarks.shading_picture import picture
from render.bsdf.ggx import GgxTable, ggx_table
from render.core.color import psnr
from render.core.image_io import read_image, write_image
from render.light.cubemap import latlong_to_cubemap
from render.light.environment import EnvironmentLight
from render.shading.models import outgoing_radiance
from render.shading.sampled import sampled_light

HDRIS = ("forest", "sunset", "interior")
"""Chosen before anything was measured: fine detail under a bright sky, a low sun, windows in a dark room."""
BRIGHTEST = 20.0
LIGHT_RESOLUTION = 256
LEAST_N_DOT_V = 0.15
SAMPLE_COUNTS = (8, 16, 24, 32, 64, 256)
MODELS = ("nvdiffrec", "plain", "principled", *(f"sampled_{count}" for count in SAMPLE_COUNTS))
PICTURE_GRID = SphereGrid(roughness=(0.2, 0.5, 0.8), metallic=(0.0, 1.0), pixels=112)
PICTURE_HDRI = "forest"


def environment_of(name: str) -> np.ndarray:
    """An HDRI that ships with Blender, [512, 1024, 3], linear, clamped."""
    import bpy

    folder = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world"
    return np.clip(read_image(folder / f"{name}.exr")[..., :3], 0, BRIGHTEST)


class Models:
    """All models in one light."""

    def __init__(self, base: torch.Tensor) -> None:
        with torch.no_grad():
            self.prefiltered, self.sampled = EnvironmentLight(base).build_mips(), sampled_light(base)
        self.table = ggx_table()
        self.plain = plain_table(self.table)

    @torch.no_grad()
    def shade(self, model: str, kd: tuple, roughness: float, metallic: float, points: tuple, **options) -> torch.Tensor:
        """Radiance [P, 3] of points (normal, view), each [P, 3]."""
        normal, view = points
        color = torch.tensor(kd).expand(len(normal), 3)
        ks = torch.tensor([0.0, roughness, metallic]).expand(len(normal), 3)
        light, table = self.prefiltered, self.plain if model == "plain" else self.table
        if model.startswith("sampled"):
            model, count = model.split("_")
            light, options = self.sampled, {**options, "samples": int(count)}
        model = "principled" if model == "plain" else model
        return outgoing_radiance(color, ks, normal, view, light, table, model, **options)


def plain_table(table: GgxTable) -> GgxTable:
    """The same energy, with the prefiltered light looked up along R at the surface's own roughness."""
    names = (
        "scale",
        "bias",
        "dielectric",
        "lean",
        "lobe_roughness",
        "mean_albedo",
        "dielectric_lean",
        "dielectric_width",
    )
    values = table.values.clone()
    roughness = (torch.linspace(0, 1, values.shape[2]) ** 2)[:, None].expand(values.shape[2:])
    for name in ("lean", "dielectric_lean"):
        values[0, names.index(name)] = 1
    for name in ("lobe_roughness", "dielectric_width"):
        values[0, names.index(name)] = roughness
    return replace(table, values=values)


def compare(grid: SphereGrid, reference: np.ndarray, models: Models, names: tuple[str, ...], **options) -> dict:
    """PSNR in dB by model: rows by metallic, columns by roughness."""
    normal, view, n_dot_v = sphere_points(grid.pixels)
    inside = n_dot_v > LEAST_N_DOT_V
    points = normal[inside].float(), view[inside].float()
    cells = grid.cells(reference)
    found: dict[str, list] = {name: [] for name in names}
    for name in names:
        for row, metallic in enumerate(grid.metallic):
            line = []
            for column, roughness in enumerate(grid.roughness):
                ours = models.shade(name, grid.base_color, roughness, metallic, points, **options)
                line.append(round(psnr(ours, cells[row, column][inside][:, :3]), 2))
            found[name].append(line)
    return found


def reference_of(folder: Path | None, name: str, *arguments) -> np.ndarray:
    """Cycles' image, from the folder where it is there."""
    path = None if folder is None else folder / f"{name}.npy"
    if path is not None and path.is_file():
        return np.load(path)
    image = render_spheres(*arguments)
    if path is not None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, image)
    return image


def measure(grid: SphereGrid, samples: int, furnace_samples: int, folder: Path | None) -> dict:
    """The whole comparison: {"furnace": {energy: {model: rows}}, "hdri": {name: {model: rows}}, "seconds": {...}}."""
    result: dict = {"furnace": {}, "hdri": {}, "seconds": {"cycles": 0.0, "ours": 0.0}}
    white = Models(torch.ones(6, 64, 64, 3))
    for energy, distribution in (("multi", "MULTI_GGX"), ("single", "GGX")):
        start = time.perf_counter()
        reference = reference_of(folder, f"furnace_{distribution}", grid, None, distribution, furnace_samples)
        middle = time.perf_counter()
        names = ("nvdiffrec", "principled", "sampled_32")
        result["furnace"][energy] = compare(grid, reference, white, names, energy=energy)
        _add_seconds(result, start, middle)
    for name in HDRIS:
        environment = environment_of(name)
        start = time.perf_counter()
        reference = reference_of(folder, name, grid, environment, "MULTI_GGX", samples)
        middle = time.perf_counter()
        models = Models(latlong_to_cubemap(torch.from_numpy(environment), LIGHT_RESOLUTION))
        result["hdri"][name] = compare(grid, reference, models, MODELS)
        _add_seconds(result, start, middle)
    return result


def _add_seconds(result: dict, start: float, middle: float) -> None:
    result["seconds"]["cycles"] += middle - start
    result["seconds"]["ours"] += time.perf_counter() - middle


def print_tables(grid: SphereGrid, result: dict) -> None:
    """Per model, world and metallic a line by roughness, and the worst and the mean."""
    worlds = {f"furnace, {energy}": models for energy, models in result["furnace"].items()} | result["hdri"]
    for world, models in worlds.items():
        print(f"\n{world}: dB at roughness " + " ".join(f"{roughness:5.1f}" for roughness in grid.roughness))
        for model, rows in models.items():
            for metallic, row in zip(grid.metallic, rows, strict=True):
                print(f"{model:>16} metallic {metallic:3.1f} " + " ".join(f"{value:5.1f}" for value in row))
            print(f"{model:>16} worst {np.min(rows):.1f}, mean {np.mean(rows):.1f}")


def draw(path: Path, samples: int, folder: Path | None) -> None:
    """The picture of docs/shading-models.md."""
    environment = environment_of(PICTURE_HDRI)
    reference = reference_of(folder, "picture", PICTURE_GRID, environment, "MULTI_GGX", samples)
    models = Models(latlong_to_cubemap(torch.from_numpy(environment), LIGHT_RESOLUTION))
    normal, view, n_dot_v = sphere_points(PICTURE_GRID.pixels)
    seen = n_dot_v > 0
    cells = PICTURE_GRID.cells(reference)
    rows = []
    for row, metallic in enumerate(PICTURE_GRID.metallic):
        for column, roughness in enumerate(PICTURE_GRID.roughness):
            images = [cells[row, column, ..., :3]]
            for model in ("nvdiffrec", "principled", "sampled_32"):
                image = torch.zeros(*seen.shape, 3)
                points = normal[seen].float(), view[seen].float()
                image[seen] = models.shade(model, PICTURE_GRID.base_color, roughness, metallic, points)
                images.append(image)
            kind = "metal" if metallic == 1 else "dielectric"
            rows.append((f"{kind} {roughness}", images))
    write_image(path, picture(rows, ("Cycles", "nvdiffrec", "principled", "sampled, K = 32"), n_dot_v > LEAST_N_DOT_V))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--picture", type=Path, help="write the picture (.png) here")
    parser.add_argument("--references", type=Path, help="keep Cycles' images in this folder, and use those there")
    parser.add_argument("--samples", type=int, default=512, help="of Cycles a pixel in the HDRIs (default 512)")
    parser.add_argument("--furnace-samples", type=int, default=128, help="in the furnace (default 128)")
    arguments = parser.parse_args()
    import bpy

    grid = SphereGrid()
    # Where Cycles' images were there already, its seconds are those of reading them.
    kept = arguments.references is not None and any(arguments.references.glob("*.npy"))
    result = measure(grid, arguments.samples, arguments.furnace_samples, arguments.references)
    print_tables(grid, result)
    settings = {
        "base_color": grid.base_color,
        "roughness": grid.roughness,
        "metallic": grid.metallic,
        "pixels": grid.pixels,
        "least_n_dot_v": LEAST_N_DOT_V,
        "brightest": BRIGHTEST,
        "light_resolution": LIGHT_RESOLUTION,
        "cycles_samples": arguments.samples,
        "cycles_furnace_samples": arguments.furnace_samples,
        "cycles_images_kept": kept,
    }
    versions = {"blender": bpy.app.version_string, "torch": torch.__version__, "python": sys.version.split()[0]}
    about = {"machine": machine_description(), "date": datetime.date.today().isoformat(), "versions": versions}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({**about, "settings": settings, **result}, indent=1) + "\n")
    if arguments.picture is not None:
        draw(arguments.picture, arguments.samples, arguments.references)
    sys.stdout.flush()
    # Blender's module may not come down in good order.
    os._exit(0)


if __name__ == "__main__":
    main()
