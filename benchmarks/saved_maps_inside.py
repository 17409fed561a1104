"""Runs in Blender for saved_maps.py: bakes a monkey, and saves its maps in several layouts."""

import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

request = json.loads(sys.argv[-1])
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(dir=request["folder"])

import bpy  # noqa: E402

EXTENSION = "bl_ext.user_default.pbrfit"
# Of the noise, by input: finer than a texel, so that the files are as large as those of scanned things.
SCALES = {"Base Color": 900.0, "Roughness": 1500.0, "Metallic": 3.0, "Normal": 700.0}


def build():
    """A monkey with a UV map and a grainy material."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    thing = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.01)
    bpy.ops.object.mode_set(mode="OBJECT")
    material = bpy.data.materials.new("Grain")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    thing.data.materials.append(material)
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    for name, scale in SCALES.items():
        noise = tree.nodes.new("ShaderNodeTexNoise")
        noise.inputs["Scale"].default_value = scale
        source = noise.outputs["Color"]
        if name == "Normal":
            bump = tree.nodes.new("ShaderNodeBump")
            bump.inputs["Strength"].default_value = 0.3
            tree.links.new(source, bump.inputs["Height"])
            source = bump.outputs[0]
        tree.links.new(source, shader.inputs[name])


def bake():
    """Click Bake Maps, and wait."""
    bpy.ops.extensions.package_install_files(filepath=request["zip"], repo="user_default", enable_on_install=True)
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.supersampling = request["resolution"], "1"
    session = importlib.import_module(EXTENSION + ".session.session")
    bpy.ops.pbrfit.bake_maps()
    current = session.current()
    while not current.poll().finished:
        time.sleep(0.02)
    assert current.status.state == "done", current.status.message


def processor_seconds():
    """What this process has used of all cores."""
    used = os.times()
    return used.user + used.system


def save(layout):
    """Seconds and processor seconds of one click, and how many files of how many bytes it wrote."""
    folder = Path(tempfile.mkdtemp(dir=request["folder"]))
    bpy.context.scene.pbrfit_output.layout = layout
    began, before = time.perf_counter(), processor_seconds()
    assert bpy.ops.pbrfit.save_maps(directory=str(folder)) == {"FINISHED"}
    seconds, worked = time.perf_counter() - began, processor_seconds() - before
    files = list(folder.iterdir())
    sizes = [file.stat().st_size for file in files]
    for file in files:
        file.unlink()
    return seconds, worked, len(files), sum(sizes)


def main():
    """Time all layouts."""
    build()
    bake()
    rows = []
    for layout in request["layouts"]:
        runs = [save(layout) for _ in range(request["repeat"])]
        rows.append(
            {
                "layout": layout,
                "files": runs[0][2],
                "megabytes": round(runs[0][3] / 1e6, 1),
                "seconds": round(statistics.median(run[0] for run in runs), 2),
                "processor_seconds": round(statistics.median(run[1] for run in runs), 2),
            }
        )
    print("TIMES " + json.dumps(rows), flush=True)
    bpy.ops.preferences.addon_disable(module=EXTENSION)


main()
os._exit(0)  # some versions of Blender hang or crash when Python ends
