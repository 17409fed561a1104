"""What the preview collects of a scene: meshes once, places, looks, live maps; and that the file does not change."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.complex_file import build_complex_file
from support.blender.file_fingerprint import differences, fingerprint
from support.blender.scenes import add_cube, paint, ready_cube, run_to_end, small_fit
from support.blender.session_steps import poll_until, start

bpy = pytest.importorskip("bpy")


class Viewport:
    """A substitute for a 3D view: `collect` only passes it to Blender, which needs a real one."""


def collect(addon, collector=None):
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return (collector or addon.preview.scene.collector.PreviewCollector()).collect(depsgraph)


def placed(part) -> np.ndarray:
    """World positions of a part, in the renderer's axes."""
    return part.arrays["vertex_position"] @ part.matrix[:3, :3].T + part.matrix[:3, 3]


def exported(addon, scene_object) -> dict:
    return addon.export.mesh.export_mesh(scene_object, bpy.context.evaluated_depsgraph_get()).arrays


@pytest.fixture
def reads(addon, monkeypatch) -> list:
    """How often meshes are read from Blender."""
    calls = []
    meshes = addon.preview.scene.meshes
    original = meshes.read_local
    monkeypatch.setattr(meshes, "read_local", lambda *place, **how: calls.append(1) or original(*place, **how))
    return calls


def test_a_placed_part_is_what_is_exported(addon) -> None:
    cube = add_cube()
    paint(cube)
    cube.location, cube.rotation_euler, cube.scale = (1.0, 2.0, 3.0), (0.3, 0.2, 0.1), (1.0, 2.0, 0.5)
    (part,) = collect(addon).parts
    wanted = exported(addon, cube)
    np.testing.assert_allclose(placed(part), wanted["vertex_position"], atol=1e-5)
    np.testing.assert_array_equal(part.arrays["triangles"], wanted["triangles"])
    np.testing.assert_array_equal(part.arrays["vertex_uv"], wanted["vertex_uv"])
    normals = part.arrays["vertex_normal"] @ np.linalg.inv(part.matrix[:3, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    np.testing.assert_allclose(normals, wanted["vertex_normal"], atol=1e-5)
    assert part.look.kd == pytest.approx((0.8, 0.3, 0.1))
    assert part.look.roughness == pytest.approx(0.4)


def test_custom_normals_and_modifiers_are_shown(addon) -> None:
    """The evaluated mesh, without evaluating it again, has what the export has."""
    cube = add_cube()
    cube.data.normals_split_custom_set([(1 / 3, 2 / 3, 2 / 3)] * 24)
    cube.modifiers.new("Triangulate", "TRIANGULATE")
    (part,) = collect(addon).parts
    wanted = exported(addon, cube)
    for name in ("vertex_normal", "vertex_tangent", "vertex_uv"):
        np.testing.assert_allclose(part.arrays[name], wanted[name], atol=1e-4)


def test_a_mesh_is_read_once_until_it_changes(addon, reads) -> None:
    cube = add_cube()
    linked = cube.copy()
    bpy.context.collection.objects.link(linked)
    collector, other = (
        addon.preview.scene.collector.PreviewCollector(),
        addon.preview.scene.collector.PreviewCollector(),
    )
    first = collect(addon, collector)
    assert (len(first.parts), len(reads)) == (2, 1)
    assert first.parts[0].key == first.parts[1].key
    linked.location.x = 5.0
    moved = collect(addon, collector)
    assert collect(addon, other).parts[0].arrays is first.parts[0].arrays
    assert len(reads) == 1
    assert {part.matrix[2, 3] for part in moved.parts} == {0.0, -5.0}
    cube.data.vertices[0].co.x += 1.0
    cube.data.update()
    changed = collect(addon, collector)
    assert len(reads) == 2
    assert changed.parts[0].key != first.parts[0].key


def test_slots_are_parts(addon) -> None:
    cube = add_cube()
    for name in ("A", "B", "C"):
        paint(cube, name).node_tree.nodes["Principled BSDF"].inputs["Metallic"].default_value = ord(name) - 65
    for polygon, slot in zip(cube.data.polygons, [0, 2, 2, 7, 0, 0], strict=True):
        polygon.material_index = slot
    parts = collect(addon).parts
    assert [(len(part.arrays["triangles"]), part.look.metallic) for part in parts] == [(6, 0.0), (6, 2.0)]
    assert sum(len(part.arrays["vertex_position"]) for part in parts) == 24
    assert all(part.arrays["triangles"].max() + 1 == len(part.arrays["vertex_position"]) for part in parts)


def test_what_is_hidden_is_left_out_and_instances_are_shown(addon) -> None:
    cube = add_cube()
    gone = add_cube()
    gone.hide_set(True)
    add_cube().visible_camera = False
    holder = bpy.data.objects.new("Holder", None)
    collection = bpy.data.collections.new("Instanced")
    collection.objects.link(cube)
    holder.instance_type, holder.instance_collection, holder.location = "COLLECTION", collection, (0.0, 0.0, 7.0)
    bpy.context.collection.objects.link(holder)
    flat = add_cube()
    flat.scale.z = 0.0
    assert sorted(part.matrix[1, 3] for part in collect(addon).parts) == [0.0, 7.0]


def test_text_and_meshes_without_uvs_are_grey(addon) -> None:
    bpy.ops.object.text_add()
    bare = add_cube()
    bare.data.uv_layers.remove(bare.data.uv_layers[0])
    parts = collect(addon).parts
    assert len(parts) == 2
    for part in parts:
        assert part.look == addon.preview.scene.scene.NEUTRAL
        tangent, normal = part.arrays["vertex_tangent"][:, :3], part.arrays["vertex_normal"]
        np.testing.assert_allclose(np.linalg.norm(tangent, axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose((tangent * normal).sum(axis=1), 0.0, atol=1e-5)


def test_nothing_of_a_complex_file_changes(addon, tmp_path) -> None:
    build_complex_file(tmp_path)
    bpy.ops.mesh.primitive_cylinder_add(vertices=12, end_fill_type="NGON")
    bpy.context.view_layer.update()
    before = fingerprint()
    scene = collect(addon)
    addon.preview.scene.scene.description(scene)
    assert len(scene.parts) > 1
    assert differences(before, fingerprint()) == []


def test_the_description_names_arrays(addon) -> None:
    cube = add_cube()
    paint(cube)
    cube.data.uv_layers[0].name = "A UV map with a name as long as Blender allows " + "x" * 16
    scene = collect(addon)
    described, arrays = addon.preview.scene.scene.description(scene)
    (part,) = described.parts
    assert set(part.mesh.to_dict()) == {"vertex_position", "vertex_normal", "vertex_tangent", "vertex_uv", "triangles"}
    assert all(arrays[name] is scene.parts[0].arrays[key] for key, name in part.mesh.to_dict().items())
    assert arrays[described.light].shape == (32, 64, 3)
    assert part.look.kd == pytest.approx([0.8, 0.3, 0.1])
    assert part.job is None
    assert max(len(name) for name in arrays) <= 64  # what the protocol allows


@pytest.mark.any_blender
def test_maps_in_the_making_are_shown_and_references_kept(addon, monkeypatch) -> None:
    cube = ready_cube()
    small_fit()
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    watched = []
    original = addon.session.session_maps.LiveMaps.watch
    monkeypatch.setattr(
        addon.session.session_maps.LiveMaps, "watch", lambda *arguments: watched.append(1) or original(*arguments)
    )
    monkeypatch.setattr(addon.preview.scene.collector, "is_shown", lambda _instance, _viewport: True)
    session = start(addon)
    poll_until(session, lambda _status: session.maps.images)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    (part,) = addon.preview.scene.collector.PreviewCollector().collect(depsgraph, Viewport()).parts
    assert watched
    assert part.job is not None
    assert part.job[1] == 0
    assert part.look.kd.pixels.dtype == np.uint8
    assert part.look.kd.encoding == "srgb"
    assert (part.look.openness.channel, part.look.roughness.channel, part.look.metallic.channel) == (0, 1, 2)
    described, arrays = addon.preview.scene.scene.description(collect(addon))
    assert (described.parts[0].job.id, described.parts[0].job.set) == (part.job[0], 0)
    assert described.parts[0].look.kd == pytest.approx([0.8, 0.3, 0.1])
    assert not any(name.startswith("live") for name in arrays)
    run_to_end(session)
    assert session.status.state == "done", session.status
    assert session.live_sets == {}
    (part,) = collect(addon).parts
    assert part.job is None
    assert part.look.kd.image_uid == cube.material_slots[0].material.node_tree.nodes["Base Color"].image.session_uid
    assert part.look.openness.channel == 0
    views = session.references()
    assert len(views) == 8
    assert views[3].image().shape == (64, 64, 4)
    folder = session._folder
    assert not (folder / "copy").exists()
    bpy.ops.pbrfit.dismiss()
    assert not folder.exists()


def test_watching_is_told_once_and_ends_by_itself(addon, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(addon.session.session_maps.time, "monotonic", lambda: now[0])

    class Client:
        def __init__(self) -> None:
            self.told = []

        def watch(self, size, interval_s) -> None:
            self.told.append((size, interval_s))

    maps, client = addon.session.session_maps.LiveMaps(), Client()
    maps.tell(client)
    assert client.told == []
    maps.watch()
    maps.tell(client)
    maps.tell(client)
    assert client.told == [(512, 0.1)]
    now[0] = 1.9
    maps.tell(client)
    now[0] = 2.1
    maps.tell(client)
    assert client.told == [(512, 0.1), (0, 0.5)]
    maps.watch(256, 0.2)
    maps.tell(client)
    maps.tell(second := Client())
    assert second.told[-1] == (256, 0.2)


def test_an_animated_material_is_shown_as_its_frame_is(addon) -> None:
    """Renders evaluate a scene of their own, so only its evaluated materials have the animated values."""
    cube = add_cube()
    roughness = paint(cube).node_tree.nodes["Principled BSDF"].inputs["Roughness"]
    for frame, value in ((1, 0.0), (11, 1.0)):
        roughness.default_value = value
        roughness.keyframe_insert("default_value", frame=frame)
    collector = addon.preview.scene.collector.PreviewCollector()
    bpy.context.scene.frame_set(1)
    assert collect(addon, collector).parts[0].look.roughness == pytest.approx(0.0)
    noted = []

    def note(_scene, depsgraph) -> None:
        noted.append([update.id.name for update in depsgraph.updates])
        collector.note_updates(depsgraph)

    bpy.app.handlers.frame_change_post.append(note)
    try:
        bpy.context.scene.frame_set(11)
    finally:
        bpy.app.handlers.frame_change_post.remove(note)
    assert noted
    assert collect(addon, collector).parts[0].look.roughness == pytest.approx(1.0)


def test_a_changed_material_is_read_again_others_are_not(addon, monkeypatch) -> None:
    cube = add_cube()
    material = paint(cube)
    collector, seen = addon.preview.scene.collector.PreviewCollector(), []
    original = addon.preview.scene.collector.read_look
    monkeypatch.setattr(
        addon.preview.scene.collector, "read_look", lambda *arguments: seen.append(1) or original(*arguments)
    )

    def note(_scene, depsgraph) -> None:
        collector.note_updates(depsgraph)

    bpy.app.handlers.depsgraph_update_post.append(note)
    try:
        collect(addon, collector)
        seen.clear()
        cube.location.x += 1.0
        collect(addon, collector)
        assert seen == []
        material.node_tree.nodes["Principled BSDF"].inputs["Metallic"].default_value = 0.75
        assert collect(addon, collector).parts[0].look.metallic == 0.75
        assert seen == [1]
    finally:
        bpy.app.handlers.depsgraph_update_post.remove(note)


def test_kinds_of_objects_that_a_viewport_hides_are_left_out(addon) -> None:
    bpy.ops.wm.read_factory_settings()
    bpy.ops.preferences.addon_enable(module=addon.name)
    areas = [area for screen in bpy.data.screens for area in screen.areas if area.type == "VIEW_3D"]
    viewport = areas[0].spaces[0]
    cube, other = bpy.data.objects["Cube"], add_cube()
    other.location.x = 3.0
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    collector = addon.preview.scene.collector.PreviewCollector()
    assert len(collector.collect(depsgraph, viewport).parts) == 2
    viewport.show_object_viewport_mesh = False
    assert len(collector.collect(depsgraph, viewport).parts) == 0
    viewport.show_object_viewport_mesh = True
    assert cube.visible_in_viewport_get(viewport)
