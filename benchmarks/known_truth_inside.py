"""Runs in Blender for known_truth.py: builds a scene, saves it, opens the file again and says what is in it.

    python known_truth_inside.py request.json

The request has `blend` (the file to write), `scene` (npz: `base_color`, `roughness`, `metallic`, and for a shape of our own
`positions`, `triangles`, `uv`, `smooth`), `hdri` (an image for the world, or null: the startup scene stays as it is), `object`
and `output`: an npz with the maps as Blender reads them back, and for each texel `area`, float64 [R, R], of the surface in it
(0 where no face has its center), and `seen`, bool [R, R]. Row 0 is at the top.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("BLENDER_USER_RESOURCES", str(Path(sys.argv[-1]).absolute().parent / "blender"))

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

VIEWS = 120
VIEWS_NEEDED = 3
"""A texel counts as seen if so many of the views see it, at a cosine of at least LEAST_FACING."""
LEAST_FACING = 0.2
DISTANCE = 3.0  # of the views, in radii of the object
COLOR, SURFACE = "Known base color", "Known roughness and metallic"


# Building -----------------------------------------------------------------------------------------------------------


def build(request: dict[str, Any], known: Any) -> None:
    """Write the .blend."""
    if "positions" in known:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        thing = new_object(request["object"], known)
    else:
        bpy.ops.wm.read_homefile(use_factory_startup=True)
        thing = bpy.data.objects[request["object"]]
        if request["hdri"]:
            bpy.data.objects.remove(bpy.data.objects["Light"])
    thing.data.materials.clear()
    thing.data.materials.append(new_material(known))
    if request["hdri"]:
        light_by(request["hdri"])
    bpy.ops.wm.save_as_mainfile(filepath=request["blend"], check_existing=False)


def new_object(name: str, known: Any) -> bpy.types.Object:
    """A mesh object of the scene."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(known["positions"].tolist(), [], known["triangles"].tolist())
    layer = mesh.uv_layers.new(name="UVMap")
    layer.uv.foreach_set("vector", known["uv"].astype(np.float32).ravel())
    mesh.polygons.foreach_set("use_smooth", np.full(len(mesh.polygons), bool(known["smooth"])))
    if mesh.validate():
        raise ValueError(f"{name}: Blender has corrected the mesh")
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def new_material(known: Any) -> bpy.types.Material:
    """A Principled BSDF with the maps; all else is at its default."""
    material = bpy.data.materials.new("Known")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    color, surface = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeTexImage")
    # glTF's arrangement: roughness is green, metallic is blue.
    packed = np.stack([np.full_like(known["roughness"], 255), known["roughness"], known["metallic"]], -1)
    color.image, surface.image = new_image(COLOR, known["base_color"], "sRGB"), new_image(SURFACE, packed, "Non-Color")
    parts = tree.nodes.new("ShaderNodeSeparateColor")
    tree.links.new(color.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(surface.outputs["Color"], parts.inputs["Color"])
    tree.links.new(parts.outputs["Green"], shader.inputs["Roughness"])
    tree.links.new(parts.outputs["Blue"], shader.inputs["Metallic"])
    return material


def new_image(name: str, codes: NDArray[np.uint8], space: str) -> bpy.types.Image:
    """A packed 8-bit image of these codes [R, R, 3], row 0 at the top."""
    image = bpy.data.images.new(name, codes.shape[1], codes.shape[0], alpha=False)
    image.colorspace_settings.name = space  # before the pixels, which it would blank
    pixels = np.ones((*codes.shape[:2], 4), np.float32)
    pixels[..., :3] = codes[::-1] / 255.0  # Blender begins at the bottom
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    image.pack()
    return image


def light_by(path: str) -> None:
    """A world of an equirectangular image, packed."""
    world = bpy.data.worlds.new("Known light")
    if bpy.app.version < (5, 0, 0):
        world.use_nodes = True
    tree = world.node_tree
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = bpy.data.images.load(path)
    texture.image.pack()
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    bpy.context.scene.world = world


# Reading ------------------------------------------------------------------------------------------------------------


def codes_of(name: str) -> NDArray[np.uint8]:
    """What an image of the open file holds, [R, R, 3], row 0 at the top."""
    image = bpy.data.images[name]
    pixels = np.empty((image.size[1], image.size[0], 4), np.float32)
    image.pixels.foreach_get(pixels.ravel())
    codes: NDArray[np.uint8] = np.rint(pixels[::-1, :, :3] * 255.0).astype(np.uint8)
    return codes


def triangles_of(thing: bpy.types.Object) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the object's triangles, in the world [T, 3, 3] and in the UV map [T, 3, 2]."""
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    mesh.calc_loop_triangles()
    matrix = np.array(evaluated.matrix_world)
    places = np.array([vertex.co[:] for vertex in mesh.vertices]) @ matrix[:3, :3].T + matrix[:3, 3]
    uv = np.array([item.vector[:] for item in mesh.uv_layers.active.uv])
    vertices = np.array([triangle.vertices[:] for triangle in mesh.loop_triangles])
    loops = np.array([triangle.loops[:] for triangle in mesh.loop_triangles])
    evaluated.to_mesh_clear()
    return places[vertices], uv[loops]


def texels_of(uv: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which triangle has the center of each texel, int64 [size, size] (-1: none), and with which barycentric coordinates,
    [size, size, 3]. Raises ValueError where charts overlap."""
    owner, where = np.full((size, size), -1), np.zeros((size, size, 3))
    for number, corners in enumerate(uv * size):
        low = np.floor(corners.min(0)).astype(int).clip(0, size)
        high = np.ceil(corners.max(0)).astype(int).clip(0, size)
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        points = np.stack([x, y], -1) + 0.5
        area = cross(corners[1] - corners[0], corners[2] - corners[0])
        if abs(area) < 1e-9 or not points.size:
            continue
        sides = [cross(corners[(i + 2) % 3] - corners[(i + 1) % 3], points - corners[(i + 1) % 3]) for i in range(3)]
        parts = np.stack(sides, -1) / area
        inside = parts.min(-1) >= 0.0
        rows, columns = size - 1 - y[inside], x[inside]
        if ((owner[rows, columns] >= 0) & (parts[inside].min(-1) > 1e-5) & (where[rows, columns].min(-1) > 1e-5)).any():
            raise ValueError("the UV map overlaps itself")
        owner[rows, columns], where[rows, columns] = number, parts[inside]
    return owner, where


def cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The third component of the cross product of vectors in the plane, [..., 2] each."""
    third: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return third


def directions(count: int) -> NDArray[np.float64]:
    """Evenly spread unit vectors [count, 3]."""
    up = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    turn = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0))
    return np.stack([np.sqrt(1.0 - up * up) * np.cos(turn), np.sqrt(1.0 - up * up) * np.sin(turn), up], -1)


def views_of(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cameras all around the object, [VIEWS, 3]."""
    points = corners.reshape(-1, 3)
    center = (points.min(0) + points.max(0)) / 2.0
    eyes: NDArray[np.float64] = center + DISTANCE * np.linalg.norm(points - center, axis=1).max() * directions(VIEWS)
    return eyes


def seen(corners: NDArray[np.float64], points: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points [N, 3] of the surface enough views see, by ray casts. normals: of the faces, unit vectors [N, 3]."""
    tree = BVHTree.FromPolygons(
        corners.reshape(-1, 3).tolist(), np.arange(corners.shape[0] * 3).reshape(-1, 3).tolist()
    )
    eyes = views_of(corners)
    size = np.ptp(corners.reshape(-1, 3), axis=0).max()
    found = np.zeros(len(points), bool)
    for number, (point, normal) in enumerate(zip(points + 1e-4 * size * normals, normals, strict=True)):
        towards = eyes - point
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        count = 0
        for direction in towards[towards @ normal >= LEAST_FACING]:
            if tree.ray_cast(Vector(point), Vector(direction))[0] is None:
                count += 1
                if count == VIEWS_NEEDED:
                    found[number] = True
                    break
    return found


def read(request: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """What the saved file has."""
    bpy.ops.wm.open_mainfile(filepath=request["blend"], load_ui=False)
    color, surface = codes_of(COLOR), codes_of(SURFACE)
    corners, uv = triangles_of(bpy.data.objects[request["object"]])
    size = len(color)
    owner, where = texels_of(uv, size)
    covered = owner >= 0
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(across, axis=1)
    in_texels = np.abs(cross(uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0])) * size * size
    area, visible = np.zeros((size, size)), np.zeros((size, size), bool)
    mine = owner[covered]
    area[covered] = doubled[mine] / in_texels[mine]
    points = (corners[mine] * where[covered][..., None]).sum(1)
    visible[covered] = seen(corners, points, across[mine] / doubled[mine][:, None])
    maps = {"base_color": color, "roughness": surface[..., 1], "metallic": surface[..., 2]}
    return {**maps, "area": area, "seen": visible}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(asked["scene"]) as content:
        build(asked, dict(content))
    np.savez(asked["output"], **read(asked))
    sys.stdout.flush()
    os._exit(0)  # some versions of Blender hang or crash when Python ends
