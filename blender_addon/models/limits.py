# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of file does not carry of a new material, so that it can be said before the export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import bpy

from ..common.errors import PbrFitError
from ..protocol.map_layouts import GEOMETRY, LAYOUTS, OCCLUSION, SIGNALS
from ..protocol.model_kinds import GLTF, MATERIALX, OBJ, USD, ModelKind
from ..saving.material_signals import ImagePart, Said, signals_of
from .gltf.kept import NO_WORD, is_seen
from .materialx import SURFACES

SHAPE = {OCCLUSION, *GEOMETRY}  # no part of how the material looks in Cycles
CORE = {"base_color", "alpha", "roughness", "metallic", "normal", "emission"}
MAPS = {
    GLTF: set(SIGNALS) - set(NO_WORD) - {"ior"} | {"thin_film_thickness"},
    USD: CORE | {"coat", "coat_roughness"},
    OBJ: CORE,
}
"""The signals of which each kind of file has maps, by what writes it; of MaterialX these are in the layout."""
NUMBERS = {
    GLTF: {"ior"},
    USD: {"ior"},
    OBJ: {"ior", "coat", "coat_roughness", "sheen", "anisotropy", "anisotropy_rotation"},
}
"""The signals that each has where they are the same everywhere."""


def left_out(kind: ModelKind, materials: Iterable[bpy.types.Material]) -> list[str]:
    """The inputs of the Principled BSDF, by identifier, that a kind of file does not carry of new materials.

    None of a material that somebody has changed so that it cannot be read: the export says so.
    """
    found: dict[str, None] = {}
    for material in materials:
        try:
            said = signals_of(material)
        except PbrFitError:
            continue
        found |= dict.fromkeys(
            SIGNALS[name].input for name in SIGNALS if name not in SHAPE and not carries(kind, said, name)
        )
    return list(found)


def carries(kind: ModelKind, said: Mapping[str, Said], name: str) -> bool:
    """Whether a kind of file has what a material says of a signal, or that does not matter."""
    if not is_seen(said, name):
        return True
    if kind.writer == MATERIALX:
        maps = {signal for item in LAYOUTS[kind.layout].files for signal in item.signals}
        surface = SURFACES[kind.layout]
        numbers = {*surface.numbers, "specular"} if surface.specular else set(surface.numbers)
    else:
        maps, numbers = MAPS[kind.writer], NUMBERS[kind.writer]
    return name in maps or (name in numbers and not isinstance(said[name], ImagePart))
