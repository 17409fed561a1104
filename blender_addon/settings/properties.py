# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a fit or bake, kept with the scene."""

from __future__ import annotations

import contextlib

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty, StringProperty

from ..common.errors import PbrFitError
from ..common.light_names import AUTOMATIC, SCENE, STUDIO
from ..common.names import DEFAULT_SCHEME
from ..common.render_devices import AUTO, CPU
from ..protocol.quality import (
    DEFAULT_MARGIN,
    DEFAULT_REFERENCES,
    DEFAULT_ROUNDS,
    FEWEST_REFERENCES,
    LARGEST_MARGIN,
    MOST_REFERENCES,
    MOST_ROUNDS,
)
from ..protocol.settings import FitSettings, SettingsError
from . import devices, presets
from .geometry_maps import GeometrySettings
from .map_shape import MapShapeSettings, map_resolution
from .start import StartSettings

DEFAULTS = FitSettings()
FILL_ALL, FILL_WIDTH = "ALL", "WIDTH"
DERIVED = {"preset", "resolution_choice", "device_choice"}
"""What follows from other settings, and is not kept."""

_shown_devices: list[tuple[str, str, str, int]] = []  # Blender does not keep the texts of items that change


def device_items(settings: PBRFIT_FitSettings, _context: bpy.types.Context | None) -> list[tuple[str, str, str, int]]:
    """The devices that are there, and the one that is chosen."""
    _shown_devices[:] = [(*item, number) for number, item in enumerate(devices.items(settings.device))]
    return _shown_devices


def shown_device(settings: PBRFIT_FitSettings) -> int:
    """The number of the chosen device among the items."""
    return next(item[3] for item in device_items(settings, None) if item[0] == settings.device)


def choose_device(settings: PBRFIT_FitSettings, number: int) -> None:
    """Choose the device with this number among the items."""
    settings.device = device_items(settings, None)[number][0]


class PBRFIT_FitSettings(MapShapeSettings, StartSettings, GeometrySettings, bpy.types.PropertyGroup):
    """Settings of the next fit or bake in this scene."""

    preset: EnumProperty(
        name="Preset",
        description="Views, samples, resolution and quality together. Custom: you set them one by one",
        items=[preset[:3] for preset in presets.PRESETS] + [presets.CUSTOM],
        get=presets.shown,
        set=presets.choose,
    )
    map_sets: EnumProperty(
        name="Map Sets",
        description="How many sets of maps to make",
        items=[
            (
                "SLOT",
                "One per Material",
                "Each material gets its own maps; objects that share the material share its maps",
            ),
            ("OBJECT", "One per Object", "All faces of an object share one set of maps and one new material"),
            (
                "ALL",
                "One for All",
                "An atlas: all selected objects share one set of maps and one new material. Pack Islands first gives them a "
                "UV map for it",
            ),
        ],
        default="SLOT",
    )
    use_udim: BoolProperty(
        name="UDIM Tiles",
        description="If faces lie in several whole tiles of the UV map, fit one set of maps for each tile. "
        "Off: the tiles show the same maps",
        default=True,
    )
    material_name: StringProperty(
        name="Material Name",
        description="Names of new materials. {object} and {material} stand for the names of what is fitted",
        default=DEFAULT_SCHEME,
    )
    image_storage: EnumProperty(
        name="Images",
        description="Where to keep the maps",
        items=[
            ("PACKED", "Packed", "In the .blend file"),
            (
                "FILES",
                "Files",
                "As files in the folder textures beside the .blend file. PBRfit never overwrites a file",
            ),
        ],
        default="PACKED",
    )

    reference: EnumProperty(
        name="Reference",
        description="What the fitted material must look like",
        items=[("CYCLES", "Cycles Renders", "Cycles renders of the object with its own material, in its world")],
        default="CYCLES",
    )
    views: IntProperty(
        name="Views",
        description="How many renders, from all around the object, to fit the material to. Many views with few samples "
        "tell more than few views with many",
        default=DEFAULT_REFERENCES.views,
        min=FEWEST_REFERENCES.views,
        max=MOST_REFERENCES.views,
    )
    held_out_views: IntProperty(
        name="Test Views",
        description="How many more renders to make that only measure how good the fit is",
        default=DEFAULT_REFERENCES.held_out_views,
        min=FEWEST_REFERENCES.held_out_views,
        max=MOST_REFERENCES.held_out_views,
    )
    view_size: IntProperty(
        name="View Size",
        description="Width and height of the reference renders in pixels",
        default=DEFAULT_REFERENCES.view_size,
        min=FEWEST_REFERENCES.view_size,
        max=MOST_REFERENCES.view_size,
    )
    samples: IntProperty(
        name="Samples",
        description="Cycles samples for each pixel of a reference view. A few are enough: the fit averages the noise. A fit "
        "that begins with the bake renders each view twice, with half of them each",
        default=DEFAULT_REFERENCES.samples,
        min=FEWEST_REFERENCES.samples,
        max=MOST_REFERENCES.samples,
    )
    use_kd: BoolProperty(
        name="Base Color",
        description="Fit the base color. Every fit needs it",
        default="kd" in DEFAULTS.maps,
    )
    use_ks: BoolProperty(
        name="Roughness and Metallic",
        description="Fit roughness and metallic, in one map",
        default="ks" in DEFAULTS.maps,
    )
    use_normal: BoolProperty(
        name="Normal",
        description="Fit a tangent-space normal map",
        default="normal" in DEFAULTS.maps,
    )
    use_alpha: BoolProperty(
        name="Alpha",
        description="Fit opacity, in the alpha of the base color map",
        default="alpha" in DEFAULTS.maps,
    )
    reference_light: EnumProperty(
        name="Light",
        description="What lights the reference renders",
        items=[
            (
                AUTOMATIC,
                "Automatic",
                "The scene's world and lights made for this, so that the maps suit every light. Only those where the world is "
                "missing, black or the same in every direction",
            ),
            (
                STUDIO,
                "Studio",
                "Only lights made for this, which tell colors, roughness, metal and bumps apart everywhere",
            ),
            (SCENE, "Scene", "Only the scene's world: the maps look best in it, and may look wrong in others"),
        ],
        default=AUTOMATIC,
    )
    learn_light: BoolProperty(
        name="Learn Light",
        description="Fit the environment too, instead of using the world's light as it is. With Automatic, Studio lights tell "
        "its color from the material's",
        default=DEFAULTS.learn_light,
    )
    apply_world: BoolProperty(
        name="Apply to World",
        description="Give the scene a new world with the learned environment. The old world stays in the file",
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
        default=DEFAULTS.quality,
    )
    rounds: IntProperty(
        name="Corrections",
        description="How often Cycles renders the fitted maps and the fit goes on with what differs: it takes off what the fit's "
        "own renderer sees otherwise than Cycles, such as light between surfaces. A round that is not better is not kept",
        default=DEFAULT_ROUNDS,
        min=0,
        max=MOST_ROUNDS,
    )
    device: StringProperty(
        name="Device",
        description="Where the fit runs: auto, cpu, cuda, or cuda:N for the GPU with that number",
        default=DEFAULTS.device,
    )
    device_choice: EnumProperty(
        name="Device",
        description="Where the fit computes",
        items=device_items,
        get=shown_device,
        set=choose_device,
    )
    render_device: EnumProperty(
        name="Render With",
        description="What Cycles renders references and comparisons with",
        items=[
            (
                AUTO,
                "Automatic",
                "The devices that are set up in Preferences > System > Cycles Render Devices; with None there, a GPU if "
                "Cycles finds one. The CPU if there is none or it fails",
            ),
            (CPU, "CPU", "The CPU, also if there is a GPU"),
        ],
        default=AUTO,
    )
    bake_target: EnumProperty(
        name="Bake For",
        description="Which properties of the materials a bake keeps",
        items=[
            ("CORE", "Core", "Base color, roughness, metallic, normal, alpha and emission: what every program reads"),
            (
                "GLTF",
                "glTF",
                "And what the extensions of glTF have: coat, sheen, transmission, IOR, specular and anisotropy",
            ),
            ("PRINCIPLED", "Principled", "All that Blender's Principled BSDF has"),
        ],
        default="CORE",
    )
    supersampling: EnumProperty(
        name="Supersampling",
        description="How many points in a row each texel is the mean of, where something is finer than the texels",
        items=[
            ("1", "1", "One point for each texel: fast, and hard edges have steps"),
            ("2", "2 x 2", "Four points for each texel"),
            ("4", "4 x 4", "Sixteen points for each texel: the smoothest edges, slowly"),
        ],
        default="2",
    )
    margin_type: EnumProperty(
        name="Margin",
        description="How far the maps are filled beside the UV islands, with the values of the nearest texel of an island",
        items=[
            (FILL_ALL, "Fill Everything", "The whole map: no seams, however far away it is seen from"),
            (FILL_WIDTH, "Width", "So many pixels; beyond them the maps have what a new Principled BSDF has"),
        ],
        default=FILL_ALL,
    )
    margin: IntProperty(
        name="Width",
        description="How many pixels beside the UV islands are filled. Each mip level halves the margin",
        default=DEFAULT_MARGIN,
        min=0,
        max=LARGEST_MARGIN,
        subtype="PIXEL",
    )
    use_occlusion: BoolProperty(
        name="Bake Occlusion",
        description="Bake also how much of the sky each place sees past its own objects, for the red of the ORM map. A fit finds "
        "that out itself",
        default=False,
    )
    seed: IntProperty(
        name="Seed",
        description="Start of the random numbers. The same seed gives the same references",
        default=DEFAULTS.seed,
        min=0,
    )


def scene_values(settings: PBRFIT_FitSettings) -> dict[str, bool | int | str]:
    """Every setting by name, except what follows from the others."""
    names = [item.identifier for item in settings.bl_rna.properties if not item.is_readonly]
    return {name: getattr(settings, name) for name in names if name not in {"name", *DERIVED}}


def use_values(settings: PBRFIT_FitSettings, values: dict[str, bool | int | str]) -> None:
    """Set what `scene_values` gave. Settings that this version does not know, or values that it no longer allows, are skipped."""
    for name, value in values.items():
        if name in settings.bl_rna.properties and name not in DERIVED:
            with contextlib.suppress(TypeError, ValueError):
                setattr(settings, name, value)


def learns_light(settings: PBRFIT_FitSettings) -> bool:
    """Whether a fit learns its light: Studio's is known."""
    return bool(settings.learn_light and settings.reference_light != STUDIO)


def margin_of(settings: PBRFIT_FitSettings) -> int | None:
    """How many pixels beside the islands are filled; None: all."""
    return settings.margin if settings.margin_type == FILL_WIDTH else None


def fit_settings(settings: PBRFIT_FitSettings) -> FitSettings:
    """The settings as the backend takes them. Raises PbrFitError if a value is not allowed."""
    chosen = {
        "kd": settings.use_kd,
        "ks": settings.use_ks,
        "normal": settings.use_normal,
        "alpha": settings.use_alpha,
    }
    try:
        return FitSettings(
            resolution=map_resolution(settings),
            maps=tuple(name for name, use in chosen.items() if use),
            learn_light=learns_light(settings),
            device=settings.device,
            seed=settings.seed,
            quality=settings.quality,
            margin=margin_of(settings),
        )
    except SettingsError as error:
        raise PbrFitError(str(error), "Change it in the settings of the PBRfit tab.") from error


def register() -> None:
    """Register the settings and add them to the scene."""
    bpy.utils.register_class(PBRFIT_FitSettings)
    bpy.types.Scene.pbrfit = PointerProperty(type=PBRFIT_FitSettings, name="PBRfit")


def unregister() -> None:
    """Remove the settings from the scene."""
    del bpy.types.Scene.pbrfit
    bpy.utils.unregister_class(PBRFIT_FitSettings)
