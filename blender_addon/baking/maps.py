# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of a Principled BSDF as numbers and as maps in files: a map only where something varies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..closures.parameters import (
    ALL_LOBES,
    ALPHA,
    BASE_COLOR,
    COAT_NORMAL,
    COLORS,
    EMISSION,
    GLTF,
    NORMAL,
    THIN_WALL,
    VECTORS,
    is_thin_wall,
)
from ..closures.reading import ENERGY, Reading, node_settings
from ..closures.shaders import PRINCIPLED
from ..closures.values import Triple
from ..common.color import srgb_from_linear
from ..common.color_spaces import to_rec709
from ..common.errors import PbrFitError
from ..common.geometry_output import GEOMETRY
from ..common.material_recipe import ALPHA as ALPHA_PART
from ..common.material_recipe import CHANNELS, COLOR, OCCLUSION, Constant, MapInput, MaterialRecipe
from ..common.material_recipe import NORMAL as NORMAL_PART
from ..protocol.map_shape import MapSize
from .fields import Array, Baked, Inputs
from .image_files import BYTES, FLOATS, SHORTS, suffix_of, write_image


@dataclass(frozen=True)
class Layout:
    """What a map holds: a color or vector with perhaps an alpha, or scalars in its channels, or a normal."""

    key: str
    whole: str = ""
    alpha: str = ""
    channels: tuple[str, ...] = ()
    normal: str = ""


GEOMETRY_KEY = "geometry"
BRIGHTEST_IN_BYTES = 8.0
LAYOUTS = (
    Layout("kd", whole=BASE_COLOR, alpha=ALPHA),
    Layout("orm", channels=(OCCLUSION, "Roughness", "Metallic")),
    Layout("normal", normal=NORMAL),
    Layout(GEOMETRY_KEY, channels=GEOMETRY),
    Layout("emission", whole=EMISSION),
    Layout("specular", channels=("Specular IOR Level", "IOR", "Diffuse Roughness")),
    Layout("specular_tint", whole="Specular Tint"),
    Layout("anisotropy", channels=("Anisotropic", "Anisotropic Rotation")),
    Layout("transmission", channels=("Transmission Weight",)),
    Layout("coat", channels=("Coat Weight", "Coat Roughness", "Coat IOR")),
    Layout("coat_tint", whole="Coat Tint"),
    Layout("coat_normal", normal=COAT_NORMAL),
    Layout("sheen", channels=("Sheen Weight", "Sheen Roughness")),
    Layout("sheen_tint", whole="Sheen Tint"),
    Layout("subsurface", channels=("Subsurface Weight", "Subsurface Scale", "Subsurface Anisotropy")),
    Layout("subsurface_radius", whole="Subsurface Radius"),
    Layout("subsurface_ior", channels=("Subsurface IOR",)),
    Layout("thin_film", channels=("Thin Film Thickness", "Thin Film IOR")),
)


class MapWriter:
    """Writes the maps of one canvas. prefixes: of file names, by tile ("" or "0/"); files: names of those written."""

    def __init__(self, folder: Path, prefixes: dict[int, str]) -> None:
        self._folder = folder
        self._prefixes = prefixes
        self.files: list[str] = []

    def recipe(
        self, target: str, inputs: Inputs, baked: Baked, readings: Sequence[Reading], settings: dict[str, Any]
    ) -> MaterialRecipe:
        """Write what varies; returns what the new material gets. Raises PbrFitError if a file cannot be written.

        settings: of the material itself.
        """
        constants: dict[str, Constant] = {}
        for name, value in inputs.constants.items():
            if name != EMISSION:
                constants[name] = value if name in COLORS | VECTORS else value[0]
            elif max(value) > 0.0:
                strength = max(value)
                constants["Emission Color"] = tuple(part / strength for part in value)
                constants["Emission Strength"] = strength
        reads: dict[str, MapInput] = {}
        for layout in LAYOUTS:
            if layout.key == "emission" and EMISSION in inputs.fields:
                peak = peak_of(inputs, baked)
                # 8 bits would leave nothing of a screen beside a lamp.
                floats = peak > BRIGHTEST_IN_BYTES and target != GLTF
                constants["Emission Strength"] = strength = 1.0 if floats else peak
                reads["Emission Color"] = MapInput("emission", COLOR)
                self._write(layout, scaled(inputs, 1.0 / strength), baked, floats)
                continue
            varying = [name for name in names_of(layout) if name in inputs.fields]
            if varying:
                self._write(layout, inputs, baked)
                reads |= {name: part_of(layout, name) for name in varying}
        if target == ALL_LOBES and any(is_thin_wall(leaf) for reading in readings for leaf in reading.leaves):
            constants[THIN_WALL] = True
        for name in reads:
            constants.pop(name, None)
        return MaterialRecipe(constants, reads, settings_for(readings), inputs.uv_tangent, settings)

    def _write(self, layout: Layout, inputs: Inputs, baked: Baked, floats: bool = False) -> None:
        tiles = {
            tile: values_of(layout, inputs, tile, (covered.shape[0], covered.shape[1]))
            for tile, covered in baked.covered.items()
        }
        bits = (
            FLOATS
            if floats or goes_beyond(layout, tiles.values())
            else SHORTS
            if layout.normal or layout.key == GEOMETRY_KEY
            else BYTES
        )
        for tile, values in tiles.items():
            name = f"{self._prefixes[tile]}{layout.key}{suffix_of(bits)}"
            if layout.whole in COLORS:
                linear = to_rec709(values[..., :3])
                values[..., :3] = linear if floats else srgb_from_linear(linear)
            try:
                write_image(self._folder / name, values, bits)
            except (OSError, RuntimeError) as error:
                raise PbrFitError(
                    f"Cannot write {name}: {error}.", "Free disk space or choose another folder."
                ) from error
            self.files.append(name)


def goes_beyond(layout: Layout, tiles: Iterable[Array]) -> bool:
    """Whether numbers in a map leave 0..1; colors and normals do not."""
    if layout.whole in COLORS or layout.normal:
        return False
    return any(values.min() < -1e-4 or values.max() > 1.0 + 1e-4 for values in tiles)


def names_of(layout: Layout) -> list[str]:
    """The inputs that a map is for."""
    return [name for name in (layout.whole, layout.alpha, layout.normal, *layout.channels) if name]


def part_of(layout: Layout, name: str) -> MapInput:
    """Where an input finds its value in a map."""
    if name in layout.channels:
        return MapInput(layout.key, CHANNELS[layout.channels.index(name)])
    parts = {layout.whole: COLOR, layout.alpha: ALPHA_PART, layout.normal: NORMAL_PART}
    return MapInput(layout.key, parts[name])


def values_of(layout: Layout, inputs: Inputs, tile: int, size: MapSize) -> Array:
    """The pixels of a map, float32 [H, W, 3 or 4], with numbers where something does not vary."""

    def found(name: str, absent: float) -> Array | Triple | float:
        if name in inputs.fields:
            return inputs.fields[name][tile]
        return inputs.constants.get(name, absent)

    if layout.normal:
        vectors = inputs.fields[layout.normal][tile] * 2.0 - 1.0
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0.0) * 0.5 + 0.5
    has_alpha = layout.alpha in inputs.fields
    values = np.empty((*size, 4 if has_alpha else 3), np.float32)
    if layout.whole:
        values[..., :3] = found(layout.whole, 0.0)
        if has_alpha:
            values[..., 3] = inputs.fields[layout.alpha][tile]
        return values
    for place in range(3):
        name = layout.channels[place] if place < len(layout.channels) else ""
        value = found(name, 1.0 if name == OCCLUSION else 0.0)
        # What does not vary is read from nowhere: it may not widen the range of the file.
        values[..., place] = min(1.0, max(0.0, value[0])) if isinstance(value, tuple) else value
    return values


def peak_of(inputs: Inputs, baked: Baked) -> float:
    """The largest component of the emission, at least 1."""
    return max(
        1.0, *(float(values[baked.covered[tile]].max(initial=0.0)) for tile, values in inputs.fields[EMISSION].items())
    )


def scaled(inputs: Inputs, factor: float) -> Inputs:
    """Only the emission, times a factor."""
    return Inputs(
        {}, {EMISSION: {tile: values * np.float32(factor) for tile, values in inputs.fields[EMISSION].items()}}
    )


def settings_for(readings: Sequence[Reading]) -> dict[str, Any]:
    """The settings of the new node that are no inputs: those of the material's own, where one of its closures has them."""
    for reading in readings:
        if reading.way != ENERGY and reading.leaves[0].kind == PRINCIPLED:
            return node_settings(reading.leaves[0])
    return {"distribution": "MULTI_GGX"}
