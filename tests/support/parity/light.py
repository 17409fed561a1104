"""Parity with nvdiffrec: the light, its prefilters and lookups, shading, shading normals and the BRDF table.

Every size is taken from the golden arrays. Tolerances are relative L2 unless their name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from support.parity.golden import Golden, relative_l2

from render.bsdf.fg_lut import fg_lut, lookup_fg
from render.bsdf.nvdiffrec_shading import nvdiffrec_radiance, safe_normalize
from render.light.cubemap import CubeAtlas, cubemap_to_latlong, latlong_to_cubemap
from render.light.environment import EnvironmentLight, NvdiffrecLight
from render.light.nvdiffrec_prefilter import cubemap_mip, nvdiffrec_mip, nvdiffrec_roughness
from render.light.prefilter import diffuse_cubemap, specular_cubemap
from render.shading.normal_map import prepare_shading_normal

LOOKUP_TOLERANCE = 1e-4
PREFILTER_TOLERANCE = 1e-3
TABLE_TOLERANCE = 2e-3
TABLE_LARGEST_ERROR = 1e-3
# With our table, which every colour contains. The gradient to roughness holds the table's slope: theirs, a Monte Carlo
# sum, is uncertain by 1e-5 from row to row, times 256 rows (measured 3.6e-3; all other gradients below 4e-4).
SHADE_TOLERANCE = 2e-3
SHADE_GRADIENT_TOLERANCE = {"normal": 2e-3, "kd": 2e-3, "ks": 1e-2, "base": 2e-3}
# With their table in place of ours: what is left of shading is a single operation.
SHADE_TOLERANCE_THEIR_TABLE = 1e-4


def _levels(golden: Golden, prefix: str) -> int:
    count = 0
    while f"{prefix}_{count}" in golden:
        count += 1
    assert count > 0, f"{golden.path.name} has no {prefix}_0"
    return count


def _light(golden: Golden) -> EnvironmentLight:
    return EnvironmentLight(golden.tensor("base"))


def check_prefilter(golden: Golden) -> None:
    light = _light(golden)
    mips = light.build_mips(prefilter="nvdiffrec")
    assert isinstance(mips, NvdiffrecLight)
    count = _levels(golden, "specular")
    assert len(mips.specular_cubes) == count
    total = (mips.diffuse_cube * golden.tensor("weight_diffuse")).sum()
    for level, cube in enumerate(mips.specular_cubes):
        assert relative_l2(cube, golden.tensor(f"specular_{level}")) < PREFILTER_TOLERANCE
        total = total + (cube * golden.tensor(f"weight_{level}")).sum()
    assert relative_l2(mips.diffuse_cube, golden.tensor("diffuse")) < PREFILTER_TOLERANCE
    total.backward()
    assert relative_l2(light.base.grad, golden.tensor("grad_base")) < PREFILTER_TOLERANCE


def check_single_levels(golden: Golden) -> None:
    count = _levels(golden, "specular")
    mips = [golden.tensor("base")]
    while len(mips) < count:
        mips.append(cubemap_mip(mips[-1]))
    for level, mip in enumerate(mips):
        found = specular_cubemap(mip, nvdiffrec_roughness(level, count), prefilter="nvdiffrec", cutoff=0.99)
        assert relative_l2(found, golden.tensor(f"specular_{level}")) < PREFILTER_TOLERANCE
    found = diffuse_cubemap(mips[-1], prefilter="nvdiffrec")
    assert relative_l2(found, golden.tensor("diffuse")) < PREFILTER_TOLERANCE


def check_roughness(golden: Golden) -> None:
    """One lobe of a cube map for each `roughness_NN`, in hundredths."""
    names = [name for name in golden.arrays if name.startswith("roughness_")]
    assert names, f"{golden.path.name} has no roughness_NN"
    for name in names:
        roughness = int(name.removeprefix("roughness_")) / 100
        found = specular_cubemap(golden.tensor("cubemap"), roughness, prefilter="nvdiffrec", cutoff=0.99)
        assert relative_l2(found, golden.tensor(name)) < PREFILTER_TOLERANCE


def check_get_mip(golden: Golden) -> None:
    roughness = golden.tensor("roughness")
    count = _levels(golden, "specular")
    assert relative_l2(nvdiffrec_mip(roughness, count), golden.tensor("miplevel")) < LOOKUP_TOLERANCE
    found = _light(golden).get_mip(roughness, prefilter="nvdiffrec")
    assert relative_l2(found, golden.tensor("miplevel")) < LOOKUP_TOLERANCE


def check_regularizer(golden: Golden) -> None:
    found = _light(golden).regularizer()
    assert relative_l2(found, golden.tensor("regularizer").reshape(())) < LOOKUP_TOLERANCE


def check_latlong(golden: Golden) -> None:
    base = golden.tensor("base")
    found = latlong_to_cubemap(golden.tensor("latlong"), base.shape[1], filter="nvdiffrec")
    assert relative_l2(found, base) < LOOKUP_TOLERANCE
    back = golden.tensor("latlong_back")
    found = cubemap_to_latlong(base, (back.shape[0], back.shape[1]), nvdiffrec_rows=True)
    assert relative_l2(found, back) < LOOKUP_TOLERANCE


def _shade_light(golden: Golden) -> EnvironmentLight:
    return _light(golden.sibling(golden.path.stem.replace("shade", "light", 1)))


def _shade_errors(golden: Golden, name: str, specular: bool, lut: torch.Tensor | None) -> dict[str, float]:
    light = _shade_light(golden)
    inputs = {key: golden.tensor(key).requires_grad_() for key in ("normal", "kd", "ks")}
    view = safe_normalize(golden.tensor("view_position") - golden.tensor("position"))
    mips = light.build_mips("nvdiffrec")
    color = nvdiffrec_radiance(inputs["kd"], inputs["ks"], inputs["normal"], view, mips, specular, lut)
    (color * golden.tensor(f"weight_{name}")).sum().backward()
    gradients = {key: value.grad for key, value in (*inputs.items(), ("base", light.base))}
    errors = {key: relative_l2(value, golden.tensor(f"grad_{key}_{name}")) for key, value in gradients.items()}
    return {"color": relative_l2(color, golden.tensor(f"color_{name}")), **errors}


def check_shade(golden: Golden) -> None:
    tolerances = {"color": SHADE_TOLERANCE, **SHADE_GRADIENT_TOLERANCE}
    for name, specular in (("spec", True), ("diff", False)):
        for key, error in _shade_errors(golden, name, specular, None).items():
            assert error < tolerances[key], f"{key}_{name}: {error:.1e}"


def check_shade_with_their_table(golden: Golden) -> None:
    table = golden.sibling("fg_lut")
    lut = table.tensor("lut") if table.path.exists() else None
    for key, error in _shade_errors(golden, "diff", False, lut).items():
        assert error < SHADE_TOLERANCE_THEIR_TABLE, f"{key}_diff: {error:.1e}"
    if lut is not None:
        for key, error in _shade_errors(golden, "spec", True, lut).items():
            assert error < SHADE_TOLERANCE_THEIR_TABLE, f"{key}_spec: {error:.1e}"


def check_shade_rotated(golden: Golden) -> None:
    light = _shade_light(golden)
    light.xfm(golden.tensor("light_matrix"))
    given = [golden.tensor(key) for key in ("position", "normal", "kd", "ks", "view_position")]
    with torch.no_grad():
        color = light.shade(*given, prefilter="nvdiffrec")
    assert relative_l2(color, golden.tensor("color_rotated")) < SHADE_TOLERANCE


def check_shading_normal(golden: Golden) -> None:
    perturbed = golden.tensor("perturbed_normal").requires_grad_()
    found = prepare_shading_normal(
        golden.tensor("position"),
        golden.tensor("view_position"),
        perturbed,
        golden.tensor("smooth_normal"),
        golden.tensor("smooth_tangent"),
        golden.tensor("geometric_normal"),
        two_sided="two_sided" in golden.path.stem,
        opengl="directx" not in golden.path.stem,
    )
    assert relative_l2(found, golden.tensor("shading_normal")) < LOOKUP_TOLERANCE
    (found * golden.tensor("weight")).sum().backward()
    assert relative_l2(perturbed.grad, golden.tensor("grad_perturbed_normal")) < LOOKUP_TOLERANCE


def check_cube_lookup(golden: Golden) -> None:
    mips = [golden.tensor(f"mip_{level}") for level in range(_levels(golden, "mip"))]
    atlas = CubeAtlas([mip.shape[1] for mip in mips], device=golden.device)
    found = atlas.sample(atlas.pack(mips), golden.tensor("direction"), golden.tensor("lod"))
    assert relative_l2(found, golden.tensor("sample")) < LOOKUP_TOLERANCE


def check_fg_lut(golden: Golden) -> None:
    table = golden.tensor("lut")
    found = fg_lut(table.shape[0], golden.device)
    assert relative_l2(found, table) < TABLE_TOLERANCE
    assert float((found - table).abs().max()) < TABLE_LARGEST_ERROR
    # Looked up at its texel centres, the table returns itself.
    centres = (torch.arange(table.shape[0], device=golden.device) + 0.5) / table.shape[0]
    roughness, n_dot_v = torch.meshgrid(centres, centres, indexing="ij")
    assert relative_l2(torch.stack(lookup_fg(found, roughness, n_dot_v), dim=-1), table) < TABLE_TOLERANCE


def check_cubemap_mip(golden: Golden) -> None:
    cube = golden.tensor("cubemap").requires_grad_()
    mip = cubemap_mip(cube)
    assert relative_l2(mip, golden.tensor("cubemap_mip")) < LOOKUP_TOLERANCE
    (mip * golden.tensor("weight_cubemap")).sum().backward()
    assert relative_l2(cube.grad, golden.tensor("grad_cubemap")) < LOOKUP_TOLERANCE


CHECKS: dict[str, list[Callable[[Golden], None]]] = {
    "light": [check_prefilter, check_single_levels, check_get_mip, check_regularizer, check_latlong],
    "shade": [check_shade, check_shade_with_their_table, check_shade_rotated],
    "shading_normal": [check_shading_normal],
    "cube_lookup": [check_cube_lookup],
    "fg_lut": [check_fg_lut],
    "mip_gradients": [check_cubemap_mip],
    "specular_level": [check_roughness],
}
