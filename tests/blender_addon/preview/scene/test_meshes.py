"""Large meshes, which another thread prepares, with tangents as MikkTSpace has them."""

from __future__ import annotations

import time

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

PATIENCE_SECONDS = 60.0


def monkey(levels: int = 1, mirrored: bool = False, smooth: bool = True) -> bpy.types.Object:
    """A subdivided Suzanne with her own UV map, of which half of the faces may be mirrored."""
    bpy.ops.mesh.primitive_monkey_add()
    head = bpy.context.object
    head.modifiers.new("Subdivision", "SUBSURF").levels = levels
    if smooth:
        bpy.ops.object.shade_smooth()
    if mirrored:
        layer = head.data.uv_layers[0].uv
        uv = np.empty(len(layer) * 2, dtype=np.float32)
        layer.foreach_get("vector", uv)
        uv.reshape(-1, 2)[: len(layer) // 2, 0] *= -1.0
        layer.foreach_set("vector", uv)
    bpy.context.view_layer.update()
    return head


def evaluated(head: bpy.types.Object) -> bpy.types.Object:
    return head.evaluated_get(bpy.context.evaluated_depsgraph_get())


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Between rows of length 1, in degrees."""
    return np.degrees(np.arccos(np.clip((one.astype(float) * other).sum(axis=1), -1.0, 1.0)))


@pytest.mark.any_blender
@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "flat"])
@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
def test_the_tangents_are_those_of_mikktspace(addon, smooth: bool, mirrored: bool) -> None:
    meshes, shown = addon.preview.scene.meshes, evaluated(monkey(2, mirrored, smooth))
    blenders, _ = meshes.read_local(shown, "UVMap", 1, frozenset(), tangents=True)
    own = meshes.with_tangents(*meshes.read_local(shown, "UVMap", 1, frozenset(), tangents=False))
    assert np.mean(own.signs != blenders.signs) < 1e-3  # a quad of which one triangle is mirrored has two
    assert np.mean(own.signs < 0.0) > 0.3 if mirrored else np.mean(own.signs < 0.0) < 1e-2
    np.testing.assert_allclose(np.linalg.norm(own.tangents, axis=1), 1.0, atol=1e-3)
    apart = angles(own.tangents, blenders.tangents)
    assert np.median(apart) < 0.3
    assert np.percentile(apart, 99) < 3.0


@pytest.mark.any_blender
def test_without_uvs_the_tangents_are_perpendicular(addon) -> None:
    meshes, shown = addon.preview.scene.meshes, evaluated(monkey())
    own = meshes.with_tangents(*meshes.read_local(shown, "", 1, frozenset(), tangents=False))
    assert np.abs((own.tangents * own.normals).sum(axis=1)).max() < 1e-2
    assert np.isfinite(own.tangents).all()


@pytest.mark.any_blender
def test_a_large_mesh_comes_later_and_the_old_one_stays_meanwhile(addon, monkeypatch) -> None:
    meshes, head = addon.preview.scene.meshes, monkey()
    monkeypatch.setattr(meshes, "LARGE", 100)

    def ask():
        return meshes.local_parts(evaluated(head), "UVMap", 1, wait=False)

    def ready() -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not meshes.poll():
            assert time.monotonic() < end
            time.sleep(0.01)

    assert ask() is None
    ready()
    assert not meshes.poll()  # said once
    first = ask()
    assert ask() is first
    waited_for, _ = meshes.read_local(evaluated(head), "UVMap", 1, frozenset(), tangents=True)
    triangles = first.parts[0, 0]["triangles"]
    assert len(triangles) == len(waited_for.triangles)

    head.data.vertices[0].co.x += 0.1
    head.data.update()
    bpy.context.view_layer.update()
    assert ask() is first  # as it was, until the new one is there
    ready()
    second = ask()
    assert second is not first
    assert second.key != first.key
    places = [found.parts[0, 0]["vertex_position"] for found in (first, second)]
    assert not np.array_equal(*places)
    assert meshes.local_parts(evaluated(head), "UVMap", 1, wait=True) is second


@pytest.mark.any_blender
def test_a_mesh_that_changes_all_the_time_is_shown_as_it_was_a_moment_ago(addon, monkeypatch) -> None:
    meshes, head = addon.preview.scene.meshes, monkey()
    monkeypatch.setattr(meshes, "LARGE", 100)
    shown, end = [], time.monotonic() + PATIENCE_SECONDS
    while len({found.key for found in shown}) < 3:
        assert time.monotonic() < end
        head.data.vertices[0].co.x += 0.01
        head.data.update()
        bpy.context.view_layer.update()
        found = meshes.local_parts(evaluated(head), "UVMap", 1, wait=False)
        shown += [found] if found is not None else []
    meshes.forget()
