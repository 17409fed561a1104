# SPDX-License-Identifier: GPL-3.0-or-later
"""New materials as Blender's glTF exporter takes them, and as near to what they are as glTF can say.

The exporter writes Sheen Tint without the weight of sheen, a map of Specular IOR Level as it is, though glTF's 1 is Blender's
0.5, of no map of IOR anything, and of a map of anisotropy a gray of all its channels. glTF has no word for a tinted coat and
knows one IOR of coats: what is below the coat gets the tint, and the coat's weight its reflectance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import bpy
import numpy as np

from ...common.node_trees import linked_from
from ...common.records import record_of
from ...saving.material_signals import ImagePart, Said, signals_of
from ...saving.pixels import Decoder
from .kept import Film, Kept, is_seen, unsaid
from .maps import Array, MapNodes, together, values_of
from .tangents import turns_of_tangents

WAY_THROUGH_COAT = 1.1
"""How far light goes through a coat, the mean over directions, where straight through is 1: at most 1.34 with an IOR of 1.5."""
COAT_REFLECTANCE = 0.04  # of an IOR of 1.5
USUAL_SIZE = 512  # pixels of a map of tangents, where the material has no other map of its anisotropy
FLOATS = ".exr"


def suit_gltf(material: bpy.types.Material, objects: Sequence[bpy.types.Object], folder: Path) -> Kept:
    """Change a new material so that its export means what it says; new images go to a folder.

    objects: those that are exported, in the open view layer. Returns what glTF cannot say of it, or only nearly.
    Raises PbrFitError.
    """
    said = signals_of(material)
    suit = Suit(MapNodes(material, folder), said)
    suit.coat()
    suit.reflection()
    suit.sheen()
    suit.anisotropy(material, objects)
    suit.floats()
    film = suit.film()
    return unsaid(material, said, suit.changed, film)


class Suit:
    """Changes one material. changed: the signals whose values in the file are not the material's own."""

    def __init__(self, nodes: MapNodes, said: Mapping[str, Said]) -> None:
        """said: what the material says of each signal."""
        self._nodes, self._said, self._decode = nodes, said, Decoder()
        self._now: dict[str, Array] = {}
        self.changed: set[str] = set()

    def coat(self) -> None:
        """Give what is below a coat its tint, and the coat the reflectance of its IOR."""
        if not is_seen(self._said, "coat"):
            return
        coat = self._value("coat")
        if is_seen(self._said, "coat_tint"):
            self._tint(coat)
        if is_seen(self._said, "coat_ior"):
            weight, ior = together(coat, self._value("coat_ior"))
            self._put("coat", np.minimum(1.0, weight * reflectance(ior) / COAT_REFLECTANCE))

    def _tint(self, coat: Array) -> None:
        names = ("coat_tint", "base_color", "specular_tint", "emission")
        coat, tint, color, specular, emission = together(coat, *(self._value(name) for name in names))
        under = 1.0 - coat * (1.0 - np.maximum(tint, 0.0) ** WAY_THROUGH_COAT)
        base = color * under
        alpha = self._said["alpha"]
        if isinstance(alpha, ImagePart) and base.shape[:2] != (1, 1):
            base, opacity = together(base, self._value("alpha"))
            base = np.concatenate([np.broadcast_to(base, (*opacity.shape[:2], 3)), opacity], axis=-1)
        self._put("base_color", base)
        self._put("specular_tint", specular * under)
        if is_seen(self._said, "emission"):
            self._now["emission"] = emission * under
            self.changed.add("emission")

    def reflection(self) -> None:
        """Write a map of IORs as one of levels, and levels as glTF has them, where 1 is the most: more of it is in the tint."""
        ior, level = self._value("ior"), self._value("specular")
        if ior.shape[:2] != (1, 1):
            level, ior = together(level, ior)
            mean = ior.mean(keepdims=True)
            level = level * reflectance(ior) / reflectance(mean)
            self._nodes.put_number("ior", mean[0, 0].tolist())
            self.changed |= {"ior", "specular"}
        most = max(0.5, float(level.max()))
        if level.shape[:2] == (1, 1):  # the exporter puts what is above 0.5 into the tint, and needs it where it is
            self._nodes.put_number("specular", [float(level[0, 0, 0])])
        else:
            self._nodes.put("specular", level / most, part="alpha")
            if most > 0.5:
                self._nodes.multiply("specular_tint", 2.0 * most)
        if most > 0.5:
            self.changed |= {"specular", "specular_tint"}

    def sheen(self) -> None:
        """Multiply the weight of sheen into its color."""
        weight = self._said["sheen"]
        if isinstance(weight, ImagePart) or weight[0] not in (0.0, 1.0):
            amount, tint = together(self._value("sheen"), self._value("sheen_tint"))
            self._nodes.put("sheen_tint", amount * tint)
            self._nodes.put_number("sheen", [1.0])

    def anisotropy(self, material: bpy.types.Material, objects: Sequence[bpy.types.Object]) -> None:
        """Write the anisotropy as glTF's map, also where it is the same everywhere: only with a map it is along the UV map.

        A material without a tangent has one of its own in Cycles, and glTF always that of the UV map.
        """
        if not is_seen(self._said, "anisotropy"):
            return
        strength, turns = together(*(self._value(name) for name in ("anisotropy", "anisotropy_rotation")))
        uv_map = str(record_of(material).get("uv_map", ""))
        if linked_from(self._nodes.shader.inputs["Tangent"]) is None:
            width = max(strength.shape[1], turns.shape[1])
            size = width if width > 1 else USUAL_SIZE
            normal = self._said["normal"]
            normals = normal.image if isinstance(normal, ImagePart) else None
            own = turns_of_tangents(objects, material, uv_map, normals, size)
            turns = np.add(*together(turns, own))
        self._nodes.put_anisotropy(strength, turns, uv_map)

    def floats(self) -> None:
        """Write maps of floats as whole numbers, which Blender's exporter would take for colors, and cut off above 1."""
        for name in ("coat", "coat_roughness"):
            if name not in self.changed and is_floats(self._said[name]):
                self._nodes.put(name, self._value(name))
        floats = is_floats(self._said["emission"])
        if floats or "emission" in self.changed:
            values = self._value("emission")
            peak = max(1.0, float(values.max()))
            self._nodes.put("emission", values / peak, bits=16 if floats else 8)
            self._nodes.shader.inputs["Emission Strength"].default_value *= peak

    def film(self) -> Film | None:
        """A thin film, which is taken from the material: exporters of later versions write parts of it."""
        if not is_seen(self._said, "thin_film_thickness"):
            return None
        thickness, ior = self._value("thin_film_thickness"), self._value("thin_film_ior")
        self._nodes.put_number("thin_film_thickness", [0.0])
        self._nodes.put_number("thin_film_ior", [float(ior.mean())])
        return Film(thickness, float(ior.mean()))

    def _value(self, name: str) -> Array:
        if name not in self._now:
            self._now[name] = values_of(self._said[name], self._decode)
        return self._now[name]

    def _put(self, name: str, values: Array) -> None:
        self._now[name] = values[..., :3]
        self._nodes.put(name, values)
        self.changed.add(name)


def reflectance(ior: Array) -> Array:
    """How much of the light from straight ahead a surface of an IOR reflects."""
    return np.square((ior - 1.0) / (ior + 1.0))


def is_floats(said: Said) -> bool:
    """Whether a signal is in an image of floats."""
    return isinstance(said, ImagePart) and Path(said.image.filepath).suffix.lower() == FLOATS
