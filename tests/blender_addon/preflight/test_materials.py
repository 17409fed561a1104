"""What materials and worlds do that one set of maps, or one light, cannot show is said before the click."""

from __future__ import annotations

import pytest
from support.blender.preflight_findings import full, quick, with_text
from support.blender.scenes import paint, ready_cube

bpy = pytest.importorskip("bpy")


@pytest.fixture
def tree(addon):
    return ready_cube().active_material.node_tree


def add(tree, kind: str, **values):
    node = tree.nodes.new(kind)
    for name, value in values.items():
        setattr(node, name, value)
    return node


def shader(tree):
    return tree.nodes["Principled BSDF"]


def output(tree):
    return next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")


def both(addon) -> list:
    """The findings of the quick check, which the full check must have too, once."""
    found = quick(addon)
    assert [finding.cause for finding in full(addon)] == [finding.cause for finding in found]
    return found


@pytest.mark.parametrize(
    ("kind", "socket"),
    [
        ("ShaderNodeNewGeometry", "Backfacing"),
        ("ShaderNodeNewGeometry", "Incoming"),
        ("ShaderNodeTexCoord", "Window"),
        ("ShaderNodeTexCoord", "Camera"),
        ("ShaderNodeTexCoord", "Reflection"),
        ("ShaderNodeCameraData", "View Z Depth"),
        ("ShaderNodeLightPath", "Is Camera Ray"),
    ],
)
def test_nodes_that_look_at_the_camera(addon, tree, kind, socket) -> None:
    node = add(tree, kind, label="Cut")
    assert both(addon) == []
    tree.links.new(node.outputs[socket], shader(tree).inputs["Base Color"])
    (finding,) = both(addon)
    assert (finding.level, finding.cause) == (
        "WARNING",
        f'The material "Paint" changes with the view: the node "Cut" ({socket}).',
    )


@pytest.mark.parametrize(
    ("kind", "socket"),
    [("ShaderNodeNewGeometry", "Position"), ("ShaderNodeTexCoord", "UV"), ("ShaderNodeLightPath", "Is Shadow Ray")],
)
def test_nodes_that_do_not(addon, tree, kind, socket) -> None:
    tree.links.new(add(tree, kind).outputs[socket], shader(tree).inputs["Base Color"])
    assert both(addon) == []


def test_one_line_for_each_material(addon, tree) -> None:
    geometry, fresnel = add(tree, "ShaderNodeNewGeometry"), add(tree, "ShaderNodeFresnel")
    tree.links.new(geometry.outputs["Backfacing"], shader(tree).inputs["Metallic"])
    tree.links.new(fresnel.outputs[0], shader(tree).inputs["Roughness"])
    (finding,) = both(addon)
    assert 'the node "Geometry" (Backfacing)' in finding.cause
    assert 'the node "Fresnel"' in finding.cause


@pytest.mark.parametrize("kind", ["ShaderNodeFresnel", "ShaderNodeLayerWeight"])
def test_the_angle_between_shaders_is_usual(addon, tree, kind) -> None:
    node, mixer, other = add(tree, kind), add(tree, "ShaderNodeMixShader"), add(tree, "ShaderNodeBsdfGlossy")
    tree.links.new(shader(tree).outputs[0], mixer.inputs[1])
    tree.links.new(other.outputs[0], mixer.inputs[2])
    tree.links.new(mixer.outputs[0], output(tree).inputs["Surface"])
    ramp = add(tree, "ShaderNodeValToRGB")
    tree.links.new(node.outputs[0], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], mixer.inputs[0])
    assert both(addon) == []
    tree.links.new(ramp.outputs[0], other.inputs["Color"])
    assert f'the node "{node.name}"' in both(addon)[0].cause


def test_shader_to_rgb(addon, tree) -> None:
    node, emission = add(tree, "ShaderNodeShaderToRGB"), add(tree, "ShaderNodeEmission")
    tree.links.new(shader(tree).outputs[0], node.inputs[0])
    assert both(addon) == []
    tree.links.new(node.outputs["Color"], emission.inputs["Color"])
    tree.links.new(emission.outputs[0], output(tree).inputs["Surface"])
    finding = with_text(both(addon), 'the node "Shader to RGB"')
    assert (finding.level, "Cycles renders black" in finding.cause) == ("ERROR", True)


def test_only_an_output_for_eevee(addon, tree) -> None:
    output(tree).target = "EEVEE"
    finding = with_text(both(addon), 'only the output node "Material Output" for EEVEE')
    assert finding.level == "ERROR"
    tree.links.new(shader(tree).outputs[0], add(tree, "ShaderNodeOutputMaterial", target="CYCLES").inputs["Surface"])
    assert both(addon) == []


def test_a_slot_that_no_face_uses_is_not_looked_at(addon, tree) -> None:
    cube = bpy.context.object
    other = paint(cube, "Other").node_tree
    output(other).target = "EEVEE"
    assert both(addon) == []
    cube.modifiers.new("Bevel", "BEVEL").material = 1  # its faces may use the other slot: only the full check knows
    assert quick(addon) == []
    assert with_text(full(addon), 'The material "Other" has only').level == "ERROR"


@pytest.mark.parametrize("method", ["DISPLACEMENT", "BOTH", "BUMP"])
def test_displacement(addon, tree, method) -> None:
    bpy.context.object.active_material.displacement_method = method
    assert both(addon) == []
    node = add(tree, "ShaderNodeDisplacement")
    tree.links.new(node.outputs[0], output(tree).inputs["Displacement"])
    found = both(addon)
    assert len(found) == (method != "BUMP")
    assert all('displaces the surface by the node "Displacement"' in finding.cause for finding in found)


# The world and the file ---------------------------------------------------------------------------------------------


def test_fog_in_the_world(addon, tree) -> None:
    world = bpy.context.scene.world.node_tree
    fog = add(world, "ShaderNodeVolumeScatter")
    assert both(addon) == []
    end = next(node for node in world.nodes if node.bl_idname == "ShaderNodeOutputWorld")
    world.links.new(fog.outputs[0], end.inputs["Volume"])
    assert (both(addon)[0].level, 'has fog by the node "Volume Scatter"' in both(addon)[0].cause) == ("WARNING", True)


@pytest.mark.parametrize(("socket", "found"), [("Is Camera Ray", 0), ("Is Diffuse Ray", 1), ("Is Glossy Ray", 1)])
def test_a_world_that_lights_by_kind_of_ray(addon, tree, socket, found) -> None:
    world = bpy.context.scene.world.node_tree
    path, background = add(world, "ShaderNodeLightPath"), next(n for n in world.nodes if n.type == "BACKGROUND")
    world.links.new(path.outputs[socket], background.inputs["Strength"])
    causes = [finding.cause for finding in both(addon)]
    assert causes == [f'The world "Forest" lights by kind of ray: the node "Light Path" ({socket}).'] * found


@pytest.mark.parametrize("make", ["strength", "color", "unlinked", "gone"])
def test_a_black_world(addon, tree, make) -> None:
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    world = bpy.context.scene.world.node_tree
    background = next(node for node in world.nodes if node.type == "BACKGROUND")
    if make == "strength":
        background.inputs["Strength"].default_value = 0.0
    elif make == "color":
        world.links.remove(background.inputs["Color"].links[0])
        background.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    elif make == "unlinked":
        world.links.remove(background.outputs[0].links[0])
    else:
        world.nodes.clear()
    (finding,) = both(addon)
    assert (finding.level, finding.cause) == ("ERROR", "The world gives no light: it is black.")
    assert finding.fix == "pbrfit.use_studio_light"
    for choice in ("AUTOMATIC", "STUDIO"):
        bpy.context.scene.pbrfit.reference_light = choice
        assert both(addon) == []


def test_a_world_that_is_the_same_in_every_direction(addon, tree) -> None:
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    world = bpy.context.scene.world.node_tree
    background = next(node for node in world.nodes if node.type == "BACKGROUND")
    world.links.remove(background.inputs["Color"].links[0])
    (finding,) = both(addon)
    assert (finding.level, finding.fix) == ("WARNING", "pbrfit.use_studio_light")
    assert "the same in every direction" in finding.cause
    bpy.context.scene.pbrfit.reference_light = "AUTOMATIC"
    assert both(addon) == []


def test_nothing_of_the_world_matters_in_studio_light(addon, tree) -> None:
    bpy.context.scene.pbrfit.reference_light = "STUDIO"
    world = bpy.context.scene.world.node_tree
    fog = add(world, "ShaderNodeVolumeScatter")
    world.links.new(fog.outputs[0], next(n for n in world.nodes if n.type == "OUTPUT_WORLD").inputs["Volume"])
    assert both(addon) == []


@pytest.mark.parametrize("rays", ["diffuse", "glossy"])
def test_a_world_that_some_surfaces_do_not_see(addon, tree, rays) -> None:
    setattr(bpy.context.scene.world.cycles_visibility, rays, False)
    assert [(finding.level, "Ray Visibility" in finding.cause) for finding in both(addon)] == [("WARNING", True)]


@pytest.mark.parametrize(("socket", "count"), [("Window", 1), ("Camera", 1), ("Generated", 0)])
def test_a_world_that_changes_with_the_camera(addon, tree, socket, count) -> None:
    world = bpy.context.scene.world.node_tree
    texture = next(node for node in world.nodes if node.bl_idname == "ShaderNodeTexEnvironment")
    world.links.new(add(world, "ShaderNodeTexCoord").outputs[socket], texture.inputs["Vector"])
    causes = [finding.cause for finding in both(addon)]
    assert causes == ['The world "Forest" changes with the camera by the node "Texture Coordinate".'] * count


def test_a_material_override_of_the_view_layer(addon, tree) -> None:
    bpy.context.view_layer.material_override = bpy.data.materials.new("Clay")
    assert with_text(both(addon), 'shows the material "Clay" in place of all others').level == "WARNING"


@pytest.mark.skipif(bpy.app.version < (4, 3), reason="a view layer has no world of its own in this Blender")
def test_the_world_of_the_view_layer_counts(addon, tree) -> None:
    bpy.context.view_layer.world_override = bpy.context.scene.world
    bpy.context.scene.world = None
    assert both(addon) == []


def test_a_file_whose_python_was_not_allowed_to_run(addon, tree, tmp_path) -> None:
    bpy.context.object.driver_add("location", 0).driver.expression = "__import__('os').getpid()"
    path = str(tmp_path / "driven.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path, use_scripts=False)
    bpy.context.view_layer.update()
    assert bpy.app.autoexec_fail
    assert with_text(both(addon), "not allowed to run the Python").level == "WARNING"
