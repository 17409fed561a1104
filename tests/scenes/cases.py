"""Inputs that went wrong, made by us: each saves one file, and beside it the right base color where there is one.

    python tests/scenes/cases.py NAME OUT.blend

`expected_kd.npy` is float32 [256, 256, 3], sRGB 0..1, row 0 at the top. The object is "Thing" where OBJECTS has no other
name for a case. What each case is about stands in docs/cases.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, this folder alone is on the path

from scenes.parts import (
    FLAT,
    add_nodes,
    flat_pixels,
    forest,
    grid,
    grid_pixels,
    image_of,
    image_world,
    nodes_of,
    painted,
    shipped_hdri,
    sphere,
    textured,
)

OBJECTS = {"foreign_names": "Dückdalben 物"}
Pixels = NDArray[np.float32]


def grid_sphere() -> Pixels:
    """A sphere with a grid of known colors, and what they are."""
    pixels = grid_pixels()
    textured(sphere(), image_of(pixels))
    return pixels


def other_colors(_out: Path) -> Pixels:
    """Nothing special: for a Blender whose OCIO configuration is not its own."""
    pixels = grid_sphere()
    forest()
    return pixels


def world_png_alpha(out: Path) -> Pixels:
    """A world from a PNG whose alpha is a half: Cycles' light has the color times the alpha."""
    pixels = grid_sphere()
    light = np.full((64, 128, 4), 0.5, np.float32)
    light[:, :, 0] = np.linspace(0.4, 1.0, 128)
    light[:, :, 3] = np.linspace(0.3, 0.7, 64)[:, None]
    image = image_of(light, "Backdrop")
    image.filepath_raw, image.file_format = str(out.with_name("backdrop.png")), "PNG"
    image.save()
    image_world(bpy.data.images.load(str(out.with_name("backdrop.png"))))
    return pixels


def world_by_ray(_out: Path) -> Pixels:
    """A world that lights diffuse surfaces in another way than it is mirrored: red for diffuse rays."""
    pixels = grid_sphere()
    tree = nodes_of(forest())
    path, mix = tree.nodes.new("ShaderNodeLightPath"), tree.nodes.new("ShaderNodeMixRGB")
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    texture = next(node for node in tree.nodes if node.type == "TEX_ENVIRONMENT")
    mix.inputs[2].default_value = (0.8, 0.2, 0.2, 1.0)
    tree.links.new(path.outputs["Is Diffuse Ray"], mix.inputs[0])
    tree.links.new(texture.outputs["Color"], mix.inputs[1])
    tree.links.new(mix.outputs[0], background.inputs["Color"])
    return pixels


def foreign_names(_out: Path) -> Pixels:
    """Names outside ASCII: of the object, the material, the scene, the image and the world."""
    pixels = grid_pixels()
    thing = sphere(OBJECTS["foreign_names"])
    textured(thing, image_of(pixels, "Gewölk 雲"), "Rost ржавчина")
    bpy.context.scene.name = "Ünder Wasser 水"
    forest().name = "Wäldchen 森"
    return pixels


def other_scene(_out: Path) -> Pixels:
    """The object is in a scene with its own world, and the file is saved with an empty scene in the window."""
    pixels = grid_sphere()
    forest()
    second = bpy.data.scenes.new("Empty Stage")
    second.world = bpy.data.worlds.new("Night")
    bpy.context.window.scene = second
    return pixels


def cloth_cache(out: Path) -> Pixels:
    """A cloth that fell over a ball, baked to a disk cache beside the file; the frame is the last of it."""
    pixels = grid_pixels()
    sheet = grid(cuts=20)
    textured(sheet, image_of(pixels))
    sheet.location.z = 0.6
    ball = sphere("Ball")
    ball.scale = (0.5, 0.5, 0.5)
    ball.modifiers.new("Collision", "COLLISION")
    scene = bpy.context.scene
    scene.frame_end = 25
    cache = sheet.modifiers.new("Cloth", "CLOTH").point_cache
    cache.frame_end = 25
    forest()
    save(out)
    cache.use_disk_cache = True
    with bpy.context.temp_override(scene=scene, active_object=sheet, object=sheet, point_cache=cache):
        bpy.ops.ptcache.bake(bake=True)
    scene.frame_set(25)
    return pixels


def baked_nodes(out: Path) -> Pixels:
    """Geometry nodes with a bake on disk beside the file: it holds a wide sphere, of which the nodes alone make a narrow one."""
    pixels = grid_sphere()
    thing = bpy.context.object

    def build(tree, start, end) -> None:
        resize, bake = tree.nodes.new("GeometryNodeTransform"), tree.nodes.new("GeometryNodeBake")
        resize.name = "Resize"
        if not bake.bake_items:  # Blender 5.2 begins with none
            bake.bake_items.new("GEOMETRY", "Geometry")
        resize.inputs["Scale"].default_value = (1.6, 1.6, 0.8)
        tree.links.new(start, resize.inputs["Geometry"])
        tree.links.new(resize.outputs["Geometry"], bake.inputs[0])
        tree.links.new(bake.outputs[0], end)

    modifier = add_nodes(thing, "Baked", build)
    forest()
    save(out)
    bake = modifier.bakes[0]
    bake.bake_mode = "STILL"
    if hasattr(bake, "bake_target"):
        bake.bake_target = "DISK"
    bpy.ops.object.geometry_node_bake_single(
        session_uid=thing.session_uid, modifier_name=modifier.name, bake_id=bake.bake_id
    )
    modifier.node_group.nodes["Resize"].inputs["Scale"].default_value = (0.4, 0.4, 1.0)
    return pixels


def muted_missing(_out: Path) -> Pixels:
    """Images without files that nothing shows: of a muted node, and in the material of a slot without faces."""
    pixels = grid_sphere()
    thing = bpy.context.object
    gone = bpy.data.images.new("gone", 8, 8)
    gone.source, gone.filepath = "FILE", "//textures/gone.png"
    tree = nodes_of(thing.material_slots[0].material)
    texture, mix = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeMixRGB")
    texture.image, mix.mute = gone, True
    shader = tree.nodes["Principled BSDF"]
    tree.links.new(shader.inputs["Base Color"].links[0].from_socket, mix.inputs[1])
    tree.links.new(texture.outputs["Color"], mix.inputs[2])
    tree.links.new(mix.outputs[0], shader.inputs["Base Color"])
    textured(thing, gone, "Unused")
    forest()
    return pixels


def scene_driver(_out: Path) -> Pixels:
    """A base color that a driver takes from a property of the scene, and a height that another one takes."""
    thing = sphere()
    material = painted(thing, color=(0.9, 0.9, 0.9))
    scene = bpy.context.scene
    scene["tint"] = list(FLAT)
    scene["height"] = 2.0
    socket = nodes_of(material).nodes["Principled BSDF"].inputs["Base Color"]
    targets = [(socket.driver_add("default_value", axis), f'["tint"][{axis}]') for axis in range(3)]
    for curve, path in [*targets, (thing.driver_add("scale", 2), '["height"]')]:
        variable = curve.driver.variables.new()
        variable.type = "CONTEXT_PROP"
        variable.targets[0].context_property = "ACTIVE_SCENE"
        variable.targets[0].data_path = path
        curve.driver.type = "SUM"
    forest()
    return flat_pixels(FLAT)


def linked_slot_names(out: Path) -> Pixels:
    """The object's material bears the name of one that is linked from a library and in another object."""
    library = out.with_name("library.blend")
    other = sphere("Other")
    painted(other, "Paint", (0.7, 0.02, 0.02))
    bpy.data.libraries.write(str(library), {other})
    bpy.data.batch_remove([*bpy.data.objects, *bpy.data.meshes, *bpy.data.materials])
    with bpy.data.libraries.load(str(library), link=True) as (_, linked):
        linked.objects = ["Other"]
    bpy.context.scene.collection.objects.link(bpy.data.objects["Other"])
    thing = sphere()
    thing.location.x = 4.0
    painted(thing, "Paint")
    forest()
    return flat_pixels(FLAT)


def studio_world(_out: Path) -> Pixels:
    """A white-walled studio of another HDRI: a plain case that was always right."""
    pixels = grid_sphere()
    image_world(shipped_hdri("studio"))
    return pixels


CASES: dict[str, Callable[[Path], Pixels]] = {
    case.__name__: case
    for case in (
        other_colors,
        world_png_alpha,
        world_by_ray,
        foreign_names,
        other_scene,
        cloth_cache,
        baked_nodes,
        muted_missing,
        scene_driver,
        linked_slot_names,
        studio_world,
    )
}


def save(out: Path) -> None:
    """Save the open file; caches lie beside it from then on."""
    bpy.ops.wm.save_as_mainfile(filepath=str(out), check_existing=False)


if __name__ == "__main__":
    target = Path(sys.argv[2]).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    expected = CASES[sys.argv[1]](target)
    np.save(target.with_name("expected_kd.npy"), expected[::-1, :, :3])
    save(target)
    sys.stdout.flush()
    os._exit(0)  # some versions of Blender hang or crash when Python ends
