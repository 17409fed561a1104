"""Maps of objects whose UV maps overlap, mirror, lie in UDIM tiles or are packed into an atlas: Cycles sees no difference."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from support.blender.scenes import run_to_end
from support.blender.texel_scenes import (
    corrected_db,
    mirrored_object,
    rendered,
    slots_object,
    three_objects,
    udim_object,
)

NEAR_DB = 40.0


def bake(addon, resolution: int, **properties) -> list[str]:
    """Press Bake Maps; returns what was warned of."""
    settings = bpy.context.scene.pbrfit
    settings.resolution = resolution
    for name, value in properties.items():
        setattr(settings, name, value)
    assert bpy.ops.pbrfit.bake_maps() == {"FINISHED"}
    session = addon.session.session.current()
    run_to_end(session)
    assert session.status.state == "done", session.status
    return list(session.result.warnings)


def baked_db(addon, make, resolution: int, shape: str, pack: bool = False) -> float:
    """How near the bake of what `make` makes, in maps of this shape, is to the original."""
    settings = bpy.context.scene.pbrfit
    settings.map_shape = shape
    things = make()
    own = rendered(things)
    if pack:
        assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    assert bake(addon, resolution) == []
    images = {node.image for item in materials_of(things) for node in item.node_tree.nodes if hasattr(node, "image")}
    wide, high = (int(part) for part in shape.split(":"))
    assert {tuple(image.size) for image in images} == {
        (resolution * wide // max(wide, high), resolution * high // max(wide, high))
    }
    return decibels(own, things)


def decibels(own: np.ndarray, things) -> float:
    """How near the objects are to what they were; no difference counts as 90 dB."""
    found = corrected_db(own, rendered(things))
    print(f"{found} dB")
    return 90.0 if found is None else found


def materials_of(things) -> set:
    return {slot.material for thing in things for slot in thing.material_slots}


def corners(thing, name: str) -> np.ndarray:
    return np.array([entry.vector[:] for entry in thing.data.uv_layers[name].uv])


def assert_packed(addon, things) -> None:
    """The new UV maps lie in the first square, each texel belongs to one object, and the old ones are still there."""
    for thing in things:
        layers = thing.data.uv_layers
        assert layers.active.name == "PBRfit"
        assert layers["UVMap"].active_render
        found = corners(thing, "PBRfit")
        assert found.min() >= 0.0
        assert found.max() <= 1.0
    assert sum(area(thing) for thing in things) > 0.5


def area(thing) -> float:
    """What the faces of an object cover of the packed map."""
    found, total = corners(thing, "PBRfit"), 0.0
    for face in thing.data.polygons:
        x, y = found[list(face.loop_indices)].T
        total += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0
    return total


def test_mirrored_halves_share_their_texels(addon) -> None:
    thing = mirrored_object()
    own = rendered([thing])
    assert bake(addon, 512) == []
    assert decibels(own, [thing]) > NEAR_DB


def test_four_udim_tiles(addon, tmp_path) -> None:
    thing = udim_object(tmp_path)
    own = rendered([thing])
    assert bake(addon, 256) == []
    (material,) = materials_of([thing])
    images = {node.image for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeTexImage"}
    assert {image.source for image in images} == {"TILED"}
    assert {tuple(tile.number for tile in image.tiles) for image in images} == {(1001, 1002, 1011, 1012)}
    assert decibels(own, [thing]) > NEAR_DB


def test_udim_tiles_become_one(addon, tmp_path) -> None:
    thing = udim_object(tmp_path)
    own = rendered([thing])
    assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    assert_packed(addon, [thing])
    assert decibels(own, [thing]) == 90.0
    assert bake(addon, 512) == []
    (material,) = materials_of([thing])
    images = {node.image for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeTexImage"}
    assert {image.source for image in images} == {"FILE"}
    assert decibels(own, [thing]) > NEAR_DB


def test_an_atlas_of_five_slots(addon) -> None:
    thing = slots_object(5)
    own = rendered([thing])
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    (finding,) = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get(), work="BAKE")
    assert ("their materials differ" in finding.cause, finding.fix) == (True, "pbrfit.pack_islands")
    assert bpy.ops.pbrfit.pack_islands(target=finding.target) == {"FINISHED"}
    assert_packed(addon, [thing])
    assert bake(addon, 1024) == []
    assert len(materials_of([thing])) == 1
    assert decibels(own, [thing]) > NEAR_DB


def test_an_atlas_of_three_objects(addon) -> None:
    things = three_objects()
    own = rendered(things)
    bpy.context.scene.pbrfit.map_sets = "ALL"
    (finding,) = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get(), work="BAKE")
    assert (finding.fix, finding.target) == ("pbrfit.pack_islands", "")
    assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    assert_packed(addon, things)
    densities = [area(thing) / (thing.dimensions.x * thing.dimensions.y) for thing in things]
    assert max(densities) < 1.2 * min(densities)
    assert bake(addon, 1024) == []
    assert len(materials_of(things)) == 1
    assert decibels(own, things) > NEAR_DB


@pytest.mark.parametrize("work", ["FIT", "BAKE"])
def test_mirrored_halves_that_look_different_are_said(addon, work) -> None:
    thing = mirrored_object()
    tree = thing.active_material.node_tree
    noise = tree.nodes.new("ShaderNodeTexNoise")  # in the object's own space
    tree.links.new(noise.outputs[0], tree.nodes["Principled BSDF"].inputs["Metallic"])
    found = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get(), work=work)
    assert any("more than the UV map" in finding.cause for finding in found)


@pytest.mark.parametrize("shape", ["4:1", "1:4"])
def test_maps_that_are_not_square_are_as_near_as_square_ones_of_as_many_texels(addon, shape) -> None:
    def make() -> list:
        return [mirrored_object()]

    assert baked_db(addon, make, 1024, shape) > NEAR_DB
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    assert baked_db(addon, make, 512, "1:1") > NEAR_DB


def test_four_udim_tiles_that_are_not_square(addon, tmp_path) -> None:
    assert baked_db(addon, lambda: [udim_object(tmp_path)], 512, "2:1") > NEAR_DB


def test_an_atlas_of_five_slots_that_is_not_square(addon) -> None:
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    assert baked_db(addon, lambda: [slots_object(5)], 2048, "2:1", pack=True) > NEAR_DB
