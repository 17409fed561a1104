"""The pixel shader: make the buffers of an image from surface points, a material and a light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from render.bsdf.energy import Energy
from render.bsdf.ggx import GgxTable, ggx_table
from render.light.environment import PrefilteredLight
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS, Material, MaterialLayout, MaterialSample
from render.raster.surface import ShadingPoints, SurfacePoints
from render.shading.lobes import Lobes
from render.shading.models import ShadingModel, outgoing_radiance
from render.shading.normal_map import prepare_shading_normal, shading_normal
from render.shading.visibility import ShadowFactors

Bsdf = Literal["pbr", "diffuse", "white", "normal", "tangent", "kd", "ks", "emission"]


@dataclass(frozen=True)
class Shading:
    """How points are shaded.

    model         see `render.shading.models`
    energy        "multi" for multiple scattering (Blender's default), "single" for a single-scattering GGX node
    normal_map    use the material's normals
    opengl        normal maps point up (+Y, OpenGL, Blender); False for DirectX (-Y)
    two_sided     turn faces that are seen from behind to the eye; else they are shaded as seen from in front
    bend_normals  use nvdiffrec's frame: unit tangents, and normals bent to the triangle's own where they would turn away
                  from the eye; else MikkTSpace's frame, which Blender's Normal Map node shows
    """

    model: ShadingModel = "principled"
    energy: Energy = "multi"
    normal_map: bool = True
    opengl: bool = True
    two_sided: bool = True
    bend_normals: bool = False


PRINCIPLED_SHADING = Shading()
NVDIFFREC_SHADING = Shading(model="nvdiffrec", bend_normals=True)


def shade(
    points: SurfacePoints,
    material: Material,
    light: PrefilteredLight | None,
    bsdf: Bsdf = "pbr",
    shading: Shading = PRINCIPLED_SHADING,
    table: GgxTable | None = None,
    kd_grad: bool = False,
    generator: torch.Generator | None = None,
) -> dict[str, torch.Tensor]:
    """Make the buffers at points [...], each with alpha as its last channel.

    shaded     [..., 4]: with `bsdf` "pbr" the outgoing radiance; "diffuse" kd as a Lambertian surface; "white" the
               irradiance / pi on a white one, to check a light; "normal" and "tangent" mapped to 0..1; "kd"; "ks";
               "emission", black where the material has none
    occlusion  [..., 2]: the occluded fraction
    kd_grad    [..., 2], on request: mean change of kd over a small step in a random direction (`generator` draws it)

    light may be None where the bsdf needs none; table None is looked up.

    Raises ValueError for an unknown bsdf, or where a light is missing.
    """
    sample = material.sample(points)
    normal = surface_normal(points, sample.normal, shading)
    alpha = torch.ones_like(sample.kd[..., :1]) if sample.alpha is None else sample.alpha
    color = _color(points, sample, normal, light, bsdf, shading, table)
    buffers = {
        "shaded": torch.cat([color, alpha], dim=-1),
        "occlusion": torch.cat([sample.ks[..., :1], alpha], dim=-1),
    }
    if kd_grad:
        change = (material.jittered_kd(points, generator) - sample.kd).abs().sum(-1, keepdim=True) / 3
        buffers["kd_grad"] = torch.cat([change, alpha], dim=-1)
    return buffers


def surface_normal(points: SurfacePoints, normal_map: torch.Tensor | None, shading: Shading) -> torch.Tensor:
    """Unit shading normals [..., 3] of points, from decoded tangent-space normals [..., 3]; None: flat ones."""
    turn = 1.0 if shading.two_sided else points.facing
    if normal_map is None or not shading.normal_map:
        normal_map = torch.tensor([0.0, 0.0, 1.0]).to(points.normal).expand_as(points.normal)
    if not shading.opengl:
        normal_map = normal_map * torch.tensor([1.0, -1.0, 1.0]).to(normal_map)
    frame = (points.normal * turn, points.tangent * turn)
    sign = points.sign * turn
    if not shading.bend_normals:
        return shading_normal(normal_map, *frame, sign)

    # The frame is turned to the eye already, and a negative sign of the bitangent flips the map's y.
    handed = torch.cat([normal_map[..., :1], normal_map[..., 1:2] * sign, normal_map[..., 2:]], dim=-1)
    eye = points.position + points.view
    return prepare_shading_normal(
        points.position, eye, handed, *frame, points.geometric_normal * turn, two_sided=False, opengl=True
    )


def _color(
    points: SurfacePoints,
    sample: MaterialSample,
    normal: torch.Tensor,
    light: PrefilteredLight | None,
    bsdf: Bsdf,
    shading: Shading,
    table: GgxTable | None,
) -> torch.Tensor:
    if bsdf == "normal":
        return (normal + 1) * 0.5
    if bsdf == "tangent":
        return (points.tangent * points.facing + 1) * 0.5
    if bsdf == "kd":
        return sample.kd
    if bsdf == "ks":
        return sample.ks
    if bsdf == "emission":
        return torch.zeros_like(sample.kd) if sample.emission is None else sample.emission
    if bsdf not in ("pbr", "diffuse", "white"):
        raise ValueError(f"there is no bsdf {bsdf!r}: choose pbr, diffuse, white, normal, tangent, kd, ks or emission")
    if light is None:
        raise ValueError(f"the bsdf {bsdf!r} needs a light: give one, such as EnvironmentLight(...).build_mips()")
    if bsdf == "white":
        return light.diffuse(normal)
    if bsdf == "diffuse":
        return sample.kd * light.diffuse(normal) * (1 - sample.ks[..., :1])
    table = ggx_table(normal.device, normal.dtype) if table is None else table
    lobes = None
    if not (sample.emission is None and sample.coat is None and sample.sheen is None):
        coat_normal = points.normal if shading.two_sided else points.normal * points.facing
        lobes = Lobes(sample.emission, sample.coat, sample.sheen, coat_normal)
    return outgoing_radiance(
        sample.kd, sample.ks, normal, points.view, light, table, shading.model, energy=shading.energy, lobes=lobes
    )


def shade_texels(
    values: torch.Tensor,
    points: ShadingPoints,
    light: PrefilteredLight,
    table: GgxTable,
    model: ShadingModel,
    shadow: ShadowFactors | None = None,
    layout: MaterialLayout | None = None,
) -> torch.Tensor:
    """Radiance [..., 3], as the fit sees it, of points with material values [..., C], channels as in `MaterialMaps`.

    layout  of the channels, for materials with emission, coat or sheen; None: there is none of them
    """
    normal = shading_normal(values[..., NORMAL], points.normal, points.tangent, points.sign)
    ks = torch.cat([torch.zeros_like(values[..., ROUGHNESS]), values[..., ROUGHNESS], values[..., METALLIC]], dim=-1)
    irradiance = specular_factor = None
    if shadow is not None:
        irradiance = light.diffuse(normal) * shadow.diffuse
        specular_factor = shadow.specular_at(values[..., ROUGHNESS])
    lobes = None if layout is None else texel_lobes(values, layout, points.normal, shadow)
    return outgoing_radiance(
        values[..., KD], ks, normal, points.view, light, table, model, irradiance, specular_factor, lobes=lobes
    )


def texel_lobes(
    values: torch.Tensor, layout: MaterialLayout, surface_normal: torch.Tensor, shadow: ShadowFactors | None = None
) -> Lobes | None:
    """The lobes of points with material values [..., C]; None where the layout has none.

    surface_normal  [..., 3] unit, without the normal map, turned to the eye
    """
    places = (layout.emission, layout.coat, layout.sheen)
    if places == (None, None, None):
        return None
    emission, coat, sheen = (None if place is None else values[..., place] for place in places)
    coat_factor = None if shadow is None or coat is None else shadow.specular_at(coat[..., 1:])
    return Lobes(emission, coat, sheen, surface_normal, coat_factor, None if shadow is None else shadow.diffuse)
