"""What a bake checks that a fit does not, and what it does not check; and how long a verdict is kept."""

from __future__ import annotations

import time

import pytest
from support.blender.bake_steps import chessboard_cube
from support.blender.scenes import add_cube, paint, ready_cube

bpy = pytest.importorskip("bpy")


def findings(addon, work: str) -> tuple[list[str], list[str]]:
    """The causes of the quick check and of the full one."""
    checks = addon.preflight.checks
    quick = [finding.cause for finding in checks.quick_findings(bpy.context, work)]
    full = checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get(), work=work)
    return quick, [finding.cause for finding in full]


@pytest.fixture
def alone(addon, monkeypatch):
    """A cube in a scene without light, in a Blender without a backend."""
    addon.preferences.backend_python = ""
    monkeypatch.setenv("PATH", "/nowhere")
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    return chessboard_cube()


def test_a_bake_needs_no_backend_no_light_and_no_network(addon, alone) -> None:
    quick, _ = findings(addon, "FIT")
    assert any("backend" in cause for cause in quick)
    assert any("no world" in cause for cause in quick)
    assert findings(addon, "BAKE") == ([], [])
    addon.preferences.backend_address = "nonsense"
    bpy.context.scene.pbrfit.use_kd = False  # which no fit allows
    assert findings(addon, "BAKE") == ([], [])


def test_a_bake_does_not_look_at_the_worlds_images(addon, tmp_path) -> None:
    ready_cube()
    image = next(image for image in bpy.data.images if image.filepath.endswith("forest.exr"))
    image.filepath = str(tmp_path / "gone.exr")
    assert any("gone.exr does not exist" in cause for cause in findings(addon, "FIT")[1])
    assert findings(addon, "BAKE") == ([], [])


def test_another_scale_on_each_axis_matters_to_a_fit_alone(addon) -> None:
    ready_cube().scale = (1.0, 2.0, 1.0)
    bpy.context.view_layer.update()
    assert any("scaled differently" in cause for cause in findings(addon, "FIT")[1])
    assert findings(addon, "BAKE") == ([], [])


@pytest.mark.parametrize("work", ["FIT", "BAKE"])
def test_what_stops_both(addon, work) -> None:
    cube = ready_cube()
    cube.scale = (1.0, 0.0, 1.0)
    bpy.context.view_layer.update()
    assert any("scaled to zero" in cause for cause in findings(addon, work)[1])
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    assert any("has no UV map" in cause for cause in findings(addon, work)[0])
    bpy.context.view_layer.objects.active = None
    bpy.ops.object.select_all(action="DESELECT")
    assert findings(addon, work)[0] == ["No object is active."]


def test_a_material_that_cannot_be_baked(addon, alone) -> None:
    tree = alone.active_material.node_tree
    toon = tree.nodes.new("ShaderNodeBsdfToon")
    tree.links.new(toon.outputs[0], tree.nodes["Material Output"].inputs["Surface"])
    bpy.context.view_layer.update()
    quick, full = findings(addon, "BAKE")
    assert quick == full
    assert '"Paint" cannot be baked' in quick[0]
    assert addon.preflight.checks.quick_findings(bpy.context, "BAKE")[0].level == "ERROR"


def test_a_volume_is_left_out(addon, alone) -> None:
    tree = alone.active_material.node_tree
    volume = tree.nodes.new("ShaderNodeVolumePrincipled")
    tree.links.new(volume.outputs[0], tree.nodes["Material Output"].inputs["Volume"])
    bpy.context.view_layer.update()
    (found,) = addon.preflight.checks.quick_findings(bpy.context, "BAKE")
    assert (found.level, "Principled Volume" in found.cause) == ("WARNING", True)
    assert found.cure == "A bake leaves it out. Fit the material instead if its look matters."


def test_the_panel_keeps_what_either_full_check_found(addon, alone) -> None:
    checks = addon.preflight.checks
    alone.modifiers.new("Emitter", "PARTICLE_SYSTEM")
    alone.data.uv_layers.active.uv.foreach_set("vector", [0.5] * 48)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    (error,) = checks.errors_of(checks.all_findings(bpy.context, depsgraph, work="BAKE"))
    assert "no area in its UV map" in error.cause
    assert error in checks.with_checked(bpy.context, checks.quick_findings(bpy.context))
    checks.forget_check()
    assert error not in checks.with_checked(bpy.context, checks.quick_findings(bpy.context))


# Verdicts are kept ------------------------------------------------------------------------------------------------


def add_coat(material: bpy.types.Material) -> None:
    material.node_tree.nodes["Principled BSDF"].inputs["Coat Weight"].default_value = 0.5


def test_a_verdict_is_kept_until_the_material_changes(addon) -> None:
    material = paint(add_cube())
    verdict = addon.preflight.verdicts.verdict
    bpy.context.view_layer.update()
    first = verdict(material, "CORE")
    assert (first.kind, first.lost) == ("EXACT", ())
    bpy.context.object.location.x = 3.0
    bpy.context.view_layer.update()
    assert verdict(material, "CORE") is first
    add_coat(material)
    bpy.context.view_layer.update()
    assert "a coat" in verdict(material, "CORE").lost[0]
    assert verdict(material, "GLTF").lost == ()


def test_a_verdict_follows_groups_links_names_undo_and_files(addon, tmp_path) -> None:
    material = paint(add_cube())
    verdict = addon.preflight.verdicts.verdict
    group = bpy.data.node_groups.new("Coats", "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    inner = group.nodes.new("ShaderNodeBsdfPrincipled")
    group.links.new(inner.outputs[0], group.nodes.new("NodeGroupOutput").inputs[0])
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    tree.links.new(node.outputs[0], tree.nodes["Material Output"].inputs["Surface"])
    bpy.context.view_layer.update()
    assert verdict(material, "CORE").lost == ()
    inner.inputs["Coat Weight"].default_value = 0.5
    bpy.context.view_layer.update()
    assert "a coat" in verdict(material, "CORE").lost[0]
    material.name = "Lacquer"
    assert '"Lacquer"' in verdict(material, "CORE").text
    bpy.ops.ed.undo_push(message="Coat")
    inner.inputs["Coat Weight"].default_value = 0.0
    bpy.context.view_layer.update()
    assert verdict(material, "CORE").lost == ()
    bpy.ops.ed.undo_push(message="No coat")
    bpy.ops.ed.undo()
    assert "a coat" in verdict(bpy.data.materials["Lacquer"], "CORE").lost[0]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    assert addon.preflight.verdicts._known == {}


def test_the_click_looks_again(addon, alone) -> None:
    """A script may change nodes, and press the button before Blender has evaluated that."""
    assert addon.preflight.checks.quick_findings(bpy.context, "BAKE") == []
    tree = alone.active_material.node_tree
    tree.links.remove(tree.nodes["Material Output"].inputs["Surface"].links[0])
    with pytest.raises(RuntimeError, match='"Paint" cannot be baked'):
        bpy.ops.pbrfit.bake_maps()


def test_what_the_panel_asks_for_is_cheap(addon) -> None:
    """Fifty materials, as often as Blender draws while the mouse moves."""
    for number in range(50):
        paint(add_cube(), f"Paint {number}")
    bpy.ops.object.select_all(action="SELECT")
    checks = addon.preflight.checks
    assert checks.quick_findings(bpy.context, "BAKE") == []
    began = time.perf_counter()
    for _ in range(10):
        checks.quick_findings(bpy.context, "BAKE")
    assert (time.perf_counter() - began) / 10 < 0.05
