# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a fit, kept with the scene."""

from __future__ import annotations

import contextlib
import math

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty, StringProperty

from ..common.errors import PbrFitError
from ..common.names import DEFAULT_SCHEME
from ..protocol.settings import FitSettings, SettingsError
from . import presets

SMALLEST_RESOLUTION = 16
LARGEST_RESOLUTION = 8192


def round_resolution(settings: PBRFIT_FitSettings, _context: bpy.types.Context) -> None:
    """Maps are a power of two wide: take the nearest."""
    nearest = 2 ** round(math.log2(settings.resolution))
    if nearest != settings.resolution:
        settings.resolution = nearest


class PBRFIT_FitSettings(bpy.types.PropertyGroup):
    """Settings of the next fit in this scene."""

    preset: EnumProperty(
        name="Preset",
        description="Views, samples, resolution and quality together. Custom: they were set one by one",
        items=[(name, label, description) for name, label, description, _ in presets.PRESETS] + [presets.CUSTOM],
        get=presets.shown,
        set=presets.choose,
    )
    map_sets: EnumProperty(
        name="Map Sets",
        description="How many sets of maps there will be",
        items=[
            ("SLOT", "One per Material", "Each material gets maps of its own; objects that share it share them"),
            ("OBJECT", "One per Object", "All faces of an object share one set of maps and one new material"),
        ],
        default="SLOT",
    )
    use_udim: BoolProperty(
        name="UDIM Tiles",
        description="Where faces lie in several whole tiles of the UV map, fit one set of maps for each tile. "
        "Off: the tiles show the same maps",
        default=True,
    )
    material_name: StringProperty(
        name="Material Name",
        description="Names of new materials. {object} and {material} stand for what is fitted",
        default=DEFAULT_SCHEME,
    )
    image_storage: EnumProperty(
        name="Images",
        description="Where the maps are kept",
        items=[
            ("PACKED", "Packed", "Within the .blend file"),
            ("FILES", "Files", "As files in the folder textures beside the .blend. No file is ever overwritten"),
        ],
        default="PACKED",
    )

    reference: EnumProperty(
        name="Reference",
        description="What the fitted material shall look like",
        items=[("CYCLES", "Cycles Renders", "Cycles renders of the object with its own material, in its world")],
        default="CYCLES",
    )
    resolution: IntProperty(
        name="Resolution",
        description="Width and height of the maps in pixels, rounded to a power of two",
        default=1024,
        min=SMALLEST_RESOLUTION,
        max=LARGEST_RESOLUTION,
        update=round_resolution,
    )
    views: IntProperty(
        name="Views",
        description="How many renders, from all around the object, the material is fitted to. Many views at few samples "
        "tell more than few views at many",
        default=120,
        min=1,
        max=1000,
    )
    held_out_views: IntProperty(
        name="Held-Out Views",
        description="How many further renders only measure how good the fit is",
        default=4,
        min=0,
        max=100,
    )
    view_size: IntProperty(
        name="View Size",
        description="Width and height of the reference renders in pixels",
        default=256,
        min=16,
        max=4096,
    )
    samples: IntProperty(
        name="Samples",
        description="Cycles samples for each pixel of a reference render. Few are enough: the fit averages noise away",
        default=8,
        min=1,
        max=65536,
    )
    use_kd: BoolProperty(
        name="Base Color",
        description="Fit the base color. Every fit needs it",
        default=True,
    )
    use_ks: BoolProperty(
        name="Roughness and Metallic",
        description="Fit roughness and metallic, in one map",
        default=True,
    )
    use_normal: BoolProperty(
        name="Normal",
        description="Fit a tangent-space normal map",
        default=True,
    )
    use_alpha: BoolProperty(
        name="Alpha",
        description="Fit opacity, in the base color map's alpha",
        default=False,
    )
    learn_light: BoolProperty(
        name="Learn Light",
        description="Fit the environment too, instead of taking the world's light as known",
        default=False,
    )
    apply_world: BoolProperty(
        name="Apply to World",
        description="Give the scene a new world with the learned environment. The old world is kept",
        default=False,
    )
    quality: EnumProperty(
        name="Quality",
        description="How long and how finely the fit works",
        items=[
            ("draft", "Draft", "A first look"),
            ("standard", "Standard", "Good maps in reasonable time"),
            ("high", "High", "The best maps, slowly"),
        ],
        default="standard",
    )
    device: StringProperty(
        name="Device",
        description="Where the fit computes: auto, cpu, cuda, or cuda:N for the GPU of that number",
        default="auto",
    )
    seed: IntProperty(
        name="Seed",
        description="Start of the random numbers. The same seed gives the same references",
        default=0,
        min=0,
    )


def scene_values(settings: PBRFIT_FitSettings) -> dict[str, bool | int | str]:
    """Every setting by name, save the preset, which follows from the others."""
    names = [item.identifier for item in settings.bl_rna.properties if not item.is_readonly]
    return {name: getattr(settings, name) for name in names if name not in {"name", "preset"}}


def use_values(settings: PBRFIT_FitSettings, values: dict[str, bool | int | str]) -> None:
    """Set what `scene_values` gave; what this version does not know, or no longer allows, is left as it is."""
    for name, value in values.items():
        if name in settings.bl_rna.properties and name != "preset":
            with contextlib.suppress(TypeError, ValueError):
                setattr(settings, name, value)


def fit_settings(settings: PBRFIT_FitSettings) -> FitSettings:
    """The settings as the backend takes them. Raises PbrFitError where a value is not allowed."""
    chosen = {
        "kd": settings.use_kd,
        "ks": settings.use_ks,
        "normal": settings.use_normal,
        "alpha": settings.use_alpha,
    }
    try:
        return FitSettings(
            resolution=settings.resolution,
            maps=tuple(name for name, use in chosen.items() if use),
            learn_light=settings.learn_light,
            device=settings.device,
            seed=settings.seed,
            quality=settings.quality,
        )
    except SettingsError as error:
        raise PbrFitError(str(error), "Change it in the settings of the PBRfit tab.") from error


def register() -> None:
    """Register the settings and hang them on the scene."""
    bpy.utils.register_class(PBRFIT_FitSettings)
    bpy.types.Scene.pbrfit = PointerProperty(type=PBRFIT_FitSettings, name="PBRfit")


def unregister() -> None:
    """Take the settings off the scene again."""
    del bpy.types.Scene.pbrfit
    bpy.utils.unregister_class(PBRFIT_FitSettings)
