# SPDX-License-Identifier: GPL-3.0-or-later
"""What each kind of closure gives to the inputs of one Principled BSDF, and which of these each target keeps.

Inputs are named by the identifiers of the Principled BSDF; `EMISSION` stands for Emission Color times Emission Strength.
"""

from __future__ import annotations

import bpy

from ..common.reached_nodes import WITHOUT_WEIGHT
from .mixing import TRANSPARENT, Leaf
from .shaders import PRINCIPLED
from .values import ONE, ZERO, Input, Number, Triple, Value, complement, product

CORE, GLTF, ALL_LOBES = "CORE", "GLTF", "PRINCIPLED"
FITTED = "FITTED"
"""No target of a bake, but what a fit alone has maps for, where no bake gives it the rest."""
EMISSION = "Emission"
BASE_COLOR, ALPHA, NORMAL, COAT_NORMAL, TANGENT = "Base Color", "Alpha", "Normal", "Coat Normal", "Tangent"
NORMALS = (NORMAL, COAT_NORMAL)

_FITTED = ("Base Color", "Alpha", "Metallic", "Roughness", "Normal")
_CORE = (*_FITTED, EMISSION)
_GLTF = (
    *("IOR", "Specular IOR Level", "Specular Tint"),
    *("Anisotropic", "Anisotropic Rotation"),
    *("Transmission Weight",),
    *("Coat Weight", "Coat Roughness", "Coat Normal"),
    *("Sheen Weight", "Sheen Roughness", "Sheen Tint"),
)
_ALL_LOBES = (
    *(("Diffuse Roughness",) if bpy.app.version >= (4, 3, 0) else ()),
    *("Subsurface Weight", "Subsurface Radius", "Subsurface Scale", "Subsurface IOR", "Subsurface Anisotropy"),
    *("Coat IOR", "Coat Tint"),
    *("Thin Film Thickness", "Thin Film IOR"),
)
KEPT = {FITTED: _FITTED, CORE: _CORE, GLTF: _CORE + _GLTF, ALL_LOBES: _CORE + _GLTF + _ALL_LOBES}
"""The inputs that each target has maps or numbers for, as far as this Blender has them."""
THIN_WALL = "Thin Wall"  # a switch, which no map can hold; from Blender 5.2 on
TARGET_NAMES = {FITTED: "A fit that does not begin with the bake", CORE: "Core", GLTF: "glTF", ALL_LOBES: "Principled"}

# Inputs that do nothing while another one, their weight, is zero; the weight by input.
WEIGHT_OF = {name: weight for weight, names in WITHOUT_WEIGHT.items() for name in names if "Emission" not in name}
COLORS = {"Base Color", "Specular Tint", "Coat Tint", "Sheen Tint", EMISSION}
VECTORS = {"Subsurface Radius"}
# What these closures say in the words of the Principled BSDF. Without a reflection: Specular IOR Level 0.
_NO_REFLECTION: dict[str, Value] = {"Specular IOR Level": ZERO}
_BLACK: dict[str, Value] = {"Base Color": ZERO, **_NO_REFLECTION}
_OTHERS: dict[str, dict[str, Value]] = {
    "ShaderNodeBsdfDiffuse": {"Base Color": Input("Color"), "Diffuse Roughness": Input("Roughness"), **_NO_REFLECTION},
    "ShaderNodeBsdfTranslucent": {"Base Color": Input("Color"), **_NO_REFLECTION},
    "ShaderNodeSubsurfaceScattering": {
        "Base Color": Input("Color"),
        "Subsurface Weight": ONE,
        "Subsurface Radius": Input("Radius"),
        "Subsurface Scale": Input("Scale"),
        "Subsurface IOR": Input("IOR"),
        "Subsurface Anisotropy": Input("Anisotropy"),
        **_NO_REFLECTION,
    },
    "ShaderNodeBsdfMetallic": {
        "Base Color": Input("Base Color"),
        "Metallic": ONE,
        "Specular Tint": Input("Edge Tint"),
        "Roughness": Input("Roughness"),
        "Anisotropic": Input("Anisotropy"),
        "Anisotropic Rotation": Input("Rotation"),
        "Thin Film Thickness": Input("Thin Film Thickness"),
        "Thin Film IOR": Input("Thin Film IOR"),
    },
    "ShaderNodeBsdfGlass": {
        "Base Color": Input("Color"),
        "Roughness": Input("Roughness"),
        "IOR": Input("IOR"),
        "Transmission Weight": ONE,
    },
    "ShaderNodeBsdfSheen": {
        "Sheen Weight": ONE,
        "Sheen Tint": Input("Color"),
        "Sheen Roughness": Input("Roughness"),
        **_BLACK,
    },
    "ShaderNodeEmission": {EMISSION: product(Input("Color"), Input("Strength")), **_BLACK},
    TRANSPARENT: {**_BLACK},
}
_GLOSSY: dict[str, Value] = {
    "Base Color": Input("Color"),
    "Metallic": ONE,
    "Roughness": Input("Roughness"),
    "Anisotropic": Input("Anisotropy"),
    "Anisotropic Rotation": Input("Rotation"),
}
_OTHERS |= {
    "ShaderNodeBsdfAnisotropic": _GLOSSY,
    "ShaderNodeBsdfGlossy": _GLOSSY,
    "ShaderNodeBsdfRefraction": _OTHERS["ShaderNodeBsdfGlass"],
}
_NEUTRAL: dict[str, float | Triple] = {
    "Base Color": 0.8,
    "Alpha": 1.0,
    "Roughness": 0.5,
    "IOR": 1.5,
    "Specular IOR Level": 0.5,
    "Specular Tint": 1.0,
    "Coat Roughness": 0.03,
    "Coat IOR": 1.5,
    "Coat Tint": 1.0,
    "Sheen Roughness": 0.5,
    "Sheen Tint": 1.0,
    "Subsurface Radius": (1.0, 0.2, 0.1),
    "Subsurface Scale": 0.05,
    "Subsurface IOR": 1.4,
    "Thin Film IOR": 1.33,
}
READABLE = frozenset({PRINCIPLED, *_OTHERS})
"""The kinds of closures (bl_idname) that can be said in the words of the Principled BSDF, some of them nearly."""
# Closures of which no light comes that a color could tell.
NOTHING_SCATTERED = {"ShaderNodeEmission", TRANSPARENT}


def parameters_of(leaf: Leaf) -> dict[str, Value]:
    """What a readable closure gives to the inputs of a Principled BSDF; those that are missing have `neutral` values."""
    if leaf.kind != PRINCIPLED:
        return {name: value for name, value in _OTHERS[leaf.kind].items() if _is_there(leaf, value)}
    there = {socket.identifier for socket in leaf.item.node.inputs}
    given: dict[str, Value] = {name: Input(name) for name in KEPT[ALL_LOBES] if name in there}
    return given | {EMISSION: product(Input("Emission Color"), Input("Emission Strength"))}


def _is_there(leaf: Leaf, value: Value) -> bool:
    """Whether the node has the input, which some only have in newer versions of Blender."""
    return not isinstance(value, Input) or any(s.identifier == value.identifier for s in leaf.item.node.inputs)


def parameter(leaf: Leaf, name: str) -> Value:
    """What a readable closure gives to one input of a Principled BSDF."""
    given = parameters_of(leaf).get(name)
    return given if given is not None else Number(neutral(name))


def is_thin_wall(leaf: Leaf) -> bool:
    """Whether a closure is a Principled BSDF that takes the surface for a thin wall."""
    return leaf.kind == PRINCIPLED and any(
        socket.identifier == THIN_WALL and socket.default_value for socket in leaf.item.node.inputs
    )


def transparency(leaf: Leaf) -> Value:
    """How much light of each color a readable closure lets through as if nothing were there."""
    if leaf.kind == TRANSPARENT:
        return Input("Color")
    return complement(Input(ALPHA)) if leaf.kind == PRINCIPLED else ZERO


def neutral(name: str) -> Triple:
    """The value of an input of a new Principled BSDF, which switches a lobe off or changes nothing."""
    value = _NEUTRAL.get(name, 0.0)
    return Number.of(value).value if isinstance(value, float) else value
