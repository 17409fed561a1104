"""Runs in Blender for exported.py: bakes the demo's object, exports it, imports it again, and renders both with Cycles."""

import importlib
import json
import os
import sys
import time
from pathlib import Path

request = json.loads(sys.argv[-1])
os.environ["BLENDER_USER_RESOURCES"] = request["user"]

import bpy  # noqa: E402
import numpy as np  # noqa: E402
from mathutils import Vector  # noqa: E402

EXTENSION = "bl_ext.user_default.pbrfit"
LOBES = (
    "Coat Weight",
    "Sheen Weight",
    "Transmission Weight",
    "Specular IOR Level",
    "Anisotropic",
    "Roughness",
    "Metallic",
)
RENDERED = ("glb", "usd", "obj")  # the others of a format hold the same
IMPORTERS = {"glb": "import_scene.gltf", "obj": "wm.obj_import"}
SIZE, SAMPLES, SEED = request["size"], request["samples"], 7


def lobes_material():
    """A Principled BSDF in which noise drives each of the lobes that the fuller targets keep."""
    material = bpy.data.materials.new("Lobes")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    for number, name in enumerate(("Base Color", "Coat Tint", "Sheen Tint", *LOBES)):
        noise = tree.nodes.new("ShaderNodeTexNoise")
        noise.inputs["Scale"].default_value = 2.0 + 0.5 * number
        if name in LOBES:
            scaled = tree.nodes.new("ShaderNodeMath")
            scaled.operation, scaled.inputs[1].default_value = "MULTIPLY", 0.6
            tree.links.new(noise.outputs[0], scaled.inputs[0])
            tree.links.new(scaled.outputs[0], shader.inputs[name])
        else:
            tree.links.new(noise.outputs["Color"], shader.inputs[name])
    return material


def bake(target):
    """The demo's scene with a bake for a target; returns the object."""
    demo = importlib.import_module(EXTENSION + ".command_line.demo_scene")
    suzanne = demo.build_demo_scene()  # which also disables what is installed
    bpy.ops.preferences.addon_enable(module=EXTENSION)
    if target != "CORE":
        suzanne.material_slots[0].material = lobes_material()
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.bake_target, settings.use_occlusion = request["resolution"], target, True
    session = importlib.import_module(EXTENSION + ".session.session")
    bpy.ops.pbrfit.bake_maps()
    current = session.current()
    while not current.poll().finished:
        time.sleep(0.02)
    assert current.status.state == "done", current.status.message
    return suzanne


def rendered(thing, name):
    """The object alone: sRGB with alpha, [h, w, 4], row 0 at the bottom."""
    scene = bpy.context.scene
    for item in scene.objects:
        item.hide_render = item.type != "CAMERA" and item != thing
    scene.render.engine, scene.cycles.device, scene.cycles.samples, scene.cycles.seed = "CYCLES", "CPU", SAMPLES, SEED
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.film_transparent, scene.render.dither_intensity = True, 0.0
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format, scene.render.image_settings.color_depth = "PNG", "16"
    path = str(Path(request["folder"], name))
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(path)
    values = np.array(image.pixels[:], np.float64).reshape(SIZE, SIZE, 4)
    bpy.data.images.remove(image)
    return values


def psnr(first, second):
    """Of the pixels that show the object in both."""
    inside = (first[..., 3] == 1.0) & (second[..., 3] == 1.0)
    return float(-10.0 * np.log10(max(1e-12, np.mean((first - second)[inside][:, :3] ** 2))))


def imported(path, kind):
    """What Blender's importer makes of a file; of OBJ with its numbers as numbers, which the importer takes for colors."""
    before = set(bpy.data.objects)
    module, name = IMPORTERS.get(kind, "wm.usd_import").split(".")
    getattr(getattr(bpy.ops, module), name)(filepath=str(path))
    found = next(item for item in set(bpy.data.objects) - before if item.type == "MESH")
    for node in found.active_material.node_tree.nodes if kind == "obj" else ():
        if node.bl_idname == "ShaderNodeTexImage" and "diffuseColor" not in node.image.filepath:
            node.image.colorspace_settings.name = "Non-Color"
    return found


def for_the_viewer(folder):
    """What a viewer on the web needs to show the same: the camera, in glTF's axes, and the light."""
    scene = bpy.context.scene
    camera = scene.camera
    place, ahead = camera.matrix_world.translation, camera.matrix_world.to_quaternion() @ Vector((0.0, 0.0, -1.0))
    world = next(node for node in scene.world.node_tree.nodes if node.bl_idname == "ShaderNodeTexEnvironment")
    pixels = np.array(world.image.pixels[:], np.float32).reshape(world.image.size[1], world.image.size[0], 4)
    pixels.tofile(Path(folder, "light.bin"))

    def turned(vector):
        return [vector.x, vector.z, -vector.y]

    view = {
        "position": turned(place),
        "target": turned(place + ahead),
        "fov": np.degrees(camera.data.angle_y if camera.data.sensor_fit == "VERTICAL" else camera.data.angle),
        "size": SIZE,
        "light": [world.image.size[0], world.image.size[1]],
    }
    Path(folder, "view.json").write_text(json.dumps(view))


def main():
    """Bake and export for each target."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=request["zip"], repo="user_default", enable_on_install=True)
    kinds = importlib.import_module(EXTENSION + ".protocol.model_kinds").KINDS
    rows = []
    for target in request["targets"]:
        suzanne = bake(target)
        before = rendered(suzanne, f"{target}_before.png")
        if target == request["targets"][0]:
            for_the_viewer(request["folder"])
        for key, kind in kinds.items():
            path = Path(request["folder"], target, f"{key}{kind.suffix}")
            path.parent.mkdir(exist_ok=True)
            suzanne.hide_set(False)
            bpy.ops.object.select_all(action="DESELECT")
            suzanne.select_set(True)
            bpy.context.view_layer.objects.active = suzanne
            began = time.perf_counter()
            assert bpy.ops.pbrfit.export_model(filepath=str(path), kind=key) == {"FINISHED"}
            row = {"target": target, "kind": key, "seconds": time.perf_counter() - began, "bytes": path.stat().st_size}
            if key in RENDERED:
                again = imported(path, key)
                row["psnr_db"] = psnr(before, rendered(again, f"{target}_{key}.png"))
                bpy.data.objects.remove(again)
            rows.append(row)
            print("ROW " + json.dumps(row), flush=True)
    bpy.ops.preferences.addon_disable(module=EXTENSION)


main()
os._exit(0)  # some versions of Blender hang or crash when Python ends
