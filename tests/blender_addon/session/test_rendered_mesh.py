"""What a session does with the mesh that the second Blender exports, if it is not the one that the viewport shows."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")


def notes_of(addon, directory, **rendered) -> tuple[str, ...]:
    """What is noted of the cube as it is in the viewport, rendered as the changes to that say."""
    (fit,) = addon.session.prepare.prepare_fits(bpy.context, directory, lambda _fraction: None)
    exported = addon.export.mesh.export_mesh(bpy.context.object, bpy.context.evaluated_depsgraph_get())
    center, radius = addon.references.views.bounding_sphere(exported.world_positions)
    values = {"arrays": exported.arrays, "center": center, "radius": radius, "overlap": 0.0} | rendered
    fit.set_mesh(addon.references.process.MeshExported(**values))
    assert len(fit.views) == bpy.context.scene.pbrfit.views + bpy.context.scene.pbrfit.held_out_views
    return fit.notes


def test_the_same_mesh_is_not_mentioned(addon, tmp_path) -> None:
    cube = ready_cube()
    cube.location, cube.rotation_euler, cube.scale = (3.0, -2.0, 1.0), (0.3, 0.2, 0.1), (2.0, 2.0, 2.0)
    bpy.context.view_layer.update()
    assert notes_of(addon, tmp_path) == ()


def test_other_triangles_another_shape_and_shared_places_are_noted(addon, tmp_path) -> None:
    cube = ready_cube()
    exported = addon.export.mesh.export_mesh(cube, bpy.context.evaluated_depsgraph_get()).arrays
    for number in range(4):
        (tmp_path / str(number)).mkdir()
    fewer = exported | {"triangles": exported["triangles"][:6]}
    (note,) = notes_of(addon, tmp_path / "0", arrays=fewer)
    assert '"Cube" has 6 triangles in renders and 12 in the viewport.' in note
    (note,) = notes_of(addon, tmp_path / "1", radius=2.0)
    assert "another shape or place" in note
    (note,) = notes_of(addon, tmp_path / "2", center=np.array([0.0, 0.5, 0.0]))
    assert "bake it" in note
    (note,) = notes_of(addon, tmp_path / "3", overlap=0.5)
    assert "in 50% of the maps" in note
