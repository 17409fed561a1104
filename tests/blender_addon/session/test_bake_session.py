"""A bake from the click to the new materials, without a backend; what the artist does meanwhile; and how it ends early."""

from __future__ import annotations

import os
import threading
import time

import pytest
from support.blender.bake_steps import BACKEND_THREAD, baker_of, chessboard, chessboard_cube, small_bake, start_bake
from support.blender.scenes import paint, snapshot
from support.blender.session_steps import failure, finish, poll_until

bpy = pytest.importorskip("bpy")

BAKED = "Paint PBRfit"


@pytest.fixture
def cube(addon, monkeypatch):
    """A cube to bake, in a Blender that has no backend."""
    addon.preferences.backend_python = ""
    monkeypatch.setenv("PATH", "/nowhere")
    small_bake()
    return chessboard_cube()


@pytest.fixture
def saved_cube(cube, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    return cube


def bake_for_a_while() -> None:
    """Maps so large that a look at the status finds the bake at work."""
    bpy.context.scene.pbrfit.resolution = 2048


def add_plane(x: float = 4.0) -> bpy.types.Object:
    """A plane with a material of its own, selected and active."""
    bpy.ops.mesh.primitive_plane_add(location=(x, 0.0, 0.0))
    paint(bpy.context.object, "Floor")
    return bpy.context.object


def is_baked(name: str) -> bool:
    return "pbrfit" in bpy.data.objects[name].active_material


def principled(material: bpy.types.Material) -> bpy.types.Node:
    (node,) = [node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"]
    return node


# From the click to the materials ----------------------------------------------------------------------------------


def test_from_the_click_to_the_material_without_backend_and_world(addon, cube, monkeypatch) -> None:
    # What a status says may be over before the next look at it, so each one is kept as it is shown.
    messages = set()
    show = addon.session.bake_session.BakeSession._show

    def keep_and_show(self, state: str, message: str, *values, **named) -> None:
        messages.add(message)
        show(self, state, message, *values, **named)

    monkeypatch.setattr(addon.session.bake_session.BakeSession, "_show", keep_and_show)
    before = snapshot()
    session = start_bake(addon)
    assert snapshot() == before
    assert session.status.state == "baking"
    assert not any(BACKEND_THREAD in thread.name for thread in threading.enumerate())
    fractions = []
    while not session.poll().finished:
        fractions.append(session.status.fraction)
        time.sleep(0.01)
    assert session.status.state == "done", session.status
    assert fractions == sorted(fractions)
    assert {"Baking Base Color", "Creating the material"} <= messages
    material = bpy.data.objects["Cube"].active_material
    assert material.name == BAKED
    assert [image.name for image in bpy.data.images if "pbrfit" in image] == [f"{BAKED} Base Color"]
    assert principled(material).inputs["Roughness"].default_value == pytest.approx(0.4)
    assert bpy.data.materials["Paint"].use_fake_user
    assert set(session.result.files) == {"kd.png"}
    assert {"export", "bake", "apply", "total"} == set(session.result.seconds)
    record = addon.common.records.record_of(material)
    assert {name: record[name] for name in ("kind", "target", "resolution", "supersampling")} == {
        "kind": "bake",
        "target": "CORE",
        "resolution": 64,
        "supersampling": 1,
    }
    # The nodes have no normals of their own: that no map of them comes is said.
    assert record["notes"] == ['"Paint" has no normal map: its normals are those of the surface.']
    verdict = addon.session.result_verdict.verdict_of_record(str(material["pbrfit"]))
    assert record["notes"][0] in verdict.details
    assert not session._folder or not (session._folder / "copy").exists()
    addon.session.session.end_session()
    assert [name for name in os.listdir(bpy.app.tempdir) if name.startswith("pbrfit_")] == []


def test_a_material_of_one_color_gets_numbers_and_no_image(addon, cube) -> None:
    plane = add_plane()
    cube.select_set(False)
    images = set(bpy.data.images)
    session = start_bake(addon)
    finish(session)
    shader = principled(plane.active_material)
    assert tuple(shader.inputs["Base Color"].default_value)[:3] == pytest.approx((0.8, 0.3, 0.1))
    assert not shader.inputs["Base Color"].is_linked
    assert set(bpy.data.images) == images
    assert session.result.files == {}
    assert session.result.material == "Floor PBRfit"


def test_two_groups_are_one_process_and_one_step(addon, cube) -> None:
    add_plane()
    cube.select_set(True)
    session = start_bake(addon)
    process = baker_of(session)
    seen, changed = set(), set()
    while not session.poll().finished:
        status = session.status
        seen.add((status.state, status.fit, status.fits))
        changed.add((is_baked("Cube"), is_baked("Plane")))
        if session._open_baker is not None:
            assert baker_of(session) is process
        time.sleep(0.01)
    assert session.status.state == "done", session.status
    assert {("baking", 1, 2), ("baking", 2, 2)} <= seen
    assert changed == {(False, False)}  # both in the very last poll
    assert is_baked("Cube")
    assert is_baked("Plane")
    assert [result.object_name for result in session.results] == ["Plane", "Cube"]
    assert [bake.maps is not None for bake in session.bakes] == [True, True]


def test_two_slots_of_an_object_get_a_set_of_maps_each(addon, cube) -> None:
    plain = paint(cube, "Plain")
    chessboard(plain)
    for polygon in list(cube.data.polygons)[:3]:
        polygon.material_index = 1
    session = start_bake(addon)
    finish(session)
    assert set(session.result.files) == {"0/kd.png", "1/kd.png"}
    assert [slot.material.name for slot in cube.material_slots] == [BAKED, "Plain PBRfit"]


def test_undo_and_redo(addon, cube) -> None:
    bpy.ops.ed.undo_push(message="Before")
    before = snapshot()
    finish(start_bake(addon))
    bpy.ops.ed.undo_push(message="PBRfit: Bake Maps")  # which a Blender with a window does itself
    bpy.ops.ed.undo()
    assert snapshot() == before
    bpy.ops.ed.redo()
    assert is_baked("Cube")


def test_the_settings_are_those_of_the_scene(addon, cube) -> None:
    settings = bpy.context.scene.pbrfit
    settings.bake_target, settings.supersampling, settings.map_sets = "GLTF", "4", "OBJECT"
    settings.margin = 8  # which says nothing as long as all is filled
    settings.learn_light = settings.apply_world = True  # of a fit
    session = start_bake(addon)
    plan = session.result.plan
    assert (plan["target"], plan["resolution"], plan["supersampling"], plan["margin"]) == ("GLTF", 64, 4, None)
    assert session.plans[0].sets[0].name == "Cube"
    finish(session)
    assert bpy.context.scene.world is None
    assert bpy.data.objects["Cube"].active_material.name == "Cube PBRfit"


# What the artist does meanwhile -----------------------------------------------------------------------------------


def test_another_file_and_back(addon, saved_cube, tmp_path) -> None:
    session = start_bake(addon)
    saved_cube.name = "Crate"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_empty=True)
    chessboard_cube().name = "Crate"
    poll_until(session, lambda status: status.state == "applying")
    before = snapshot()
    for _ in range(5):
        assert session.poll().state == "applying"
    assert '"work.blend" is not open' in session.status.message
    assert snapshot() == before
    assert not bpy.ops.pbrfit.bake_maps.poll()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    finish(session)
    assert is_baked("Crate")


def test_a_file_never_saved_cannot_come_back(addon, cube) -> None:
    session = start_bake(addon)
    process, folder = baker_of(session), session._folder
    bpy.ops.wm.read_homefile(use_empty=True)
    said = failure(session)
    assert "The file that the bake was started in was closed without being saved." in said
    assert process.poll() is not None
    assert not folder.exists()


def test_undo_while_it_bakes(addon, cube) -> None:
    bpy.ops.ed.undo_push(message="Before")
    cube.location.x = 3.0
    bpy.ops.ed.undo_push(message="Moved")
    session = start_bake(addon)
    bpy.ops.ed.undo()
    assert bpy.data.objects["Cube"].location.x == 0.0
    finish(session)
    assert is_baked("Cube")


def test_edit_mode_is_waited_for(addon, cube) -> None:
    session = start_bake(addon)
    bpy.ops.object.mode_set(mode="EDIT")
    poll_until(session, lambda status: status.state == "applying")
    assert "go back to Object Mode" in session.poll().message
    assert "go back to Object Mode" in session.waits_for
    assert not is_baked("Cube")
    bpy.ops.object.mode_set(mode="OBJECT")
    finish(session)
    assert is_baked("Cube")


def test_object_deleted_meanwhile(addon, cube) -> None:
    session = start_bake(addon)
    bpy.data.objects.remove(cube)
    assert "The object is gone" in failure(session)
    assert set(session.result.files) == {"kd.png"}  # Save Maps can have them
    assert not [material for material in bpy.data.materials if "PBRfit" in material.name]


# How it ends early ------------------------------------------------------------------------------------------------

POINTS = {
    "starting": lambda session: session.status.state == "baking",
    "baking": lambda session: session.status.message.startswith("Baking"),
    "applying": lambda session: session._assigning is not None,
}


@pytest.mark.parametrize("point", POINTS)
def test_cancel_leaves_nothing(addon, cube, point) -> None:
    bake_for_a_while()
    before = snapshot()
    session = start_bake(addon)
    process, folder = baker_of(session), session._folder
    poll_until(session, lambda _status: POINTS[point](session))
    began = time.monotonic()
    assert bpy.ops.pbrfit.cancel() == {"FINISHED"}
    assert time.monotonic() - began < 0.5
    assert session.poll().state == "cancelled"
    assert process.poll() is not None
    assert not folder.exists()
    assert snapshot() == before
    assert bpy.ops.pbrfit.bake_maps.poll()
    assert bpy.ops.pbrfit.dismiss() == {"FINISHED"}
    assert addon.session.session.current() is None


def test_a_killed_second_blender_is_said_with_a_cure(addon, cube) -> None:
    bake_for_a_while()
    before = snapshot()
    session = start_bake(addon)
    folder = session._folder
    poll_until(session, lambda _status: POINTS["baking"](session))
    baker_of(session).kill()
    assert "The windowless Blender ended with status -9." in failure(session)
    assert "press F12" in session.status.cure
    assert not session.status.can_resume
    assert not folder.exists()
    assert snapshot() == before


def test_a_group_that_fails_leaves_the_others_their_maps(addon, cube) -> None:
    """The first is killed; another second Blender bakes the rest."""
    add_plane()
    cube.select_set(True)
    session = start_bake(addon)
    first = baker_of(session)
    first.kill()
    finish(session)
    assert not is_baked("Plane")
    assert is_baked("Cube")
    assert f'Assigned "{BAKED}"' in session.status.message
    assert "Plane: The windowless Blender ended with status -9." in session.status.message


def test_disabling_the_addon_ends_everything(addon, cube) -> None:
    session = start_bake(addon)
    process, folder = baker_of(session), session._folder
    bpy.ops.preferences.addon_disable(module=addon.name)
    assert process.poll() is not None
    assert not folder.exists()


def test_one_at_a_time_and_no_buttons_of_a_fit(addon, cube) -> None:
    session = start_bake(addon)
    for name in ("optimize", "bake_maps"):
        with pytest.raises(RuntimeError, match="A bake is running: wait for it, or cancel it"):
            getattr(bpy.ops.pbrfit, name)()
    for name in ("pause", "apply_now", "resume", "dismiss"):
        assert not getattr(bpy.ops.pbrfit, name).poll()
    session.cancel()


# What is refused before anything starts ---------------------------------------------------------------------------


def refusal(addon) -> str:
    """Press the button, which must refuse and change nothing; return its message."""
    before = snapshot()
    with pytest.raises(RuntimeError) as error:
        bpy.ops.pbrfit.bake_maps()
    assert snapshot() == before
    status = addon.session.session.current().status
    assert status.state == "failed"
    assert status.cause
    assert status.cure
    assert [name for name in os.listdir(bpy.app.tempdir) if name.startswith("pbrfit_")] == []
    return str(error.value)


def test_no_object(addon) -> None:
    assert "No object is active. Click an object." in refusal(addon)


def test_no_uv_map(addon, cube) -> None:
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    assert '"Cube" has no UV map.' in refusal(addon)


def test_a_material_that_cannot_be_read_names_its_node(addon, cube) -> None:
    tree = cube.active_material.node_tree
    toon = tree.nodes.new("ShaderNodeBsdfToon")
    tree.links.new(toon.outputs[0], tree.nodes["Material Output"].inputs["Surface"])
    said = refusal(addon)
    assert '"Paint" cannot be baked' in said
    assert "Toon BSDF" in said
    assert "Fit it instead: Optimize Materials." in said


def test_an_image_that_is_missing(addon, cube, tmp_path) -> None:
    image = bpy.data.images["Chessboard"]
    image.unpack(method="REMOVE")
    image.source, image.filepath = "FILE", str(tmp_path / "gone.png")
    assert "gone.png does not exist" in refusal(addon)


def test_a_naming_scheme_that_gives_no_name(addon, cube) -> None:
    bpy.context.scene.pbrfit.material_name = " "
    refusal(addon)
