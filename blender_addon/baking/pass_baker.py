# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake passes of the materials of a group: in the middles of the texels, or in many points of each where those say less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from numpy.typing import NDArray

from ..closures.reading import Reading
from ..protocol.map_shape import MapSize
from ..references.stage import Stage
from .cycles_bake import Texels, bake, new_image, read_tiles
from .detail import is_fine, is_random
from .material_sets import MaterialSets
from .quantities import Pass
from .resolved import agrees, is_smooth, joined
from .stand_ins import placeholder, positions, stand_in

BETWEEN = 19  # of 64: the size of a bake at points that lie between the middles of the maps' texels
SAMPLES_OF_RAYS = 16  # for each texel, of nodes that send out random rays; each of them sends more than one
LARGEST_BAKE = 8192  # pixels in a row or column; supersampling stops there

Tiles = dict[int, Texels]
Make = Callable[[bpy.types.Material, Reading, bpy.types.Image, str, str | None], bpy.types.Material]
"""Makes a material that shows what is baked: of the original, its reading, the image, the UV map that is baked, and the one
that nodes read which name none, if that is another one."""


class PassBaker:
    """Bakes the passes of one group."""

    def __init__(
        self,
        set_up: Stage,
        owners: list[MaterialSets],
        rendered_uv_maps: dict[int, str],
        size: MapSize,
        supersampling: int,
    ) -> None:
        """rendered_uv_maps: those that renders use, by object number, where another one is baked; size: height and width of the
        maps in pixels; supersampling: how many points in a row each texel is the mean of, at most."""
        self._set_up = set_up
        self._owners = owners
        self._rendered_uv_maps = rendered_uv_maps
        self._size = size
        self._supersampling = supersampling
        self._surfaces: list[dict[int, NDArray[np.bool_]]] | None = None

    def bake(self, item: Pass) -> list[Tiles]:
        """The texels of one pass, for each of the owners by tile."""

        def make(
            material: bpy.types.Material, reading: Reading, image: bpy.types.Image, uv_map: str, rendered: str | None
        ) -> bpy.types.Material:
            return stand_in(material, reading, item, image, uv_map, rendered)

        kind = "NORMAL" if item.is_normal else "EMIT"
        if any(is_random(reading, item) for reading in self._readings):
            return self._bake(make, kind, self._size, samples=SAMPLES_OF_RAYS)  # which lie all over the texel
        factor = min(self._supersampling, max(1, LARGEST_BAKE // max(self._size)))
        middles = self._bake(make, kind, self._size)
        if factor == 1 or not any(is_fine(reading, item, self._size) for reading in self._readings):
            return middles
        parts = [
            (tiles[tile], inside[tile])
            for tiles, inside in zip(middles, self._surface(), strict=True)
            for tile in tiles
        ]
        if all(is_smooth(texels, inside) for texels, inside in parts):
            height, width = self._size
            between = self._bake(make, kind, (max(8, height * BETWEEN // 64), max(8, width * BETWEEN // 64)))
            others = [texels for tiles in between for texels in tiles.values()]
            if all(agrees(texels, other, inside) for (texels, inside), other in zip(parts, others, strict=True)):
                return middles
        return self._bake(make, kind, self._size, factor)

    def bake_materials(
        self, material_for: Callable[[bpy.types.Image], bpy.types.Material], size: MapSize, samples: int
    ) -> list[Tiles]:
        """The texels of what one material shows on all faces, for each of the owners by tile. size: height and width of the bake
        in pixels."""
        return self._bake(
            lambda _material, _reading, image, *_names: material_for(image), "EMIT", size, samples=samples
        )

    def bake_made(self, make: Make, size: MapSize) -> list[Tiles]:
        """The texels of what materials show that are made for each of the originals, one point in each. size: height and
        width in pixels."""
        return self._bake(make, "EMIT", size)

    @property
    def _readings(self) -> Iterator[Reading]:
        return (reading for owner in self._owners for reading in owner.readings.values())

    def _surface(self) -> list[dict[int, NDArray[np.bool_]]]:
        """Which texels have all their neighbors on the surface too, for each of the owners by tile."""
        if self._surfaces is None:
            found = self.bake_materials(positions, self._size, samples=1)
            self._surfaces = [{tile: joined(texels) for tile, texels in tiles.items()} for tiles in found]
        return self._surfaces

    def _bake(self, make: Make, kind: str, size: MapSize, factor: int = 1, samples: int = 1) -> list[Tiles]:
        height, width = size
        images = [new_image(owner.canvas, (height * factor, width * factor)) for owner in self._owners]
        uv_maps = {uid: name for owner in self._owners for uid, name in owner.canvas.uv_maps.items()}
        with stand_ins_shown(self._set_up, self._owners, images, self._rendered_uv_maps, make):
            bake(self._set_up, kind, uv_maps, samples)
        found = [read_tiles(image, owner.canvas, factor) for owner, image in zip(self._owners, images, strict=True)]
        bpy.data.batch_remove(images)
        return found


@contextmanager
def stand_ins_shown(
    set_up: Stage,
    owners: list[MaterialSets],
    images: list[bpy.types.Image],
    uv_maps: dict[int, str],
    make: Make,
) -> Iterator[None]:
    """With other materials in place of those of the owners, which show what is baked into an image for each of these.

    uv_maps: those that renders use, by object number, where another one is baked; make: such a material.
    """
    unused = bpy.data.images.new("PBRfit unused", 4, 4, float_buffer=True, is_data=True)
    blank = placeholder(unused)
    targets = {target.session_uid: target for target in set_up.targets}
    before = {
        (uid, index): (slot, slot.link, slot.material)
        for uid, target in targets.items()
        for index, slot in enumerate(target.material_slots)
    }
    made: dict[tuple[bpy.types.Material, int, str, str | None], bpy.types.Material] = {}
    try:
        for slot, _, _ in before.values():
            slot.link = "OBJECT"
            slot.material = blank
        for number, (owner, image) in enumerate(zip(owners, images, strict=True)):
            for use in owner.slots:
                slot, _, material = before[use.object_uid, use.slot_index]
                if material is not None:
                    names = owner.canvas.uv_maps[use.object_uid], uv_maps.get(use.object_uid)
                    key = material, number, *names
                    if key not in made:
                        made[key] = make(material, owner.readings[material], image, *names)
                    slot.material = made[key]
        yield
    finally:
        for slot, link, material in before.values():
            slot.material = material if link == "OBJECT" else None
            slot.link = link
        bpy.data.batch_remove([blank, unused, *made.values()])
