# SPDX-License-Identifier: GPL-3.0-or-later
"""All maps of new materials and views of their objects in one picture, which Blender renders from planes and texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color import srgb_from_linear
from ..common.color_spaces import Meaning
from ..protocol.map_layouts import COLOR, SIGNALS
from ..saving.material_signals import CHANNELS, ImagePart, signals_of
from ..saving.pixels import Decoder
from .picture_scene import CYCLES, PictureScene
from .turntable import PNG, set_output

Json = dict[str, Any]
ANGLES = (30.0, 120.0, 210.0, 300.0)
"""Of the views, in degrees."""
COLUMNS = len(ANGLES)
GAP, LABEL, HEADING = 0.08, 0.13, 0.22
"""In widths of a picture."""
LETTERS = 0.075
"""Size of the letters of a label."""
PAGE, INK = 0.0137, 0.6
"""Radiance of the page and of the letters."""
SAMPLES = 8


@dataclass(frozen=True)
class Tile:
    """A picture of the sheet. values: sRGB, [h, w, 3], row 0 at the top; path: of a file in its place."""

    title: str
    values: NDArray[np.float32] | None = None
    path: Path | None = None


def render_sheet(
    pictures: PictureScene, materials: Sequence[bpy.types.Material], plan: Json, path: Path, folder: Path
) -> None:
    """Render the sheet to `path`. plan: ``size`` of each picture, ``samples`` and ``title``; folder: for what is temporary.

    Raises PbrFitError if a material is no longer what PBRfit made.
    """
    views = render_views(pictures, int(plan["size"]), int(plan["samples"]), folder)
    rows: list[tuple[str, list[Tile]]] = [(plan["title"], views)]
    rows += [(material.name, map_tiles(material)) for material in materials]
    scene = sheet_scene(rows, int(plan["size"]))
    set_output(scene, PNG, path)
    scene.render.image_settings.color_mode = "RGB"
    scene.render.filepath = str(path)
    window = bpy.context.window
    window.scene = scene
    bpy.ops.render.render(write_still=True)


def render_views(pictures: PictureScene, size: int, samples: int, folder: Path) -> list[Tile]:
    """The objects from all sides."""
    pictures.render_with(CYCLES, (size, size), samples, False)
    found = []
    for number, angle in enumerate(ANGLES):
        pictures.turn.rotation_euler = (0.0, 0.0, math.radians(angle))
        path = folder / f"view_{number}.png"
        set_output(pictures.scene, PNG, path)
        pictures.scene.render.image_settings.color_mode = "RGB"
        pictures.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        found.append(Tile(f"{angle:.0f}°", path=path))
    return found


def map_tiles(material: bpy.types.Material) -> list[Tile]:
    """The maps of a new material, one picture for each property that varies; of UDIM tiles the first."""
    decode, found = Decoder(), []
    for name, value in signals_of(material).items():
        if not isinstance(value, ImagePart):
            continue
        tile = value.image.tiles[0].number if value.image.source == "TILED" else 0
        decoded = decode(value.image, tile)
        if value.part in CHANNELS:
            place = min(CHANNELS.index(value.part), decoded.values.shape[-1] - 1)
            shown = np.repeat(decoded.values[..., place, None], 3, axis=-1)
        else:
            shown = decoded.values[..., :3]
            if SIGNALS[name].kind == COLOR and decoded.meaning != Meaning.SRGB:
                shown = srgb_from_linear(shown)
        found.append(Tile(SIGNALS[name].input, np.clip(shown, 0.0, 1.0).astype(np.float32)))
    return found


def sheet_scene(rows: Sequence[tuple[str, list[Tile]]], size: int) -> bpy.types.Scene:
    """A scene that shows headings and the pictures below them. size: of a picture in pixels."""
    scene = bpy.data.scenes.new("PBRfit sheet")
    width = COLUMNS + (COLUMNS + 1) * GAP
    y = -GAP
    for heading, tiles in rows:
        add_text(scene, heading, GAP, y - 0.6 * HEADING, 1.6 * LETTERS)
        y -= HEADING
        for first in range(0, len(tiles), COLUMNS):
            for column, tile in enumerate(tiles[first : first + COLUMNS]):
                x = GAP + column * (1.0 + GAP)
                add_text(scene, tile.title, x, y - 0.6 * LABEL, LETTERS)
                add_picture(scene, tile, x, y - LABEL)
            y -= 1.0 + LABEL + GAP
    height = -y
    camera = bpy.data.objects.new("PBRfit camera", bpy.data.cameras.new("PBRfit camera"))
    camera.data.type, camera.data.ortho_scale = "ORTHO", max(width, height)
    camera.location = (0.5 * width, -0.5 * height, 10.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("PBRfit page")
    if scene.world.node_tree is None:
        scene.world.use_nodes = True
    background = next(node for node in scene.world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = (PAGE, PAGE, PAGE, 1.0)
    render = scene.render
    render.engine, render.resolution_percentage = "CYCLES", 100
    render.resolution_x, render.resolution_y = round(size * width), round(size * height)
    scene.cycles.device, scene.cycles.samples = "CPU", SAMPLES
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    scene.cycles.max_bounces = 0
    scene.view_settings.view_transform = "Standard"
    scene.render.dither_intensity = 0.0
    return scene


def glowing() -> tuple[bpy.types.Material, bpy.types.Node]:
    """A material that shows a color as it is, and the node of this color."""
    material = bpy.data.materials.new("PBRfit page")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material, emission


def add_text(scene: bpy.types.Scene, text: str, x: float, y: float, size: float) -> None:
    """Write a line of text that begins at (x, y)."""
    curve = bpy.data.curves.new("PBRfit text", "FONT")
    curve.body, curve.size = text, size
    material, emission = glowing()
    emission.inputs["Color"].default_value = (INK, INK, INK, 1.0)
    curve.materials.append(material)
    made = bpy.data.objects.new("PBRfit text", curve)
    made.location = (x, y, 0.01)
    scene.collection.objects.link(made)


def add_picture(scene: bpy.types.Scene, tile: Tile, x: float, top: float) -> None:
    """Show a picture in a square whose upper left corner is (x, top)."""
    if tile.values is None:
        image = bpy.data.images.load(str(tile.path))
        width, height = image.size
    else:
        height, width = tile.values.shape[:2]
        image = bpy.data.images.new("PBRfit picture", width, height)
        pixels = np.ones((height, width, 4), np.float32)
        pixels[..., :3] = tile.values[::-1]
        image.pixels.foreach_set(pixels.ravel())
        image.update()
    across, down = (1.0, height / width) if width >= height else (width / height, 1.0)
    mesh = bpy.data.meshes.new("PBRfit picture")
    corners = ((x, top - down), (x + across, top - down), (x + across, top), (x, top))
    mesh.from_pydata([(*corner, 0.0) for corner in corners], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new().uv.foreach_set("vector", (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0))
    material, emission = glowing()
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image, node.extension = image, "EXTEND"
    material.node_tree.links.new(node.outputs["Color"], emission.inputs["Color"])
    mesh.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new("PBRfit picture", mesh))
