# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether the nodes of materials can be baked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy

from ..closures.shaders import volume_shaders
from ..closures.verdict import UNREADABLE
from ..common.node_trees import tree_of
from ..common.reached_nodes import MATERIAL_OUTPUT, label_of, rendered_output
from .finding import ERROR, WARNING, Finding
from .libraries import library_findings
from .verdicts import verdict


def bake_findings(materials: Iterable[bpy.types.Material | None], target: str) -> list[Finding]:
    """What stops or spoils a bake of materials for a target (CORE, GLTF, PRINCIPLED), each material once."""
    found: list[Finding] = []
    for material in dict.fromkeys(materials):
        if material is not None:
            found += library_findings(material, MATERIAL_OUTPUT, "material")
            if not material.is_missing:
                found += material_findings(material, target)
    return found


def material_findings(material: bpy.types.Material, target: str) -> Iterator[Finding]:
    """What one material tells."""
    known = verdict(material, target)
    if known.kind == UNREADABLE:
        yield Finding(ERROR, known.text, "Fit it instead: Optimize Materials.")
        return
    tree = tree_of(material)
    volume = volume_shaders(tree) if tree is not None and rendered_output(tree, MATERIAL_OUTPUT) is not None else []
    if volume:
        cause = f'The material "{material.name}" has a volume by the node "{label_of(volume[0].node)}".'
        yield Finding(WARNING, cause, "A bake leaves it out. Fit the material instead if its look matters.")
