# SPDX-License-Identifier: GPL-3.0-or-later
"""What a material's nodes say, in words for the artist: whether a bake can be exact, and what a target cannot keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy

from ..common.node_trees import tree_of
from ..common.reached_nodes import MATERIAL_OUTPUT, kinds_in, label_of, reached_nodes, unchanged_trees
from .mixing import TRANSPARENT, Added, Leaf, is_shown, leaves_of, parts_of, shows
from .parameters import (
    ALL_LOBES,
    GLTF,
    KEPT,
    NOTHING_SCATTERED,
    TARGET_NAMES,
    is_thin_wall,
    neutral,
    parameter,
    parameters_of,
    transparency,
)
from .reading import ENERGY, ONE_CLOSURE, Reading, Unreadable, read_material
from .values import constant
from .view_dependence import CHANGING, angle_words, view_words

EXACT, COMPOSITE, VIEW, UNREADABLE = "EXACT", "COMPOSITE", "VIEW", "UNREADABLE"
# Inputs of a Principled BSDF that make a lobe of their own, and what to call it.
LOBES = {
    "Coat Weight": "a coat",
    "Sheen Weight": "sheen",
    "Subsurface Weight": "subsurface scattering",
    "Transmission Weight": "transmission, as glass has it",
    "Anisotropic": "an anisotropic reflection",
    "IOR": "an IOR of its own",
    "Specular IOR Level": "a specular level of its own",
    "Specular Tint": "a specular tint",
    "Diffuse Roughness": "a rough diffuse part",
    "Thin Film Thickness": "a thin film",
    "Coat IOR": "a coat with an IOR of its own",
    "Coat Tint": "a tinted coat",
}
LESS_THAN_VISIBLE = {"IOR": 0.06, "Specular IOR Level": 0.02, "Coat IOR": 0.06}
"""How far from the neutral value nobody sees: 45 dB and more in a render."""
FOLDED = {"Specular IOR Level", "Specular Tint"}
"""What becomes base color and metallic where several closures become one."""
OCCLUSION = "ShaderNodeAmbientOcclusion"
MOST_NODES = 3


@dataclass(frozen=True)
class Verdict:
    """What a bake of a material can do. kind: EXACT, COMPOSITE (several closures become one, nearly), VIEW (it changes with
    the view) or UNREADABLE; text: that in a sentence; lost: sentences about what the target cannot keep."""

    kind: str
    text: str
    lost: tuple[str, ...] = ()

    @property
    def says_all(self) -> bool:
        """Whether a bake is all that is needed: it is exact, and the target keeps everything."""
        return self.kind == EXACT and not self.lost


def verdict_of(material: bpy.types.Material, target: str) -> Verdict:
    """The verdict on a material for a target (CORE, GLTF, PRINCIPLED)."""
    with unchanged_trees():
        return _verdict(material, target)


def _verdict(material: bpy.types.Material, target: str) -> Verdict:
    reading, name = read_material(material), material.name
    if isinstance(reading, Unreadable):
        return Verdict(UNREADABLE, f'"{name}" cannot be baked: {reading.reason}.')
    lost = tuple(dict.fromkeys(lost_of(name, reading, target)))
    changing = changing_nodes(material)
    if changing:
        text = f'"{name}" depends on the view: {listed(changing)}. The bake shows it as seen from straight ahead.'
        return Verdict(VIEW, text, lost)
    lost = (*lost, *occlusion_sentences(material))
    if reading.displaced and material.displacement_method != "BUMP":
        lost = (*lost, f'The displacement of "{name}" is baked as bumps: the shape itself is in no map.')
    names = [f'"{label_of(leaf.item.node)}"' for leaf in reading.leaves]
    if not reading.exact:
        if reading.way == ONE_CLOSURE:
            text = f'"{name}" can be baked nearly: {names[0]} has no exact counterpart in one Principled BSDF.'
        else:
            text = f'"{name}" mixes several closures, which the bake makes into one: {listed(names)}.'
        return Verdict(COMPOSITE, text, lost)
    how = f"all of it is in {names[0]}" if reading.way == ONE_CLOSURE else f"{listed(names)} are mixed as one"
    return Verdict(EXACT, f'"{name}" can be baked exactly: {how}.', lost)


def occlusion_sentences(material: bpy.types.Material) -> list[str]:
    """That the material sees only the object itself while it is baked, if it looks for others."""
    tree = tree_of(material)
    if tree is None or OCCLUSION not in kinds_in(tree):
        return []
    nodes = [item.node for item in reached_nodes(tree, MATERIAL_OUTPUT) if item.node.bl_idname == OCCLUSION]
    around = [node for node in nodes if not node.only_local]
    return [f'The node "{label_of(node)}" sees only the object itself in a bake.' for node in dict.fromkeys(around)]


def changing_nodes(material: bpy.types.Material) -> list[str]:
    """The nodes by which a material changes with the view."""
    tree = tree_of(material)
    if tree is None or kinds_in(tree).isdisjoint(CHANGING):
        return []
    found = [view_words(item) or angle_words(item) for item in reached_nodes(tree, MATERIAL_OUTPUT)]
    return [words for words in dict.fromkeys(found) if words]


def lost_of(name: str, reading: Reading, target: str) -> Iterator[str]:
    """What of a material the maps of a target cannot keep."""
    kept = KEPT[target]
    yield from lost_light(reading)
    shown = [leaf for leaf in leaves_of(reading.surface) if is_shown(leaf)]
    scattering = [leaf for leaf in shown if leaf.kind not in NOTHING_SCATTERED]
    for leaf in scattering or shown:
        node = label_of(leaf.item.node)
        for lobe, words in LOBES.items():
            folded = reading.way == ENERGY and lobe in FOLDED
            if lobe not in kept and not folded and has_lobe(leaf, lobe):
                others = [TARGET_NAMES[other] for other in (GLTF, ALL_LOBES) if lobe in KEPT[other]]
                yield f'{TARGET_NAMES[target]} cannot keep {words} (node "{node}"); {" and ".join(others)} can.'
        if target != ALL_LOBES and is_thin_wall(leaf):
            yield f'{TARGET_NAMES[target]} cannot keep a thin wall (node "{node}"); {TARGET_NAMES[ALL_LOBES]} can.'
        if leaf.kind == "ShaderNodeBsdfTranslucent":
            yield f'The light that comes through by the node "{node}" is lost: it shows only as a color.'


def lost_light(reading: Reading) -> Iterator[str]:
    """What of the light that a material lets through no target can keep."""
    for leaf in leaves_of(reading.surface):
        if leaf.kind == TRANSPARENT and constant(transparency(leaf), leaf.item) != (1.0, 1.0, 1.0):
            yield f'The tint of what shows through the node "{label_of(leaf.item.node)}" is lost.'
    for part in parts_of(reading.surface):
        if isinstance(part, Added) and any(side is not None and not shows(side) for side in part.sides):
            yield f'The light that the node "{label_of(part.item.node)}" adds over what is transparent is lost.'


def has_lobe(leaf: Leaf, name: str) -> bool:
    """Whether a closure has what an input of a Principled BSDF makes."""
    if name not in parameters_of(leaf):
        return False
    if name in ("Coat IOR", "Coat Tint") and constant(parameter(leaf, "Coat Weight"), leaf.item) == (0.0, 0.0, 0.0):
        return False
    found = constant(parameter(leaf, name), leaf.item)
    if found is None:
        return True
    limit = LESS_THAN_VISIBLE.get(name, 1e-4)
    return any(abs(one - other) > limit for one, other in zip(found, neutral(name), strict=True))


def listed(words: list[str]) -> str:
    """The first few words, and how many more there are."""
    more = f" and {len(words) - MOST_NODES} more" if len(words) > MOST_NODES else ""
    return ", ".join(words[:MOST_NODES]) + more
