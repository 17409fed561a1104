# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new material's Principled BSDF gets: numbers, and maps. Its inputs are named by their identifiers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

COLOR, ALPHA, NORMAL = "color", "alpha", "normal"
OCCLUSION = "Occlusion"
"""No input of the Principled BSDF, but that of the node for glTF: see gltf_output.py. It holds openness."""
CHANNELS = ("red", "green", "blue")
MAP_LABELS = {
    "kd": "Base Color",
    "orm": "ORM",
    "normal": "Normal",
    "geometry": "Geometry",
    "emission": "Emission",
    "coat": "Coat",
    "coat_normal": "Coat Normal",
    "coat_tint": "Coat Tint",
    "sheen": "Sheen",
    "sheen_tint": "Sheen Tint",
    "specular": "IOR and Specular",
    "specular_tint": "Specular Tint",
    "transmission": "Transmission",
    "anisotropy": "Anisotropy",
    "subsurface": "Subsurface",
    "subsurface_radius": "Subsurface Radius",
    "subsurface_ior": "Subsurface IOR",
    "thin_film": "Thin Film",
}
"""What to call the maps, by key."""

Constant = float | tuple[float, ...]


@dataclass(frozen=True)
class MapInput:
    """Where an input gets its value from. key: of the map ("kd", "orm", ...); part: the map's "color", one of its channels
    ("red", "green", "blue", "alpha"), or "normal": tangent space, OpenGL's way."""

    key: str
    part: str


@dataclass(frozen=True)
class MaterialRecipe:
    """constants: values by input; inputs: maps by input, all others stay as they are in a new node; properties: settings of
    the node that are no inputs; uv_tangent: the tangent is that of the UV map; settings: of the material itself, by name,
    or "cycles." and a name."""

    constants: dict[str, Constant] = field(default_factory=dict)
    inputs: dict[str, MapInput] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    uv_tangent: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The maps that it reads, each once."""
        return list(dict.fromkeys(item.key for item in self.inputs.values()))

    def to_json(self) -> dict[str, Any]:
        """Itself as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> MaterialRecipe:
        """What `to_json` gave."""
        constants = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["constants"].items()
        }
        inputs = {name: MapInput(**item) for name, item in values["inputs"].items()}
        return cls(constants, inputs, dict(values["properties"]), values["uv_tangent"], dict(values["settings"]))


def fit_recipe(keys: set[str], alpha: bool) -> MaterialRecipe:
    """The recipe of a fit that has these maps: kd and perhaps orm and normal. alpha: whether kd's alpha is used."""
    inputs = {"Base Color": MapInput("kd", COLOR)}
    if alpha:
        inputs["Alpha"] = MapInput("kd", ALPHA)
    if "orm" in keys:
        inputs |= {"Roughness": MapInput("orm", "green"), "Metallic": MapInput("orm", "blue")}
        inputs[OCCLUSION] = MapInput("orm", "red")
    if "normal" in keys:
        inputs["Normal"] = MapInput("normal", NORMAL)
    return MaterialRecipe({"IOR": 1.5}, inputs, {"distribution": "MULTI_GGX"})


@dataclass(frozen=True)
class BakedMaps:
    """The outcome of a bake of one group. recipes: one for each set of maps, the same for all UDIM tiles of a material;
    files: by name ("kd.png", or "0/kd.png" if there are several sets)."""

    recipes: tuple[MaterialRecipe, ...]
    files: dict[str, bytes]
