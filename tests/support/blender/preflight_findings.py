"""What the preflight of an installed add-on finds in the open file."""

from __future__ import annotations

import bpy


def full(addon) -> list:
    """The findings of a full check."""
    bpy.context.view_layer.update()
    return addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get())


def quick(addon) -> list:
    """The findings of the quick check, which the panel shows once Blender has taken in what was changed."""
    bpy.context.view_layer.update()
    return addon.preflight.checks.quick_findings(bpy.context)


def with_text(findings: list, text: str):
    """The only finding with `text` in its cause."""
    found = [finding for finding in findings if text in finding.cause]
    assert len(found) == 1, [finding.cause for finding in findings]
    return found[0]


def press(finding) -> set:
    """Press the finding's fix."""
    group, name = finding.fix.split(".")
    return getattr(getattr(bpy.ops, group), name)(target=finding.target)
