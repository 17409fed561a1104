"""Findings of a full check and their fixes, and UV maps that overlap."""

from __future__ import annotations

import bpy


def find(addon, text: str):
    """The finding of a full check with `text` in its cause."""
    bpy.context.view_layer.update()
    findings = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get())
    (found,) = [finding for finding in findings if text in finding.cause]
    return found


def fix(addon, text: str) -> None:
    """Press the fix of that finding; it must be gone afterwards."""
    finding = find(addon, text)
    group, name = finding.fix.split(".")
    assert getattr(getattr(bpy.ops, group), name)(target=finding.target) == {"FINISHED"}
    assert not remaining(addon, text)


def remaining(addon, text: str) -> list:
    bpy.context.view_layer.update()
    findings = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get())
    return [finding for finding in findings if text in finding.cause]


def vary_by_place(scene_object) -> None:
    """Make the material another one everywhere on the object, so that it matters which faces share a place in a map."""
    tree = scene_object.active_material.node_tree
    tree.links.new(tree.nodes.new("ShaderNodeTexNoise").outputs[1], tree.nodes["Principled BSDF"].inputs["Base Color"])


def stack_uvs(scene_object) -> None:
    """Make every face cover the whole square."""
    corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    for polygon in scene_object.data.polygons:
        for corner, place in zip(polygon.loop_indices, corners, strict=True):
            scene_object.data.uv_layers.active.uv[corner].vector = place


def selection(mesh) -> list:
    return [[(item.select, item.hide) for item in getattr(mesh, name)] for name in ("vertices", "edges", "polygons")]
