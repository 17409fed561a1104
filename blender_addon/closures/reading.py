# SPDX-License-Identifier: GPL-3.0-or-later
"""How the closures of a material become the inputs of one Principled BSDF: as they are, as means, or by their energy."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import bpy

from ..common.node_trees import tree_of
from ..common.reached_nodes import MATERIAL_OUTPUT, Reached, label_of, rendered_output, source_of
from .mixing import TRANSPARENT, Added, Leaf, Mixed, Surface, find, is_shown, leaves_of, parts_of, shows, surface_of
from .parameters import (
    ALL_LOBES,
    ALPHA,
    BASE_COLOR,
    EMISSION,
    KEPT,
    NOTHING_SCATTERED,
    READABLE,
    WEIGHT_OF,
    is_thin_wall,
    parameter,
)
from .shaders import PRINCIPLED
from .values import Triple, constant, input_constant, inputs_of

ONE_CLOSURE, MEAN, ENERGY = "ONE_CLOSURE", "MEAN", "ENERGY"
EMISSION_NODE = "ShaderNodeEmission"
METALLIC_NODE = "ShaderNodeBsdfMetallic"
# Linear in what a surface reflects while everything else is the same.
LINEAR = {BASE_COLOR, EMISSION}


@dataclass(frozen=True)
class Reading:
    """A material that one Principled BSDF can say, exactly or nearly.

    surface: its closures; leaves: those that show something; way: how their values become one: of the only one (ONE_CLOSURE),
    by their weights (MEAN), or by the light that they scatter (ENERGY); exact: whether that says the same; displaced: whether
    the output node displaces the surface, which shows as bumps; certain: whether nothing else makes its values doubtful, such
    as a change with the view.
    """

    surface: Surface
    leaves: tuple[Leaf, ...]
    way: str
    exact: bool
    displaced: bool = False
    certain: bool = True

    @property
    def needs_weight(self) -> bool:
        """Whether the weights of the closures that scatter light add up to another sum than one."""
        if self.way == ONE_CLOSURE:
            return False
        added = any(isinstance(part, Added) for part in parts_of(self.surface))
        return added or is_dimmed(self.surface) or any(leaf.kind in NOTHING_SCATTERED for leaf in self.leaves)

    def value_of(self, name: str) -> Triple | None:
        """What an input of the Principled BSDF has everywhere; None if it may differ from place to place."""
        found = {constant(parameter(leaf, name), leaf.item) for leaf in self.counted(name)}
        return next(iter(found)) if len(found) == 1 else None

    def counted(self, name: str) -> list[Leaf]:
        """The closures whose values count for an input of the Principled BSDF."""
        if name == EMISSION:
            return [leaf for leaf in leaves_of(self.surface) if leaf.kind in READABLE]
        if name == ALPHA:
            return leaves_of(self.surface)
        return self.scattering

    @property
    def scattering(self) -> list[Leaf]:
        """The closures that scatter light; all that show something where none does."""
        return [leaf for leaf in self.leaves if leaf.kind not in NOTHING_SCATTERED] or list(self.leaves)

    def is_active(self, name: str) -> bool:
        """Whether an input does anything: its weight is not zero everywhere."""
        weight = WEIGHT_OF.get(name)
        return weight is None or self.value_of(weight) != (0.0, 0.0, 0.0)

    def has_normal(self, name: str) -> bool:
        """Whether the normal of this name, "Normal" or "Coat Normal", is not the mesh's for a closure that shows."""
        return self.is_active(name) and (self.displaced or any(computes(leaf, name) for leaf in self.leaves))


@dataclass(frozen=True)
class Unreadable:
    """A material that no Principled BSDF can say; reason: what is in the way, as the end of a sentence."""

    reason: str


def read_material(material: bpy.types.Material) -> Reading | Unreadable:
    """Read a material's nodes, as Cycles renders them."""
    tree = tree_of(material)
    if tree is None:
        return Unreadable("it uses no nodes")
    output = rendered_output(tree, MATERIAL_OUTPUT)
    if output is None:
        return Unreadable("it has no output node that Cycles renders")
    try:
        surface = surface_of(tree)
    except RecursionError:
        return Unreadable("its mixes of shaders are nested deeper than PBRfit can follow")
    leaves = leaves_of(surface)
    strange = next((leaf for leaf in leaves if leaf.kind not in READABLE), None)
    if strange is not None:
        node = strange.item.node
        return Unreadable(f'the node "{label_of(node)}" ({node.bl_label}) has no counterpart in the Principled BSDF')
    shown = tuple(leaf for leaf in leaves if is_shown(leaf))
    if not shown:
        return Unreadable("no shader of it shows anything")
    displacement = source_of(Reached(output[1], frozenset(), output[0]), "Displacement")
    displaced = displacement is not None and displacement.computed
    return replace(read_surface(surface, shown), displaced=displaced)


def read_surface(surface: Surface, shown: tuple[Leaf, ...]) -> Reading:
    """How closures become one, the simplest way first."""
    lit = [leaf for leaf in shown if leaf.kind != EMISSION_NODE or len(shown) == 1]
    if is_dimmed(surface):
        return Reading(surface, shown, ENERGY, exact=False)
    if len(lit) == 1 and len(lit) + len(added_emissions(surface)) == len(shown) and not is_doubled(surface):
        exact = says_the_same(lit[0]) and cuts_out(surface) and (len(shown) == 1 or glows_through(lit[0], surface))
        return Reading(surface, tuple(lit), ONE_CLOSURE, exact)
    if is_mean(surface, shown):
        return Reading(surface, shown, MEAN, cuts_out(surface))
    return Reading(surface, shown, ENERGY, exact=False)


def added_emissions(surface: Surface) -> list[Leaf]:
    """The Emission nodes that are added to a surface as they are, mixed with nothing."""
    if isinstance(surface, Leaf):
        return [surface] if surface.kind == EMISSION_NODE else []
    if isinstance(surface, Added):
        return [leaf for side in surface.sides for leaf in added_emissions(side)]
    return []


def says_the_same(leaf: Leaf) -> bool:
    """Whether the inputs of a Principled BSDF say exactly what a single closure does."""
    if leaf.kind == METALLIC_NODE:
        return bool(leaf.item.node.fresnel_type == "F82")
    if leaf.kind == "ShaderNodeBsdfDiffuse":
        knows_roughness = bpy.app.version >= (4, 3, 0)  # of the diffuse part
        return knows_roughness or input_constant(leaf.item, "Roughness") == (0.0, 0.0, 0.0)
    return leaf.kind in {PRINCIPLED, EMISSION_NODE}


def cuts_out(surface: Surface) -> bool:
    """Whether what is transparent in a surface only cuts holes into it: white, and mixed with what shows."""
    clear = [leaf for leaf in leaves_of(surface) if leaf.kind == TRANSPARENT]
    white = all(input_constant(leaf.item, "Color") == (1.0, 1.0, 1.0) for leaf in clear)
    # Light through an added Transparent BSDF comes on top of what is reflected.
    added = find(surface, lambda part: isinstance(part, Added) and not all(shows(side) for side in part.sides))
    return white and added is None


def is_doubled(surface: Surface) -> bool:
    """Whether light that closures scatter is added to other such light."""

    def scatters(side: Surface) -> bool:
        return any(is_shown(leaf) and leaf.kind != EMISSION_NODE for leaf in leaves_of(side))

    return find(surface, lambda part: isinstance(part, Added) and all(map(scatters, part.sides))) is not None


def is_dimmed(surface: Surface) -> bool:
    """Whether a part of a surface is mixed with nothing, which is black."""
    return find(surface, lambda part: isinstance(part, Mixed) and None in part.sides) is not None


def glows_through(leaf: Leaf, surface: Surface) -> bool:
    """Whether light added to a closure is the same as light of its own: nothing lies over that, and it has no holes."""
    holes = any(other.kind == TRANSPARENT for other in leaves_of(surface))
    over = leaf.kind == PRINCIPLED and any(
        input_constant(leaf.item, name) != (0.0, 0.0, 0.0) for name in ("Coat Weight", "Sheen Weight")
    )
    opaque = leaf.kind != PRINCIPLED or input_constant(leaf.item, ALPHA) == (1.0, 1.0, 1.0)
    return opaque and not holes and not over


def is_mean(surface: Surface, shown: tuple[Leaf, ...]) -> bool:
    """Whether a mix of closures is the same as one whose base color and emission are mixed: they differ in nothing else,
    and reflect in proportion to the base color."""
    if any(leaf.kind != PRINCIPLED for leaf in shown) or any(isinstance(part, Added) for part in parts_of(surface)):
        return False
    first = shown[0]
    for name in KEPT[ALL_LOBES]:
        if name not in LINEAR and len({origin(leaf, name) for leaf in shown}) > 1:
            return False
    if not all(alike(leaf, first) for leaf in shown):
        return False
    # Light that enters and leaves by the base color more than once is no longer in proportion to it.
    off = ("Metallic", "Transmission Weight", "Subsurface Weight")
    return all(input_constant(first.item, name) == (0.0, 0.0, 0.0) for name in off)


def origin(leaf: Leaf, name: str) -> Hashable:
    """Equal if the input of two Principled BSDFs certainly has the same value everywhere."""
    known = constant(parameter(leaf, name), leaf.item)
    if known is not None:
        return known
    return tuple(
        source.key for read in inputs_of(parameter(leaf, name)) if (source := source_of(leaf.item, read)) is not None
    )


def origins(reading: Reading, name: str) -> set[Hashable]:
    """Where the closures of a material get a vector from, such as the normal: as many as may differ; () is the surface's."""
    if not reading.is_active(name):
        return set()
    found: set[Hashable] = set()
    for leaf in reading.scattering:
        source = source_of(leaf.item, name)
        found.add(source.key if source is not None and source.computed else ())
    return found


def node_settings(leaf: Leaf) -> dict[str, object]:
    """The settings of a Principled BSDF that are no inputs, for one like it."""
    node = leaf.item.node
    settings: dict[str, object] = {name: getattr(node, name) for name in ("distribution", "subsurface_method")}
    return settings


def alike(leaf: Leaf, other: Leaf) -> bool:
    """Whether what is no number of two Principled BSDFs is the same."""
    return node_settings(leaf) == node_settings(other) and is_thin_wall(leaf) == is_thin_wall(other)


def computes(leaf: Leaf, name: str) -> bool:
    """Whether a node computes a vector for a closure, such as its normal; a closure without such an input has none."""
    source = source_of(leaf.item, name)
    return source is not None and source.computed
