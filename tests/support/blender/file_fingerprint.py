"""Everything that the open file holds, as text by property: to find that nothing was lost or changed.

Each datablock of `bpy.data` is walked by its RNA: every property of it and of all that belongs to it, custom
properties too. Pointers to other datablocks count by name. Long runs of numbers are kept as a hash.
"""

from __future__ import annotations

import hashlib

import bpy

# The program's interface, which redraws change; numbers that change all the time; and pointers back to the owner.
# all_ids is 5.2's view of all the others together.
LEFT_OUT_COLLECTIONS = {"window_managers", "screens", "workspaces", "version", "all_ids"}
LEFT_OUT = {
    "rna_type", "bl_rna", "id_data", "session_uid", "original", "is_evaluated", "is_runtime_data", "depsgraph", "preview",
    "has_data", "bindcode", "tag", "is_library_indirect", "loop_triangles", "loop_triangle_polygons",
    "corner_normals", "vertex_normals", "polygon_normals", "edit_mesh_stats", "execution_time", "runtime",
    "uv_layer_clone", "uv_layer_stencil",
    "pin", "edge_selection", "vertex_selection",  # reading these creates them
    "storage_type",  # 5.2: an attribute of one value takes another one when its data are read
    "uv_sculpt",  # 4.2 crashes when anything in it is read
    # A fluid without a cache crashes when its grids are read.
    "color_grid", "density_grid", "flame_grid", "heat_grid", "temperature_grid", "velocity_grid",
}  # fmt: skip
LONGEST = 64


def fingerprint() -> dict[str, dict[str, str]]:
    """All properties by datablock ("objects/Cube") and by path ("modifiers[0].levels"), and the state of the window."""
    found = {}
    for name in sorted(item.identifier for item in bpy.data.bl_rna.properties):
        collection = getattr(bpy.data, name)
        if name in LEFT_OUT_COLLECTIONS or not isinstance(collection, bpy.types.bpy_prop_collection):
            continue
        for item in collection:
            lines: dict[str, str] = {}
            walk(item, "", lines, {(item.as_pointer(), item.bl_rna.identifier)})
            found[f"{name}/{item.name_full}"] = lines
    found["state"] = state()
    return found


def state() -> dict[str, str]:
    """What the artist sees besides the datablocks."""
    layer = bpy.context.view_layer
    return {
        "file": bpy.data.filepath,
        "scene": bpy.context.scene.name,
        "view layer": layer.name,
        "mode": bpy.context.mode,
        "active": layer.objects.active.name if layer.objects.active else "",
        "selected": str(sorted(item.name for item in layer.objects if item.select_get())),
        "collection": layer.active_layer_collection.name,
    }


def walk(struct, path: str, lines: dict[str, str], seen: set[tuple[int, str]]) -> None:
    """Write down all properties of one RNA struct and of what it owns."""
    for prop in struct.bl_rna.properties:
        name = prop.identifier
        if name in LEFT_OUT or name.startswith("bl_") or (name == "pixels" and struct.source != "GENERATED"):
            continue
        where = f"{path}.{name}" if path else name
        try:
            value = getattr(struct, name)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            lines[where] = f"unreadable: {type(error).__name__}"
            continue
        if prop.type == "POINTER":
            visit(value, where, lines, seen)
        elif prop.type == "COLLECTION":
            lines[f"{where} #"] = str(len(value))
            for index, item in enumerate(value):
                visit(item, f"{where}[{index}]", lines, seen)
        else:
            lines[where] = shown(value, getattr(prop, "is_array", False))
    for key, value in own_properties(struct):
        lines[f'{path}["{key}"]'] = str(value.to_dict() if hasattr(value, "to_dict") else plain(value))


def own_properties(struct) -> list[tuple]:
    """The custom properties of a struct that can have some."""
    try:
        return sorted(struct.items())
    except (AttributeError, TypeError):
        return []


def plain(value) -> object:
    """A custom property's value in a form that prints the same each time."""
    if isinstance(value, bpy.types.ID):
        return value.name_full
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str | bytes) else value


def visit(value, where: str, lines: dict[str, str], seen: set[tuple[int, str]]) -> None:
    """A pointer's target: another datablock by its name, what belongs to this one by its properties."""
    if value is None:
        lines[where] = "None"
    elif isinstance(value, bpy.types.ID) and not value.is_embedded_data:
        lines[where] = f"-> {value.name_full}"
    else:
        place = (value.as_pointer(), value.bl_rna.identifier)  # a struct can have the same address as its owner
        if place not in seen:
            seen.add(place)
            walk(value, where, lines, seen)


def shown(value, is_array: bool) -> str:
    """A value as text, a long array as a hash."""
    if not is_array or isinstance(value, set):
        return str(sorted(value) if isinstance(value, set) else value)
    numbers = [tuple(item) if hasattr(item, "__len__") else item for item in value]
    if len(numbers) <= LONGEST:
        return str(numbers)
    return hashlib.blake2b(repr(numbers).encode(), digest_size=16).hexdigest()


def differences(before: dict, after: dict) -> list[str]:
    """What differs, one line each; empty if nothing does."""
    found = [f"gone: {name}" for name in before if name not in after]
    found += [f"new: {name}" for name in after if name not in before]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        for path in sorted(old.keys() | new.keys()):
            if old.get(path) != new.get(path):
                found.append(f"{name} {path}: {old.get(path)} became {new.get(path)}")
    return sorted(found)
