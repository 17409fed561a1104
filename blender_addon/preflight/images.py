# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the images that what is rendered reads: the same file or pixels must be there for the second Blender.

Only images that a used slot, or the world, shows count: others cannot change a fit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import bpy
import imbuf
import numpy as np
from numpy.typing import NDArray

from ..common.node_trees import has_plain_mapping, linked_from, tree_of, world_of
from ..common.reached_nodes import MATERIAL_OUTPUT, WORLD_OUTPUT, Reached, label_of, reached_nodes
from ..export.mesh_reading import MeshReading, Readings
from ..export.uv_layout import BORDER, FIRST_TILE, polygon_boxes
from .finding import ERROR, WARNING, Finding

ImageFile = tuple[str, int, int]  # its path, when it was changed (in ns), and its size in bytes

TILES_IN_ROW = 10
LAST_TILE = 2000
DIGITS = "0123456789"
FROM_FILES = {"FILE", "SEQUENCE", "MOVIE", "TILED"}
IMAGE_NODES = {"ShaderNodeTexImage", "ShaderNodeTexEnvironment"}

DECODED_BYTES = 1 << 22  # of larger files only the beginning is read: to decode one of 8192 pixels takes over a second

_can_be_read: dict[ImageFile, bool] = {}


@dataclass(frozen=True)
class ImageUse:
    """An image that is rendered: the node that reads it, and the material or world of that node, in words."""

    image: bpy.types.Image
    node: bpy.types.Node
    owner: bpy.types.Material | bpy.types.World
    user: str


def image_findings(
    context: bpy.types.Context,
    objects: Iterable[bpy.types.Object],
    readings: Readings | None,
    with_world: bool = True,
) -> list[Finding]:
    """Images of the materials that faces of the objects show, and perhaps of the world; each image once.

    readings: of the evaluated meshes, or None if the objects cannot be read: then only the world's images count.
    """
    objects = list(objects)
    findings: dict[int, Finding] = {}
    for item, owner, word in nodes_shown(context, objects, readings, with_world):
        if item.node.bl_idname in IMAGE_NODES and item.node.image is None and "Color" in item.outputs:
            cause = (
                f'The node "{label_of(item.node)}" of the {word} "{owner.name}" has no image, so Cycles shows magenta.'
            )
            cure = "Choose its image, or unlink the node."
            findings.setdefault(item.node.as_pointer(), Finding(ERROR, cause, cure))
    for use in image_uses(context, objects, readings, with_world):
        tiles = tiles_read(use, objects, readings) if use.image.source == "TILED" and readings is not None else None
        finding = image_finding(use, context.scene.frame_current, tiles)
        if finding is None and tiles is not None:
            finding = absent_tiles_finding(use, tiles)
        if finding is not None:
            findings.setdefault(use.image.session_uid, finding)
    return list(findings.values())


def image_uses(
    context: bpy.types.Context,
    objects: Iterable[bpy.types.Object],
    readings: Readings | None,
    with_world: bool = True,
) -> Iterator[ImageUse]:
    """The images that the materials of the objects' faces show, and perhaps the world."""
    for item, owner, word in nodes_shown(context, objects, readings, with_world):
        image = getattr(item.node, "image", None)
        if image is not None:
            yield ImageUse(image, item.node, owner, f'the {word} "{owner.name}"')


def nodes_shown(
    context: bpy.types.Context,
    objects: Iterable[bpy.types.Object],
    readings: Readings | None,
    with_world: bool,
) -> Iterator[tuple[Reached, bpy.types.Material | bpy.types.World, str]]:
    """The nodes that the materials of the objects' faces show, and perhaps the world; with each its owner, and what that is."""
    materials: dict[bpy.types.Material, None] = {}
    if readings is not None:
        for scene_object in objects:
            shown = shown_materials(scene_object, readings)
            materials.update((item, None) for item in shown.values() if item is not None)
    owners = [(item, MATERIAL_OUTPUT, "material") for item in materials]
    if with_world:
        owners.append((world_of(context.scene, context.view_layer), WORLD_OUTPUT, "world"))
    for owner, kind, word in owners:
        yield from ((item, owner, word) for item in reached_nodes(tree_of(owner), kind))


def shown_materials(scene_object: bpy.types.Object, readings: Readings) -> dict[int, bpy.types.Material | None]:
    """The materials that faces of the evaluated object show, by slot."""
    materials = readings.materials_of(scene_object)
    slots = readings.of(scene_object).slots_within(len(materials))
    used = np.flatnonzero(np.bincount(slots))
    return {int(index): materials[index] if materials else None for index in used}


def image_finding(use: ImageUse, frame: int, tiles: frozenset[int] | None = None) -> Finding | None:
    """What would make a second Blender show an image in another way than this one."""
    image = use.image
    if image.is_dirty and not image.filepath:
        return unsaved_finding(use)
    if image.source == "TILED" and not image.filepath and not image.packed_files:
        cause = f'The tiles of the image "{image.name}" of {use.user} were never saved.'
        return Finding(ERROR, cause, "Save them with Image > Save As in the Image Editor.")
    paths = files_read(image, getattr(use.node, "image_user", None), frame, tiles)
    missing = next((path for path in paths if not os.path.isfile(path)), None)
    if missing is not None:
        why = f"{missing} does not exist" if missing else "its path is empty"
        cause = f'The image "{image.name}" of {use.user} has no file: {why}.'
        cure = "Find it with File > External Data > Find Missing Files, or choose another image."
        return Finding(ERROR, cause, cure, "file.find_missing_files")
    if image.is_dirty:
        return unsaved_finding(use)
    broken = broken_file(image, paths)
    if broken is not None:
        cause = f'The image "{image.name}" of {use.user} cannot be read: {broken}. Cycles shows it magenta.'
        return Finding(
            ERROR, cause, "Put the right file there and reload it (Image > Reload), or choose another image."
        )
    return None


def unsaved_finding(use: ImageUse) -> Finding:
    """The error that only this Blender knows the pixels of an image."""
    cause = f'The image "{use.image.name}" of {use.user} has changes that are not saved.'
    cure = "Save it (Image > Save) or pack it (Image > Pack) in the Image Editor."
    return Finding(ERROR, cause, cure, "pbrfit.pack_images")


# Files --------------------------------------------------------------------------------------------------------------


def files_read(
    image: bpy.types.Image,
    image_user: bpy.types.ImageUser | None = None,
    frame: int = 1,
    tiles: frozenset[int] | None = None,
) -> list[str]:
    """The paths of the files that Cycles reads for `image`; none for what is packed.

    image_user, frame: which file of a sequence is read; tiles: the UDIM tiles that are read, or None for all.
    """
    if image.source not in FROM_FILES:
        return []
    path = bpy.path.abspath(image.filepath, library=image.library) if image.filepath else ""
    if image.source == "TILED":
        packed = {item.tile_number for item in image.packed_files}
        numbers = [tile.number for tile in image.tiles if tiles is None or tile.number in tiles]
        return [tile_file(path, number) for number in numbers if number not in packed]
    if image.source == "SEQUENCE":  # Blender reads its files even where one is packed
        return [path if image_user is None else sequence_file(path, sequence_frame(image_user, frame))]
    return [path] if image.packed_file is None else []


def broken_file(image: bpy.types.Image, paths: list[str]) -> str | None:
    """Why Blender cannot read one of the files `paths` of an image, or its packed file, or None if it can."""
    if any(item.packed_file.size == 0 for item in image.packed_files if item.packed_file):
        return "its packed file is empty"
    for path in paths:
        if os.path.getsize(path) == 0:
            return f"{path} is empty"
        if image.source != "MOVIE" and not (image.has_data and len(paths) == 1) and not is_image(image, path):
            return f"{path} is no image, or a damaged one"
    if not paths and image.source == "FILE" and not has_pixels(image):
        return "its packed file is no image, or a damaged one"
    return None


def is_image(image: bpy.types.Image, path: str) -> bool:
    """Whether Blender can read the pixels of a file; a file that has not changed is read once."""
    state = os.stat(path)
    key = path, state.st_mtime_ns, state.st_size
    if key not in _can_be_read and state.st_size > DECODED_BYTES:
        _can_be_read[key] = not is_text(path)
    elif key not in _can_be_read:
        try:
            imbuf.load(path).free()
            _can_be_read[key] = True
        except (OSError, ValueError):
            _can_be_read[key] = has_layers(image)  # it reads no EXR with several layers
    return _can_be_read[key]


def is_text(path: str) -> bool:
    """Whether a file begins like a page or a note in place of an image, as failed downloads do."""
    with open(path, "rb") as file:
        start = file.read(64)
    return not start.startswith(b"#?") and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start)  # #?RADIANCE


def has_pixels(image: bpy.types.Image) -> bool:
    """Whether Blender, which loads the image if it must, has something of it to show."""
    return tuple(image.size) != (0, 0) or image.type == "MULTILAYER"


def has_layers(image: bpy.types.Image) -> bool:
    """Whether the file of an image has layers, which Blender knows once it has tried to load it."""
    return has_pixels(image) and image.type == "MULTILAYER"


def tile_file(path: str, number: int) -> str:
    """The file of a UDIM tile: Blender's two tokens are `<UDIM>` (1012) and `<UVTILE>` (u2_v2)."""
    row, column = divmod(number - FIRST_TILE, TILES_IN_ROW)
    return path.replace("<UDIM>", str(number)).replace("<UVTILE>", f"u{column + 1}_v{row + 1}")


def sequence_frame(image_user: bpy.types.ImageUser, frame: int) -> int:
    """The number in the name of the file that Cycles reads at a frame of the scene."""
    count = image_user.frame_duration
    if count == 0:
        return 0
    number = frame - image_user.frame_start + 1
    # Before its start a sequence that does not repeat shows the file before its first one.
    number = (number - 1) % count + 1 if image_user.use_cyclic else min(max(number, 0), count)
    return int(number + image_user.frame_offset)


def sequence_file(path: str, number: int) -> str:
    """The path with the last digits of its file name replaced by a number, of as many digits."""
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    end = next((index for index in range(len(stem), 0, -1) if stem[index - 1] in DIGITS), 0)
    start = end
    while start and stem[start - 1] in DIGITS:
        start -= 1
    if start == end:
        end = start = len(stem)
    return os.path.join(folder, f"{stem[:start]}{max(0, number):0{end - start}d}{stem[end:]}{extension}")


# Tiles --------------------------------------------------------------------------------------------------------------


def tiles_read(use: ImageUse, objects: Iterable[bpy.types.Object], readings: Readings) -> frozenset[int] | None:
    """The UDIM tiles of an image that faces of the objects read, or None if that cannot be told from the node."""
    uv_map = uv_map_read(use.node)
    if uv_map is None:
        return None
    found: set[int] = set()
    for scene_object in objects:
        slots = [index for index, item in shown_materials(scene_object, readings).items() if item == use.owner]
        if slots:
            reading = readings.of(scene_object)
            name = uv_map or reading.default_uv_map
            if name is None:
                continue
            chosen = np.isin(reading.slots_within(len(readings.materials_of(scene_object))), slots)
            found |= tiles_of_faces(reading if name == reading.uv_map else readings.of(scene_object, name), chosen)
    return frozenset(found)


def absent_tiles_finding(use: ImageUse, tiles: frozenset[int]) -> Finding | None:
    """The warning that faces read UDIM tiles that an image does not have."""
    absent = sorted(tiles - {tile.number for tile in use.image.tiles})
    if not absent:
        return None
    cause = (
        f'Faces lie in the UDIM tile {absent[0]}, which the image "{use.image.name}" of {use.user} does not have. '
        "Cycles shows them magenta."
    )
    return Finding(
        WARNING, cause, "Add the tile to the image (Image Editor > Sidebar > Image), or move the faces' UVs."
    )


def uv_map_read(texture: bpy.types.Node) -> str | None:
    """The UV map that an Image Texture reads as it is: its name, empty for the default one; None if it is not so simple."""
    if texture.bl_idname != "ShaderNodeTexImage" or texture.projection != "FLAT" or not has_plain_mapping(texture):
        return None
    socket = texture.inputs["Vector"]
    source = linked_from(socket)
    if source is None:
        return None if socket.is_linked else ""
    node, output = source
    if node.mute:
        return None
    if node.bl_idname == "ShaderNodeUVMap" and not node.from_instancer:
        return str(node.uv_map)
    is_uv = node.bl_idname == "ShaderNodeTexCoord" and output.name == "UV" and not node.from_instancer
    return "" if is_uv else None


def tiles_of_faces(reading: MeshReading, chosen: NDArray[np.bool_]) -> set[int]:
    """The UDIM tiles that the chosen faces, bool [P], touch; faces on the border of a tile do not touch the next one."""
    if reading.uv is None or not np.isfinite(reading.uv).all():
        return set()
    lowest, highest = (item[chosen] for item in polygon_boxes(reading.uv, reading.loop_starts))
    first = np.floor(lowest + BORDER).astype(np.int64)
    last = np.maximum(first, np.ceil(highest - BORDER).astype(np.int64) - 1)
    last_row = (LAST_TILE - FIRST_TILE) // TILES_IN_ROW
    first, last = np.clip(first, 0, None), np.minimum(last, (TILES_IN_ROW - 1, last_row))
    return {
        FIRST_TILE + column + TILES_IN_ROW * row
        for left, bottom, right, top in np.unique(np.concatenate([first, last], axis=1), axis=0).tolist()
        for column in range(left, right + 1)
        for row in range(bottom, top + 1)
    }
