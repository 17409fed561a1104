# SPDX-License-Identifier: GPL-3.0-or-later
"""Find drivers that read what a fit must set otherwise: the size of the rendered picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy

from .finding import WARNING, Finding

SIZES = ("render.resolution_", "render.pixel_aspect_")


def driver_findings(
    scene_object: bpy.types.Object, materials: Iterable[bpy.types.Material | None]
) -> Iterator[Finding]:
    """Drivers of an object, of its mesh, and of the materials that it shows which read the size of the render."""
    for owner, words in driven(scene_object, materials):
        paths = [path for curve in drivers_of(owner) for path in sizes_read(curve)]
        if paths:
            cause = f"A driver of {words} reads the render size ({paths[0]})."
            cure = "PBRfit renders pictures of another size. Set the value by hand in place of the driver first."
            yield Finding(WARNING, cause, cure)


def driven(
    scene_object: bpy.types.Object, materials: Iterable[bpy.types.Material | None]
) -> Iterator[tuple[bpy.types.ID, str]]:
    """What can have drivers that change the look of an object, each once, and how to name it."""
    name = scene_object.name
    yield scene_object, f'"{name}"'
    yield scene_object.data, f'the mesh of "{name}"'
    if scene_object.data.shape_keys is not None:
        yield scene_object.data.shape_keys, f'the shape keys of "{name}"'
    seen: set[bpy.types.NodeTree] = set()
    for modifier in scene_object.modifiers:
        for tree in trees_in(getattr(modifier, "node_group", None), seen):
            yield tree, f'the node group "{tree.name}" of "{name}"'
    for material in materials:
        if material is not None:
            words = f'the material "{material.name}"'
            yield material, words
            yield from ((tree, words) for tree in trees_in(material.node_tree, seen))


def trees_in(tree: bpy.types.NodeTree | None, seen: set[bpy.types.NodeTree]) -> Iterator[bpy.types.NodeTree]:
    """A node tree and those of the groups in it which were not `seen` before."""
    if tree is None or tree in seen:
        return
    seen.add(tree)
    yield tree
    for node in tree.nodes:
        yield from trees_in(getattr(node, "node_tree", None), seen)


def drivers_of(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    """The drivers of a datablock that are switched on."""
    data = owner.animation_data
    return [curve for curve in data.drivers if not curve.mute] if data is not None else []


def sizes_read(curve: bpy.types.FCurve) -> list[str]:
    """The settings of the render's size that a driver reads, by a variable or in its expression."""
    driver = curve.driver
    texts = [target.data_path for variable in driver.variables for target in variable.targets]
    found = [text for text in texts if text.startswith(SIZES)]
    if driver.type == "SCRIPTED":
        found += [f"{size}..." for size in SIZES if size in driver.expression]
    return found
