"""The whole way in a real Blender: button, second Blender, backend process, fit, material."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from support.blender.scenes import datablocks, hdri_world, paint, run_to_end, small_fit, snapshot, use_nodes

bpy = pytest.importorskip("bpy")


def test_button_to_material(addon) -> None:
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=3)
    scene_object = bpy.context.object
    scene_object.name = "Pebble"
    scene_object.modifiers.new("Subdivision", "SUBSURF").levels = 1
    original = paint(scene_object)
    hdri_world((0.0, 0.0, 1.0))
    small_fit()
    bpy.context.scene.pbrfit.view_size = 96
    bpy.context.scene.pbrfit.samples = 32  # with fewer, the noise of the held-out views would hide what is measured
    before = snapshot()

    assert bpy.ops.pbrfit.optimize() == {"FINISHED"}
    session = addon.session.session.current()
    fractions, states = [], []
    while not session.poll().finished:
        fractions.append(session.status.fraction)
        states.append(session.status.state)
        if session.status.state != "applying":
            assert scene_object.active_material is original
        time.sleep(0.02)
    assert session.status.state == "done", session.status
    assert fractions == sorted(fractions)
    assert set(states) >= {"starting", "rendering", "fitting"}

    result = session.result
    assert result.material == "Paint PBRfit"
    assert result.original_materials == {0: "Paint"}
    assert set(result.files) == {"kd.png", "orm.png", "normal.png"}
    assert set(result.seconds) == {"export", "start", "render", "fit", "apply", "total"}
    assert [view.held_out for view in result.views].count(True) == 2
    assert math.isfinite(result.metrics["fit_heldout_psnr_db"])
    assert result.metrics["fit_heldout_psnr_db"] > 26.0

    material = scene_object.active_material
    assert material.name == "Paint PBRfit"
    shader = material.node_tree.nodes["Fitted Material"]
    for name in ("Base Color", "Roughness", "Metallic", "Normal"):
        assert shader.inputs[name].is_linked, name
    assert original.use_fake_user
    record = json.loads(material["pbrfit"])
    assert record["settings"]["resolution"] == 64
    assert record["settings"]["maps"] == ["kd", "ks", "normal"]

    color = bpy.data.images["Paint PBRfit Base Color"]
    assert tuple(color.size) == (64, 64)
    encoded = np.median(np.array(color.pixels[:]).reshape(-1, 4)[:, :3], axis=0)
    linear = ((encoded + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(linear, [0.8, 0.3, 0.1], atol=0.12)

    # Except for the new material, its images and the group that a glTF export reads, only the original's fake user has changed.
    added = set(datablocks()) - set(before["datablocks"])
    assert added == {
        "materials/Paint PBRfit",
        "images/Paint PBRfit Base Color",
        "images/Paint PBRfit ORM",
        "images/Paint PBRfit Normal",
        "node_groups/glTF Material Output",
    }
    assert all(datablocks()[name][0] > 0 for name in added)

    bpy.ops.pbrfit.revert()
    assert snapshot() == before


@pytest.mark.any_blender
def test_rendered_world_and_second_fit_on_the_warm_backend(addon) -> None:
    """The second Blender renders a world of nodes; the backend serves the next fit too."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8)
    paint(bpy.context.object)
    world = bpy.data.worlds.new("Gradient")
    use_nodes(world)
    tree = world.node_tree
    tree.links.new(tree.nodes.new("ShaderNodeTexGradient").outputs["Color"], tree.nodes["Background"].inputs["Color"])
    bpy.context.scene.world = world
    small_fit()
    backends = []
    for _ in range(2):
        bpy.ops.pbrfit.optimize()
        session = addon.session.session.current()
        backends.append(session._link._backend._process.pid)
        run_to_end(session)
        assert session.status.state == "done", session.status
        assert session.result.plan["environment"] == [1024, 512]
    assert backends[0] == backends[1]
    assert session.result.original_materials == {0: "Paint"}  # not the first fit
