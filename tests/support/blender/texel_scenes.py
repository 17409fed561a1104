"""Objects whose UV maps are not one square without overlaps, with smooth images; and Cycles renders of them, without PBRfit."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path

import bpy
import numpy as np
from looks.equality import coded, corrected_db, set_up
from looks.seen_values import aim
from mathutils import Vector
from support.blender.exr_passes import read_passes, write_passes
from support.blender.scenes import hdri_world
from support.blender.shader_trees import Tree

__all__ = ["coded", "corrected_db"]

IMAGE_SIZE = 128
SIZE, SAMPLES = 128, 24
DIRECTIONS = ((0.5, -1.0, 0.9), (-0.8, 0.4, 1.2), (-0.6, -0.7, 0.3))
SEEDS = (1, 2)


def smooth(seed: int, channels: int = 3, waves: int = 4) -> np.ndarray:
    """Smooth random numbers of 0.1 to 0.9 on a map that repeats, float64 [S, S, channels]."""
    generator = np.random.default_rng(seed)
    v, u = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE] / IMAGE_SIZE * 2.0 * math.pi
    total = np.zeros((IMAGE_SIZE, IMAGE_SIZE, channels))
    for channel in range(channels):
        for _ in range(6):
            across, up = generator.integers(-waves, waves + 1, 2)
            total[..., channel] += np.sin(across * u + up * v + generator.random() * 7.0)
    low, high = total.min(axis=(0, 1)), total.max(axis=(0, 1))
    return 0.1 + 0.8 * (total - low) / (high - low)


def bumps(seed: int) -> np.ndarray:
    """A normal map of smooth bumps, float64 [S, S, 3], row 0 at the bottom as Blender has it."""
    height = smooth(seed, 1)[..., 0] * 4.0
    right = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) / 2.0
    up = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) / 2.0
    normals = np.stack([-right, -up, np.full_like(height, 0.35)], axis=-1)
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True) * 0.5 + 0.5


def image(name: str, values: np.ndarray, is_data: bool) -> bpy.types.Image:
    """A packed image."""
    made = bpy.data.images.new(name, IMAGE_SIZE, IMAGE_SIZE, is_data=is_data)
    pixels = np.ones((IMAGE_SIZE, IMAGE_SIZE, 4), np.float32)
    pixels[..., :3] = values
    made.pixels.foreach_set(pixels.ravel())
    made.pack()
    return made


def textured(name: str, seed: int, color: bpy.types.Image | None = None) -> bpy.types.Material:
    """A material with images as base color, roughness and bumps, through the UV map that renders use."""
    tree = Tree()
    tree.material.name = name
    picture, gloss, bump = (tree.new("TexImage") for _ in range(3))
    picture.image = color or image(f"{name} color", smooth(seed), False)
    gloss.image = image(f"{name} roughness", smooth(seed + 1000, 1).repeat(3, axis=-1), True)
    bump.image = image(f"{name} normal", bumps(seed + 2000), True)
    tree.link(picture, tree.shader, "Base Color")
    split = tree.link(gloss, tree.new("SeparateColor"), 0)
    tree.link(split, tree.shader, "Roughness")
    raised = tree.new("NormalMap")
    tree.link(bump, raised, "Color")
    tree.link(raised, tree.shader, "Normal")
    return tree.material


def patch(name: str, location: tuple, material: bpy.types.Material, scale: float = 1.0) -> bpy.types.Object:
    """A bulged square whose UV map is the whole map."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=12, y_subdivisions=12, size=2.0)
    thing = bpy.context.object
    thing.name = name
    for vertex in thing.data.vertices:
        x, y, _ = vertex.co
        vertex.co = (x * scale, y * scale, scale * 0.5 * (1.0 - 0.5 * (x * x + y * y)))
    thing.data.shade_smooth()
    thing.location = location
    thing.data.materials.append(material)
    return thing


def select(things: Iterable[bpy.types.Object]) -> None:
    """Select these alone, the first one active."""
    things = list(things)
    for item in bpy.context.view_layer.objects:
        item.select_set(item in things)
    bpy.context.view_layer.objects.active = things[0]
    bpy.context.view_layer.update()


def slots_object(count: int = 5) -> bpy.types.Object:
    """One object of several squares, each with a slot of its own and the whole UV map."""
    parts = [
        patch(f"Part {number}", (2.2 * (number % 3), 2.2 * (number // 3), 0.0), textured(f"Look {number}", number))
        for number in range(count)
    ]
    select(parts)
    bpy.ops.object.join()
    thing = bpy.context.object
    thing.name = "Slots"
    return thing


def three_objects() -> list[bpy.types.Object]:
    """Three objects of different sizes, each with its own material and the whole UV map."""
    parts = [
        patch(
            f"Part {number}", (2.6 * number, 0.5 * number, 0.2 * number), textured(f"Look {number}", 20 + number), size
        )
        for number, size in enumerate((1.0, 0.7, 1.2))
    ]
    select(parts)
    return parts


def mirrored_object() -> bpy.types.Object:
    """A bulge whose halves share one UV island: right way round for x > 0, mirrored for x < 0."""
    thing = patch("Mirrored", (0.0, 0.0, 0.0), textured("Shared", 40))
    mesh = thing.data
    for loop in mesh.loops:
        x, y, _ = mesh.vertices[loop.vertex_index].co
        mesh.uv_layers.active.uv[loop.index].vector = (0.06 + 0.88 * abs(x), 0.06 + 0.44 * (y + 1.0))
    select([thing])
    return thing


def udim_object(folder: Path) -> bpy.types.Object:
    """One object of four squares in the tiles 1001, 1002, 1011 and 1012, with one material of an image of four tiles."""
    tiles = (1001, 1002, 1011, 1012)
    for number, tile in enumerate(tiles):
        made = image(f"tile {tile}", smooth(60 + number), False)
        made.filepath_raw, made.file_format = str(folder / f"color.{tile}.png"), "PNG"
        made.save()
        bpy.data.images.remove(made)
    color = bpy.data.images.load(str(folder / "color.1001.png"))
    color.source = "TILED"
    for tile in tiles[1:]:
        color.tiles.new(tile_number=tile)
    color.filepath_raw = str(folder / "color.<UDIM>.png")
    material = textured("Tiles", 70, color)
    parts = []
    for number, tile in enumerate(tiles):
        parts.append(patch(f"Part {tile}", (2.2 * (number % 2), 2.2 * (number // 2), 0.0), material))
        for corner in parts[-1].data.uv_layers.active.uv:
            corner.vector = Vector(corner.vector) * 0.98 + Vector((0.01 + number % 2, 0.01 + number // 2))
    select(parts)
    bpy.ops.object.join()
    thing = bpy.context.object
    thing.name = "Tiles"
    return thing


def rendered(things: list[bpy.types.Object], samples: int = SAMPLES) -> np.ndarray:
    """Objects alone in an HDRI, as they are now, by Cycles: float64 [seeds, views, S, S, 4]."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    engine, world = scene.render.engine, scene.world
    set_up(scene, layer, SIZE, samples)
    hdri_world()
    camera = bpy.data.objects.new("Judge", bpy.data.cameras.new("Judge"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    layer.update()
    corners = [thing.matrix_world @ Vector(corner) for thing in things for corner in thing.bound_box]
    center = sum(corners, Vector()) / len(corners)
    radius = max((corner - center).length for corner in corners)
    camera.data.type, camera.data.ortho_scale, camera.data.clip_end = "ORTHO", 2.0 * radius, 10.0 * radius
    images = []
    with tempfile.TemporaryDirectory(prefix="texels_") as folder:
        path = Path(folder) / "render.exr"
        write_passes(path)
        for seed in SEEDS:
            for number, direction in enumerate(DIRECTIONS):
                scene.cycles.seed = 10 * seed + number
                aim(camera, center, radius, Vector(direction))
                bpy.ops.render.render(write_still=True)
                images.append(read_passes(path)["Combined"].astype(np.float64))
    bpy.data.objects.remove(camera)
    scene.render.engine, scene.world = engine, world
    return np.stack(images).reshape(len(SEEDS), -1, *images[0].shape)
