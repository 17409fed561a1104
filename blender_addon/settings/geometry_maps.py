# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings that say which maps of the geometry are baked beside the others."""

from __future__ import annotations

from bpy.props import BoolProperty

from ..common.geometry_output import CURVATURE, HEIGHT, THICKNESS

CHOICES = {"use_height": HEIGHT, "use_curvature": CURVATURE, "use_thickness": THICKNESS}
"""What is baked, by the setting that asks for it."""


class GeometrySettings:
    """Part of the settings of a scene."""

    use_height: BoolProperty(
        name="Bake Height",
        description="Bake also how far the displacement of the material moves the surface, for a map of heights",
        default=False,
    )
    use_curvature: BoolProperty(
        name="Bake Curvature",
        description="Bake also how much the surface bends: brighter than gray on what bulges, darker in hollows",
        default=False,
    )
    use_thickness: BoolProperty(
        name="Bake Thickness",
        description="Bake also how far it is from each place straight through the object",
        default=False,
    )


def chosen_geometry(settings: GeometrySettings) -> list[str]:
    """The maps of the geometry that are wanted."""
    return [name for setting, name in CHOICES.items() if getattr(settings, setting)]
