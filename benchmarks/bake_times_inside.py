"""Runs in Blender for bake_times.py: builds a look, bakes it by hand, and with the button."""

import importlib
import json
import os
import sys
import time

request = json.loads(sys.argv[-1])
os.environ["BLENDER_USER_RESOURCES"] = request["folder"]

import bpy  # noqa: E402
import numpy as np  # noqa: E402

TRUE_SAMPLES = 64
EXTENSION = "bl_ext.user_default.pbrfit"
CHANNELS = {
    "one image": ("Base Color",),
    "procedural": ("Base Color", "Roughness", "Metallic", "Normal"),
    "all lobes": (
        *("Base Color", "Roughness", "Metallic", "Normal", "Emission Color", "Alpha"),
        *("Coat Weight", "Coat Roughness", "Sheen Weight", "Transmission Weight", "Specular IOR Level", "Anisotropic"),
    ),
}[request["look"]]


def build():
    """A monkey of 31,000 triangles; returns it, its node tree, and the source of each channel."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    thing = bpy.context.object
    levels = thing.modifiers.new("Subdivision", "SUBSURF")
    levels.levels = levels.render_levels = 2
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.01)
    bpy.ops.object.mode_set(mode="OBJECT")
    material = bpy.data.materials.new("Look")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    thing.data.materials.append(material)
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    sources = {}
    for number, name in enumerate(CHANNELS):
        if request["look"] == "one image":
            source = tree.nodes.new("ShaderNodeTexImage")
            source.image = bpy.data.images.new("Picture", request["resolution"], request["resolution"])
            source.image.generated_type = "COLOR_GRID"
        else:
            source = tree.nodes.new("ShaderNodeTexNoise")
            source.inputs["Scale"].default_value = 3.0 + number
        output = source.outputs["Color"]
        if name == "Normal":
            bump = tree.nodes.new("ShaderNodeBump")
            tree.links.new(output, bump.inputs["Height"])
            output = bump.outputs[0]
        tree.links.new(output, shader.inputs[name])
        sources[name] = output
    if "Emission Color" in CHANNELS:
        shader.inputs["Emission Strength"].default_value = 1.0
    return thing, tree, sources


def by_hand(tree, sources):
    """The seconds and processor seconds of one bake for each channel, and the pixels of the base color's."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = request["supersampling"] ** 2
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    output = tree.nodes["Material Output"]
    shader = tree.nodes["Principled BSDF"]
    emission, target = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeTexImage")
    tree.nodes.active = target
    seconds, worked, found = 0.0, 0.0, None
    for name, source in sources.items():
        target.image = bpy.data.images.new(name, request["resolution"], request["resolution"], is_data=name == "Normal")
        if name == "Normal":
            tree.links.new(shader.outputs[0], output.inputs["Surface"])
        else:
            tree.links.new(source, emission.inputs["Color"])
            tree.links.new(emission.outputs[0], output.inputs["Surface"])
        began, before = time.perf_counter(), processor_seconds()
        bpy.ops.object.bake(type="NORMAL" if name == "Normal" else "EMIT", margin=16)
        seconds += time.perf_counter() - began
        worked += processor_seconds() - before
        if name == "Base Color":
            found = stored(target.image)
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    tree.nodes.remove(emission)
    tree.nodes.remove(target)
    return seconds, worked, found


def processor_seconds():
    """What this process and those that it has waited for have used of all cores."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def truth(tree, source):
    """The base color from many points in each texel, as sRGB values [H, W, 3], and where faces are, bool [H, W]."""
    scene = bpy.context.scene
    scene.cycles.samples = TRUE_SAMPLES
    output, shader = tree.nodes["Material Output"], tree.nodes["Principled BSDF"]
    emission, target = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeTexImage")
    tree.nodes.active = target
    size = request["resolution"]
    image = bpy.data.images.new("Truth", size, size, alpha=True, float_buffer=True, is_data=True)
    image.generated_color = (0.0, 0.0, 0.0, 0.0)
    target.image = image
    tree.links.new(source, emission.inputs["Color"])
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    bpy.ops.object.bake(type="EMIT", margin=0, use_clear=False)
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    tree.nodes.remove(emission)
    tree.nodes.remove(target)
    pixels = np.empty(size * size * 4, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(size, size, 4)
    linear = np.clip(pixels[..., :3], 0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1.0 / 2.4) - 0.055)
    return srgb, pixels[..., 3] > 0.5


def stored(image):
    """The values that an image of 8 bits stores, [H, W, 3]."""
    pixels = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(image.size[1], image.size[0], image.channels)[..., :3]


def decibels(values, expected, covered):
    """The PSNR of sRGB values where faces are."""
    return float(-10.0 * np.log10(max(np.square(values - expected)[covered].mean(), 1e-12)))


def click():
    """The seconds from the click until the material is assigned, processor seconds, those by phase, and the base color."""
    bpy.ops.extensions.package_install_files(filepath=request["zip"], repo="user_default", enable_on_install=True)
    settings = bpy.context.scene.pbrfit
    settings.resolution = request["resolution"]
    settings.bake_target = "PRINCIPLED" if request["look"] == "all lobes" else "CORE"
    settings.supersampling = str(request["supersampling"])
    session = importlib.import_module(EXTENSION + ".session.session")
    began, before = time.perf_counter(), processor_seconds()
    bpy.ops.pbrfit.bake_maps()
    current = session.current()
    while not current.poll().finished:
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    assert current.status.state == "done", current.status.message
    base = next(image for image in bpy.data.images if "pbrfit" in image and "Base Color" in image.name)
    return seconds, processor_seconds() - before, dict(current.result.seconds), stored(base)


def main():
    """Time both; the click comes last, since it changes the material."""
    thing, tree, sources = build()
    bpy.context.view_layer.objects.active = thing
    hand, hand_work, by_hand_base = by_hand(tree, sources)
    expected, covered = truth(tree, sources["Base Color"])
    if request["look"] == "one image":  # read at the map's own size: the map should be the image, not its means
        expected = stored(sources["Base Color"].node.image)
    seconds, work, phases, baked_base = click()
    assert np.isfinite([hand, seconds]).all()
    times = {
        "channels": len(CHANNELS),
        "colors": len({"Base Color", "Emission Color"} & set(CHANNELS)),
        "hand": hand,
        "hand_work": hand_work,
        "click": seconds,
        "click_work": work,
        "phases": phases,
        "hand_db": decibels(by_hand_base, expected, covered),
        "click_db": decibels(baked_base, expected, covered),
    }
    print("TIMES " + json.dumps(times), flush=True)
    bpy.ops.preferences.addon_disable(module=EXTENSION)


main()
os._exit(0)  # some versions of Blender hang or crash when Python ends
