"""What else a result has: a learned world, files beside the .blend, and changes of the file while it is assigned."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.blender.assigning import (
    assign,
    learned_light,
    of_sets,
    pixel,
    png,
    run,
    several_slots,
    source,
    steps_of,
    two_cubes_of_one_material,
)
from support.blender.scenes import add_cube, hdri_world, paint, snapshot, use_nodes

bpy = pytest.importorskip("bpy")


def test_learned_world(addon, files, tmp_path) -> None:
    scene_object = add_cube()
    paint(scene_object)
    old = hdri_world()
    before = snapshot()
    files["environment.exr"] = learned_light(tmp_path / "light.exr")
    done = assign(addon, files, world_scene_uid=bpy.context.scene.session_uid)
    world = bpy.context.scene.world
    assert world.name == done.world == "Cube PBRfit"
    assert old.use_fake_user
    use_nodes(world)
    (output,) = [node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeOutputWorld"]
    background, _ = source(output.inputs["Surface"])
    texture, _ = source(background.inputs["Color"])
    assert texture.image.colorspace_settings.name == "Linear Rec.709"
    assert texture.image.packed_file is not None
    assert tuple(texture.image.size) == (4, 2)
    addon.assign.memory.show(bpy.context.scene, [scene_object], fitted=False)
    assert bpy.context.scene.world == old
    addon.assign.memory.show(bpy.context.scene, [scene_object], fitted=True)
    assert bpy.context.scene.world == world
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before


def test_a_learned_light_that_is_not_wanted_is_left_out(addon, files, tmp_path) -> None:
    paint(add_cube())
    hdri_world()
    files["environment.exr"] = learned_light(tmp_path / "light.exr")
    assert assign(addon, files).world == ""
    assert bpy.context.scene.world.name == "Forest"


def test_files_beside_the_blend(addon, files, tmp_path) -> None:
    paint(add_cube(), "Old: paint/2")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    (tmp_path / "textures").mkdir()
    mine = tmp_path / "textures" / "Old_paint_2_PBRfit_ORM.png"
    mine.write_bytes(b"the artist's own")
    done = assign(addon, files, image_storage="FILES")
    assert done.notes == ()
    assert mine.read_bytes() == b"the artist's own"
    assert {path.name: path.read_bytes() for path in mine.parent.iterdir() if path != mine} == {
        "Old_paint_2_PBRfit_Base_Color.png": files["kd.png"],
        "Old_paint_2_PBRfit_ORM_001.png": files["orm.png"],
        "Old_paint_2_PBRfit_Normal.png": files["normal.png"],
    }
    image = bpy.data.images["Old: paint/2 PBRfit ORM"]
    assert image.filepath == "//textures/Old_paint_2_PBRfit_ORM_001.png"
    assert (image.packed_file, image.colorspace_settings.name) == (None, "Non-Color")
    np.testing.assert_allclose(pixel(image, 2, 2)[:3], np.array([255, 100, 30]) / 255, atol=1e-6)
    addon.assign.memory.revert(bpy.context.scene, [bpy.context.object])
    assert len(list(mine.parent.iterdir())) == 4  # files stay


def test_files_of_tiles(addon, files, tmp_path) -> None:
    scene_object = add_cube()
    paint(scene_object)
    for index, entry in enumerate(scene_object.data.uv_layers.active.uv):
        entry.vector.y += 0.0 if index < 4 else 1.0
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    for number in range(2):
        assign(addon, of_sets({"kd.png": files["kd.png"]}, 2), image_storage="FILES")
        stem = "Paint_PBRfit_Base_Color" + ("_001" if number else "")
        image = next(node.image for node in scene_object.active_material.node_tree.nodes if hasattr(node, "image"))
        assert image.filepath == f"//textures/{stem}.<UDIM>.png"
        assert (tmp_path / "textures" / f"{stem}.1011.png").read_bytes() == of_sets(files, 2)["1/kd.png"]
        addon.assign.memory.show(bpy.context.scene, [scene_object], fitted=False)


def test_files_of_an_unsaved_blend_are_packed(addon, files) -> None:
    paint(add_cube())
    done = assign(addon, files, image_storage="FILES")
    assert done.notes == ("The .blend is not saved yet, so the maps were packed.",)
    assert all(image.packed_file is not None for image in bpy.data.images)


@pytest.mark.parametrize("storage", ["PACKED", "FILES"])
@pytest.mark.parametrize("slices", [1, 2, 3, 99])
def test_closed_early_nothing_is_left(addon, files, tmp_path, storage, slices) -> None:
    paint(add_cube())
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    before = snapshot()
    _, steps = steps_of(addon, files, image_storage=storage)
    for _ in range(slices):
        if next(steps):
            break
    steps.close()
    assert snapshot() == before
    assert sorted(tmp_path.iterdir()) == [tmp_path / "work.blend"]


def test_closed_after_loading_another_file(addon, files, tmp_path) -> None:
    paint(add_cube())
    _, steps = steps_of(addon, files)
    next(steps)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    before = snapshot()
    steps.close()
    assert snapshot() == before


def test_images_that_undo_took_are_made_again(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    _, steps = steps_of(addon, files)
    next(steps)
    next(steps)
    while not next(steps):
        pass
    bpy.data.batch_remove(list(bpy.data.images)[:2])
    with pytest.raises(StopIteration):
        next(steps)
    assert len(bpy.data.images) == 3
    assert scene_object.active_material.name == "Paint PBRfit"


def test_a_material_that_no_view_sees_stays(addon, files) -> None:
    scene_object = several_slots()
    done = assign(addon, of_sets(files, 2), {"metrics": {"sets": [{"samples": 9}, {"samples": 0}]}})
    assert done.notes == ('No view sees a face of "C", so it stays as it was.',)
    assert done.materials == ("A PBRfit",)
    assert [slot.material and slot.material.name for slot in scene_object.material_slots] == [
        "A PBRfit",
        "B",
        "C",
        None,
    ]
    assert len(bpy.data.images) == 3
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    with pytest.raises(addon.common.errors.PbrFitError, match="No view sees anything"):
        assign(addon, of_sets(files, 2), {"metrics": {"sets": [{"samples": 0}] * 2}})


def test_objects_that_are_gone(addon, files) -> None:
    first, second = two_cubes_of_one_material()
    _, steps = steps_of(addon, of_sets(files, 2))
    bpy.data.objects.remove(second)
    assert run(steps).notes == ('"Cube.001" is gone and was left out.',)
    assert first.active_material.name in {"Paint PBRfit", "Trim PBRfit"}
    addon.assign.memory.revert(bpy.context.scene, [first])
    _, steps = steps_of(addon, of_sets(files, 2))
    next(steps)
    bpy.data.objects.remove(first)
    with pytest.raises(addon.common.errors.PbrFitError, match="The object is gone"):
        run(steps)
    assert list(bpy.data.images) == []


def test_slots_that_are_gone(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    _, steps = steps_of(addon, files)
    scene_object.data.materials.clear()
    with pytest.raises(addon.common.errors.PbrFitError, match="Material slots of"):
        run(steps)


def test_a_slice_of_large_maps_is_short(addon) -> None:
    import time

    noise = np.random.default_rng(0).integers(0, 255, (2048, 2048, 3), dtype=np.uint8)
    paint(add_cube())
    _, steps = steps_of(addon, {f"{key}.png": png(noise) for key in ("kd", "orm", "normal")})
    seconds = []
    while True:
        began = time.thread_time()  # processor time, so that other programs do not count
        try:
            next(steps)
        except StopIteration:
            break
        finally:
            seconds.append(time.thread_time() - began)
    assert max(seconds) < 0.1


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("{material} PBRfit", "Wood PBRfit"),
        ("{object}_{material}", "Chair_Wood"),
        ("Fitted", "Fitted"),
        ("{{{object}}}", "{Chair}"),
        ("{material}" * 20, "Wood" * 14 + "Wo"),
    ],
)
def test_naming_scheme(addon, scheme, name) -> None:
    assert addon.common.names.material_name(scheme, "Chair", "Wood") == name


@pytest.mark.parametrize("scheme", ["{colour}", "{", "{}", "{0}", "{object.name}", "{object!r}", "{object:>9}", "  "])
def test_naming_scheme_that_cannot_be_used(addon, scheme) -> None:
    with pytest.raises(addon.common.errors.PbrFitError, match="naming scheme"):
        addon.common.names.material_name(scheme, "Chair", "Wood")
    bpy.context.scene.pbrfit.material_name = scheme
    with pytest.raises(addon.common.errors.PbrFitError, match="naming scheme"):
        addon.assign.materials.AssignOptions.from_scene(bpy.context.scene)


def test_a_fitted_material_is_named_after_the_original_when_fitted_again(addon, files) -> None:
    paint(add_cube())
    assign(addon, files)
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    assert plan.sets[0].name == "Paint"


def test_options_of_a_scene(addon) -> None:
    scene = bpy.context.scene
    scene.pbrfit.learn_light = scene.pbrfit.apply_world = True
    options = addon.assign.materials.AssignOptions.from_scene(scene)
    assert (options.world_scene_uid, options.alpha, options.image_storage) == (scene.session_uid, False, "PACKED")
    assert options.scene_settings["resolution"] == scene.pbrfit.resolution
    assert json.loads(json.dumps(options.scene_settings)) == options.scene_settings
    scene.pbrfit.apply_world = False
    assert addon.assign.materials.AssignOptions.from_scene(scene).world_scene_uid is None
