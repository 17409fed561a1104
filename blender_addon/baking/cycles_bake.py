# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake one pass with Cycles into arrays: a value for each texel, and which texels faces cover."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color_spaces import data_space
from ..protocol.map_shape import MapSize
from ..references.fixed_values import fix
from ..references.stage import Stage

UDIM = "<UDIM>"


@dataclass(frozen=True)
class Canvas:
    """What is baked into one image. uv_maps: the UV map that it is read through, by object number (session_uid); tiles: its
    UDIM tiles; (0,): without tiles; folded: whether all tiles become one map, which repeats outside of the first one."""

    uv_maps: dict[int, str]
    tiles: tuple[int, ...]
    folded: bool = False


@dataclass(frozen=True)
class Texels:
    """Baked values: float32 [H, W, 3], row 0 at the top; covered: bool [H, W], where a face has a texel."""

    values: NDArray[np.float32]
    covered: NDArray[np.bool_]


def new_image(canvas: Canvas, size: MapSize) -> bpy.types.Image:
    """A new image of numbers for a canvas, transparent everywhere. size: height and width in pixels."""
    height, width = size
    tiled = canvas.tiles != (0,)
    image = bpy.data.images.new("PBRfit bake", width, height, alpha=True, float_buffer=True, is_data=True, tiled=tiled)
    if tiled:
        image.tiles[0].number = canvas.tiles[0]
        for tile in canvas.tiles[1:]:
            image.tiles.new(tile_number=tile)
        with bpy.context.temp_override(edit_image=image):
            for index in range(len(canvas.tiles)):
                image.tiles.active_index = index
                bpy.ops.image.tile_fill(color=(0.0, 0.0, 0.0, 0.0), width=width, height=height, float=True, alpha=True)
    else:
        image.generated_color = (0.0, 0.0, 0.0, 0.0)
    return image


def bake(stage: Stage, kind: str, uv_maps: dict[int, str], samples: int = 1) -> None:
    """Bake all objects of a stage into the images of their materials. kind: EMIT or NORMAL."""
    layer = stage.view_layer
    stage.scene.cycles.samples = samples
    for target in stage.targets:
        for other in stage.targets:
            other.select_set(other == target, view_layer=layer)
        layer.objects.active = target
        uv_map = uv_maps[target.session_uid]
        with bpy.context.temp_override(window=stage.window, area=stage.area):
            bpy.ops.object.bake(
                type=kind,
                margin=0,
                use_selected_to_active=False,
                target="IMAGE_TEXTURES",
                save_mode="INTERNAL",
                use_clear=False,
                normal_space="TANGENT",
                normal_r="POS_X",
                normal_g="POS_Y",
                normal_b="POS_Z",
                uv_layer=uv_map,
            )


def make_editable(stage: Stage) -> None:
    """Give each object a mesh of its own if its mesh is linked from a library: Blender bakes no others."""
    for target in stage.targets:
        if target.data.library is not None or target.data.override_library is not None:
            target.data = target.data.copy()


def prepare(stage: Stage, uv_maps: dict[int, str]) -> dict[int, str]:
    """Set a stage up for baking: one sample, seen from straight ahead, without a world, into these UV maps.

    Returns the UV maps that renders use, by object number, where that is another one: Blender computes tangents for that
    map only, so it is changed.
    """
    rendered: dict[int, str] = {}
    scene = stage.scene
    scene.world = None
    settings = scene.render.bake
    if hasattr(settings, "view_from"):
        settings.view_from = "ABOVE_SURFACE"
    for owner, name in ((scene.render, "use_bake_multires"), (settings, "use_multires")):
        if hasattr(owner, name):
            setattr(owner, name, False)
    for target in stage.targets:
        fix(target, hide_select=False)
        target.hide_set(False, view_layer=stage.view_layer)
        layers = target.data.uv_layers
        chosen = layers.get(uv_maps[target.session_uid])
        if chosen is None:  # modifiers make it
            continue
        before = next((layer.name for layer in layers if layer.active_render), chosen.name)
        layers.active = chosen
        if before != chosen.name:
            rendered[target.session_uid] = before
            chosen.active_render = True
    return rendered


def read_tiles(image: bpy.types.Image, canvas: Canvas, factor: int) -> dict[int, Texels]:
    """What was baked into an image, by tile; each texel is the mean of factor x factor pixels that faces cover.

    Of folded tiles, each texel has what the first tile has in which a face covers it.
    """
    if canvas.tiles == (0,):
        return {0: mean_texels(pixels_of(image), factor)}
    found = {}
    with tempfile.TemporaryDirectory(prefix="pbrfit-") as folder:
        # Python sees the pixels of the first tile only.
        image.file_format = "OPEN_EXR"
        image.filepath_raw = str(Path(folder, f"tile.{UDIM}.exr"))
        image.save()
        for tile in canvas.tiles:
            with loaded_pixels(Path(folder, f"tile.{tile}.exr")) as pixels:
                found[tile] = mean_texels(pixels, factor)
    return {0: folded(list(found.values()))} if canvas.folded else found


def folded(tiles: list[Texels]) -> Texels:
    """Several tiles as one: see `read_tiles`."""
    values, covered = tiles[0].values.copy(), tiles[0].covered.copy()
    for texels in tiles[1:]:
        new = texels.covered & ~covered
        values[new] = texels.values[new]
        covered |= new
    return Texels(values, covered)


@contextmanager
def loaded_pixels(path: Path) -> Iterator[NDArray[np.float32]]:
    """The pixels of a file of numbers."""
    image = bpy.data.images.load(str(path))
    try:
        image.colorspace_settings.name = data_space()
        yield pixels_of(image)
    finally:
        bpy.data.images.remove(image)


def pixels_of(image: bpy.types.Image) -> NDArray[np.float32]:
    """The pixels of an image, float32 [height, width, 4], row 0 at the top."""
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1]


def mean_texels(pixels: NDArray[np.float32], factor: int) -> Texels:
    """Texels of factor x factor pixels [H, W, 4] each, of which only those with alpha count."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    weights = (pixels[..., 3] > 0.5).astype(np.float32)
    if factor == 1:
        return Texels(np.ascontiguousarray(pixels[..., :3]), weights > 0.0)
    values = np.zeros((height, width, 3), np.float32)
    total = np.zeros((height, width), np.float32)
    for row in range(factor):
        for column in range(factor):
            weight = weights[row::factor, column::factor]
            values += pixels[row::factor, column::factor, :3] * weight[..., None]
            total += weight
    covered = total > 0.0
    np.divide(values, total[..., None], out=values, where=covered[..., None])
    return Texels(values, covered)
