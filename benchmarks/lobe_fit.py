"""Where the round lobe of split-sum serves best: the numbers of `render.bsdf.ggx_lobe_table`, derived anew.

    python -m benchmarks.lobe_fit

For each roughness and N.V: the light under the true lobe (sampled shading with 384 samples) at random orientations in
synthetic environments, against the prefiltered light along normalize(lerp(N, R, t)) at roughness times f, for a grid of
t and f; the t and f with the least squared error in sRGB are kept. Once for a white metal, which reflects alike from
all facets, and once for a grey dielectric, whose Fresnel curve moves the lobe towards grazing facets. The environments
are noise: log-normal, with octaves that fall as in photographs (amplitude 2^-0.6 an octave) and light from one side. No
photographed environment is used, so that those can judge the result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from render.bsdf.energy import surface_energy
from render.bsdf.ggx import ggx_table
from render.bsdf.ggx_lobe_table import N_DOT_V, ROUGHNESS
from render.core.color import linear_to_srgb
from render.light.cube_atlas import CubeAtlas
from render.light.cube_geometry import texel_directions
from render.light.environment import EnvironmentLight
from render.shading.sampled import sampled_light, sampled_radiance

RESOLUTION = 128
ENVIRONMENTS = 12
ORIENTATIONS = 64
SAMPLES = 384
LEAN = torch.linspace(0, 1, 21)
FACTOR = torch.linspace(0.45, 1.6, 24)


def synthetic_environment(seed: int, resolution: int = RESOLUTION, contrast: float = 1.0) -> torch.Tensor:
    """Log-normal noise on a cube [6, R, R, 3], mean about 0.7, at most 20."""
    generator = torch.Generator().manual_seed(seed)
    direction = texel_directions(resolution)
    up = F.normalize(torch.randn(3, generator=generator), dim=0)
    field = (direction @ up)[..., None].expand(-1, -1, -1, 3)
    octave, amplitude = 1, 1.0
    while octave <= resolution:
        atlas = CubeAtlas([octave])
        grey = torch.randn(6, octave, octave, 1, generator=generator).expand(-1, -1, -1, 3)
        noise = 0.85 * grey + 0.5 * torch.randn(6, octave, octave, 3, generator=generator)
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
        level = torch.zeros(direction.shape[:-1])
        field = field + amplitude * atlas.sample(atlas.pack([noise]), direction @ turn, level)
        amplitude *= 2**-0.6
        octave *= 2
    radiance = torch.exp(contrast * field / field.std())
    return (0.7 * radiance / radiance.mean()).clamp(max=20)


@torch.no_grad()
def squared_errors(color: float, metallic: float) -> torch.Tensor:
    """Mean squared error in sRGB by roughness, N.V, t and f, of a surface of this grey and metallic."""
    table = ggx_table()
    error = torch.zeros(len(ROUGHNESS), len(N_DOT_V), len(LEAN), len(FACTOR))
    kd = torch.full((ORIENTATIONS, 3), color)
    for seed in range(ENVIRONMENTS):
        base = synthetic_environment(seed)
        light, prefiltered = sampled_light(base), EnvironmentLight(base).build_mips()
        generator = torch.Generator().manual_seed(1000 + seed)
        normal = F.normalize(torch.randn(ORIENTATIONS, 3, generator=generator), dim=-1)
        side = F.normalize(torch.linalg.cross(normal, torch.randn(ORIENTATIONS, 3, generator=generator)), dim=-1)
        for i, roughness in enumerate(ROUGHNESS):
            ks = torch.tensor([0.0, roughness, metallic]).expand(ORIENTATIONS, 3)
            for j, n_dot_v in enumerate(N_DOT_V):
                view = n_dot_v * normal + (1 - n_dot_v**2) ** 0.5 * side
                truth = sampled_radiance(kd, ks, normal, view, light, table, SAMPLES)
                reflected = 2 * n_dot_v * normal - view
                axis = torch.lerp(normal, reflected, LEAN[:, None, None])[:, None].expand(-1, len(FACTOR), -1, -1)
                width = (roughness * FACTOR).clamp(max=1)[None, :, None].expand(axis.shape[:-1])
                terms = table.lookup(ks[:, 1], torch.full((ORIENTATIONS,), n_dot_v))
                surface = surface_energy(kd, ks[:, 2:], terms, "multi")
                if metallic == 1:
                    albedo = (terms.scale + terms.bias)[:, None] * surface.metal_gain
                else:
                    albedo = terms.dielectric[:, None] * surface.dielectric_gain
                diffuse = surface.diffuse * light.diffuse(normal)
                difference = _shown(diffuse + albedo * prefiltered.specular(axis, width)) - _shown(truth)
                error[i, j] += difference.square().mean((-1, -2)) / ENVIRONMENTS
    return error


def _shown(radiance: torch.Tensor) -> torch.Tensor:
    return linear_to_srgb(radiance).clamp(max=1)


def best(error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """t and f of the least error, each [roughness, N.V], between the grid's values by a parabola through three."""
    flat = error.flatten(2).argmin(-1)
    row, column = flat // len(FACTOR), flat % len(FACTOR)
    by_lean = torch.gather(error, 3, column[..., None, None].expand(-1, -1, len(LEAN), 1))[..., 0]
    by_factor = torch.gather(error, 2, row[..., None, None].expand(-1, -1, 1, len(FACTOR)))[:, :, 0]
    return _vertex(LEAN, by_lean, row), _vertex(FACTOR, by_factor, column)


def _vertex(grid: torch.Tensor, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    inner = index.clamp(1, len(grid) - 2)
    low, middle, high = (torch.gather(values, -1, (inner + step)[..., None])[..., 0] for step in (-1, 0, 1))
    shift = 0.5 * (low - high) / (low - 2 * middle + high).clamp(min=1e-12)
    found = grid[inner] + shift.clamp(-0.5, 0.5) * (grid[1] - grid[0])
    return torch.where(inner == index, found, grid[index])


def main() -> None:
    for name, color, metallic in (("METAL", 1.0, 1.0), ("DIELECTRIC", 0.5, 0.0)):
        error = squared_errors(color, metallic)
        lean, factor = best(error)
        for part, values in (("LEAN", lean), ("WIDTH", factor)):
            rows = ",\n".join("    (" + ", ".join(f"{value:.2f}" for value in row) + ")" for row in values.tolist())
            print(f"{name}_{part} = (\n{rows},\n)")
        least = error.flatten(2).amin(-1).clamp(min=1e-12)
        print("# PSNR in dB, rows by roughness, columns by N.V:")
        for roughness, row in zip(ROUGHNESS, (-10 * least.log10()).tolist(), strict=True):
            print(f"# {roughness:.2f}  " + " ".join(f"{value:5.1f}" for value in row))


if __name__ == "__main__":
    main()
