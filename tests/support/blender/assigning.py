"""Results of a fit, assigned as a session does; for tests of what follows."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from support.blender.scenes import add_cube, paint, snapshot

bpy = pytest.importorskip("bpy")


def png(pixels: np.ndarray) -> bytes:
    """RGB or RGBA pixels [h, w, c], uint8 or uint16, as a PNG; uses no package, because Blender's Python has none."""
    height, width, channels = pixels.shape
    color_type = {3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, color_type, 0, 0, 0)
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    unfiltered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(unfiltered.tobytes(), 1)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def kd_pixels(channels: int = 3) -> np.ndarray:
    pixels = np.zeros((4, 4, channels), dtype=np.uint8)
    pixels[0, 0, :3] = (255, 128, 0)  # the top left pixel
    return pixels


def of_sets(files: dict[str, bytes], count: int) -> dict[str, bytes]:
    """The same files for each of several sets; the base color's first pixel tells them apart."""
    found = {f"{index}/{name}": data for index in range(count) for name, data in files.items()}
    for index in range(count):
        found[f"{index}/kd.png"] = png(np.full((4, 4, 3), (40 * index, 0, 0), dtype=np.uint8))
    return found


def assign(addon, files: dict[str, bytes], record: dict | None = None, **options):
    """Plan for the selection and assign the files as a session does; returns the assignment."""
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    return run(
        addon.assign.materials.assignment_steps(
            plan, files, record or {}, addon.assign.materials.AssignOptions(**options)
        )
    )


def run(steps):
    """Run all slices; all except the last leave what the file shows as it is."""
    said = []
    before = shown()
    while True:
        try:
            said.append(next(steps))
            assert shown() == before
        except StopIteration as end:
            assert said.count(True) == 1
            assert said[-1] is True
            return end.value


def shown() -> dict:
    """What a person sees of a file: slots, worlds, materials."""
    state = snapshot()
    return {key: state[key] for key in ("slots", "world", "active", "mode")} | {"materials": list(bpy.data.materials)}


def source(socket) -> tuple:
    """The node and socket name that feed an input."""
    (link,) = socket.links
    return link.from_node, link.from_socket.name


def pixel(image, x: int, row_from_top: int) -> np.ndarray:
    width, height = image.size
    values = np.array(image.pixels[:], dtype=np.float64).reshape(height, width, -1)
    return values[height - 1 - row_from_top, x]


def steps_of(addon, files, **options):
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    return plan, addon.assign.materials.assignment_steps(
        plan, files, {}, addon.assign.materials.AssignOptions(**options)
    )


def several_slots() -> bpy.types.Object:
    """A cube with the materials A (kept by a fake user), B and C, an empty slot, and faces of A, C and none."""
    scene_object = add_cube()
    for name in ("A", "B", "C"):
        paint(scene_object, name)
    bpy.data.materials["A"].use_fake_user = True
    scene_object.data.materials.append(None)
    for polygon, slot in zip(scene_object.data.polygons, (0, 2, 3, 0, 2, 3), strict=True):
        polygon.material_index = slot
    return scene_object


def two_cubes_of_one_material() -> tuple:
    """Two selected cubes with one material, the first with a second one too."""
    first = add_cube()
    material = paint(first)
    paint(first, "Trim")
    first.data.polygons[0].material_index = 1
    bpy.ops.mesh.primitive_cube_add(location=(3.0, 0.0, 0.0))
    second = bpy.context.object
    second.data.materials.append(material)
    first.select_set(True)
    bpy.context.view_layer.objects.active = first
    return first, second


def learned_light(path) -> bytes:
    image = bpy.data.images.new("Light", 4, 2, float_buffer=True)
    image.filepath_raw, image.file_format = str(path), "OPEN_EXR"
    image.save()
    bpy.data.images.remove(image)
    return path.read_bytes()
