"""`python -m benchmarks studio_lights`: how well lights tell base color, roughness, metallic and normals apart.

A texel is seen from all cameras of a fit that face it, evenly divided over the lights. The derivatives J of what the fit
compares (radiance, weighted by the slope of its tone curve) by the texel's unknowns say how far noise throws them:
the standard errors are the roots of the diagonal of (J^T J / s^2 + 1)^-1 with noise s in each channel of each look. The 1
says that an unknown is known beforehand to about its range: an error of 1 means that the looks tell nothing. All lights have
the mean radiance 1, except where the name says another. "Equal noise" is 1/255 in all lights; "Cycles' noise" is what renders of
16 samples have, which grows with the light's contrast. What it leaves out: shadows, except for a quarter of the sky that is
hidden in one figure, light between parts, what the renderer cannot show, and where a fit ends that begins far from the truth.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from backend.fit.objective import tone_slope
from benchmarks.cases import DATA
from benchmarks.measure import check_output, circumstances, print_table, write_json
from benchmarks.one_closure import addon_module
from benchmarks.studio_candidates import (
    CONDITIONED_DESIGNS,
    CONDITIONED_SKIES,
    FORMER_DESIGNS,
    FORMER_SKIES,
    Designs,
    Skies,
    shape,
)
from render.bsdf.ggx import ggx_table
from render.core.image_io import read_image, write_image
from render.geometry.camera import fibonacci_directions
from render.light.cubemap import sample_latlong
from render.light.environment import PrefilteredLight, env_from_latlong
from render.raster.surface import ShadingPoints
from render.shading.shade import shade_texels

NOISE, LOOKS = 1 / 255, 40  # standard deviation of a look in the fit's tone curve, 0..1; looks at a texel
NAMES = ("base color", "roughness", "metallic", "normal")
UNKNOWNS = ((0, 1, 2), (3,), (4,), (5, 6))  # of each name: base color's channels, ..., tilts of the normal in radians
COLORS = ((0.5, 0.5, 0.5), (0.06, 0.05, 0.05), (0.8, 0.15, 0.1), (0.9, 0.75, 0.4))
ROUGHNESSES, METALLICS = (0.1, 0.3, 0.5, 0.7, 0.9), (0.0, 0.3, 0.7, 1.0)
VIEWS, FACING = 120, 0.1  # cameras, and the least cosine at which one counts
RESOLUTION, HEIGHT, WIDTH = 64, 128, 256
STARTUP = 0.0509  # radiance of the world of Blender's startup file
CAPS = tuple((x / 3**0.5, y / 3**0.5, x * y / 3**0.5) for x in (-1.0, 1.0) for y in (-1.0, 1.0))
COSINE_OF_CAP = 0.5  # a cap of 60 degrees, a quarter of the sphere, around each of them is hidden once
# Of `render_noise`: with 16 samples a pixel, whose random numbers are stratified, Cycles is as noisy as with 40 independent ones.
# Rough gray spheres had 3.0 / 255 under a gray sky, 6.3 and 5.6 in the former two,
# 8.0 in the forest: this says 3.6, 5.8, 5.5, 8.4.
ALBEDO, PATHS, PIXEL_NOISE = 0.5, 40, 1 / 255
_STEPS = (0.01, 0.01, 0.01, 0.01, 0.02, 0.02, 0.02)


@dataclass(frozen=True)
class Looks:
    """Which texel each look is at, [P], from which camera, [P], and what shading must know, fields [P, C]."""

    texel: torch.Tensor
    view: torch.Tensor
    points: ShadingPoints


@dataclass(frozen=True)
class Lit:
    """A light, and the noise [] of a look in it, in the fit's tone curve, 0..1."""

    light: PrefilteredLight
    noise: torch.Tensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--normals", type=int, default=64, help="directions of surfaces (default: 64)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of forest_1k.hdr")
    parser.add_argument("--picture", type=Path, help="write the lights here, side by side, as an 8-bit image")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Measure all lights, print a table, write the record and the picture."""
    check_output(options.json)
    check_output(options.picture)
    found = {name: judged(images, options.normals) for name, images in cases(options.data).items()}
    for kind in ("equal noise", "Cycles' noise"):
        columns = list(next(iter(found.values()))[kind])
        rows = [[name, *(row[kind][column] for column in columns)] for name, row in found.items()]
        print_table(f"Standard errors, {kind}", [["lights", *columns], *rows])
    if options.json:
        settings = {"normals": options.normals, "noise": NOISE, "looks": LOOKS, "views": VIEWS}
        materials = {"colors": COLORS, "roughness": ROUGHNESSES, "metallic": METALLICS}
        record = circumstances(torch.device("cpu")) | {"settings": settings | materials, "lights": found}
        write_json(options.json, record)
    if options.picture:
        write_image(options.picture, picture(addon_module("references.studio_designs").studio_lights(1.0)))


def judged(images: list[NDArray[np.float32]], normals: int) -> dict[str, dict[str, float]]:
    """The `summary` of lights with equal noise, and with Cycles' noise, which is given too, as is the geometric mean of the
    scores with each of the caps hidden."""
    equal = summary(measure([prefiltered(image, is_rendered=False) for image in images], normals))
    lit = [prefiltered(image) for image in images]
    hidden = [
        summary(measure([prefiltered(image * open_sky(image, cap)) for image in images], normals))["score"]
        for cap in CAPS
    ]
    noise = 255 * torch.stack([light.noise for light in lit]).square().mean().sqrt()
    further = {"score, a quarter hidden": float(np.exp(np.log(hidden).mean())), "noise x 255": float(noise)}
    return {"equal noise": equal, "Cycles' noise": summary(measure(lit, normals)) | further}


def cases(data: Path) -> dict[str, list[NDArray[np.float32]]]:
    """The lights under test by name: equirectangular images [H, W, 3] among which the views are divided in turn."""
    designs = addon_module("references.studio_designs")
    studio = list(designs.studio_lights(1.0))

    def as_they_were(lamps: Designs, skies: Skies) -> list[NDArray[np.float32]]:
        return [as_bright(shape(lamp, sky)) for lamp, sky in zip(lamps, skies, strict=True)]

    former = as_they_were(FORMER_DESIGNS, FORMER_SKIES)
    flat = np.ones((HEIGHT, WIDTH, 3), np.float32)
    found = {"flat gray": [flat], f"Blender's startup world ({STARTUP})": [flat * np.float32(STARTUP)]}
    found["one small lamp"] = [lamp()]
    if (data / "forest_1k.hdr").is_file():
        forest = as_bright(read_image(data / "forest_1k.hdr")[..., :3])
        found["forest"] = [forest]
        found["forest, former two"] = alternating(forest, former)
        found["forest, Studio"] = alternating(forest, studio)
    else:
        print(f"no forest_1k.hdr in {data}: left out")
    found["former two"] = former
    found["best by this score"] = [neutral(light) for light in as_they_were(CONDITIONED_DESIGNS, CONDITIONED_SKIES)]
    return found | {f"Studio, {len(studio)}": studio}


def alternating(own: NDArray[np.float32], others: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The lights of views of which every other one is in the scene's own light."""
    return [light for other in others for light in (own, other)]


def lamp() -> NDArray[np.float32]:
    """One round lamp, whose radiance has halved 5 degrees from its axis, in the dark, [HEIGHT, WIDTH, 3]."""
    elevation = (0.5 - (np.arange(HEIGHT) + 0.5) / HEIGHT) * np.pi
    azimuth = (np.arange(WIDTH) + 0.5) / WIDTH * 2.0 * np.pi
    axis = 0.6  # its elevation
    cosine = np.cos(elevation)[:, None] * np.cos(axis) * np.cos(azimuth - 2.0) + np.sin(elevation)[:, None] * np.sin(
        axis
    )
    return as_bright(np.repeat(np.exp(182.0 * (cosine - 1.0))[..., None], 3, axis=2).astype(np.float32))


def rows_of(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each row's elevation, [H, 1, 1], the weight of its pixels."""
    return np.cos((0.5 - (np.arange(len(image)) + 0.5) / len(image)) * np.pi)[:, None, None]


def as_bright(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """An equirectangular image with the mean 1 over all directions and colors."""
    weights = rows_of(image)
    mean = (image * weights).sum() / (weights.sum() * image.shape[1] * 3)
    return np.asarray(image / mean, np.float32)


def neutral(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """An equirectangular image with the mean 1 of each color."""
    weights = rows_of(image)
    return np.asarray(image * (weights.sum() * image.shape[1] / (image * weights).sum((0, 1))), np.float32)


def open_sky(image: NDArray[np.float32], cap: tuple[float, ...]) -> NDArray[np.float32]:
    """0 where a cap around a unit direction hides the light, else 1, [H, W, 1]."""
    height, width = image.shape[:2]
    elevation = (0.5 - (np.arange(height) + 0.5) / height)[:, None] * np.pi
    azimuth = (np.arange(width) + 0.5) / width * 2.0 * np.pi
    level = np.cos(elevation)
    cosine = cap[0] * level * np.cos(azimuth) + cap[1] * level * np.sin(azimuth) + cap[2] * np.sin(elevation)
    return (cosine < COSINE_OF_CAP)[..., None].astype(np.float32)


def prefiltered(image: NDArray[np.float32], is_rendered: bool = True) -> Lit:
    """The light of an equirectangular image [H, W, 3], with Cycles' noise or with NOISE."""
    pixels, directions = torch.from_numpy(np.ascontiguousarray(image)), fibonacci_directions(6000)
    with torch.no_grad():
        noise = render_noise(sample_latlong(pixels, directions), directions) if is_rendered else torch.tensor(NOISE)
        return Lit(env_from_latlong(pixels, RESOLUTION).build_mips(), noise)


def materials() -> torch.Tensor:
    """Texels [M, 8] of all colors, roughnesses and metallics, channels as in `MaterialMaps`."""
    return torch.tensor(
        [
            [*color, roughness, metallic, 0.0, 0.0, 1.0]
            for color, roughness, metallic in product(COLORS, ROUGHNESSES, METALLICS)
        ]
    )


def looks_at(normals: torch.Tensor, views: int = VIEWS) -> Looks:
    """All looks from the cameras of a fit at texels with unit normals [N, 3] that face them."""
    cameras = fibonacci_directions(views)
    texel, view = torch.nonzero(normals @ cameras.T > FACING, as_tuple=True)
    normal, toward = normals[texel], cameras[view]
    other = torch.tensor([0.31, 0.83, -0.46]).expand_as(normal)
    tangent = F.normalize(torch.linalg.cross(normal, other), dim=-1)
    one = torch.ones(len(texel), 1)
    return Looks(texel, view, ShadingPoints(normal, tangent, one, toward, torch.zeros(len(texel), 2), one[:, 0]))


def information(lights: list[Lit], looks: Looks, texels: torch.Tensor, normals: int) -> torch.Tensor:
    """J^T J of texels [M, 8] at each normal, [normals, M, 7, 7], the mean over looks; differentiable in the lights.

    The derivatives are central differences, a hundredth or two wide: the looked-up tables are linear piece by piece.
    """
    table = ggx_table()
    total = torch.zeros(normals, len(texels), 7, 7)
    count = torch.zeros(normals)
    for number, lit in enumerate(lights):
        chosen = torch.nonzero(looks.view % len(lights) == number)[:, 0]
        wide = (len(chosen), len(texels))
        points = ShadingPoints(
            *(value[chosen, None].expand(*wide, *value.shape[1:]) for value in vars(looks.points).values())
        )

        def shaded(
            place: int, step: float, seen: ShadingPoints = points, light: PrefilteredLight = lit.light
        ) -> torch.Tensor:
            moved = texels.clone()
            moved[:, place] += step
            values = moved.expand(len(seen.normal), -1, -1)
            return shade_texels(values, seen, light, table, "principled")

        slope = tone_slope(shaded(0, 0.0)) * (NOISE / lit.noise)
        columns = [
            (shaded(place, step) - shaded(place, -step)) * slope / (2 * step) for place, step in enumerate(_STEPS)
        ]
        jacobian = torch.stack(columns, dim=-1)  # [P, M, 3, 7]
        total = total.index_add(0, looks.texel[chosen], torch.einsum("pmci,pmcj->pmij", jacobian, jacobian))
        count = count.index_add(0, looks.texel[chosen], torch.ones(len(chosen)))
    return total / count.clamp(min=1)[:, None, None, None]


def standard_errors(information: torch.Tensor) -> torch.Tensor:
    """Errors [..., 4] of NAMES, 0..1, from `information` [..., 7, 7]: root mean squares over channels or tilts."""
    known = information.double() * (LOOKS / NOISE**2) + torch.eye(7, dtype=torch.float64)
    variance = torch.linalg.inv(known).diagonal(dim1=-2, dim2=-1)
    return torch.stack([variance[..., list(places)].mean(-1).sqrt() for places in UNKNOWNS], dim=-1)


def render_noise(radiance: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Standard deviation [] of a look that Cycles renders of a gray rough surface, in the fit's tone curve, 0..1.

    radiance    [D, 3] of a light in `directions` [D, 3], which are evenly spread
    It is that of one sample of the light by its brightness and one of the surface by its cosine, weighted by the balance
    heuristic, over sides and colors, PATHS of them, and what a pixel has under a gray sky too. Differentiable.
    """
    sides = fibonacci_directions(48)
    cosine = (sides @ directions.T).clamp(min=0)
    area = 4 * torch.pi / len(directions)
    lit, own = radiance.mean(-1) / (radiance.mean(-1).sum() * area), cosine / torch.pi
    value = ALBEDO / torch.pi * cosine[..., None] * radiance  # [sides, D, 3]
    both = (lit + own).clamp(min=1e-9)
    first, second = ((value * (share / both)[..., None]).sum(1) * area for share in (lit.expand_as(own), own))
    squares = (value.square() / both[..., None]).sum(1) * area
    variance = (squares - first.square() - second.square()).clamp(min=0) / PATHS
    return ((tone_slope(first + second).square() * variance).mean() + PIXEL_NOISE**2).sqrt()


@torch.no_grad()
def measure(lights: list[Lit], normals: int) -> torch.Tensor:
    """`information` [normals, M, 7, 7] of all `materials`, for normals spread over the sphere."""
    directions = fibonacci_directions(normals)
    looks = looks_at(directions)
    parts = [information(lights, looks, few, normals) for few in materials().split(10)]
    return torch.cat(parts, dim=1)


def summary(found: torch.Tensor) -> dict[str, float]:
    """Median and 95th percentile of the errors over normals and materials, and their score.

    The score is the geometric mean of the four 95th percentiles.
    """
    errors = standard_errors(found).flatten(0, 1)
    result = {}
    worst = torch.quantile(errors, 0.95, dim=0)
    for name, column, high in zip(NAMES, errors.T, worst, strict=True):
        result |= {f"{name}, median": float(column.median()), f"{name}, 95 %": float(high)}
    least = torch.linalg.eigvalsh(found.double())[..., 0].clamp(min=0).sqrt().flatten()
    return result | {
        "score": float(worst.log().mean().exp()),
        "least singular value": float(torch.quantile(least, 0.05)),
    }


def picture(lights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lights [L, H, W, 3] side by side, 8-bit sRGB of log(1 + x), the curve that the fit compares with."""
    y = np.log1p(np.concatenate(list(lights), axis=1))
    coded = np.where(y <= 0.0031308, 12.92 * y, 1.055 * np.maximum(y, 0.0031308) ** (1 / 2.4) - 0.055)
    return np.round(np.clip(coded, 0.0, 1.0) * 255).astype(np.uint8)
