"""The fitted materials: node trees a person can read, originals kept, and the way back."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from scenes import add_cube, hdri_world, paint, snapshot, use_nodes

bpy = pytest.importorskip("bpy")


def png(pixels: np.ndarray) -> bytes:
    """RGB or RGBA pixels [h, w, c] as a PNG of their bit depth."""
    order = [2, 1, 0, 3][: pixels.shape[2]]
    done, data = cv2.imencode(".png", pixels[:, :, order])
    assert done
    return data.tobytes()


def kd_pixels(channels: int = 3) -> np.ndarray:
    pixels = np.zeros((4, 4, channels), dtype=np.uint8)
    pixels[0, 0, :3] = (255, 128, 0)  # the top left pixel
    return pixels


@pytest.fixture
def files() -> dict[str, bytes]:
    return {
        "kd.png": png(kd_pixels()),
        "orm.png": png(np.full((4, 4, 3), (255, 100, 30), dtype=np.uint8)),
        "normal.png": png(np.full((4, 4, 3), (32768, 32768, 65535), dtype=np.uint16)),
    }


def of_sets(files: dict[str, bytes], count: int) -> dict[str, bytes]:
    """The same files for each of several sets; the base colour's first pixel tells them apart."""
    found = {f"{index}/{name}": data for index in range(count) for name, data in files.items()}
    for index in range(count):
        found[f"{index}/kd.png"] = png(np.full((4, 4, 3), (40 * index, 0, 0), dtype=np.uint8))
    return found


def assign(addon, files: dict[str, bytes], record: dict | None = None, **options):
    """Plan for the selection and assign the files as a session does; returns the assignment."""
    (plan,) = addon.export_job.plan_jobs(bpy.context)
    return run(addon.assign.assignment_steps(plan, files, record or {}, addon.assign.AssignOptions(**options)))


def run(steps):
    """All slices; each but the last leaves what the file shows as it is."""
    said = []
    before = shown()
    while True:
        try:
            said.append(next(steps))
            assert shown() == before
        except StopIteration as end:
            assert said.count(True) == 1
            assert said[-1] is True
            return end.value


def shown() -> dict:
    """What a person sees of a file: slots, worlds, materials."""
    state = snapshot()
    return {key: state[key] for key in ("slots", "world", "active", "mode")} | {"materials": list(bpy.data.materials)}


def source(socket) -> tuple:
    """The node and socket name that feed an input."""
    (link,) = socket.links
    return link.from_node, link.from_socket.name


def pixel(image, x: int, row_from_top: int) -> np.ndarray:
    width, height = image.size
    values = np.array(image.pixels[:], dtype=np.float64).reshape(height, width, -1)
    return values[height - 1 - row_from_top, x]


def test_node_tree(addon, files) -> None:
    scene_object = add_cube()
    original = paint(scene_object)
    done = assign(addon, files, {"settings": {"seed": 3}}, scene_settings={"views": 7})
    material = bpy.data.materials[done.material]
    assert scene_object.active_material is material
    assert material.name == "Paint PBRfit"
    assert done.materials == ("Paint PBRfit",)
    assert done.originals == {0: "Paint"}
    assert done.notes == ()
    assert original.use_fake_user

    tree = material.node_tree
    (output,) = [node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial"]
    shader, _ = source(output.inputs["Surface"])
    assert shader.bl_idname == "ShaderNodeBsdfPrincipled"
    assert shader.distribution == "MULTI_GGX"
    assert shader.inputs["IOR"].default_value == pytest.approx(1.5)
    assert not shader.inputs["Alpha"].is_linked
    colour, _ = source(shader.inputs["Base Color"])
    split, green = source(shader.inputs["Roughness"])
    also_split, blue = source(shader.inputs["Metallic"])
    assert (split.bl_idname, green, blue) == ("ShaderNodeSeparateColor", "Green", "Blue")
    assert split == also_split
    assert "Openness" in split.label
    assert not split.outputs["Red"].is_linked
    orm, _ = source(split.inputs["Color"])
    normal_map, _ = source(shader.inputs["Normal"])
    assert (normal_map.bl_idname, normal_map.space, normal_map.uv_map) == ("ShaderNodeNormalMap", "TANGENT", "UVMap")
    normal, _ = source(normal_map.inputs["Color"])
    for node in (colour, orm, normal):
        coordinates, _ = source(node.inputs["Vector"])
        assert (coordinates.bl_idname, coordinates.uv_map) == ("ShaderNodeUVMap", "UVMap")
        assert node.parent.bl_idname == "NodeFrame"
    images = [node.image for node in (colour, orm, normal)]
    assert [image.colorspace_settings.name for image in images] == ["sRGB", "Non-Color", "Non-Color"]
    assert [tuple(image.size) for image in images] == [(4, 4)] * 3
    assert all(image.packed_file is not None and image.source == "FILE" and not image.is_dirty for image in images)
    np.testing.assert_allclose(pixel(colour.image, 0, 0)[:3], [1.0, 128 / 255, 0.0], atol=1e-6)
    np.testing.assert_allclose(pixel(orm.image, 2, 2)[:3], np.array([255, 100, 30]) / 255, atol=1e-6)
    np.testing.assert_allclose(pixel(normal.image, 2, 2)[:3], np.array([32768, 32768, 65535]) / 65535, atol=1e-5)
    places = [tuple(node.location) for node in tree.nodes if node.bl_idname != "NodeFrame"]
    assert len(set(places)) == len(places)
    record = addon.assign.record_of(material)
    assert record["settings"] == {"seed": 3}
    assert record["scene_settings"] == {"views": 7}
    assert (record["set"], record["uv_map"], record["objects"]) == ("Paint", "UVMap", ["Cube"])
    assert json.loads(material["pbrfit"]) == record


def test_maps_survive_saving_and_loading(addon, files, tmp_path) -> None:
    paint(add_cube())
    assign(addon, files)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "fitted.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "fitted.blend"))
    material = bpy.data.objects["Cube"].active_material
    images = {image.name: image for image in bpy.data.images if image.name.startswith(material.name)}
    assert sorted(images) == ["Paint PBRfit Base Color", "Paint PBRfit Normal", "Paint PBRfit ORM"]
    np.testing.assert_allclose(pixel(images["Paint PBRfit Base Color"], 0, 0)[:3], [1.0, 128 / 255, 0.0], atol=1e-6)
    assert images["Paint PBRfit ORM"].colorspace_settings.name == "Non-Color"
    assert bpy.data.materials["Paint"].use_fake_user
    addon.assign_memory.revert(bpy.context.scene, bpy.data.objects[:])
    assert bpy.data.objects["Cube"].active_material.name == "Paint"
    assert list(bpy.data.images) == []


def test_alpha(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    files["kd.png"] = png(np.full((4, 4, 4), (10, 20, 30, 40), dtype=np.uint8))
    assign(addon, files, alpha=True)
    shader = scene_object.active_material.node_tree.nodes["Fitted Material"]
    node, socket = source(shader.inputs["Alpha"])
    assert (node, socket) == (source(shader.inputs["Base Color"])[0], "Alpha")
    np.testing.assert_allclose(pixel(node.image, 0, 0), np.array([10, 20, 30, 40]) / 255, atol=1e-6)


def test_only_base_colour(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    assign(addon, {"kd.png": files["kd.png"]})
    shader = scene_object.active_material.node_tree.nodes["Fitted Material"]
    assert [socket.name for socket in shader.inputs if socket.is_linked] == ["Base Color"]


def several_slots() -> bpy.types.Object:
    """A cube with the materials A (kept by a fake user), B and C, an empty slot, and faces of A, C and none."""
    scene_object = add_cube()
    for name in ("A", "B", "C"):
        paint(scene_object, name)
    bpy.data.materials["A"].use_fake_user = True
    scene_object.data.materials.append(None)
    for polygon, slot in zip(scene_object.data.polygons, (0, 2, 3, 0, 2, 3), strict=True):
        polygon.material_index = slot
    return scene_object


def test_a_material_for_each_set_and_revert(addon, files) -> None:
    scene_object = several_slots()
    before = snapshot()
    done = assign(addon, of_sets(files, 2))
    assert [slot.material and slot.material.name for slot in scene_object.material_slots] == [
        "A PBRfit",
        "B",
        "C PBRfit",
        None,
    ]
    assert done.materials == ("A PBRfit", "C PBRfit")
    assert done.originals == {0: "A", 2: "C"}
    assert pixel(bpy.data.images["C PBRfit Base Color"], 0, 0)[0] == pytest.approx(40 / 255)
    bpy.data.materials["C"].name = "Renamed"
    assert addon.assign_memory.revert(bpy.context.scene, [scene_object]) == ["A PBRfit", "C PBRfit"]
    bpy.data.materials["Renamed"].name = "C"
    assert snapshot() == before
    assert addon.assign_memory.revert(bpy.context.scene, [scene_object]) == []


def test_one_material_for_the_whole_object(addon, files) -> None:
    scene_object = several_slots()
    before = snapshot()
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    assign(addon, files, material_name="{object}: {material}")
    assert [slot.material.name for slot in scene_object.material_slots] == [
        "Cube: Cube",
        "B",
        "Cube: Cube",
        "Cube: Cube",
    ]
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before


def test_other_objects_of_the_same_mesh_keep_their_look(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    twin = bpy.data.objects.new("Twin", scene_object.data)
    bpy.context.scene.collection.objects.link(twin)
    slot = scene_object.material_slots[0]
    slot.link = "OBJECT"
    slot.material = bpy.data.materials.new("Hidden")
    slot.link = "DATA"
    before = snapshot()
    assign(addon, files)
    assert scene_object.active_material.name == "Paint PBRfit"
    assert twin.active_material.name == "Paint"
    addon.assign_memory.show(bpy.context.scene, [scene_object], fitted=False)
    assert snapshot()["slots"] == before["slots"]
    addon.assign_memory.show(bpy.context.scene, [scene_object], fitted=True)
    assert scene_object.active_material.name == "Paint PBRfit"
    assert twin.active_material.name == "Paint"
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before
    slot.link = "OBJECT"
    assert slot.material.name == "Hidden"


def two_cubes_of_one_material() -> tuple:
    """Two selected cubes with one material, the first with a second one too."""
    first = add_cube()
    material = paint(first)
    paint(first, "Trim")
    first.data.polygons[0].material_index = 1
    bpy.ops.mesh.primitive_cube_add(location=(3.0, 0.0, 0.0))
    second = bpy.context.object
    second.data.materials.append(material)
    first.select_set(True)
    bpy.context.view_layer.objects.active = first
    return first, second


def test_objects_that_share_a_material_share_the_fitted_one(addon, files) -> None:
    first, second = two_cubes_of_one_material()
    before = snapshot()
    done = assign(addon, of_sets(files, 2))
    assert done.materials == ("Paint PBRfit", "Trim PBRfit")
    assert first.material_slots[0].material == second.material_slots[0].material == bpy.data.materials["Paint PBRfit"]
    addon.assign_memory.revert(bpy.context.scene, [second])
    assert second.active_material.name == "Paint"
    assert bpy.data.materials["Paint"].use_fake_user  # the first object still needs it
    assert first.material_slots[0].material.name == "Paint PBRfit"
    addon.assign_memory.revert(bpy.context.scene, [first])
    assert snapshot() == before


def test_uv_maps_of_other_names_get_a_material_each(addon, files) -> None:
    first, second = two_cubes_of_one_material()
    second.data.uv_layers.active.name = "Other"
    done = assign(addon, of_sets(files, 2))
    assert len(done.materials) == 3
    for scene_object, uv_map in ((first, "UVMap"), (second, "Other")):
        tree = scene_object.material_slots[0].material.node_tree
        assert [node.uv_map for node in tree.nodes if node.bl_idname == "ShaderNodeUVMap"] == [uv_map]
    images = [
        {
            node.image
            for node in item.material_slots[0].material.node_tree.nodes
            if node.bl_idname == "ShaderNodeTexImage"
        }
        for item in (first, second)
    ]
    assert images[0] == images[1]


def test_udim_tiles_become_one_image(addon, files, tmp_path) -> None:
    scene_object = add_cube()
    paint(scene_object)
    for index, entry in enumerate(scene_object.data.uv_layers.active.uv):
        entry.vector.x += 2.0 if index < 4 else 1.0
    before = snapshot()
    assign(addon, of_sets(files, 2))
    image = bpy.data.images["Paint PBRfit Base Color"]
    assert (image.source, [tile.number for tile in image.tiles]) == ("TILED", [1002, 1003])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "fitted.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "fitted.blend"))
    image = bpy.data.images["Paint PBRfit Base Color"]
    assert image.colorspace_settings.name == "sRGB"
    found = {entry.tile_number: entry.packed_file.data for entry in image.packed_files}
    assert found == {1002: of_sets(files, 2)["0/kd.png"], 1003: of_sets(files, 2)["1/kd.png"]}
    assert sorted(tmp_path.iterdir()) == [tmp_path / "fitted.blend"]
    addon.assign_memory.revert(bpy.context.scene, bpy.data.objects[:])
    assert snapshot()["datablocks"] == before["datablocks"]


def test_fitting_twice_and_reverting_twice(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    before = snapshot()
    for _ in range(2):
        assign(addon, files)
    assert scene_object.active_material.name == "Paint PBRfit.001"
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    assert scene_object.active_material.name == "Paint PBRfit"
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before


def test_fitting_again_while_the_original_is_shown_takes_the_place_of_the_first(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    before = snapshot()
    assign(addon, files)
    addon.assign_memory.show(bpy.context.scene, [scene_object], fitted=False)
    assert scene_object.active_material.name == "Paint"
    assign(addon, files)
    assert [item.name for item in bpy.data.materials] == ["Paint", "Paint PBRfit.001"]
    assert len(bpy.data.images) == 3
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before


def test_what_the_artist_assigned_since_stays(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    assign(addon, files)
    scene_object.material_slots[0].material = bpy.data.materials.new("Mine")
    assert list(addon.assign_memory.remembered(scene_object)) == []
    addon.assign_memory.show(bpy.context.scene, [scene_object], fitted=True)
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    assert scene_object.active_material.name == "Mine"


def test_slots_that_were_moved_are_found(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    assign(addon, files)
    paint(scene_object, "New")
    scene_object.active_material_index = 1
    bpy.ops.object.material_slot_move(direction="UP")
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    assert [slot.material.name for slot in scene_object.material_slots] == ["New", "Paint"]


def learned_light(path) -> bytes:
    image = bpy.data.images.new("Light", 4, 2, float_buffer=True)
    image.filepath_raw, image.file_format = str(path), "OPEN_EXR"
    image.save()
    bpy.data.images.remove(image)
    return path.read_bytes()


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
    addon.assign_memory.show(bpy.context.scene, [scene_object], fitted=False)
    assert bpy.context.scene.world == old
    addon.assign_memory.show(bpy.context.scene, [scene_object], fitted=True)
    assert bpy.context.scene.world == world
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
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
    addon.assign_memory.revert(bpy.context.scene, [bpy.context.object])
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
        addon.assign_memory.show(bpy.context.scene, [scene_object], fitted=False)


def test_files_of_an_unsaved_blend_are_packed(addon, files) -> None:
    paint(add_cube())
    done = assign(addon, files, image_storage="FILES")
    assert done.notes == ("The .blend is not saved yet, so the maps were packed.",)
    assert all(image.packed_file is not None for image in bpy.data.images)


def steps_of(addon, files, **options):
    (plan,) = addon.export_job.plan_jobs(bpy.context)
    return plan, addon.assign.assignment_steps(plan, files, {}, addon.assign.AssignOptions(**options))


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
    addon.assign_memory.revert(bpy.context.scene, [scene_object])
    with pytest.raises(addon.errors.PbrFitError, match="No view sees anything"):
        assign(addon, of_sets(files, 2), {"metrics": {"sets": [{"samples": 0}] * 2}})


def test_objects_that_are_gone(addon, files) -> None:
    first, second = two_cubes_of_one_material()
    _, steps = steps_of(addon, of_sets(files, 2))
    bpy.data.objects.remove(second)
    assert run(steps).notes == ('"Cube.001" is gone and was left out.',)
    assert first.active_material.name in {"Paint PBRfit", "Trim PBRfit"}
    addon.assign_memory.revert(bpy.context.scene, [first])
    _, steps = steps_of(addon, of_sets(files, 2))
    next(steps)
    bpy.data.objects.remove(first)
    with pytest.raises(addon.errors.PbrFitError, match="The object is gone"):
        run(steps)
    assert list(bpy.data.images) == []


def test_slots_that_are_gone(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    _, steps = steps_of(addon, files)
    scene_object.data.materials.clear()
    with pytest.raises(addon.errors.PbrFitError, match="Material slots of"):
        run(steps)


def test_a_slice_of_large_maps_is_short(addon) -> None:
    import time

    noise = np.random.default_rng(0).integers(0, 255, (2048, 2048, 3), dtype=np.uint8)
    paint(add_cube())
    _, steps = steps_of(addon, {f"{key}.png": png(noise) for key in ("kd", "orm", "normal")})
    seconds = []
    while True:
        began = time.thread_time()  # of the processor: other work on the machine does not count
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
    assert addon.assign_names.material_name(scheme, "Chair", "Wood") == name


@pytest.mark.parametrize("scheme", ["{colour}", "{", "{}", "{0}", "{object.name}", "{object!r}", "{object:>9}", "  "])
def test_naming_scheme_that_cannot_be_used(addon, scheme) -> None:
    with pytest.raises(addon.errors.PbrFitError, match="naming scheme"):
        addon.assign_names.material_name(scheme, "Chair", "Wood")
    bpy.context.scene.pbrfit.material_name = scheme
    with pytest.raises(addon.errors.PbrFitError, match="naming scheme"):
        addon.assign.AssignOptions.from_scene(bpy.context.scene)


def test_a_fitted_material_is_named_after_the_original_when_fitted_again(addon, files) -> None:
    paint(add_cube())
    assign(addon, files)
    (plan,) = addon.export_job.plan_jobs(bpy.context)
    assert plan.sets[0].name == "Paint"


def test_options_of_a_scene(addon) -> None:
    scene = bpy.context.scene
    scene.pbrfit.learn_light = scene.pbrfit.apply_world = True
    options = addon.assign.AssignOptions.from_scene(scene)
    assert (options.world_scene_uid, options.alpha, options.image_storage) == (scene.session_uid, False, "PACKED")
    assert options.scene_settings["resolution"] == scene.pbrfit.resolution
    assert json.loads(json.dumps(options.scene_settings)) == options.scene_settings
    scene.pbrfit.apply_world = False
    assert addon.assign.AssignOptions.from_scene(scene).world_scene_uid is None
