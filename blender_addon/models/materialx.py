# SPDX-License-Identifier: GPL-3.0-or-later
"""A MaterialX document of new materials that reads the maps beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import bpy

from ..protocol.map_layouts import COLOR, LAYOUTS, NORMAL, OCCLUSION, SIGNALS
from ..protocol.model_kinds import ModelKind
from .beside import Beside, numbers_of

VERSION = "1.38"
"""Read by this version and by all later ones."""
DIGITS = 6
COLOR3, FLOAT, VECTOR3 = "color3", "float", "vector3"


@dataclass(frozen=True)
class Surface:
    """A surface of MaterialX. node: its name; types: of the inputs where they are not those of the property; numbers: the
    inputs of properties that no map of the layout holds; specular, emission: the inputs of the strength of these, if any;
    beside: maps that are no input; normal_maps: whether normals go through a normal map node."""

    node: str
    types: Mapping[str, str]
    numbers: Mapping[str, str]
    specular: str
    emission: str
    beside: frozenset[str]
    normal_maps: bool = True


SURFACES = {
    "standard-surface": Surface(
        "standard_surface",
        {"opacity": COLOR3},
        {"ior": "specular_IOR", "coat_ior": "coat_IOR", "anisotropy_rotation": "specular_rotation"},
        "specular",
        "emission",
        frozenset({OCCLUSION}),
    ),
    "openpbr": Surface(
        "open_pbr_surface",
        {},
        {"ior": "specular_ior", "coat_ior": "coat_ior", "anisotropy": "specular_roughness_anisotropy"},
        "specular_weight",
        "emission_luminance",
        frozenset({OCCLUSION}),
    ),
    "usd": Surface("UsdPreviewSurface", {}, {"ior": "ior"}, "", "", frozenset(), normal_maps=False),
}
"""The surfaces by the names of the layouts of their maps."""


def document(kind: ModelKind, materials: Sequence[bpy.types.Material], beside: Beside) -> str:
    """The text of a document with the new ones among the materials. Its files are named relative to where it is."""
    root = ElementTree.Element("materialx", version=VERSION, colorspace="lin_rec709")
    names: set[str] = set()
    for material in materials:
        if material.name in beside.said:
            name = free_name(material.name, names)
            names.add(name)
            MaterialWriter(root, name, kind.layout).write(beside, material)
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def free_name(name: str, taken: set[str]) -> str:
    """A name of letters, digits and _ that is not taken."""
    plain = "".join(part if part.isascii() and part.isalnum() else "_" for part in name)
    plain = plain if plain[:1].isalpha() else f"M_{plain}"
    found, number = plain, 0
    while found in taken:
        number += 1
        found = f"{plain}_{number}"
    return found


class MaterialWriter:
    """Writes one material into a document."""

    def __init__(self, root: ElementTree.Element, name: str, layout: str) -> None:
        self._root, self._name, self._layout = root, name, layout
        self._surface = SURFACES[layout]
        self._graph = ElementTree.Element("nodegraph", name=f"NG_{name}")

    def write(self, beside: Beside, material: bpy.types.Material) -> None:
        """The graph of the maps, the surface, and the material."""
        maps, numbers = beside.maps[material.name], numbers_of(beside.said[material.name])
        shader = ElementTree.Element(self._surface.node, name=f"SR_{self._name}", type="surfaceshader")
        for item in LAYOUTS[self._layout].files:
            signal = item.signals[0]
            kind = self._type_of(item.map, signal)
            if signal in maps:
                self._map(item.map, signal, kind, maps[signal])
                if item.map not in self._surface.beside:
                    ElementTree.SubElement(
                        shader,
                        "input",
                        name=item.map,
                        type=kind,
                        nodegraph=f"NG_{self._name}",
                        output=f"out_{item.map}",
                    )
            elif signal in numbers and item.map not in self._surface.beside and SIGNALS[signal].kind != NORMAL:
                add_value(shader, item.map, kind, numbers[signal])
        for signal, name in self._surface.numbers.items():
            if signal in numbers:
                add_value(shader, name, FLOAT, numbers[signal])
        if self._surface.specular and "specular" in numbers:
            # The node's 0.5 reflects as much as the index of refraction says.
            add_value(shader, self._surface.specular, FLOAT, (min(1.0, 2.0 * numbers["specular"][0]),))
        if self._surface.emission:
            glows = "emission" in maps or any(numbers.get("emission", ()))
            add_value(shader, self._surface.emission, FLOAT, (strength_of(material) if glows else 0.0,))
        if len(self._graph):
            self._root.append(self._graph)
        self._root.append(shader)
        owner = ElementTree.SubElement(self._root, "surfacematerial", name=self._name, type="material")
        ElementTree.SubElement(
            owner, "input", name="surfaceshader", type="surfaceshader", nodename=shader.get("name", "")
        )

    def _type_of(self, name: str, signal: str) -> str:
        if name in self._surface.types:
            return self._surface.types[name]
        kind = SIGNALS[signal].kind
        return COLOR3 if kind == COLOR else VECTOR3 if kind == NORMAL else FLOAT

    def _map(self, name: str, signal: str, kind: str, path: Path) -> None:
        """The image of a map, and an output of the graph with what it says."""
        is_number = SIGNALS[signal].kind not in (COLOR, NORMAL)
        image = self._node("image", f"image_{name}", FLOAT if is_number else kind)
        file = ElementTree.SubElement(image, "input", name="file", type="filename")
        file.set("value", f"{path.parent.name}/{path.name}")
        if SIGNALS[signal].kind == COLOR:
            file.set("colorspace", "srgb_texture")
        last = image
        if SIGNALS[signal].kind == NORMAL:
            last = self._normal(name, image)
        elif is_number and kind == COLOR3:
            last = self._node("convert", f"color_{name}", COLOR3)
            ElementTree.SubElement(last, "input", name="in", type=FLOAT, nodename=image.get("name", ""))
        ElementTree.SubElement(self._graph, "output", name=f"out_{name}", type=kind, nodename=last.get("name", ""))

    def _normal(self, name: str, image: ElementTree.Element) -> ElementTree.Element:
        """What makes a normal of the encoded one. A USD Preview Surface wants it in tangent space, all others in the world."""
        if self._surface.normal_maps:
            last = self._node("normalmap", f"normal_{name}", VECTOR3)
            ElementTree.SubElement(last, "input", name="in", type=VECTOR3, nodename=image.get("name", ""))
            return last
        twice = self._node("multiply", f"twice_{name}", VECTOR3)
        ElementTree.SubElement(twice, "input", name="in1", type=VECTOR3, nodename=image.get("name", ""))
        ElementTree.SubElement(twice, "input", name="in2", type=FLOAT, value="2")
        last = self._node("subtract", f"normal_{name}", VECTOR3)
        ElementTree.SubElement(last, "input", name="in1", type=VECTOR3, nodename=twice.get("name", ""))
        ElementTree.SubElement(last, "input", name="in2", type=FLOAT, value="1")
        return last

    def _node(self, kind: str, name: str, output: str) -> ElementTree.Element:
        return ElementTree.SubElement(self._graph, kind, name=name, type=output)


def add_value(shader: ElementTree.Element, name: str, kind: str, value: Sequence[float]) -> None:
    """An input with a number, or with three."""
    parts = list(value) * 3 if kind == COLOR3 and len(value) == 1 else value
    text = ", ".join(f"{round(float(part), DIGITS):g}" for part in parts)
    ElementTree.SubElement(shader, "input", name=name, type=kind, value=text)


def strength_of(material: bpy.types.Material) -> float:
    """The strength of what a new material emits."""
    for node in material.node_tree.nodes:
        if node.bl_idname == "ShaderNodeBsdfPrincipled":
            return float(node.inputs["Emission Strength"].default_value)
    return 0.0
