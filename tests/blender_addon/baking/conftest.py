"""A square with a material of its own."""

from __future__ import annotations

import pytest


@pytest.fixture
def plane(addon):
    """A square of 2 x 2 m around the origin whose UV map is the whole of it."""
    import bpy

    bpy.ops.mesh.primitive_plane_add(size=2.0)
    return bpy.context.object


@pytest.fixture
def tree(plane):
    """The node tree of its material."""
    from support.blender.shader_trees import Tree

    made = Tree()
    plane.data.materials.append(made.material)
    return made
