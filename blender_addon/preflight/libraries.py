# SPDX-License-Identifier: GPL-3.0-or-later
"""Find linked data that Blender could not find: it shows a placeholder, which nobody wants to fit."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from ..common.node_trees import tree_of
from ..common.reached_nodes import reached_nodes
from .finding import ERROR, Finding


def object_library_findings(scene_object: bpy.types.Object) -> Iterator[Finding]:
    """What of an object itself is missing: its mesh, the object that it overrides, or the nodes of its modifiers."""
    name = scene_object.name
    override = scene_object.override_library
    parts = [
        (scene_object, f'The object "{name}"'),
        (override.reference if override is not None else None, f'The original of the object "{name}"'),
        (scene_object.data, f'The mesh of "{name}"'),
    ]
    for modifier in scene_object.modifiers:
        group = getattr(modifier, "node_group", None)
        parts.append((group, f'The node group of the modifier "{modifier.name}" of "{name}"'))
    yield from (missing_finding(words, item) for item, words in parts if item is not None and item.is_missing)


def library_findings(owner: bpy.types.Material | bpy.types.World, kind: str, word: str) -> Iterator[Finding]:
    """Whether a material or world is missing, or a group or an image that its output reaches.

    kind: MATERIAL_OUTPUT or WORLD_OUTPUT; word: what the owner is.
    """
    if not len(bpy.data.libraries):
        return
    if owner.is_missing:
        yield missing_finding(f'The {word} "{owner.name}"', owner)
        return
    for item in reached_nodes(tree_of(owner), kind):
        for attribute, what in (("node_tree", "node group"), ("image", "image")):
            found = getattr(item.node, attribute, None)
            if found is not None and found.is_missing:
                yield missing_finding(f'The {what} "{found.name}" of the {word} "{owner.name}"', found)


def missing_finding(words: str, item: bpy.types.ID) -> Finding:
    """The error that a linked datablock is missing; `words` name it."""
    library = item.library
    why = "which does not have it" if library is not None and not library.is_missing else "which cannot be read"
    path = library.filepath if library is not None else "a file"
    cure = (
        "Find the file with File > External Data > Find Missing Files, then save and open this file again. "
        "Or choose other data in its place."
    )
    return Finding(ERROR, f"{words} is missing: it is linked from {path}, {why}.", cure, "file.find_missing_files")
