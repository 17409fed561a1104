# SPDX-License-Identifier: GPL-3.0-or-later
"""Say before the click what materials have that the new ones cannot keep, and what was made by PBRfit already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy

from ..closures.parameters import ALL_LOBES, CORE, FITTED, GLTF, TARGET_NAMES
from ..closures.shaders import see_through, surface_shaders
from ..closures.verdict import LOBES
from ..common.names import RECORD
from ..common.node_trees import tree_of
from ..common.records import is_baked
from .finding import WARNING, Finding
from .verdicts import verdict

TRANSMISSION = "Transmission Weight"
# What base color, roughness and metallic make up for in a fit, nearly.
SMALL = {LOBES[name] for name in ("IOR", "Specular IOR Level", "Specular Tint", "Diffuse Roughness")}
KEEP = "pbrfit.keep_lobes"


def loss_findings(materials: Iterable[bpy.types.Material | None], target: str) -> Iterator[Finding]:
    """What each material has and a target (or a fit alone: FITTED) cannot keep, in one sentence, and what can."""
    for material in dict.fromkeys(materials):
        if material is None or material.is_missing:
            continue
        known = verdict(material, target)
        # What no target keeps, other findings say in the words of a fit; of glass they say more.
        lost = dict.fromkeys(loss.words for loss in known.losses if loss.keepers and loss.words not in SMALL)
        if LOBES[TRANSMISSION] in lost and is_glass(material):
            del lost[LOBES[TRANSMISSION]]
        if not lost:
            continue
        cause = f'The material "{material.name}" has {listed(list(lost))}, which {subject(target)} cannot keep.'
        yield Finding(WARNING, cause, cure(known.keeper, target), KEEP, title=f"Loses {listed(list(lost))}")


def cure(keeper: str, target: str) -> str:
    """How to keep what is lost."""
    if target == FITTED:
        return f"Set Start to Bake and Bake For to {TARGET_NAMES[keeper]} to keep it as baked."
    return f"Set Bake For to {TARGET_NAMES[keeper]} to keep it as baked."


def subject(target: str) -> str:
    """What keeps, in the middle of a sentence."""
    return "a fit that does not begin with the bake" if target == FITTED else TARGET_NAMES[target]


def keeper_for(materials: Iterable[bpy.types.Material | None], target: str) -> str:
    """The leanest target that keeps what can be kept of all materials; the given one where nothing of them is lost."""
    keepers = {verdict(material, target).keeper for material in materials if material is not None} - {""}
    own = CORE if target == FITTED else target
    return max([own, *keepers], key=(CORE, GLTF, ALL_LOBES).index)


def is_glass(material: bpy.types.Material) -> bool:
    """Whether nothing of a material but glass has a color."""
    tree = tree_of(material)
    return tree is not None and see_through(surface_shaders(tree)) is not None


def keeps_transmission(material: bpy.types.Material, target: str) -> bool:
    """Whether a target keeps what a material lets through."""
    known = verdict(material, target)
    return target in (GLTF, ALL_LOBES) and not any(loss.words == LOBES[TRANSMISSION] for loss in known.losses)


def listed(words: list[str]) -> str:
    """All of the words, as a list in a sentence."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def fitted_findings(scene_object: bpy.types.Object) -> Iterator[Finding]:
    """Whether an object shows a material that PBRfit made."""
    shown = [slot.material for slot in scene_object.material_slots]
    made = next((material for material in shown if material is not None and RECORD in material), None)
    if made is not None:
        done = "baked" if is_baked(made) else "fitted"
        cause = f'"{scene_object.name}" is {done} already: "{made.name}" is by PBRfit.'
        yield Finding(
            WARNING,
            cause,
            "Its original is better to begin with than a copy of it: the buttons ask.",
            title=f"{scene_object.name} is {done} already",
        )
