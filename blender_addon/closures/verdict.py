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
    CORE,
    EMISSION,
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
    EMISSION: "emission",
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
class Loss:
    """Something of a material that a target cannot keep. words: what, such as "a coat"; text: that in a sentence, with the
    node; keepers: the targets that can keep it, the leanest first; none: no target can."""

    words: str
    text: str
    keepers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a bake of a material can do. kind: EXACT, COMPOSITE (several closures become one, nearly), VIEW (it changes with
    the view) or UNREADABLE; text: that in a sentence; losses: what the target cannot keep."""

    kind: str
    text: str
    losses: tuple[Loss, ...] = ()

    @property
    def lost(self) -> tuple[str, ...]:
        """What the target cannot keep, in sentences."""
        return tuple(loss.text for loss in self.losses)

    @property
    def keeper(self) -> str:
        """The leanest target that keeps all that any target can of what is lost here; empty where none keeps more."""
        wanted = [loss.keepers for loss in self.losses if loss.keepers]
        targets = (target for target in (CORE, GLTF, ALL_LOBES) if all(target in keepers for keepers in wanted))
        return next(targets, "") if wanted else ""

    @property
    def says_all(self) -> bool:
        """Whether a bake is all that is needed: it is exact, and the target keeps everything."""
        return self.kind == EXACT and not self.losses


def verdict_of(material: bpy.types.Material, target: str) -> Verdict:
    """The verdict on a material for a target (CORE, GLTF, PRINCIPLED)."""
    with unchanged_trees():
        return _verdict(material, target)


def _verdict(material: bpy.types.Material, target: str) -> Verdict:
    reading, name = read_material(material), material.name
    if isinstance(reading, Unreadable):
        return Verdict(UNREADABLE, f'"{name}" cannot be baked: {reading.reason}.')
    lost = tuple(dict.fromkeys(losses_of(reading, target)))
    changing = changing_nodes(material)
    if changing:
        text = f'"{name}" depends on the view: {listed(changing)}. The bake shows it as seen from straight ahead.'
        return Verdict(VIEW, text, lost)
    lost = (*lost, *occlusion_losses(material))
    if reading.displaced and material.displacement_method != "BUMP":
        shape = f'The displacement of "{name}" is baked as bumps: the shape itself is in no map.'
        lost = (*lost, Loss("the shape of its displacement", shape))
    names = [f'"{label_of(leaf.item.node)}"' for leaf in reading.leaves]
    if not reading.exact:
        if reading.way == ONE_CLOSURE:
            text = f'"{name}" can be baked nearly: {names[0]} has no exact counterpart in one Principled BSDF.'
        else:
            text = f'"{name}" mixes several shaders, which the bake makes into one: {listed(names)}.'
        return Verdict(COMPOSITE, text, lost)
    how = f"all of it is in {names[0]}" if reading.way == ONE_CLOSURE else f"{listed(names)} are mixed as one"
    return Verdict(EXACT, f'"{name}" can be baked exactly: {how}.', lost)


def occlusion_losses(material: bpy.types.Material) -> list[Loss]:
    """That the material sees only the object itself while it is baked, if it looks for others."""
    tree = tree_of(material)
    if tree is None or OCCLUSION not in kinds_in(tree):
        return []
    nodes = [item.node for item in reached_nodes(tree, MATERIAL_OUTPUT) if item.node.bl_idname == OCCLUSION]
    around = [node for node in nodes if not node.only_local]
    return [
        Loss("the objects around it", f'The node "{label_of(node)}" sees only the object itself in a bake.')
        for node in dict.fromkeys(around)
    ]


def changing_nodes(material: bpy.types.Material) -> list[str]:
    """The nodes by which a material changes with the view."""
    tree = tree_of(material)
    if tree is None or kinds_in(tree).isdisjoint(CHANGING):
        return []
    found = [view_words(item) or angle_words(item) for item in reached_nodes(tree, MATERIAL_OUTPUT)]
    return [words for words in dict.fromkeys(found) if words]


def losses_of(reading: Reading, target: str) -> Iterator[Loss]:
    """What of a material the maps of a target cannot keep."""
    kept = KEPT[target]
    yield from lost_light(reading)
    shown = [leaf for leaf in leaves_of(reading.surface) if is_shown(leaf)]
    scattering = [leaf for leaf in shown if leaf.kind not in NOTHING_SCATTERED]
    if EMISSION not in kept:
        yield from (lobe_loss(leaf, EMISSION, target) for leaf in shown if has_lobe(leaf, EMISSION))
    for leaf in scattering or shown:
        node = label_of(leaf.item.node)
        for lobe in LOBES:
            folded = reading.way == ENERGY and lobe in FOLDED
            if lobe not in kept and lobe != EMISSION and not folded and has_lobe(leaf, lobe):
                yield lobe_loss(leaf, lobe, target)
        if target != ALL_LOBES and is_thin_wall(leaf):
            text = f'{TARGET_NAMES[target]} cannot keep a thin wall (node "{node}"); {TARGET_NAMES[ALL_LOBES]} can.'
            yield Loss("a thin wall", text, (ALL_LOBES,))
        if leaf.kind == "ShaderNodeBsdfTranslucent":
            yield Loss(
                "light that comes through",
                f'The light that comes through by the node "{node}" is lost: it shows only as a color.',
            )


def lobe_loss(leaf: Leaf, lobe: str, target: str) -> Loss:
    """That a target cannot keep a lobe of a closure."""
    keepers = tuple(other for other in (CORE, GLTF, ALL_LOBES) if lobe in KEPT[other])
    *others, last = (TARGET_NAMES[other] for other in keepers)
    can = f"{', '.join(others)} and {last}" if others else last
    text = f'{TARGET_NAMES[target]} cannot keep {LOBES[lobe]} (node "{label_of(leaf.item.node)}"); {can} can.'
    return Loss(LOBES[lobe], text, keepers)


def lost_light(reading: Reading) -> Iterator[Loss]:
    """What of the light that a material lets through no target can keep."""
    for leaf in leaves_of(reading.surface):
        if leaf.kind == TRANSPARENT and constant(transparency(leaf), leaf.item) != (1.0, 1.0, 1.0):
            text = f'The tint of what shows through the node "{label_of(leaf.item.node)}" is lost.'
            yield Loss("the tint of what shows through it", text)
    for part in parts_of(reading.surface):
        if isinstance(part, Added) and any(side is not None and not shows(side) for side in part.sides):
            text = f'The light that the node "{label_of(part.item.node)}" adds over what is transparent is lost.'
            yield Loss("light over what is transparent", text)


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
