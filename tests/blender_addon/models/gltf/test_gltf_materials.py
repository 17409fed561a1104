"""Materials with more than the core in glTF files: what the files say, what Blender's importer makes of it with and without the
add-on, and that the format's own validator finds nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.blender.assigning import png, run
from support.blender.drawn_panel import Context, Drawn, Layout
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")
SIZE = 16
KHR = "KHR_materials_"
EXTRAS = "pbrfit_principled"
ACROSS, DOWN = np.meshgrid(*[np.linspace(0.1, 0.9, SIZE)] * 2)
COLOR = np.stack([ACROSS, DOWN, 1.0 - ACROSS], -1)
NODE_MODULES = os.environ.get("PBRFIT_NODE_MODULES", "")
VALIDATOR = """
const validator = require(process.argv[1] + "/gltf-validator"), fs = require("fs"), path = require("path");
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])), {
  externalResourceFunction: uri => Promise.resolve(
    new Uint8Array(fs.readFileSync(path.join(path.dirname(process.argv[2]), decodeURIComponent(uri))))),
}).then(found => console.log(JSON.stringify(found.issues)));
"""


def gray(*channels: np.ndarray | float) -> bytes:
    """A PNG of numbers 0..1, in red, green and blue."""
    parts = [np.broadcast_to(channels[place] if place < len(channels) else 0.0, (SIZE, SIZE)) for place in range(3)]
    return png(np.rint(255.0 * np.stack(parts, -1)).astype(np.uint8))


def floats(values: np.ndarray, folder: Path) -> bytes:
    """An EXR of one number, row 0 at the top."""
    image = bpy.data.images.new("Floats", SIZE, SIZE, float_buffer=True, is_data=True)
    pixels = np.repeat(values[::-1, :, None], 4, -1).astype(np.float32)
    image.pixels.foreach_set(pixels.ravel())
    image.filepath_raw, image.file_format = str(folder / "floats.exr"), "OPEN_EXR"
    image.save()
    bpy.data.images.remove(image)
    return (folder / "floats.exr").read_bytes()


def assign(addon, files: dict[str, bytes], constants: dict, inputs: dict[str, tuple[str, str]], cube=None, **more):
    """A cube with a new material of these maps and numbers; returns the cube."""
    cube = cube or ready_cube()
    recipe = addon.common.material_recipe
    reads = {"Base Color": recipe.MapInput("kd", "color")} | {name: recipe.MapInput(*at) for name, at in inputs.items()}
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    files = {"kd.png": png(np.rint(255 * COLOR).astype(np.uint8)), **files}
    recipes = (recipe.MaterialRecipe({"IOR": 1.5, **constants}, reads, **more),)
    options = addon.assign.materials.AssignOptions()
    run(addon.assign.materials.assignment_steps(plan, files, {}, options, recipes))
    return cube


def exported(path: Path) -> tuple[dict, dict]:
    """Press the button; returns the JSON of the file, and its material."""
    kind = path.suffix.removeprefix(".")
    assert bpy.ops.pbrfit.export_model(filepath=str(path), kind=kind, check_existing=False) == {"FINISHED"}
    data = path.read_bytes()
    if kind == "glb":
        (length,) = struct.unpack_from("<I", data, 12)
        data = data[20 : 20 + length]
    content = json.loads(data)
    (material,) = content["materials"]
    return content, material


def pixels_of(content: dict, path: Path, texture: dict, folder: Path) -> np.ndarray:
    """What the file has for a texture, 0..1 as stored, [h, w, 4], row 0 at the top."""
    view = content["bufferViews"][content["images"][content["textures"][texture["index"]]["source"]]["bufferView"]]
    data = path.read_bytes()
    start = 28 + struct.unpack_from("<I", data, 12)[0] + view.get("byteOffset", 0)
    (folder / "texture.png").write_bytes(data[start : start + view["byteLength"]])
    image = bpy.data.images.load(str(folder / "texture.png"))
    image.colorspace_settings.name, image.alpha_mode = "Non-Color", "CHANNEL_PACKED"
    width, height = image.size
    values = np.array(image.pixels[:]).reshape(height, width, 4)[::-1]
    bpy.data.images.remove(image)
    return values


def imported(path: Path):
    """The shader of what Blender's importer makes of a file, and its material."""
    before = set(bpy.data.objects)
    bpy.ops.import_scene.gltf(filepath=str(path))
    found = next(item for item in set(bpy.data.objects) - before if item.type == "MESH").active_material
    return next(node for node in found.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"), found


TINTED = {"Coat Weight": ("coat", "red"), "Coat Tint": ("coat_tint", "color")}


def tinted_coat(addon, cube=None):
    """A cube under a coat whose weight and tint vary."""
    tint = png(np.rint(255 * np.stack([0.9 + 0 * ACROSS, 0.4 + 0.5 * DOWN, 0.3 + 0 * ACROSS], -1)).astype(np.uint8))
    return assign(addon, {"coat.png": gray(ACROSS), "coat_tint.png": tint}, {"Coat IOR": 1.7}, TINTED, cube)


def test_anisotropy_is_a_direction_and_a_strength(addon, tmp_path) -> None:
    """glTF's map: red and green the direction, blue the strength; the material's own has the turns in green."""
    inputs = {"Anisotropic": ("anisotropy", "red"), "Anisotropic Rotation": ("anisotropy", "green")}
    assign(addon, {"anisotropy.png": gray(ACROSS, 0.5 * DOWN)}, {}, inputs, uv_tangent=True)
    content, material = exported(tmp_path / "cube.glb")
    said_of = material["extensions"][KHR + "anisotropy"]
    assert said_of["anisotropyStrength"] == 1.0
    assert said_of.get("anisotropyRotation", 0.0) == 0.0
    found = pixels_of(content, tmp_path / "cube.glb", said_of["anisotropyTexture"], tmp_path)
    turns = 2.0 * np.pi * np.rint(255 * 0.5 * DOWN) / 255
    expected = np.stack([0.5 + 0.5 * np.cos(turns), 0.5 + 0.5 * np.sin(turns), ACROSS], -1)
    np.testing.assert_allclose(found[..., :3], expected, atol=1.1 / 255)
    assert EXTRAS not in material.get("extras", {})


def test_a_material_without_a_tangent_has_the_direction_that_cycles_gives_it(addon, tmp_path) -> None:
    """Around the Z axis of the object: on the side of a cube that is level, whatever the UV map."""
    cube = assign(addon, {}, {"Anisotropic": 0.5}, {})
    content, material = exported(tmp_path / "cube.glb")
    found = pixels_of(
        content, tmp_path / "cube.glb", material["extensions"][KHR + "anisotropy"]["anisotropyTexture"], tmp_path
    )
    mesh, size = cube.data, len(found)
    layer = mesh.uv_layers.active
    checked = 0
    for polygon in mesh.polygons:
        if abs(polygon.normal.z) > 0.5:
            continue
        corners = [(mesh.vertices[mesh.loops[i].vertex_index].co, layer.data[i].uv) for i in polygon.loop_indices]
        (a, s), (b, t), (c, u) = corners[:3]
        e, f, p, q = b - a, c - a, t - s, u - s
        area = p.x * q.y - p.y * q.x
        along = ((e * q.y - f * p.y) / area).normalized()  # where U grows
        level = polygon.normal.cross((0.0, 0.0, 1.0))
        turn = np.arctan2(polygon.normal.dot(along.cross(level)), along.dot(level))
        middle = sum((uv for _, uv in corners[1:]), s.copy()) / len(corners)
        red, green, strength, _ = found[int((1.0 - middle.y) * size), int(middle.x * size)]
        direction = complex(2.0 * red - 1.0, 2.0 * green - 1.0)
        assert abs(abs((direction / np.exp(1j * turn)).real) - 1.0) < 0.02
        assert strength == pytest.approx(0.5, abs=0.01)
        checked += 1
    assert checked == 4


def test_other_programs_see_the_tint_of_a_coat_on_what_is_below_it(addon, tmp_path) -> None:
    tinted_coat(addon)
    path = tmp_path / "cube.glb"
    content, material = exported(path)
    found = pixels_of(content, path, material["pbrMetallicRoughness"]["baseColorTexture"], tmp_path)[..., :3]
    stored = np.rint(255 * COLOR) / 255
    assert (found <= stored + 1 / 255).all()
    darkest = (found / stored)[..., 2]
    assert darkest[:, 0].mean() > 0.9 > 0.5 > darkest[:, -1].mean()  # by the weight of the coat
    coat = pixels_of(content, path, material["extensions"][KHR + "clearcoat"]["clearcoatTexture"], tmp_path)[..., 0]
    np.testing.assert_allclose(coat, np.minimum(1.0, ACROSS * (0.7 / 2.7) ** 2 / 0.04), atol=0.02)


@pytest.mark.parametrize("name", ["cube.glb", "cube.gltf"])
def test_with_the_add_on_an_import_has_all_that_there_was(addon, tmp_path, name) -> None:
    tinted_coat(addon)
    exported(tmp_path / name)
    shader, material = imported(tmp_path / name)
    assert shader.inputs["Coat IOR"].default_value == pytest.approx(1.7)
    assert EXTRAS not in material
    tint = shader.inputs["Coat Tint"].links[0].from_node
    color = shader.inputs["Base Color"].links[0].from_node
    assert (tint.image.size[0], tint.image.colorspace_settings.name) == (SIZE, "sRGB")
    values = np.array(color.image.pixels[:]).reshape(SIZE, SIZE, 4)[::-1, :, :3]
    np.testing.assert_allclose(values, COLOR, atol=0.6 / 255)
    # Nothing that the importer made is left over without a use.
    assert all(any(out.is_linked for out in node.outputs) or not node.outputs for node in material.node_tree.nodes)


def test_what_comes_back_is_read_through_the_same_uv_map(addon, tmp_path) -> None:
    cube = ready_cube()
    layers = cube.data.uv_layers
    second = layers.new(name="Second")
    layers.active = second
    second.active_render = True
    tinted_coat(addon, cube)
    _, material = exported(tmp_path / "cube.glb")
    assert material["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] == 1
    shader, _ = imported(tmp_path / "cube.glb")
    for name in ("Base Color", "Coat Tint"):
        coordinates = shader.inputs[name].links[0].from_node.inputs["Vector"].links[0].from_node
        assert coordinates.uv_map == "UVMap.001"


def test_without_the_add_on_an_import_works_too(addon, tmp_path) -> None:
    tinted_coat(addon)
    exported(tmp_path / "cube.glb")
    bpy.ops.preferences.addon_disable(module="bl_ext.user_default.pbrfit")
    shader, material = imported(tmp_path / "cube.glb")
    assert not shader.inputs["Coat Tint"].is_linked
    assert material[EXTRAS]["version"] == 1


def test_numbers_beyond_one_come_back_from_maps_of_whole_numbers(addon, tmp_path) -> None:
    """A thin film in nm, IORs, and a specular level above 0.5, which glTF says by its color."""
    ior, film = 1.2 + 0.6 * ACROSS, 200.0 + 500.0 * DOWN
    files = {
        "specular.exr": floats(ior, tmp_path),
        "thin_film.exr": floats(film, tmp_path),
        "coat.png": gray(0.9 * ACROSS + 0.05),
    }
    inputs = {
        "IOR": ("specular", "red"),
        "Thin Film Thickness": ("thin_film", "red"),
        "Specular IOR Level": ("coat", "red"),
    }
    assign(addon, files, {}, inputs)
    path = tmp_path / "cube.glb"
    content, material = exported(path)
    found = material["extensions"][KHR + "iridescence"]
    assert found["iridescenceThicknessMaximum"] == pytest.approx(film.max(), rel=1e-3)
    thickness = pixels_of(content, path, found["iridescenceThicknessTexture"], tmp_path)[..., 1]
    np.testing.assert_allclose(thickness * found["iridescenceThicknessMaximum"], film, atol=2.0)
    specular = material["extensions"][KHR + "specular"]
    weight = pixels_of(content, path, specular["specularTexture"], tmp_path)[..., 3]
    mean = material["extensions"].get(KHR + "ior", {}).get("ior", 1.5)
    normal = ((mean - 1.0) / (mean + 1.0)) ** 2
    reflected = weight * np.array(specular["specularColorFactor"])[0] * normal
    np.testing.assert_allclose(reflected, 2.0 * (0.9 * ACROSS + 0.05) * ((ior - 1.0) / (ior + 1.0)) ** 2, atol=0.002)
    shader, _ = imported(path)
    for name, expected in (("IOR", ior), ("Thin Film Thickness", film)):
        scale = shader.inputs[name].links[0].from_node
        split = scale.inputs[0].links[0].from_node
        image = split.inputs[0].links[0].from_node.image
        stored = np.array(image.pixels[:]).reshape(SIZE, SIZE, 4)[::-1, :, 0]
        restored = stored * scale.inputs[1].default_value + scale.inputs[2].default_value
        np.testing.assert_allclose(restored, expected, rtol=1e-3)


def test_a_map_that_another_program_removed_is_left_as_the_importer_has_it(addon, tmp_path) -> None:
    tinted_coat(addon)
    path = tmp_path / "cube.gltf"
    content, material = exported(path)
    for item in content["images"]:
        item["name"] = f"other {item['name']}"
    material["extras"][EXTRAS]["inputs"]["Roughness"] = {"image": 3, "part": "no part"}
    material["extras"][EXTRAS]["inputs"]["No Input"] = 1.0
    path.write_text(json.dumps(content))
    shader, _ = imported(path)
    assert not shader.inputs["Coat Tint"].is_linked
    assert shader.inputs["Base Color"].is_linked
    assert shader.inputs["Coat IOR"].default_value == pytest.approx(1.7)


@pytest.mark.skipif(
    not (NODE_MODULES and shutil.which("node")), reason="PBRFIT_NODE_MODULES names no folder with gltf-validator"
)
@pytest.mark.parametrize("name", ["cube.glb", "cube.gltf"])
def test_the_validator_finds_no_error_and_nothing_to_warn_of(addon, tmp_path, name) -> None:
    files = {"coat.png": gray(ACROSS), "thin_film.exr": floats(300.0 + 200.0 * DOWN, tmp_path)}
    inputs = {"Coat Weight": ("coat", "red"), "Thin Film Thickness": ("thin_film", "red")}
    constants = {"Coat Tint": (0.9, 0.5, 0.2), "Anisotropic": 0.4, "Subsurface Weight": 0.3, "Sheen Weight": 0.2}
    assign(addon, files, constants, inputs)
    exported(tmp_path / name)
    command = ["node", "-e", VALIDATOR, str(Path(NODE_MODULES).resolve()), str(tmp_path / name)]
    issues = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_what_a_format_does_not_carry_is_said_before_the_export(addon) -> None:
    tinted_coat(addon)
    limits = addon.ui.operators_export.limits_of
    assert (
        limits("glb", [bpy.context.object])[0]
        == "glTF has no word for a coat with an IOR of its own and a tinted coat."
    )
    assert limits("usd", [bpy.context.object]) == [
        "This format does not carry a coat with an IOR of its own and a tinted coat."
    ]
    (lost,) = limits("obj", [bpy.context.object])
    assert lost.startswith("This format does not carry a coat, ")
    assert limits("mtlx-standard-surface", [bpy.context.object]) == []
    material = bpy.context.object.active_material
    shader = material.node_tree.nodes["Fitted Material"]
    material.node_tree.links.remove(shader.inputs["Coat Weight"].links[0])
    shader.inputs["Coat Weight"].default_value = 0.0
    assert limits("glb", [bpy.context.object]) == limits("obj", [bpy.context.object]) == []


def test_the_file_browser_says_it(addon) -> None:
    tinted_coat(addon)
    drawn = Drawn()
    shown = SimpleNamespace(kind="glb", layout=Layout(drawn), bl_rna=bpy.ops.pbrfit.export_model.get_rna_type())
    addon.ui.operators_export.PBRFIT_OT_export_model.draw(shown, Context())
    text = " ".join(drawn.lines)
    assert text.startswith("Format glTF has no word for a coat with an IOR of its own and a tinted coat.")
    assert text.endswith("Imported where PBRfit is enabled, all of it is there.")
