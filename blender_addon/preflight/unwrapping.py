# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrap objects into a new UV map for a fit; where that fails, nothing of it is left."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..export.mesh_reading import MeshReading, read_mesh
from ..protocol.map_shape import MapSize
from .islands import covered, fill_their_boxes, laid_along

UV_MAP = "PBRfit"
MARGINS = (4.0, 2.0, 1.0)
"""Texels around each island: as many as leave room for the islands themselves."""
LEAST_COVERED = 0.05  # of the square, by islands that have room
MOST_UV_MAPS = 8
ISLAND_ANGLE = np.radians(66.0)
ELEMENTS = ("vertices", "edges", "polygons")


@contextmanager
def alone(context: bpy.types.Context, objects: list[bpy.types.Object]) -> Iterator[None]:
    """Switch to Object Mode with only `objects` selected and the first one active; afterwards restore mode and selection."""
    layer = context.view_layer
    active = layer.objects.active
    mode = active.mode if active is not None else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    selected = [item for item in layer.objects if item.select_get(view_layer=layer)]
    try:
        select(layer, objects, objects[0])
        yield
    finally:
        select(layer, selected, active)
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)


def select(layer: bpy.types.ViewLayer, objects: list[bpy.types.Object], active: bpy.types.Object | None) -> None:
    """Select exactly these objects, and make one of them active."""
    for item in layer.objects:
        item.select_set(item in objects, view_layer=layer)
    layer.objects.active = active


@contextmanager
def all_faces_selected(mesh: bpy.types.Mesh) -> Iterator[None]:
    """Show and select every face; afterwards restore what was hidden and selected."""
    kept = {}
    for name in ELEMENTS:
        elements = getattr(mesh, name)
        for attribute, value in (("select", True), ("hide", False)):
            states = np.empty(len(elements), dtype=bool)
            elements.foreach_get(attribute, states)
            if (states != value).any():  # what is set is stored on the mesh for good
                kept[name, attribute] = states
                elements.foreach_set(attribute, np.full(len(elements), value))
    try:
        yield
    finally:
        for (name, attribute), states in kept.items():
            getattr(mesh, name).foreach_set(attribute, states)


def unwrap(context: bpy.types.Context, objects: list[bpy.types.Object], size: MapSize) -> None:
    """Unwrap all faces of the objects with Smart UV Project, side by side in one square, into a new UV map of each.

    size: height and width of the maps, in which texels are square on the surface. The new map becomes the active one. Materials
    still read the same map by default, so nothing looks different. Raises PbrFitError if a mesh has no room for another UV
    map, has no faces or cannot be changed; RuntimeError as Blender's operators do. The meshes are as before then.
    """
    for item in objects:
        check_unwrappable(item)
    meshes = list(dict.fromkeys(item.data for item in objects))
    name = free_name(meshes)
    with alone(context, objects), ExitStack() as undo:
        for mesh in meshes:
            undo.callback(remove_uv_map, mesh, *add_uv_map(mesh, name))
        for texels in MARGINS:
            if project(meshes, name, size, texels / min(size)) != {"FINISHED"}:
                raise PbrFitError(
                    "Blender did not unwrap the faces.", "Unwrap them in Edit Mode: UV > Smart UV Project."
                )
            if has_room(meshes, name):
                break
        undo.pop_all()


@contextmanager
def edited(meshes: Iterable[bpy.types.Mesh]) -> Iterator[None]:
    """Switch the selected objects, those of the meshes, to Edit Mode with every face shown and selected; afterwards back."""
    with ExitStack() as selections:
        for mesh in meshes:
            selections.enter_context(all_faces_selected(mesh))
        bpy.ops.object.mode_set(mode="EDIT")
        selections.callback(bpy.ops.object.mode_set, mode="OBJECT")
        yield


def project(meshes: list[bpy.types.Mesh], name: str, size: MapSize, margin: float) -> set[str]:
    """Write Smart UV Project of the selected objects, those of the meshes, into their UV map of this name; returns its status.

    margin: around each island, as a share of the square.
    """
    with edited(meshes):
        # Not by the shape of the images that the materials have: only that of the new maps counts.
        done: set[str] = bpy.ops.uv.smart_project(
            angle_limit=ISLAND_ANGLE, island_margin=margin, margin_method="FRACTION", correct_aspect=False
        )
        if done == {"FINISHED"}:
            bpy.ops.object.mode_set(mode="OBJECT")
            readings = {mesh: checked(read_mesh(mesh, name)) for mesh in meshes}
            boxes = fill_their_boxes((reading, corners_of(reading)) for reading in readings.values())
            if size[0] != size[1]:
                write_beside({mesh.uv_layers[name]: along(reading, size) for mesh, reading in readings.items()})
            bpy.ops.object.mode_set(mode="EDIT")
            bpy.ops.uv.select_all(action="SELECT")
            # Smart UV Project packs boxes, with which the islands of a monkey fill 43 % of the square; by their outlines they
            # fill 61 %, as many as xatlas's.
            done = pack_selected(margin, stacks=False, boxes=boxes)
    return done


def has_room(meshes: Iterable[bpy.types.Mesh], name: str) -> bool:
    """Whether the islands in the UV map of this name have kept some of the square: in small maps many margins leave them none."""
    return sum(covered(read_mesh(mesh, name)) for mesh in meshes) >= LEAST_COVERED


def square_texels(size: MapSize) -> NDArray[np.float64]:
    """What UVs [..., 2] are multiplied by, so that texels that were square in square maps are square in maps of this height and
    width: at most 1."""
    return np.array(size, np.float64) / max(size)


def corners_of(reading: MeshReading) -> NDArray[np.float64]:
    """The UVs of a mesh that was read with its map, [C, 2]."""
    assert reading.uv is not None  # its map was read by name
    return reading.uv.astype(np.float64)


def checked(reading: MeshReading) -> MeshReading:
    """The mesh. Raises PbrFitError if its UVs are no numbers, as those of positions that are none may be: Blender's packing
    crashes on them."""
    if not np.isfinite(corners_of(reading)).all():
        raise PbrFitError("Blender did not unwrap the faces.", "Unwrap them in Edit Mode: UV > Smart UV Project.")
    return reading


def along(reading: MeshReading, size: MapSize) -> NDArray[np.float64]:
    """The UVs of a mesh [C, 2], unwrapped for square maps, for maps of this height and width."""
    return laid_along(corners_of(reading) * square_texels(size), reading, size, stacks=False)


def write_beside(layouts: Mapping[bpy.types.MeshUVLoopLayer, NDArray[np.float64]], scale: float = 1.0) -> None:
    """Write UVs [C, 2] into maps, those of one beside those of another, times a scale."""
    right = 0.0
    for layer, uv in layouts.items():
        low, high = uv.min(axis=0), uv.max(axis=0)
        layer.uv.foreach_set("vector", ((uv - low + (right, 0.0)) * scale).astype(np.float32).ravel())
        right += float(high[0] - low[0]) * 1.01 + 0.01


def pack_selected(margin: float, stacks: bool, boxes: bool) -> set[str]:
    """Pack the islands of what is edited, with `margin` around each as a share of the square. stacks: whether those that lie
    over each other stay so; boxes: whether to pack their boxes, not what is within their outlines.

    Blender may not turn them: it would by the shape of the images that materials have, and takes five times as long for 0 to
    8 % of the square.

    Blender's own way to such a margin (its method "Fraction") packs some twenty times, to find how far the islands shrink: 17 s
    for 64 islands of 15,744 triangles. Islands that fill the square already hardly shrink, so adding the margin to them comes
    to the same: roughly once, then twice in full, which takes 2 s. Never without a margin: islands that touch count as stacked.
    """
    done: set[str] = set()
    for shape in ("AABB", *(["AABB"] * 2 if boxes else ["CONCAVE"] * 2)):
        done = bpy.ops.uv.pack_islands(
            rotate=False,
            scale=True,
            merge_overlap=stacks,
            margin_method="ADD",
            margin=margin,
            shape_method=shape,
        )
        if done != {"FINISHED"}:
            break
    return done


def check_unwrappable(scene_object: bpy.types.Object) -> None:
    """Raise PbrFitError if the object's own mesh cannot be unwrapped."""
    mesh = scene_object.data
    if not mesh.is_editable:
        library = f"from {mesh.library.filepath}" if mesh.library is not None else "elsewhere"
        cause = f'The mesh of "{scene_object.name}" is linked {library}, so it cannot be unwrapped here.'
        raise PbrFitError(cause, "Unwrap it in its own file, or make it local.")
    if not mesh.polygons:
        cause = f'The mesh of "{scene_object.name}" has no faces of its own to unwrap: its modifiers make them.'
        raise PbrFitError(cause, "Convert the object to a mesh first (Object > Convert > Mesh).")
    if len(mesh.uv_layers) >= MOST_UV_MAPS:
        raise PbrFitError(f'The mesh "{mesh.name}" has eight UV maps, the most that Blender allows.', "Remove one.")


def free_name(meshes: Iterable[bpy.types.Mesh]) -> str:
    """A name for a new UV map that none of the meshes has yet: one material reads the map of all by its name."""
    used = {layer.name for mesh in meshes for layer in mesh.uv_layers}
    numbered = (f"{UV_MAP}.{number:03d}" for number in itertools.count(1))
    return next(name for name in itertools.chain([UV_MAP], numbered) if name not in used)


def add_uv_map(mesh: bpy.types.Mesh, name: str) -> tuple[str, str | None]:
    """Add a UV map to a mesh and make it active, but not the one that materials read; returns its name and the name of
    the one that was active before."""
    before = mesh.uv_layers.active.name if mesh.uv_layers.active is not None else None
    shown = next((layer.name for layer in mesh.uv_layers if layer.active_render), None)
    mesh.uv_layers.active = mesh.uv_layers.new(name=name, do_init=False)
    if shown is not None:
        mesh.uv_layers[shown].active_render = True
    return name, before


def remove_uv_map(mesh: bpy.types.Mesh, name: str, before: str | None) -> None:
    """Undo `add_uv_map`."""
    if name in mesh.uv_layers:
        mesh.uv_layers.remove(mesh.uv_layers[name])
    if before is not None and before in mesh.uv_layers:
        mesh.uv_layers.active = mesh.uv_layers[before]
