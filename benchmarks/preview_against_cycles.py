"""The preview of a fitted object beside Cycles' render of the same material: a picture, and the PSNR.

    pbrfit demo --out demo
    python -m benchmarks.preview_against_cycles demo/demo.blend --json FILE --picture FILE.png

Needs Blender as a Python module. The add-on is installed into a folder of its own, so nothing of the user's Blender is
read or written. Views lie around the object, none of them used by the fit; the film is transparent, and only pixels that
both images cover wholly count. The PSNR is that of sRGB values, Cycles' noise included.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import build_addon
from backend.cli.picture_text import draw_text
from benchmarks.measure import check_output, circumstances, write_json
from render.core.color import linear_to_srgb, psnr
from render.core.image_io import read_image, write_image

EXTENSION = "bl_ext.user_default.pbrfit"
# The renders and the settings of the preview that draw them.
DRAWN_BY = {"Cycles": None, "preview, backend": "BACKEND", "preview, GLSL": "GPU"}
VIEWS = ((20.0, 10.0), (110.0, 35.0), (200.0, -15.0), (290.0, 20.0))
"""Azimuth and elevation of the cameras in degrees."""
_DISTANCE = 2.7
_ERROR_GAIN = 4
_GAP, _HEADER = 6, 34


def install_extension(folder: Path) -> None:
    """Build the add-on, install and enable it, with this Python as its backend's."""
    import bpy

    path = build_addon.build(folder, "none")
    bpy.ops.extensions.package_install_files(filepath=str(path), repo="user_default", enable_on_install=True)
    bpy.context.preferences.addons[EXTENSION].preferences.backend_python = sys.executable


def open_alone(blend: Path, name: str) -> Any:
    """Open the file and leave of its objects only the one named to be seen; returns it."""
    import bpy

    bpy.ops.wm.open_mainfile(filepath=str(blend))
    for item in bpy.context.scene.objects:
        item.hide_render = item.name != name
    return bpy.context.scene.objects[name]


def camera_around(target: Any) -> Any:
    """A new camera of the scene, which `look_from` moves."""
    import bpy

    camera = bpy.data.objects.new("Preview Camera", bpy.data.cameras.new("Preview Camera"))
    camera.data.lens = 50.0
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    return camera


def look_from(camera: Any, target: Any, azimuth: float, elevation: float) -> None:
    """Move the camera to a view of the target's bounds, angles in degrees."""
    from mathutils import Vector

    corners = [target.matrix_world @ Vector(corner) for corner in target.bound_box]
    centre = sum(corners, Vector()) / 8
    radius = max((corner - centre).length for corner in corners)
    around, above = math.radians(azimuth), math.radians(elevation)
    towards = Vector((math.cos(around) * math.cos(above), math.sin(around) * math.cos(above), math.sin(above)))
    camera.location = centre + towards * radius * _DISTANCE
    camera.rotation_euler = (-towards).to_track_quat("-Z", "Y").to_euler()


def rendered(engine: str, folder: Path, size: int, samples: int, draw_with: str | None) -> torch.Tensor:
    """F12 of the open scene by an engine: float32 [size, size, 4], linear, premultiplied, row 0 at the top."""
    import bpy

    scene = bpy.context.scene
    scene.render.engine = engine
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.use_compositing = scene.render.use_sequencer = False
    if bpy.app.version >= (5, 0, 0):
        scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"
    scene.render.image_settings.color_mode = "RGBA"
    if draw_with is None:
        scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = samples, False, False
    else:
        scene.pbrfit_preview.draw_with = draw_with
    scene.render.filepath = str(folder / "render.exr")
    bpy.ops.render.render(write_still=True)
    return torch.from_numpy(read_image(folder / "render.exr")).float()


def compare(blend: Path, name: str, size: int, samples: int) -> tuple[dict[str, Any], np.ndarray]:
    """The record and the picture, uint8 [H, W, 3]."""
    rows: list[dict[str, torch.Tensor]] = []
    with tempfile.TemporaryDirectory(prefix="pbrfit-preview-") as folder:
        install_extension(Path(folder))
        target = open_alone(blend, name)
        camera = camera_around(target)
        for view in VIEWS:
            look_from(camera, target, *view)
            rows.append(
                {
                    label: rendered("CYCLES" if by is None else "PBRFIT_PREVIEW", Path(folder), size, samples, by)
                    for label, by in DRAWN_BY.items()
                }
            )
    measured = [{label: _psnr(row[label], row["Cycles"]) for label in list(DRAWN_BY)[1:]} for row in rows]
    between = [_psnr(row["preview, GLSL"], row["preview, backend"]) for row in rows]
    result = {
        "psnr_db": {label: round(float(np.mean([one[label] for one in measured])), 2) for label in measured[0]},
        "psnr_db_list": {label: [round(one[label], 2) for one in measured] for label in measured[0]},
        "glsl_against_backend_db_list": [round(value, 2) for value in between],
        "views": VIEWS,
        "size": size,
        "cycles_samples": samples,
        "object": name,
    }
    return result, _picture(rows, measured)


def _psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    covered = (image[..., 3] > 0.999) & (truth[..., 3] > 0.999)
    return psnr(image[..., :3][covered], truth[..., :3][covered])


def _picture(rows: list[dict[str, torch.Tensor]], measured: list[dict[str, float]]) -> np.ndarray:
    labels = [*DRAWN_BY, f"error x{_ERROR_GAIN}"]
    size = rows[0]["Cycles"].shape[0]
    step = size + _GAP
    sheet = np.full((_HEADER + step * len(rows), step * len(labels), 3), 40, np.uint8)
    for place, label in enumerate(labels):
        _write(sheet, label, place * step + 4, 23)
    for number, row in enumerate(rows):
        shown = [
            linear_to_srgb((row[label][..., :3] + 0.15 * (1 - row[label][..., 3:])).clamp(0, 1)) for label in DRAWN_BY
        ]
        shown.append(((shown[1] - shown[0]).abs() * _ERROR_GAIN).clamp(max=1))
        top = _HEADER + number * step
        for place, image in enumerate(shown):
            sheet[top : top + size, place * step : place * step + size] = (image * 255).round().byte().numpy()
        for place, label in enumerate(list(DRAWN_BY)[1:], 1):
            _write(sheet, f"{measured[number][label]:.1f} dB", place * step + 6, top + size - 8)
    return sheet


def _write(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    draw_text(sheet, text, x, y, 15, (235, 235, 235))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blend", type=Path, help="a file with a fitted object, such as that of `pbrfit demo`")
    parser.add_argument("--object", default="Suzanne", help="its name")
    parser.add_argument("--size", type=int, default=320, help="edge of the images in pixels")
    parser.add_argument("--samples", type=int, default=256, help="of Cycles a pixel")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--picture", type=Path, help="write the picture (.png) here")
    options = parser.parse_args()
    if not options.blend.is_file():
        parser.error(f"there is no file {options.blend}: make it with `pbrfit demo --out demo`")
    for path in (options.json, options.picture):
        check_output(path)
    os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="pbrfit-blender-user-")
    import bpy

    result, picture = compare(options.blend.resolve(), options.object, options.size, options.samples)
    result = circumstances(torch.device("cpu")) | {"blender": bpy.app.version_string} | result
    for label, value in result["psnr_db"].items():
        print(f"{label} against Cycles: {value:.2f} dB")
    print("GLSL against the backend:", result["glsl_against_backend_db_list"], "dB")
    if options.json is not None:
        write_json(options.json, result)
    if options.picture is not None:
        write_image(options.picture, picture)
    sys.stdout.flush()
    # Blender 4.2 crashes and 4.5 hangs when Python is taken down with classes registered.
    os._exit(0)


if __name__ == "__main__":
    main()
