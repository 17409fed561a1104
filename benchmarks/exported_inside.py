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
ALL = ("Base Color", "Coat Tint", "Sheen Tint", *LOBES)
ALONE = {
    **{name: (name,) for name in LOBES},
    "Coat Tint": ("Coat Weight", "Coat Tint"),
    "Sheen Tint": ("Sheen Weight", "Sheen Tint"),
}
"""The inputs that noise drives, by the one that is looked at."""
VARNISHED = (
    ("Base Color", (0.12, 0.05, 0.02, 1.0), (0.45, 0.24, 0.1, 1.0)),
    ("Roughness", 0.3, 0.6),
    ("Anisotropic", 0.2, 0.6),
    ("Subsurface Weight", 0.0, 0.3),
    ("Coat Weight", 0.5, 1.0),
    ("Coat Roughness", 0.02, 0.2),
    ("Coat Tint", (1.0, 0.75, 0.4, 1.0), (1.0, 0.95, 0.85, 1.0)),
    ("Sheen Weight", 0.0, 0.3),
    ("Sheen Roughness", 0.3, 0.6),
)
"""Inputs, and between what noise drives them."""
RENDERED = ("glb", "usd", "obj")  # the others of a format hold the same
IMPORTERS = {"glb": "import_scene.gltf", "obj": "wm.obj_import"}
SIZE, SAMPLES, SEED = request["size"], request["samples"], 7


def principled():
    """A new material, its node tree and its Principled BSDF."""
    material = bpy.data.materials.new("Lobes")
    if material.node_tree is None:
        material.use_nodes = True
    return material, material.node_tree, material.node_tree.nodes["Principled BSDF"]


def lobes_material(wanted):
    """A Principled BSDF in which noise drives the base color and each of the wanted inputs of ALL."""
    material, tree, shader = principled()
    for number, name in enumerate(ALL):
        if name not in wanted and name != "Base Color":
            continue
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


def varnished_material():
    """Stained wood under an uneven amber varnish, with dust: as an artist's fuller material is, smooth and without extremes."""
    material, tree, shader = principled()
    for number, (name, low, high) in enumerate(VARNISHED):
        noise, mixed = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeMix")
        noise.inputs["Scale"].default_value = 1.5 + 0.25 * number
        mixed.data_type = "RGBA" if isinstance(low, tuple) else "FLOAT"
        first, second, out = (6, 7, 2) if isinstance(low, tuple) else (2, 3, 0)
        mixed.inputs[first].default_value, mixed.inputs[second].default_value = low, high
        tree.links.new(noise.outputs[0], mixed.inputs[0])
        tree.links.new(mixed.outputs[out], shader.inputs[name])
    return material


def bake(target, material):
    """The demo's scene with a bake for a target; returns the object. material: in place of the demo's, or None."""
    demo = importlib.import_module(EXTENSION + ".command_line.demo_scene")
    suzanne = demo.build_demo_scene()  # which also disables what is installed
    bpy.ops.preferences.addon_enable(module=EXTENSION)
    if material is not None:
        suzanne.material_slots[0].material = material()
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


def export(suzanne, path, key):
    """Press the button; returns the seconds that it took."""
    path.parent.mkdir(exist_ok=True)
    suzanne.hide_set(False)
    bpy.ops.object.select_all(action="DESELECT")
    suzanne.select_set(True)
    bpy.context.view_layer.objects.active = suzanne
    began = time.perf_counter()
    assert bpy.ops.pbrfit.export_model(filepath=str(path), kind=key) == {"FINISHED"}
    return time.perf_counter() - began


def compared(before, path, key, name):
    """The PSNR of what is imported again."""
    again = imported(path, key)
    found = psnr(before, rendered(again, name))
    bpy.data.objects.remove(again)
    return found


def noise_floor(before, suzanne, name):
    """The PSNR of the same scene with other random numbers."""
    global SEED
    SEED += 1
    found = psnr(before, rendered(suzanne, name))
    SEED -= 1
    return found


def write_targets(kinds):
    """All kinds of files for each target."""
    for target in request["targets"]:
        suzanne = bake(target, (lambda: lobes_material(ALL)) if target != "CORE" else None)
        before = rendered(suzanne, f"{target}_before.png")
        if target == request["targets"][0]:
            for_the_viewer(request["folder"])
        rows = []
        for key, kind in kinds.items():
            path = Path(request["folder"], target, f"{key}{kind.suffix}")
            row = {"target": target, "kind": key, "seconds": export(suzanne, path, key), "bytes": path.stat().st_size}
            if key in RENDERED:
                row["psnr_db"] = compared(before, path, key, f"{target}_{key}.png")
            rows.append(row)
        rows[0]["floor_db"] = noise_floor(before, suzanne, f"{target}_floor.png")
        bpy.ops.preferences.addon_disable(module=EXTENSION)
        path = Path(request["folder"], target, "glb.glb")
        rows[0]["without_pbrfit_db"] = compared(before, path, "glb", f"{target}_without.png")
        for row in rows:
            print("ROW " + json.dumps(row), flush=True)


def write_looks():
    """A GLB of each lobe alone, and of a fuller material."""
    looks = {name: (lambda names=names: lobes_material(names)) for name, names in ALONE.items()}
    for look, material in {**looks, "Varnished": varnished_material}.items():
        suzanne = bake("PRINCIPLED", material)
        before = rendered(suzanne, "look_before.png")
        path = Path(request["folder"], "looks", f"{look.replace(' ', '_')}.glb")
        row = {"look": look, "seconds": export(suzanne, path, "glb"), "bytes": path.stat().st_size}
        row["psnr_db"] = compared(before, path, "glb", "look_after.png")
        row["floor_db"] = noise_floor(before, suzanne, "look_floor.png")
        bpy.ops.preferences.addon_disable(module=EXTENSION)
        row["without_pbrfit_db"] = compared(before, path, "glb", "look_without.png")
        print("LOOK " + json.dumps(row), flush=True)


def main():
    """Bake and export for each target, and then the looks."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=request["zip"], repo="user_default", enable_on_install=True)
    write_targets(importlib.import_module(EXTENSION + ".protocol.model_kinds").KINDS)
    write_looks()


main()
os._exit(0)  # some versions of Blender hang or crash when Python ends
