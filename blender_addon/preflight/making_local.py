# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a linked object part of this file, with its mesh, and with the collections that the scene has it through."""

from __future__ import annotations

import bpy

from ..common.errors import PbrFitError


def make_local(context: bpy.types.Context, scene_object: bpy.types.Object) -> bpy.types.Object:
    """Make an object and its mesh local; returns the local object, which is selected and active as the linked one was.

    Raises PbrFitError before anything changes if the scene shows it through nothing that this file can change.
    """
    layer = context.view_layer
    chain = collections_to(layer.layer_collection, scene_object)
    if chain is None or context.scene.library is not None:
        cause = f'"{scene_object.name}" stays linked, because the scene has it only through what is linked itself.'
        raise PbrFitError(cause, "Fit it in its own file, or append it (File > Append).")
    was_selected, was_active = scene_object.select_get(view_layer=layer), layer.objects.active == scene_object
    for collection in chain:
        collection.make_local()
    found = scene_object if scene_object.library is None else scene_object.make_local()
    if found.data.library is not None:
        found.data.make_local()
    layer.update()
    if found.library is not None or found.data.library is not None or found not in set(layer.objects):
        cause = f'Blender did not make "{scene_object.name}" local.'
        raise PbrFitError(cause, "Use Object > Relations > Make Local > All, or do this in its own file.")
    found.select_set(was_selected, view_layer=layer)
    if was_active:
        layer.objects.active = found
    return found


def collections_to(
    place: bpy.types.LayerCollection, scene_object: bpy.types.Object
) -> list[bpy.types.Collection] | None:
    """The linked collections through which a layer collection has an object, the outermost first; the fewest there are.

    None if it does not have it in collections that are switched on.
    """
    ways = [way for child in place.children if (way := collections_to(child, scene_object)) is not None]
    if not place.exclude and any(item == scene_object for item in place.collection.objects):
        ways.append([])
    if not ways:
        return None
    linked = [place.collection] if place.collection.library is not None else []
    return linked + min(ways, key=len)
