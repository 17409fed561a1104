"""What a look is: an object with materials, and, stated by hand, what a bake must make of each of its slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import bpy
from looks.nodes import Expression, Given, finish, principled, resolve, vector_math
from scenes.parts import nodes_of

EXACT, COMPOSITE, VIEW, UNREADABLE = "EXACT", "COMPOSITE", "VIEW", "UNREADABLE"
CORE, GLTF, PRINCIPLED = "CORE", "GLTF", "PRINCIPLED"
EMISSION = "Emission"
NORMALS = ("Normal", "Coat Normal")
# A new Principled BSDF of some versions of Blender has others.
PLAIN = {"Base Color": (0.8, 0.8, 0.8), "Roughness": 0.5, "IOR": 1.5, "Emission Strength": 0.0}


@dataclass(frozen=True)
class Truth:
    """The right value of an input of the new material. where: 1 where that is known, other numbers where it is not."""

    value: Given
    where: Expression | None = None


@dataclass(frozen=True)
class Surface:
    """What a slot shows, and what must come of it.

    paint: fills an empty tree; truths: by identifier of the Principled BSDF's inputs; EMISSION is Emission Color times
    Strength; inputs that are missing must have the values of a new node, unless there are no truths at all; kind: of the
    verdict; nodes: what its words must name; lost: words of the sentences about what a target cannot keep, one for each
    sentence; displacement: what the material displaces by, as bump.
    """

    paint: Callable[[bpy.types.NodeTree], None]
    truths: dict[str, Truth]
    kind: str = EXACT
    nodes: tuple[str, ...] = ("Principled BSDF",)
    lost: dict[str, tuple[str, ...]] = field(default_factory=dict)
    displacement: Expression | None = None

    def renders_equal(self, target: str) -> bool:
        """Whether the new material must look like the original."""
        return self.kind == EXACT and not self.lost.get(target)


@dataclass(frozen=True)
class Look:
    """An object whose UV map does not overlap. shape: adds it to the open file, active; surfaces: its slots'."""

    shape: Callable[[], bpy.types.Object]
    surfaces: tuple[Surface, ...]

    def build(self, name: str) -> bpy.types.Object:
        """Add the object to the open file, alone selected."""
        bpy.ops.object.select_all(action="DESELECT")
        thing = self.shape()
        thing.name = name
        for number, surface in enumerate(self.surfaces):
            material = bpy.data.materials.new(f"{name} {number}")
            tree = nodes_of(material)
            tree.nodes.clear()
            surface.paint(tree)
            if surface.displacement is not None:
                material.displacement_method = "BUMP"
            thing.data.materials.append(material)
        return thing


def truth(value: Given | Truth) -> Truth:
    """A truth that holds everywhere, unless it is one already."""
    return value if isinstance(value, Truth) else Truth(value)


def one_principled(
    inputs: dict[str, Given],
    lost: dict[str, tuple[str, ...]] | None = None,
    displacement: Expression | None = None,
    where: dict[str, Expression] | None = None,
    name: str = "",
) -> Surface:
    """A surface of one Principled BSDF, of which every input is its own truth. where: see Truth, by input."""
    inputs = {**PLAIN, **inputs}

    def paint(tree: bpy.types.NodeTree) -> None:
        finish(tree, principled(tree, inputs, name), displacement)

    truths = {key: Truth(value, (where or {}).get(key)) for key, value in inputs.items() if not key.startswith("Emi")}
    if "Emission Color" in inputs:
        truths[EMISSION] = Truth(glow(inputs["Emission Color"], inputs["Emission Strength"]))
    return Surface(paint, truths, nodes=(name or "Principled BSDF",), lost=lost or {}, displacement=displacement)


def glow(color: Given, strength: Given) -> Expression:
    """Emission Color times Strength."""

    def product(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
        return vector_math(tree, "MULTIPLY", resolve(tree, color), resolve(tree, strength))

    return product
