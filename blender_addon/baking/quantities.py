# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be baked for a target, and in which passes: a pass of Cycles carries one color, three scalars or a normal.

Beside the inputs of the Principled BSDF there are sums over closures, from which energy.py makes one closure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..closures.mixing import Added, Leaf, Mixed, is_shown, leaves_of, parts_of
from ..closures.parameters import (
    ALPHA,
    BASE_COLOR,
    COLORS,
    EMISSION,
    KEPT,
    NORMALS,
    NOTHING_SCATTERED,
    VECTORS,
    parameter,
    transparency,
)
from ..closures.reading import ENERGY, Reading
from ..closures.shaders import PRINCIPLED
from ..closures.values import ONE, ZERO, Input, Number, Triple, Value, complement, constant, product
from ..closures.values import Sum as SumOf
from .energy import DIELECTRIC
from .tangents import ROTATION, turned_tangent

WEIGHT = "Weight"
"""The sum of the weights of closures that scatter light."""
SCATTERED, REFLECTED, SHINE = "Scattered", "Reflected", "Shine"
"""Diffuse albedo; reflectance seen from straight ahead; that times the roughness: each summed over closures."""
DIRECTION = "Anisotropic Direction"
"""In place of the rotation, where a node computes the tangent: see tangents.py."""
TRANSPARENCY = "Transparency"
"""In place of the alpha, where closures that show nothing are mixed in: the light that comes through, with its color."""
SUMS = (SCATTERED, REFLECTED, SHINE)
MOST_SHARES = 9
SHARES = tuple(f"Share {number}" for number in range(MOST_SHARES))
"""The shares of the first closures of a mix, which tell how sure a bake is: see surety.py."""
FROM_SUMS = {BASE_COLOR, "Roughness", "Specular IOR Level", "Specular Tint"}
"""The inputs that the sums give for a material whose closures become one by their energy."""
ABSENT = Number.of(-1.0)  # in a sum, for a material that needs none


@dataclass(frozen=True)
class Pass:
    """One bake. names: what it carries: one color, one normal, or up to three scalars; message: for the artist."""

    names: tuple[str, ...]

    @property
    def message(self) -> str:
        """What is baked."""
        return "Baking " + ", ".join(self.names)

    @property
    def is_normal(self) -> bool:
        """Whether it carries normals in tangent space."""
        return self.names[0] in NORMALS

    @property
    def is_whole(self) -> bool:
        """Whether it carries one color or vector, not scalars."""
        return self.names[0] in COLORS | VECTORS | {DIRECTION, TRANSPARENCY, *SUMS}


def passes_for(target: str, readings: Sequence[Reading], sets: Iterable[Sequence[Reading]]) -> list[Pass]:
    """The passes for materials, and for sets of maps with some of these materials each."""
    groups = list(sets)
    varying = [name for name in KEPT[target] if any(varies(name, group) for group in groups)]
    energy = any(reading.way == ENERGY for reading in readings)
    if all(reading.way == ENERGY for reading in readings):
        varying = [name for name in varying if name not in FROM_SUMS]
    if ROTATION in KEPT[target] and any(turns(reading) for reading in readings):
        varying = [name for name in varying if name != ROTATION] + [DIRECTION]
    if ALPHA in varying and any(has_holes(reading) for reading in readings):
        varying = [name for name in varying if name != ALPHA] + [TRANSPARENCY]
    scalars = [name for name in varying if name not in COLORS | VECTORS | {DIRECTION, TRANSPARENCY, *NORMALS}]
    if energy and "Metallic" not in scalars:
        scalars.append("Metallic")
    if any(reading.needs_weight for reading in readings):
        scalars.append(WEIGHT)
    whole = [name for name in varying if name in COLORS | VECTORS | {DIRECTION, TRANSPARENCY}]
    if energy:
        whole += SUMS
    passes = [Pass((name,)) for name in whole]
    passes += [Pass(tuple(scalars[start : start + 3])) for start in range(0, len(scalars), 3)]
    return passes + [Pass((name,)) for name in NORMALS if name in varying]


def has_holes(reading: Reading) -> bool:
    """Whether what a material lets through comes from more than the alpha of closures that show and are mixed."""
    parts = list(parts_of(reading.surface))
    return any(
        isinstance(part, Added) or (isinstance(part, Mixed) and None in part.sides) for part in parts
    ) or not all(is_shown(leaf) for leaf in leaves_of(reading.surface))


def turns(reading: Reading) -> bool:
    """Whether nodes compute tangents for the anisotropic closures of a material."""
    return reading.is_active(ROTATION) and any(turned_tangent(leaf) for leaf in reading.counted(ROTATION))


def varies(name: str, readings: Sequence[Reading]) -> bool:
    """Whether an input of a set's material may differ from place to place, so that it must be baked."""
    if name in NORMALS:
        return any(reading.has_normal(name) for reading in readings)
    if name in FROM_SUMS and any(reading.way == ENERGY for reading in readings):
        return True
    if not any(reading.is_active(name) for reading in readings):
        return False
    return shared_constant(name, readings) is None


def shared_constant(name: str, readings: Sequence[Reading]) -> Triple | None:
    """What an input has everywhere in materials; None if that is not known without a bake."""
    if name == ALPHA:
        found = {alpha_of(reading) for reading in readings}
    else:
        found = {reading.value_of(name) for reading in readings}
        if name == EMISSION and found != {(0.0, 0.0, 0.0)} and any(needs_sum(reading) for reading in readings):
            return None
    return next(iter(found)) if len(found) == 1 else None


def needs_sum(reading: Reading) -> bool:
    """Whether several closures add to the light that a material gives."""
    return len(reading.counted(EMISSION)) > 1


def alpha_of(reading: Reading) -> Triple | None:
    """How opaque a material is everywhere; None if that is not known without a bake."""
    found = {constant(transparency(leaf), leaf.item) for leaf in reading.counted(ALPHA)}
    return (1.0, 1.0, 1.0) if found == {(0.0, 0.0, 0.0)} else None


def value_in(leaf: Leaf, name: str, reading: Reading) -> Value:
    """What a closure adds to a quantity, before its weight."""
    if name == TRANSPARENCY:
        return transparency(leaf)
    if name == ALPHA:
        return Input(ALPHA) if leaf.kind == PRINCIPLED else ONE
    if name == EMISSION:
        return parameter(leaf, EMISSION)
    if name in SHARES:
        return share(leaf, SHARES.index(name), reading)
    if name in SUMS and reading.way != ENERGY:
        return ABSENT
    if leaf not in reading.counted(name):
        return ZERO
    if name == WEIGHT:
        return ONE
    metallic, base = parameter(leaf, "Metallic"), parameter(leaf, "Base Color")
    if name == SCATTERED:
        return ZERO if leaf.kind in NOTHING_SCATTERED else product(complement(metallic), base)
    if name in (REFLECTED, SHINE):
        level, tint = parameter(leaf, "Specular IOR Level"), parameter(leaf, "Specular Tint")
        dielectric = product(Number.of(2.0 * DIELECTRIC), level, tint, complement(metallic))
        reflected = SumOf(dielectric, product(metallic, base))
        return reflected if name == REFLECTED else product(reflected, parameter(leaf, "Roughness"))
    return parameter(leaf, name)


def share(leaf: Leaf, number: int, reading: Reading) -> Value:
    """What a closure adds to the share of the one of this number; all of a sure material counts as its first closure."""
    if not reading.certain or leaf not in reading.scattering:
        return ZERO
    own = reading.scattering.index(leaf) if reading.way == ENERGY else 0
    return ONE if own == number else ZERO
