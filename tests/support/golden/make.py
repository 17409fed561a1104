"""Makes the golden files of this folder: inputs of our own, outputs by plain float64 NumPy that shares no code with `render`.

    PYTHONPATH=tests python tests/support/golden/make.py [FOLDER]        (default: this folder)

The arrays are named and laid out as in the recorded outputs of nvdiffrec, so that the same checks read both
(tests/support/parity). Inputs are rounded before the outputs are computed from them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support.golden import cube_maps, flat_textures, shading

Floats = NDArray[np.float64]
Arrays = dict[str, Floats]

FOLDER = Path(__file__).parent
# Kept of the 23 binary digits behind the point of a float32: 8e-6 of a value, far below every tolerance.
_DIGITS = 16
_BASE, _COARSE = 20, 10
_POINTS = 144


def coarse(values: Floats, steps: int = 256) -> Floats:
    """Inputs in few steps: they compress, and float32 holds them exactly."""
    return np.round(values * steps) / steps


def rows(cube: Floats) -> Floats:
    """A cube map [6, R, R, C] or an image as a list of texels [T, C]."""
    return cube.reshape(-1, cube.shape[-1])


def cube(texels: Floats) -> Floats:
    """Texels [6 R R, C] as a cube map."""
    resolution = shading.Lookups.resolution(texels)
    return texels.reshape(6, resolution, resolution, -1)


def random_units(random: np.random.Generator, count: int) -> Floats:
    """Unit vectors [N, 3], rounded to float32."""
    return shading.unit(random.normal(size=(count, 3))).astype(np.float32).astype(np.float64)


def image(values: Floats, side: int = 12) -> Floats:
    """Values of points [N, C] as the image [1, side, N / side, C] that the checks expect."""
    return values.reshape(1, side, -1, values.shape[-1])


def cube_lookup() -> Arrays:
    random = np.random.default_rng(11)
    mips = [coarse(random.random((6, resolution, resolution, 3))) for resolution in (8, 4, 2)]
    direction = random_units(random, _POINTS) * coarse(random.uniform(0.5, 2, (_POINTS, 1)), 4)
    lod = coarse(random.uniform(-0.2, 2.2, _POINTS))
    values = np.stack([cube_maps.lookup(direction, mip.shape[1]) @ rows(mip) for mip in mips])
    level = np.clip(lod, 0, 2)
    lower = np.minimum(np.floor(level).astype(int), 1)
    share, each = (level - lower)[:, None], np.arange(_POINTS)
    sample = (1 - share) * values[lower, each] + share * values[lower + 1, each]
    named = {f"mip_{number}": mip for number, mip in enumerate(mips)}
    return {**named, "direction": image(direction), "lod": image(lod[:, None])[..., 0], "sample": image(sample)}


def fg_lut() -> Arrays:
    return {"lut": shading.brdf_table(24)}


def mip_gradients() -> Arrays:
    random = np.random.default_rng(12)
    texture, weight = coarse(random.random((6, 10, 3))), coarse(random.normal(size=(3, 5, 3)), 16)
    given, weight_cube = coarse(random.random((6, 6, 6, 3))), coarse(random.normal(size=(6, 3, 3, 3)), 16)
    return {
        "texture": texture[None],
        "texture_mip": flat_textures.mean_of_four(texture)[None],
        "weight": weight[None],
        "grad_texture": flat_textures.smooth_gradient(weight)[None],
        "cubemap": given,
        "cubemap_mip": cube(cube_maps.mean_of_four(6) @ rows(given)),
        "weight_cubemap": weight_cube,
        "grad_cubemap": cube(cube_maps.smooth_gradient(6) @ rows(weight_cube)),
    }


def texture2d() -> Arrays:
    random = np.random.default_rng(13)
    texture = coarse(random.random((16, 32, 4)))
    uv = coarse(random.uniform(-1.5, 2.5, (_POINTS, 2)), 4096)
    size = 2.0 ** random.uniform(-6, 1, (_POINTS, 1))
    uv_da = (size * random.normal(size=(_POINTS, 4))).astype(np.float32).astype(np.float64)
    weight = coarse(random.normal(size=(_POINTS, 4)), 16)
    levels = flat_textures.levels_of(texture)
    custom = [*levels, levels[-1][:, :1]]  # 1x2 ends at 1x1, where nvdiffrec drops the second texel
    return {
        "texture": texture[None],
        "uv": image(uv),
        "uv_da": image(uv_da),
        "sample": image(flat_textures.sample(levels, uv, uv_da)),
        "weight": image(weight),
        "grad_texture": flat_textures.sample_gradient(texture, uv, uv_da, weight)[None],
        "mip_1": levels[1][None],
        "mip_2": levels[2][None],
        "custom_mip_1": levels[1][None],
        "sample_custom_mips": image(flat_textures.sample(custom, uv, uv_da)),
    }


def shading_normal(seed: int, two_sided: bool, opengl: bool) -> Arrays:
    random = np.random.default_rng(seed)
    smooth = random_units(random, _POINTS)
    given = {
        "position": coarse(random.uniform(-1, 1, (_POINTS, 3))),
        "view_position": np.array([[0.5, 1.25, 3.0]]),
        "perturbed_normal": coarse(random.uniform(-0.6, 1, (_POINTS, 3))),
        "smooth_normal": smooth * 1.5,
        "smooth_tangent": random_units(random, _POINTS),
        "geometric_normal": shading.unit(smooth + 0.3 * random_units(random, _POINTS)),
    }
    given = {name: values.astype(np.float32).astype(np.float64) for name, values in given.items()}
    weight = coarse(random.normal(size=(_POINTS, 3)), 16)

    def normals(perturbed: Floats) -> Floats:
        values = {**given, "perturbed_normal": perturbed}
        return shading.shading_normal(*values.values(), two_sided=two_sided, opengl=opengl)

    perturbed = given["perturbed_normal"]
    gradient = shading.difference_gradient(lambda at: (normals(at) * weight).sum(axis=1), perturbed)
    images = {name: image(values, 12 if len(values) > 1 else 1) for name, values in given.items()}
    return {
        **images,
        "shading_normal": image(normals(perturbed)),
        "weight": image(weight),
        "grad_perturbed_normal": image(gradient),
    }


def light_base() -> tuple[Floats, Floats]:
    """A lat-long image [12, 24, 3] and its cube map, rounded: the light of two files."""
    random = np.random.default_rng(14)
    latlong = coarse(random.random((12, 24, 3)) ** 3 * 4)
    return latlong, stored(cube_maps.from_latlong(latlong, _BASE)).astype(np.float64)


def light() -> Arrays:
    latlong, base = light_base()
    random = np.random.default_rng(15)
    sharp, rough, diffuse = cube_maps.specular(_BASE, 0.08), cube_maps.specular(_COARSE, 1), cube_maps.diffuse(_COARSE)
    mip = cube_maps.mean_of_four(_BASE) @ rows(base)
    weights = [coarse(random.normal(size=(6 * side**2, 3)), 8) for side in (_BASE, _COARSE, _COARSE)]
    to_mip = rough.T @ weights[1] + diffuse.T @ weights[2]
    roughness = np.linspace(0, 1, 41)[:, None]
    return {
        "latlong": latlong,
        "base": base,
        "specular_0": cube(sharp @ rows(base)),
        "specular_1": cube(rough @ mip),
        "diffuse": cube(diffuse @ mip),
        "weight_0": cube(weights[0]),
        "weight_1": cube(weights[1]),
        "weight_diffuse": cube(weights[2]),
        "grad_base": cube(sharp.T @ weights[0] + cube_maps.smooth_gradient(_BASE) @ to_mip),
        "latlong_back": (cube_maps.lookup(cube_maps.latlong_directions(10, 20), _BASE) @ rows(base)).reshape(10, 20, 3),
        "roughness": roughness,
        "miplevel": shading.Lookups.level(roughness),
        "regularizer": np.abs(base - base.mean(axis=-1, keepdims=True)).mean(),
    }


def specular_level() -> Arrays:
    random = np.random.default_rng(16)
    given = coarse(random.random((6, 12, 12, 3)) ** 2)
    levels = {f"roughness_{value}": cube(cube_maps.specular(12, value / 100) @ rows(given)) for value in (30, 50, 75)}
    return {"cubemap": given, **levels}


def shade() -> Arrays:
    _, base = light_base()
    random = np.random.default_rng(17)
    eye = np.array([[0.25, 0.5, 3.0]])
    position = coarse(random.uniform(-1, 1, (_POINTS, 3)))
    view = shading.unit(eye - position)
    normal = shading.unit(random_units(random, _POINTS) + 0.9 * view).astype(np.float32).astype(np.float64)
    kd, ks = (coarse(random.uniform(0.02, 0.98, (_POINTS, 3))) for _ in range(2))
    turned, angle = np.eye(4), 0.75
    turned[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    turned = turned.astype(np.float32).astype(np.float64)
    sharp, rough, diffuse = cube_maps.specular(_BASE, 0.08), cube_maps.specular(_COARSE, 1), cube_maps.diffuse(_COARSE)
    mip = cube_maps.mean_of_four(_BASE) @ rows(base)
    looked_up = shading.Lookups((sharp @ rows(base), rough @ mip), diffuse @ mip)
    table, straight = shading.TableLookup(), np.eye(3)
    arrays = {
        "position": image(position),
        "normal": image(normal),
        "kd": image(kd),
        "ks": image(ks),
        "view_position": image(eye, 1),
        "light_matrix": turned,
        "color_rotated": image(shading.shade(normal, kd, ks, view, looked_up, table, turned[:3, :3]).color),
    }
    for name, used in (("spec", table), ("diff", None)):
        weight = coarse(random.normal(size=(_POINTS, 3)), 16)

        def sums(
            normal: Floats, kd: Floats, ks: Floats, used: shading.TableLookup | None = used, weight: Floats = weight
        ) -> Floats:
            return (shading.shade(normal, kd, ks, view, looked_up, used, straight).color * weight).sum(axis=1)

        found = shading.shade(normal, kd, ks, view, looked_up, used, straight)
        to_specular = weight * found.specular_factor
        to_sharp = found.specular_lookups[0].T @ ((1 - found.level) * to_specular)
        to_rough = found.specular_lookups[1].T @ (found.level * to_specular)
        to_diffuse = found.diffuse_lookup.T @ (weight * found.diffuse_factor)
        to_mip = rough.T @ to_rough + diffuse.T @ to_diffuse
        arrays |= {
            f"color_{name}": image(found.color),
            f"weight_{name}": image(weight),
            f"grad_normal_{name}": image(shading.difference_gradient(lambda at, of=sums: of(at, kd, ks), normal)),
            f"grad_kd_{name}": image(shading.difference_gradient(lambda at, of=sums: of(normal, at, ks), kd)),
            f"grad_ks_{name}": image(shading.difference_gradient(lambda at, of=sums: of(normal, kd, at), ks)),
            f"grad_base_{name}": cube(sharp.T @ to_sharp + cube_maps.smooth_gradient(_BASE) @ to_mip),
        }
    return arrays


FILES: dict[str, Callable[[], Arrays]] = {
    "cube_lookup_ours": cube_lookup,
    "fg_lut_ours": fg_lut,
    "light_ours": light,
    "mip_gradients_ours": mip_gradients,
    "shade_ours": shade,
    "shading_normal_one_sided_ours": lambda: shading_normal(18, two_sided=False, opengl=True),
    "shading_normal_two_sided_directx_ours": lambda: shading_normal(19, two_sided=True, opengl=False),
    "specular_level_ours": specular_level,
    "texture2d_ours": texture2d,
}


def stored(values: Floats) -> NDArray[np.float32]:
    """float32 with `_DIGITS` binary digits, rounded to the nearest: the rest would not compress."""
    dropped = 23 - _DIGITS
    bits = np.asarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + (1 << (dropped - 1))) >> dropped << dropped
    return bits.astype(np.uint32).view(np.float32)


def main(folder: Path) -> None:
    """Write every file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        arrays = {key: np.asarray(values, dtype=np.float32) for key, values in make().items()}
        kept = {key: stored(values) if values.size > 4 * 3 * _POINTS else values for key, values in arrays.items()}
        np.savez_compressed(folder / f"{name}.npz", **kept)
        print(f"{name}.npz: {(folder / f'{name}.npz').stat().st_size / 1024:.0f} kB", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
