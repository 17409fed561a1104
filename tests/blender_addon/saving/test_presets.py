"""The presets against MaterialX's own definitions of the surfaces, which ship with Blender."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")
LIBRARY = "libraries/bxdf"
# Openness is no input of these two: a map of it is there for those who multiply it in.
BESIDE = {"occlusion"}


def inputs_of(name: str) -> set[str]:
    """The inputs of a surface in the MaterialX library that came with this Blender; skips where there is none."""
    root = next((folder for folder in Path(bpy.__file__).parents if folder.name == "bpy"), None)
    root = root if root is None or root.parent.name == "site-packages" else root.parents[3]
    found = next(iter(root.rglob(f"{LIBRARY}/{name}.mtlx")), None) if root is not None else None
    if found is None:
        pytest.skip(f"this Blender has no {name}.mtlx")
    text = found.read_text(encoding="utf-8")
    nodes = re.findall(r"<nodedef.*?</nodedef>", text, re.DOTALL)
    return {name for node in nodes for name in re.findall(r'<input name="(\w+)"', node)}


@pytest.mark.parametrize(
    ("key", "name", "beside"),
    [
        ("usd", "usd_preview_surface", set()),
        ("standard-surface", "standard_surface", BESIDE),
        ("openpbr", "open_pbr_surface", BESIDE),
    ],
)
def test_maps_are_named_as_the_inputs_of_the_surface(addon, key, name, beside) -> None:
    names = {item.map for item in addon.protocol.map_layouts.LAYOUTS[key].files}
    inputs = inputs_of(name)
    assert len(inputs) > 10
    assert names - inputs == beside


def test_blenders_maps_are_named_as_the_inputs_of_its_node(addon) -> None:
    material = bpy.data.materials.new("Any")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    inputs = {socket.identifier for socket in shader.inputs}
    names = {item.map for item in addon.protocol.map_layouts.LAYOUTS["blender"].files}
    newer = {"Diffuse Roughness"} if bpy.app.version < (4, 3, 0) else set()
    assert names - inputs == {"Occlusion", "Height", "Curvature", "Thickness"} | newer
    signals = addon.protocol.map_layouts.SIGNALS.values()
    assert {signal.input for signal in signals} - inputs == {"Occlusion", "Height", "Curvature", "Thickness"} | newer
