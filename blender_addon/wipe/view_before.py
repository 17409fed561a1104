# SPDX-License-Identifier: GPL-3.0-or-later
"""A 3D view as it was before a comparison: what the comparison changes in it, and puts back.

The view is found again by its address, as Blender's screens have it: its area may be maximized, show another editor, or be
gone. Nothing of this is part of undo or of the scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import bpy
from mathutils import Quaternion, Vector

LENS_OF_WIDTH = 36.0
"""The lens with which the wider side of a view shows as much of the world as it is far away, halved."""


class FoundView(NamedTuple):
    """A 3D view: its window, area, space and the region with the picture."""

    window: bpy.types.Window
    area: bpy.types.Area
    space: bpy.types.SpaceView3D
    region: bpy.types.Region


def spaces() -> Iterator[tuple[bpy.types.Area, Any]]:
    """All spaces of all screens, those included that no area shows now."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            for space in area.spaces:
                yield area, space


def find_space(pointer: int) -> bpy.types.SpaceView3D | None:
    """The space at an address, or None if it is gone."""
    return next((space for _, space in spaces() if space.as_pointer() == pointer and space.type == "VIEW_3D"), None)


def find_view(space_pointer: int, region_pointer: int) -> FoundView | None:
    """A view that a window shows now, or None."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type != "VIEW_3D" or area.spaces.active.as_pointer() != space_pointer:
                continue
            for region in area.regions:
                if region.as_pointer() == region_pointer:
                    return FoundView(window, area, area.spaces.active, region)
    return None


def clear_of_sides(area: bpy.types.Area, region: bpy.types.Region) -> tuple[int, int]:
    """The left and right edge, in pixels of a region, of the part that neither toolbar nor sidebar covers."""
    left, right = 0, region.width
    for other in area.regions:
        if other.type == "TOOLS" and other.width > 1 and other.alignment == "LEFT":
            left = max(left, other.x + other.width - region.x)
        elif other.type == "UI" and other.width > 1 and other.alignment == "RIGHT":
            right = min(right, other.x - region.x)
    return (left, right) if left < right else (0, region.width)


@dataclass(frozen=True)
class Camera:
    """Where a view looks from."""

    perspective: str
    location: Vector
    rotation: Quaternion
    distance: float
    lens: float

    @classmethod
    def of(cls, view: FoundView) -> Camera:
        """That of a view now."""
        data = view.region.data
        return cls(
            data.view_perspective,
            data.view_location.copy(),
            data.view_rotation.copy(),
            data.view_distance,
            view.space.lens,
        )

    def put(self, space: bpy.types.SpaceView3D, data: bpy.types.RegionView3D) -> None:
        """Give a view this camera."""
        space.lens = self.lens
        data.view_perspective = self.perspective
        data.view_location, data.view_rotation, data.view_distance = self.location, self.rotation, self.distance


@dataclass
class ViewBefore:
    """What a comparison changes in a view. camera: the artist's own, while the view is at a reference's."""

    space_pointer: int
    overlays: bool
    gizmos: bool
    shading: str
    lens: float
    camera: Camera | None = None

    @classmethod
    def of(cls, view: FoundView) -> ViewBefore:
        """Remember a view."""
        space = view.space
        return cls(space.as_pointer(), space.overlay.show_overlays, space.show_gizmo, space.shading.type, space.lens)

    def hide(self) -> None:
        """Turn off what would be drawn over the comparison, or under it for nothing."""
        space = find_space(self.space_pointer)
        if space is not None:
            space.overlay.show_overlays = space.show_gizmo = False
            space.shading.type = "SOLID"

    def put_back(self) -> None:
        """Turn on again what was on, and put the artist's own camera back if the view is at a reference's."""
        space = find_space(self.space_pointer)
        if space is None:
            return
        space.overlay.show_overlays, space.show_gizmo = self.overlays, self.gizmos
        space.shading.type = self.shading
        space.lens = self.lens
        if self.camera is not None:
            self.camera.put(space, space.region_3d)
