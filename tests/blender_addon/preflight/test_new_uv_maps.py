"""New UV maps for maps of any shape: texels are square on the surface, and margins have four of them in both directions."""

from __future__ import annotations

import dataclasses
import time

import bpy
import numpy as np
import pytest
from support.blender.scenes import paint, ready_cube

SIZES = [(256, 256), (512, 256), (128, 512), (1024, 128)]
"""Width and height."""


def boards(places: float = 0.05) -> bpy.types.Object:
    """Boards that lie apart, some of them six times as long; their UVs are their places times a number."""
    generator = np.random.default_rng(0)
    vertices, faces = [], []
    for number in range(24):
        across, up = generator.uniform(0.2, 1.0, 2)
        up *= 6.0 if number % 3 == 0 else 1.0
        first, left = len(vertices), number * 7.0
        vertices += [(left, 0, 0), (left + across, 0, 0), (left + across, up, 0), (left, up, 0)]
        faces.append(tuple(range(first, first + 4)))
    mesh = bpy.data.meshes.new("Boards")
    mesh.from_pydata(vertices, [], faces)
    layer = mesh.uv_layers.new(name="UVMap")
    for loop in mesh.loops:
        layer.uv[loop.index].vector = np.array(vertices[loop.vertex_index][:2]) * places
    thing = bpy.data.objects.new("Boards", mesh)
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    paint(thing)
    return thing


def show_image(thing: bpy.types.Object, width: int, height: int) -> None:
    """Give its material an active image of this size, as artists have."""
    tree = thing.active_material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.new("Trim", width, height)
    tree.nodes.active = node


def layout(thing: bpy.types.Object, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Of the active UV map: texels in a meter along each edge, [F, 4]; and the boxes of the faces in texels, [F, 2, 2]."""
    mesh, layer = thing.data, thing.data.uv_layers.active.uv
    places = np.array([[layer[index].vector[:] for index in face.loop_indices] for face in mesh.polygons]) * size
    corners = np.array([[mesh.vertices[index].co[:] for index in face.vertices] for face in mesh.polygons])
    lengths = [np.linalg.norm(np.roll(values, -1, axis=1) - values, axis=-1) for values in (places, corners)]
    return lengths[0] / lengths[1], np.stack([places.min(axis=1), places.max(axis=1)], axis=1)


def smallest_gap(boxes: np.ndarray) -> float:
    """How many texels lie at least between two boxes, in the direction in which they are apart."""
    below, above = boxes[:, None, 0] - boxes[None, :, 1], boxes[None, :, 0] - boxes[:, None, 1]
    gaps = np.maximum(below, above).max(axis=-1)
    return float(gaps[~np.eye(len(boxes), dtype=bool)].min())


def choose(size: tuple[int, int]) -> None:
    settings = bpy.context.scene.pbrfit
    settings.resolution = max(size)
    settings.map_shape = f"{size[0] // min(size)}:{size[1] // min(size)}"


@pytest.mark.parametrize("image", [None, (512, 256), (64, 512)], ids=["no image", "wide image", "high image"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("button", ["unwrap", "pack_islands"])
def test_texels_are_square_whatever_images_the_material_has(addon, button, size, image) -> None:
    thing = boards()
    if image is not None:
        show_image(thing, *image)
    choose(size)
    assert getattr(bpy.ops.pbrfit, button)() == {"FINISHED"}
    assert thing.data.uv_layers.active.name == "PBRfit"
    density, boxes = layout(thing, size)
    assert density.max() < 1.001 * density.min()
    assert boxes[:, 0].min() > 3.5
    assert (size - boxes[:, 1]).min() > 3.5
    assert smallest_gap(boxes) > 3.5
    covered = (boxes[:, 1] - boxes[:, 0]).prod(axis=-1).sum() / (size[0] * size[1])
    print(f"{button} {size} {image}: {covered:.0%} covered")
    assert covered > 0.08


@pytest.mark.parametrize("button", ["unwrap", "pack"])
def test_the_equal_squares_of_boxes_are_packed_at_once(addon, button) -> None:
    """By their outlines Blender takes 66 s for one cube on maps of 512."""
    cubes = [ready_cube()]
    bpy.ops.mesh.primitive_cube_add(location=(3.0, 0.0, 0.0))
    cubes.append(bpy.context.object)
    for cube in cubes:
        bpy.context.view_layer.objects.active = cube
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(island_margin=0.004, margin_method="FRACTION")
        bpy.ops.object.mode_set(mode="OBJECT")
    began = time.perf_counter()
    if button == "unwrap":
        addon.preflight.unwrapping.unwrap(bpy.context, cubes, (512, 512))
    else:
        addon.preflight.packing.pack(bpy.context, cubes, (512, 512))
    assert time.perf_counter() - began < 5.0


def test_unwrapped_islands_fill_the_square_by_their_outlines(addon) -> None:
    """Smart UV Project alone packs boxes: 43 %."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    thing = bpy.context.object
    addon.preflight.unwrapping.unwrap(bpy.context, [thing], (1024, 1024))
    mesh = thing.data
    uv = np.array([entry.vector[:] for entry in mesh.uv_layers.active.uv])
    mesh.calc_loop_triangles()
    first, second, third = uv[np.array([triangle.loops[:] for triangle in mesh.loop_triangles])].transpose(1, 0, 2)
    (u1, v1), (u2, v2) = (second - first).T, (third - first).T
    assert np.abs(u1 * v2 - u2 * v1).sum() / 2 > 0.55
    assert uv.min() >= 0.0
    assert uv.max() <= 1.0


@pytest.mark.parametrize("size", [(32, 32), (256, 32)], ids=str)
@pytest.mark.parametrize("button", ["unwrap", "pack_islands"])
def test_margins_leave_room_for_many_islands_in_small_maps(addon, button, size) -> None:
    """Four texels around each of 24 islands would be more than the whole map."""
    thing = boards()
    choose(size)
    assert getattr(bpy.ops.pbrfit, button)() == {"FINISHED"}
    density, boxes = layout(thing, size)
    assert density.max() < 1.01 * density.min()
    assert boxes.min() > 0.9
    assert (size - boxes).min() > 0.9
    assert smallest_gap(boxes) > 0.9
    covered = (boxes[:, 1] - boxes[:, 0]).prod(axis=-1).sum() / (size[0] * size[1])
    print(f"{button} {size}: {covered:.0%} covered")
    assert covered > 0.05


def test_a_uv_map_that_is_made_for_the_shape_keeps_it(addon) -> None:
    """A trim sheet's own UVs are stretched in the square, and right in maps of its shape."""
    size = (512, 256)
    thing = boards()
    for corner in thing.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] / 2.0, corner.vector[1])
    choose(size)
    assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    density, _ = layout(thing, size)
    assert density.max() < 1.001 * density.min()


def test_slots_of_both_kinds_have_the_same_texels_for_each_area(addon) -> None:
    size = (512, 128)
    thing = boards()
    other = bpy.data.materials.new("Other")
    thing.data.materials.append(other)
    layer = thing.data.uv_layers.active.uv
    for face in list(thing.data.polygons)[::2]:
        face.material_index = 1
        for index in face.loop_indices:
            layer[index].vector = (layer[index].vector[0] / 4.0, layer[index].vector[1])
    choose(size)
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    density, _ = layout(thing, size)
    assert density.max() < 1.001 * density.min()


@pytest.mark.parametrize("button", ["unwrap", "pack_islands"])
def test_maps_that_would_be_too_narrow_are_said(addon, button) -> None:
    thing = boards()
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.map_shape = 32, "1:8"
    with pytest.raises(RuntimeError, match="too narrow"):
        getattr(bpy.ops.pbrfit, button)()
    assert len(thing.data.uv_layers) == 1


def test_islands_that_lie_over_each_other_are_turned_together(addon) -> None:
    """Boards of 1 x 1 m and of 1 x 4 m, over each other in pairs: a mirrored half and the like."""
    size = (512, 128)
    vertices, faces, uvs = [], [], []
    for number in range(8):
        up, left, first = (4.0 if number % 4 < 2 else 1.0), 2.0 * number, 4 * number
        corners = [(0.0, 0.0), (1.0, 0.0), (1.0, up), (0.0, up)]
        vertices += [(left + x, y, 0.0) for x, y in corners]
        uvs += [((x + 2.0 * (number // 2)) * 0.1, y * 0.1) for x, y in corners]
        faces.append(tuple(range(first, first + 4)))
    mesh = bpy.data.meshes.new("Pairs")
    mesh.from_pydata(vertices, [], faces)
    layer = mesh.uv_layers.new(name="UVMap")
    for loop in mesh.loops:
        layer.uv[loop.index].vector = uvs[loop.vertex_index]
    thing = bpy.data.objects.new("Pairs", mesh)
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    paint(thing)
    choose(size)
    assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    density, boxes = layout(thing, size)
    assert density.max() < 1.001 * density.min()
    np.testing.assert_allclose(boxes[0::2], boxes[1::2], atol=1e-3)
    assert smallest_gap(boxes[0::2]) > 3.5
    extents = boxes[:, 1] - boxes[:, 0]
    assert (extents[::4, 0] > 3.9 * extents[::4, 1]).all()  # the long ones lie along the maps


def test_islands_are_told_by_shared_places(addon) -> None:
    """A grid cut in two in its UV map; what is nearly the same place of a vertex is the same."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=6, y_subdivisions=6)
    mesh = bpy.context.object.data
    layer = mesh.uv_layers.active.uv
    generator = np.random.default_rng(1)
    for face in mesh.polygons:
        for index in face.loop_indices:
            shift = 0.3 if face.center.x > 0.0 else 0.0
            layer[index].vector = (
                np.array(layer[index].vector) + np.array((shift, 0.0)) + generator.uniform(-2e-5, 2e-5, 2)
            )
    reading = addon.export.mesh_reading.read_mesh(mesh, mesh.uv_layers.active.name)
    found = addon.preflight.islands.islands_of(reading)
    right = np.repeat([face.center.x > 0.0 for face in mesh.polygons], 4)
    assert len(np.unique(found)) == 2
    assert len(np.unique(found[right])) == len(np.unique(found[~right])) == 1


@pytest.mark.parametrize("cut", [False, True], ids=["one island", "islands of a face"])
def test_a_hundred_thousand_faces_are_turned_in_seconds(addon, cut) -> None:
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=320, y_subdivisions=320)
    mesh = bpy.context.object.data
    reading = addon.export.mesh_reading.read_mesh(mesh, mesh.uv_layers.active.name)
    if cut:
        shift = np.repeat(np.random.default_rng(2).permutation(len(reading.totals)), reading.totals)
        reading = dataclasses.replace(
            reading, uv=reading.uv * 0.9 + np.stack([shift % 320, shift // 320], -1).astype(np.float32)
        )
    began = time.perf_counter()
    found = addon.preflight.islands.laid_along(reading.uv.astype(np.float64), reading, (128, 512), stacks=True)
    took = time.perf_counter() - began
    print(f"{took:.2f} s")
    assert np.isfinite(found).all()
    assert took < 20.0
