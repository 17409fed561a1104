# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings that say what a fit begins with."""

from __future__ import annotations

import os
import time

import bpy
from bpy.props import EnumProperty, StringProperty

from ..common.errors import PbrFitError
from ..protocol.find_start_maps import find_maps
from ..protocol.map_layouts import DIRECTX, LAYOUTS, OPENGL
from ..protocol.start_maps import FoundMaps, StartMapsError
from .output import RELATIVE_PATHS

BAKE, GRAY, MAPS = "BAKE", "GRAY", "MAPS"
LOOK_SECONDS = 2.0
"""How old what a folder had may be, for a panel that is drawn often."""
_looked: tuple[float, tuple[str, str, str], FoundMaps | StartMapsError] | None = None


def layouts_like(_settings: StartSettings, _context: bpy.types.Context, typed: str) -> list[str]:
    """The presets among the layouts that have what is typed in their name."""
    return [key for key in LAYOUTS if typed.lower() in key]


class StartSettings:
    """Part of the settings of a scene."""

    start: EnumProperty(
        name="Start",
        description="What a fit begins with",
        items=[
            (
                BAKE,
                "Bake",
                "What the nodes say, baked first. The fit changes what looks different, and the better one of both is "
                "kept; materials that a bake says exactly need no fit",
            ),
            (GRAY, "Gray", "Nothing that the nodes say: an even gray surface"),
            (
                MAPS,
                "Maps",
                "Maps in a folder or a glTF file, such as a scan's textures or a bought asset's. They must lie in the UV map "
                "of the object; the better one of them and the fit is kept",
            ),
        ],
        default=BAKE,
    )
    start_maps: StringProperty(
        name="Start Maps",
        description="The folder of the maps that a fit begins with, or a .glb or .gltf file",
        subtype="FILE_PATH",
        **RELATIVE_PATHS,
    )
    start_layout: StringProperty(
        name="Laid Out As",
        description="The layout that wrote these maps, or the path of its file. Empty: the names tell what files hold, as in "
        "wood_roughness.png",
        search=layouts_like,
        search_options={"SUGGESTION"},
    )
    start_normals: EnumProperty(
        name="Their Normals",
        description="Which way the green of their normal maps points",
        items=[
            ("AUTOMATIC", "Automatic", "As their names or the layout say, else +Y"),
            ("OPENGL", "OpenGL", "+Y: green points up"),
            ("DIRECTX", "DirectX", "-Y: green points down"),
        ],
        default="AUTOMATIC",
    )


def found_maps(settings: StartSettings, again: bool = False) -> FoundMaps:
    """The maps that a fit is to begin with. again: look, however short ago that was done. Raises PbrFitError for those that
    cannot be."""
    global _looked
    source = bpy.path.abspath(settings.start_maps.strip())
    if not source:
        raise PbrFitError(
            "No maps are chosen that the fit could begin with.", "Choose a folder at Start Maps, or set Start to Bake."
        )
    normals = {"OPENGL": OPENGL, "DIRECTX": DIRECTX}.get(settings.start_normals, "")
    # The path of a file that Blender's browser gives for a folder ends with a separator.
    asked = source.rstrip("/" + os.sep) or source, settings.start_layout.strip(), normals
    known = _looked
    if again or known is None or known[1] != asked or not 0.0 <= time.monotonic() - known[0] < LOOK_SECONDS:
        found: FoundMaps | StartMapsError
        try:
            found = find_maps(*asked)
        except StartMapsError as error:
            found = error
        known = _looked = time.monotonic(), asked, found
    if isinstance(known[2], StartMapsError):
        raise PbrFitError(known[2].cause, known[2].cure)
    return known[2]
