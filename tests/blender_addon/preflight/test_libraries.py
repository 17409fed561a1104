"""Linked data whose file is gone stops a fit, if what is rendered reads it."""

from __future__ import annotations

import pytest
from support.blender.geometry_groups import nodes_modifier
from support.blender.preflight_findings import full, quick, with_text
from support.blender.scenes import add_cube, hdri_world, paint, ready_cube, show_image

bpy = pytest.importorskip("bpy")


@pytest.fixture
def linked(addon, tmp_path):
    """Opens a file that uses what a library holds; `lose` reopens it without the library."""
    cube = ready_cube()
    group = bpy.data.node_groups.new("Rust", "ShaderNodeTree")
    group.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    group.links.new(group.nodes.new("ShaderNodeRGB").outputs[0], group.nodes.new("NodeGroupOutput").inputs[0])
    nodes_modifier(cube, "Nothing", lambda _group, geometry: geometry)
    cube.modifiers[0].node_group.name = "Nothing"
    image = bpy.data.images.new("Wood", 4, 4)
    image.pack()
    cube.data.name = "Block"
    stored = {cube.data, cube.active_material, group, cube.modifiers[0].node_group, image, bpy.context.scene.world}
    library = tmp_path / "library.blend"
    bpy.data.libraries.write(str(library), stored, fake_user=True)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(library), link=True) as (there, here):
        for kind in ("meshes", "materials", "node_groups", "images", "worlds"):
            setattr(here, kind, list(getattr(there, kind)))
    cube = add_cube()
    paint(cube, "Own")
    hdri_world()
    return cube


def lose(tmp_path) -> None:
    path = str(tmp_path / "user.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    (tmp_path / "library.blend").unlink()
    bpy.ops.wm.open_mainfile(filepath=path)


def data(kind: str, name: str):
    return next(item for item in getattr(bpy.data, kind) if item.name == name and item.library is not None)


def use_material(cube) -> None:
    cube.material_slots[0].material = data("materials", "Paint")


def use_mesh(cube) -> None:
    cube.data = data("meshes", "Block")


def use_group(cube) -> None:
    tree = cube.active_material.node_tree
    node = tree.nodes.new("ShaderNodeGroup")
    node.node_tree = data("node_groups", "Rust")
    tree.links.new(node.outputs[0], tree.nodes["Principled BSDF"].inputs["Base Color"])


def use_image(cube) -> None:
    show_image(cube.active_material, data("images", "Wood"))


def use_modifier(cube) -> None:
    cube.modifiers.new("Shape", "NODES").node_group = data("node_groups", "Nothing")


def use_world(_cube) -> None:
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    bpy.context.scene.world = data("worlds", "Forest")


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (use_material, 'The material "Paint" is missing'),
        (use_mesh, 'The mesh of "Cube" is missing'),
        (use_group, 'The node group "Rust" of the material "Own" is missing'),
        (use_image, 'The image "Wood" of the material "Own" is missing'),
        (use_modifier, 'The node group of the modifier "Shape" of "Cube" is missing'),
        (use_world, 'The world "Forest" is missing'),
    ],
)
def test_missing_data(addon, linked, tmp_path, use, words) -> None:
    use(linked)
    assert [finding for finding in full(addon) if finding.level == "ERROR"] == []
    lose(tmp_path)
    for found in (quick(addon), full(addon)):
        errors = [finding for finding in found if finding.level == "ERROR"]
        assert len(errors) == 1, [finding.cause for finding in errors]
        finding = with_text(errors, words)
        assert "library.blend, which cannot be read." in finding.cause
        assert "File > External Data" in finding.cure


def test_missing_data_that_nothing_shows(addon, linked, tmp_path) -> None:
    linked.active_material.node_tree.nodes.new("ShaderNodeGroup").node_tree = data("node_groups", "Rust")
    linked.data.materials.append(data("materials", "Paint"))
    lose(tmp_path)
    assert full(addon) == []
