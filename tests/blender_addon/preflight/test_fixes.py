"""Each finding that Blender can fix: after one click it is gone, and nothing else has changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.blender.preflight_fixes import find, fix, remaining, selection, stack_uvs, vary_by_place
from support.blender.scenes import add_cube, hdri_world, paint, ready_cube, show_image, snapshot

bpy = pytest.importorskip("bpy")


def test_unwrap_without_a_uv_map(addon) -> None:
    cube = ready_cube()
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    fix(addon, "has no UV map")
    assert addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get()) == []


def test_unwrap_keeps_everything_else(addon) -> None:
    cube = ready_cube()
    vary_by_place(cube)
    stack_uvs(cube)
    for name, state in (("select", [True, False, False, True, False, True]), ("hide", [False] * 5 + [True])):
        cube.data.polygons.foreach_set(name, state)
    bpy.ops.mesh.primitive_monkey_add(location=(4.0, 0.0, 0.0))
    bpy.context.object.select_set(False)
    cube.select_set(True)
    bpy.context.view_layer.objects.active = cube
    before, faces = snapshot(), selection(cube.data)
    old = [tuple(entry.vector) for entry in cube.data.uv_layers["UVMap"].uv]
    fix(addon, "lie over each other in 100%")
    after = snapshot()
    assert after.pop("attributes") == before.pop("attributes") | {"Cube": sorted([*cube.data.attributes.keys()])}
    assert after == before
    assert selection(cube.data) == faces
    assert [tuple(entry.vector) for entry in cube.data.uv_layers["UVMap"].uv] == old
    assert (cube.data.uv_layers.active.name, cube.data.uv_layers["UVMap"].active_render) == ("PBRfit", True)


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT", "VERTEX_PAINT"])
def test_unwrap_keeps_the_mode(addon, mode) -> None:
    cube = ready_cube()
    vary_by_place(cube)
    stack_uvs(cube)
    bpy.ops.object.mode_set(mode=mode)
    assert bpy.ops.pbrfit.unwrap() == {"FINISHED"}
    assert cube.mode == mode
    bpy.ops.object.mode_set(mode="OBJECT")
    assert cube.data.uv_layers.active.name == "PBRfit"
    assert not remaining(addon, "over each other")


def test_unwrap_objects_that_share_maps_side_by_side(addon) -> None:
    cube = ready_cube()
    vary_by_place(cube)
    other = cube.copy()
    other.data = cube.data.copy()
    other.location.x = 3.0
    bpy.context.scene.collection.objects.link(other)
    other.select_set(True)
    finding = find(addon, "lie over each other")
    assert ('"Cube" and "Cube.001"' in finding.cause, finding.target) == (True, "")
    fix(addon, "lie over each other")
    both = [[tuple(entry.vector) for entry in item.data.uv_layers.active.uv] for item in (cube, other)]
    assert min(np.ptp(np.array(uv), axis=0).max() for uv in both) < 1.0


def test_a_mesh_full_of_uv_maps(addon) -> None:
    cube = ready_cube()
    while len(cube.data.uv_layers) < 8:
        cube.data.uv_layers.new()
    with pytest.raises(RuntimeError, match="eight UV maps"):
        bpy.ops.pbrfit.unwrap()


def test_udim_tiles_are_no_findings(addon) -> None:
    cube = ready_cube()
    for corner in range(8):
        cube.data.uv_layers.active.uv[corner].vector.x += 1.0
    assert addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get()) == []
    bpy.context.scene.pbrfit.use_udim = False
    assert remaining(addon, "outside the square")


def test_a_million_triangles_are_looked_at_in_a_second(addon) -> None:
    import time

    lines = np.linspace(0.0, 1.0, 709, dtype=np.float32)
    grid = np.stack(np.meshgrid(lines, lines), axis=-1)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    flat = np.concatenate([np.stack([a, b, c], 2).reshape(-1, 3, 2), np.stack([a, c, d], 2).reshape(-1, 3, 2)])
    stacked = flat.copy()
    stacked[: len(flat) // 2] = stacked[len(flat) // 2 :]
    for corners, share in ((flat, None), (stacked, 1.0), (np.repeat(flat[:1] * 708.0, 10**6, axis=0), 1.0)):
        began = time.process_time()
        found = addon.export.uv_layout.find_overlap(corners, np.zeros(len(corners), dtype=int))
        assert time.process_time() - began < 2.0  # 0.5 s if nothing else runs
        assert (found and found.share) == (share and pytest.approx(share, abs=0.01))


def test_apply_scale(addon) -> None:
    cube = ready_cube()
    cube.scale = (1.0, 2.0, 3.0)
    twin = bpy.data.objects.new("Twin", cube.data)
    bpy.context.scene.collection.objects.link(twin)
    fix(addon, "scaled differently")
    assert tuple(cube.scale) == (1.0, 1.0, 1.0)
    assert tuple(cube.dimensions) == pytest.approx((2.0, 4.0, 6.0))
    assert tuple(twin.dimensions) == pytest.approx((2.0, 2.0, 2.0))


def test_a_scale_of_the_parent_cannot_be_applied(addon) -> None:
    cube = ready_cube()
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.scale = (1.0, 2.0, 1.0)
    cube.parent = parent
    assert find(addon, "scaled differently").fix == "pbrfit.apply_scale"
    with pytest.raises(RuntimeError, match="its parent or a constraint"):
        bpy.ops.pbrfit.apply_scale(target="Cube")


def test_clear_scale(addon) -> None:
    ready_cube().scale = (0.0, 1.0, 1.0)
    fix(addon, "scaled to zero")


def test_triangulate(addon) -> None:
    bpy.ops.mesh.primitive_cylinder_add(vertices=12)
    paint(bpy.context.object)
    hdri_world()
    assert "2 faces" in find(addon, "more than four corners").cause
    fix(addon, "more than four corners")
    bpy.context.object.modifiers.clear()
    bpy.context.scene.pbrfit.use_normal = False
    assert not remaining(addon, "more than four corners")


def test_object_mode(addon) -> None:
    ready_cube()
    bpy.ops.object.mode_set(mode="EDIT")
    fix(addon, "is in Edit Mode")
    assert bpy.context.mode == "OBJECT"


def test_show_object(addon) -> None:
    cube = ready_cube()
    cube.hide_set(True)
    fix(addon, "is hidden")
    cube.hide_viewport = True
    bpy.context.view_layer.objects.active = cube
    fix(addon, "is hidden")


def test_convert_to_mesh(addon) -> None:
    hdri_world()
    bpy.ops.object.text_add()
    fix(addon, "is not a mesh")
    assert bpy.context.object.type == "MESH"


def test_pack_images(addon) -> None:
    """Only what the fit reads is packed."""
    cube = ready_cube()
    image, other = bpy.data.images.new("Sketch", 4, 4), bpy.data.images.new("Draft", 4, 4)
    show_image(cube.active_material, image)
    cube.active_material.node_tree.nodes.new("ShaderNodeTexImage").image = other
    image.pixels[0] = other.pixels[0] = 0.5
    fix(addon, "changes that are not saved")
    assert image.packed_file is not None
    assert other.packed_file is None


def test_use_studio_light(addon) -> None:
    ready_cube()
    bpy.context.scene.world = None
    bpy.context.scene.pbrfit.learn_light = True
    fix(addon, "has no world")
    assert bpy.context.scene.pbrfit.reference_light == "STUDIO"
    assert not bpy.context.scene.pbrfit.learn_light


def test_a_mend_of_what_is_not_selected_any_more(addon) -> None:
    ready_cube()
    with pytest.raises(RuntimeError, match='"Ball" is not selected any more'):
        bpy.ops.pbrfit.unwrap(target="Ball")


def test_mends_need_an_object(addon) -> None:
    for name in ("unwrap", "pack_islands", "apply_scale", "object_mode", "check"):
        assert not getattr(bpy.ops.pbrfit, name).poll()


def test_check_is_remembered_until_something_is_fixed(addon) -> None:
    cube = ready_cube()
    vary_by_place(cube)
    stack_uvs(cube)
    cube.scale = (1.0, 2.0, 1.0)
    bpy.context.view_layer.update()

    def shown() -> list[str]:
        quick = addon.preflight.checks.quick_findings(bpy.context)
        return [finding.fix for finding in addon.preflight.checks.with_checked(bpy.context, quick)]

    assert shown() == []
    assert bpy.ops.pbrfit.check() == {"FINISHED"}
    assert shown() == ["pbrfit.apply_scale", "pbrfit.unwrap"]
    bpy.context.scene.world = None
    assert shown() == ["pbrfit.apply_scale", "pbrfit.unwrap"]
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    assert shown() == ["pbrfit.use_studio_light", "pbrfit.apply_scale", "pbrfit.unwrap"]
    bpy.ops.pbrfit.unwrap()
    assert shown() == ["pbrfit.use_studio_light"]
    bpy.ops.pbrfit.check()
    add_cube()
    assert "pbrfit.apply_scale" not in shown()


def test_uvs_that_are_not_numbers_can_be_unwrapped(addon) -> None:
    ready_cube().data.uv_layers.active.uv[3].vector = (math.nan, 0.5)
    fix(addon, "not numbers")


def test_a_missing_backend_is_found_before_the_click(addon, tmp_path) -> None:
    ready_cube()
    addon.preferences.backend_python = str(tmp_path / "nowhere")
    (finding,) = addon.preflight.checks.quick_findings(bpy.context)
    assert "does not exist or cannot be run" in finding.cause
    assert finding.fix == "pbrfit.open_preferences"
    assert not bpy.ops.pbrfit.open_preferences.poll()  # there is no window


def test_every_mend_is_an_operator(addon) -> None:
    """Findings name operators by identifier: all must exist, and ours must have a target."""
    from pathlib import Path

    import bl_ext.user_default.pbrfit as installed

    folder = Path(installed.__file__).parent
    words = {
        word
        for path in folder.joinpath("preflight").glob("*.py")
        if path.name != "fixes.py"
        for word in path.read_text(encoding="utf-8").split('"')
        if word.count(".") == 1 and word.split(".")[0] in {"pbrfit", "file", "extensions"} and " " not in word
    }
    assert len(words) >= 11
    for word in words:
        group, name = word.split(".")
        properties = getattr(getattr(bpy.ops, group), name).get_rna_type().properties
        assert group != "pbrfit" or "target" in properties, word


@pytest.mark.parametrize(
    ("where", "value"),
    [("uv", math.nan), ("uv", math.inf), ("vertex", math.nan), ("vertex", math.inf), ("object", math.inf)],
)
def test_islands_on_which_blender_crashes_are_not_packed(addon, where, value) -> None:
    """Infinite places, and NaN in meshes of several islands: the process ended, and unsaved work with it."""
    first = ready_cube()
    second = add_cube()
    paint(second, "Varnish")
    first.select_set(True)
    bpy.context.scene.pbrfit.map_sets = "ALL"
    if where == "uv":
        second.data.uv_layers[0].uv.foreach_set("vector", [value] * 48)  # one value alone is cut to what is finite
    elif where == "vertex":
        second.data.vertices[0].co.x = value
    else:
        second.matrix_world[0][0] = value
    before = [[layer.name for layer in thing.data.uv_layers] for thing in (first, second)]
    with pytest.raises(RuntimeError, match=r"not numbers|invalid positions|not finite"):
        bpy.ops.pbrfit.pack_islands()
    assert [[layer.name for layer in thing.data.uv_layers] for thing in (first, second)] == before
