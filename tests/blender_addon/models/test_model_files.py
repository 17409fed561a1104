"""Objects with new materials as files of other programs, read by programs that are not ours, and rendered again."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from support.blender.assigning import assign, png, run
from support.blender.drawn_panel import draw
from support.blender.scenes import TIMEOUT_S, hdri_world, ready_cube, snapshot

bpy = pytest.importorskip("bpy")


def exported(addon, path: Path, replace: bool = False, targets: list | None = None, **wanted) -> list[Path]:
    """Export the active object, as the button does; returns the files."""
    export = addon.models.process.Export(
        bpy.context, targets or [bpy.context.object], {"what": "model", "path": str(path), "replace": replace, **wanted}
    )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            for said in export.poll():
                if hasattr(said, "files"):
                    return list(said.files)
            time.sleep(0.02)
        raise AssertionError("the second Blender did not finish")
    finally:
        export.stop()


def maps(size: int = 64) -> dict[str, bytes]:
    """Maps in which everything varies smoothly, so that no filter makes a difference."""
    across, down = np.meshgrid(*[np.linspace(0.0, 1.0, size)] * 2)
    wave = 0.5 + 0.5 * np.sin(6.0 * np.pi * across) * np.cos(4.0 * np.pi * down)
    color = np.stack([0.2 + 0.6 * across, 0.7 - 0.5 * down, 0.3 + 0.4 * wave], -1)
    orm = np.stack([0.6 + 0.4 * down, 0.2 + 0.6 * wave, np.where(across > 0.5, 1.0, 0.0)], -1)
    slope = np.stack([0.3 * np.cos(6.0 * np.pi * across), 0.3 * np.sin(4.0 * np.pi * down), np.ones_like(wave)], -1)
    normal = 0.5 + 0.5 * slope / np.linalg.norm(slope, axis=-1, keepdims=True)
    return {
        "kd.png": png(np.rint(255 * color).astype(np.uint8)),
        "orm.png": png(np.rint(255 * orm).astype(np.uint8)),
        "normal.png": png(np.rint(65535 * normal).astype(np.uint16)),
    }


def rendered(scene_object, folder: Path, name: str) -> np.ndarray:
    """The object alone in the scene's light by Cycles, sRGB [h, w, 3], with a fixed seed."""
    scene = bpy.context.scene
    for item in scene.objects:
        item.hide_render = item.type != "CAMERA" and item != scene_object
    scene.render.engine, scene.cycles.device, scene.cycles.samples, scene.cycles.seed = "CYCLES", "CPU", 32, 7
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    scene.render.resolution_x = scene.render.resolution_y = 96
    scene.render.film_transparent, scene.render.dither_intensity = True, 0.0
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_depth = "16"
    scene.render.filepath = str(folder / name)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(folder / name))
    values = np.array(image.pixels[:], np.float64).reshape(96, 96, 4)
    bpy.data.images.remove(image)
    return values


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Of the pixels that show the object in both."""
    inside = (first[..., 3] == 1.0) & (second[..., 3] == 1.0)
    assert inside.sum() > 1000
    return float(-10.0 * np.log10(np.mean((first - second)[inside][:, :3] ** 2)))


def lobes(addon) -> tuple[dict[str, bytes], tuple]:
    """Maps and the recipe of a material that has more lobes than glTF has words for, all of which vary."""
    made, recipe = maps(), addon.common.material_recipe
    across, down = np.meshgrid(*[np.linspace(0.0, 1.0, 64)] * 2)
    files = {
        "coat": (0.3 + 0.6 * across, 0.05 + 0.3 * down, 0.0 * down),
        "coat_tint": (0.9 - 0.1 * down, 0.6 + 0.3 * across, 0.3 + 0.4 * down),
        "sheen": (0.5 * down, 0.3 + 0.4 * across, 0.0 * down),
        "anisotropy": (0.2 + 0.5 * down, 0.3 * across, 0.0 * down),
        "subsurface": (0.4 * across, 0.2 + 0.1 * down, 0.0 * down),
    }
    made |= {f"{name}.png": png(np.rint(255 * np.stack(parts, -1)).astype(np.uint8)) for name, parts in files.items()}
    inputs = recipe.fit_recipe({"kd", "orm", "normal"}, False).inputs | {
        name: recipe.MapInput(*at)
        for name, at in {
            "Coat Weight": ("coat", "red"),
            "Coat Roughness": ("coat", "green"),
            "Coat Tint": ("coat_tint", "color"),
            "Sheen Weight": ("sheen", "red"),
            "Sheen Roughness": ("sheen", "green"),
            "Anisotropic": ("anisotropy", "red"),
            "Anisotropic Rotation": ("anisotropy", "green"),
            "Subsurface Weight": ("subsurface", "red"),
            "Subsurface Scale": ("subsurface", "green"),
        }.items()
    }
    constants = {"IOR": 1.5, "Subsurface Radius": (1.0, 0.3, 0.1), "Coat IOR": 1.6}
    return made, (recipe.MaterialRecipe(constants, inputs),)


def scene_to_render(addon, recipes: tuple | None = None, files: dict[str, bytes] | None = None) -> bpy.types.Object:
    cube = ready_cube()
    bpy.ops.object.shade_smooth()
    modifier = cube.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels, modifier.render_levels = 0, 3
    if recipes is None:
        assign(addon, maps())
    else:
        (plan,) = addon.export.plan.plan_groups(bpy.context)
        options = addon.assign.materials.AssignOptions()
        run(addon.assign.materials.assignment_steps(plan, files, {}, options, recipes))
    hdri_world()
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (3.5, -3.5, 2.5), (np.radians(63.0), 0.0, np.radians(45.0))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    return cube


def imported(path: Path, kind: str) -> bpy.types.Object:
    """What Blender's importer makes of a file."""
    before = set(bpy.data.objects)
    importer = {"glb": bpy.ops.import_scene.gltf, "gltf": bpy.ops.import_scene.gltf, "obj": bpy.ops.wm.obj_import}
    importer.get(kind, bpy.ops.wm.usd_import)(filepath=str(path))
    return next(item for item in set(bpy.data.objects) - before if item.type == "MESH")


@pytest.mark.parametrize(("kind", "least"), [("glb", 40.0), ("usd", 40.0), ("obj", 40.0)])
def test_what_is_exported_and_imported_again_looks_the_same(addon, tmp_path, kind, least) -> None:
    cube = scene_to_render(addon)
    before = rendered(cube, tmp_path, "before.png")
    path = tmp_path / f"cube.{kind if kind != 'usd' else 'usdc'}"
    assert exported(addon, path, kind=kind)[0] == path
    again = imported(path, kind)
    if kind == "obj":  # Blender's importer takes all maps for colors
        for node in again.active_material.node_tree.nodes:
            if node.bl_idname == "ShaderNodeTexImage" and "diffuseColor" not in node.image.filepath:
                node.image.colorspace_settings.name = "Non-Color"
    found = psnr(before, rendered(again, tmp_path, "after.png"))
    assert found >= least


def test_what_gltf_has_no_word_for_looks_the_same_too(addon, tmp_path) -> None:
    """Where the add-on is there: all of it. Where it is not, as in other programs: nearly, except below the surface."""
    files, recipes = lobes(addon)
    cube = scene_to_render(addon, recipes, files)
    before = rendered(cube, tmp_path, "before.png")
    path = tmp_path / "cube.glb"
    exported(addon, path, kind="glb")
    again = imported(path, "glb")
    assert psnr(before, rendered(again, tmp_path, "after.png")) >= 40.0
    bpy.ops.preferences.addon_disable(module="bl_ext.user_default.pbrfit")
    assert 25.0 < psnr(before, rendered(imported(path, "glb"), tmp_path, "without.png")) < 40.0


def test_a_turntable_as_a_film_and_as_frames(addon, tmp_path) -> None:
    scene_to_render(addon)
    wanted = {"what": "turntable", "frames": 3, "fps": 24, "size": [33, 32], "samples": 1, "engine": "CYCLES"}
    film = tmp_path / "cube.mp4"
    assert exported(addon, film, form="MP4", **wanted) == [film]
    assert film.read_bytes()[4:8] == b"ftyp"
    frames = exported(addon, tmp_path / "cube.png", form="PNG", **wanted)
    assert [path.name for path in frames] == ["cube_0001.png", "cube_0002.png", "cube_0003.png"]


def test_a_contact_sheet(addon, tmp_path) -> None:
    scene_to_render(addon)
    path = tmp_path / "sheet.png"
    assert exported(addon, path, what="sheet", size=64, samples=2, title="Cube") == [path]


def test_the_button_changes_nothing_and_exports_what_was_made(addon, tmp_path) -> None:
    """While the originals are shown, in Edit Mode, with a parent that is moved: the new material is in the file."""
    cube = ready_cube()
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    cube.parent, parent.location = parent, (3.0, 0.0, 0.0)
    assign(addon, {"kd.png": maps(8)["kd.png"]})
    bpy.ops.pbrfit.compare()
    assert cube.active_material.name == "Paint"
    bpy.ops.object.mode_set(mode="EDIT")
    before = snapshot()
    path = tmp_path / "cube.glb"
    assert bpy.ops.pbrfit.export_model(filepath=str(tmp_path / "cube.usdc"), kind="glb") == {"FINISHED"}
    assert snapshot() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    bpy.ops.object.mode_set(mode="OBJECT")
    with pytest.raises(RuntimeError, match="exists already"):
        bpy.ops.pbrfit.export_model(filepath=str(path))
    assert bpy.ops.pbrfit.export_model(filepath=str(path), check_existing=False) == {"FINISHED"}
    again = imported(path, "glb")
    assert again.active_material.name.startswith("Paint PBRfit")
    assert tuple(again.matrix_world.translation) == (3.0, 0.0, 0.0)


def test_several_objects_of_one_mesh_in_one_file(addon, tmp_path) -> None:
    cube = ready_cube()
    assign(addon, {"kd.png": maps(8)["kd.png"]})
    other = cube.copy()
    other.name, other.location = "Other", (0.0, 4.0, 0.0)
    bpy.context.scene.collection.objects.link(other)
    path = exported(addon, tmp_path / "cubes.glb", targets=[cube, other], kind="glb")[0]
    before = set(bpy.data.objects)
    bpy.ops.import_scene.gltf(filepath=str(path))
    found = {item.name.partition(".")[0]: item for item in set(bpy.data.objects) - before}
    assert set(found) == {"Cube", "Other"}
    assert {item.data.name.partition(".")[0] for item in found.values()} == {cube.data.name}
    assert tuple(found["Other"].location) == pytest.approx((0.0, 4.0, 0.0))


def test_without_a_new_material_there_is_nothing_to_export(addon) -> None:
    ready_cube()
    assert not bpy.ops.pbrfit.export_model.poll()


def test_the_formats_are_those_that_can_be_written(addon) -> None:
    properties = bpy.ops.pbrfit.export_model.get_rna_type().properties
    assert [item.identifier for item in properties["kind"].enum_items] == list(addon.protocol.model_kinds.KINDS)


def test_gltf_refuses_udim_tiles(addon) -> None:
    cube = ready_cube()
    assign(addon, {"kd.png": maps(8)["kd.png"]})
    image = bpy.data.images.new("Tiles", 8, 8, tiled=True)
    cube.active_material.node_tree.nodes.new("ShaderNodeTexImage").image = image
    kind = addon.protocol.model_kinds.KINDS["glb"]
    with pytest.raises(addon.common.errors.PbrFitError, match=r"UDIM tiles, which \.glb files cannot hold"):
        addon.models.exporters.check_tiles(kind, [cube.active_material])


def test_the_panel_shows_what_runs(addon, tmp_path) -> None:
    ready_cube()
    assign(addon, {"kd.png": maps(8)["kd.png"]})
    panel = addon.ui.panels.PBRFIT_PT_fit
    assert "pbrfit.export_model" in draw(panel).names("operator")
    running = addon.models.running
    running.begin(
        bpy.context, [bpy.context.object], tmp_path / "cube.glb", {"what": "model", "kind": "glb", "replace": False}
    )
    try:
        assert "Exporting cube.glb" in draw(panel).lines
        assert not bpy.ops.pbrfit.export_turntable.poll()
        assert bpy.ops.pbrfit.cancel_export() == {"FINISHED"}
    finally:
        running.end()
    assert running.current() is None
    assert list(tmp_path.iterdir()) == []
