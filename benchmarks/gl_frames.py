"""Frames per second of the preview on Blender's own GPU: spot with maps of 1024 x 1024, while the camera turns.

    python benchmarks/gl_frames.py [OPTIONS]                    with the module bpy
    blender --python benchmarks/gl_frames.py -- [OPTIONS]       in any Blender with a GPU

Nothing but Blender is needed: the light has the sizes of a prepared one (a base of 512), and radiance made here.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bpy
import gpu
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LEVELS = ((512, 0.0), (128, 0.1), (64, 0.15), (32, 0.27), (32, 0.4), (32, 0.6), (16, 1.0))
MAP_SIZE = 1024
DATA = Path(os.environ.get("PBRFIT_DATA") or ROOT.parent / "shared" / "data")


def addon_module(name: str) -> types.ModuleType:
    """A module of the add-on in this checkout, which need not be installed."""
    if "gl_frames_addon" not in sys.modules:
        package = types.ModuleType("gl_frames_addon")
        package.__path__ = [str(ROOT / "blender_addon")]
        sys.modules["gl_frames_addon"] = package
    return importlib.import_module(f"gl_frames_addon.{name}")


def read_obj(path: Path) -> dict[str, np.ndarray]:
    """The wire arrays of an OBJ file of triangles or quads; tangents are any that are perpendicular."""
    values: dict[str, list] = {"v": [], "vt": [], "vn": []}
    corners: list[tuple[int, ...]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *rest = line.split() or [""]
        if kind in values:
            values[kind].append([float(value) for value in rest])
        elif kind == "f":
            face = [tuple(int(index) - 1 for index in corner.split("/")) for corner in rest]
            for number in range(1, len(face) - 1):
                corners += [face[0], face[number], face[number + 1]]
    unique, inverse = np.unique(np.array(corners), axis=0, return_inverse=True)
    position, uv, normal = (
        np.array(values[name], dtype=np.float32)[unique[:, at]] for name, at in (("v", 0), ("vt", 1), ("vn", 2))
    )
    across = np.cross(normal, np.array([0.3, 1.0, 0.2], dtype=np.float32))
    tangent = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    return {
        "vertex_position": position,
        "vertex_normal": normal,
        "vertex_tangent": np.column_stack([tangent, np.ones(len(tangent), dtype=np.float32)]),
        "vertex_uv": uv[:, :2],
        "triangles": inverse.reshape(-1, 3).astype(np.int32),
    }


def light() -> SimpleNamespace:
    """A light of the usual sizes."""
    width = 6 * (LEVELS[0][0] + 2)
    places, top, left, shelf = [], 0, 0, 0
    for resolution, _ in LEVELS:
        side = resolution + 2
        if left + 6 * side > width:
            top, left, shelf = top + shelf, 0, 0
        shelf = max(shelf, side)
        places.append((resolution, top, left))
        left += 6 * side
    rows, columns = np.mgrid[0 : top + shelf, 0:width].astype(np.float32)
    radiance = 0.6 + 0.5 * np.sin(columns / 40) * np.cos(rows / 30)
    irradiance = np.zeros((9, 3), dtype=np.float32)
    irradiance[0] = 2.0
    return SimpleNamespace(
        key="made",
        atlas=np.repeat(radiance[..., None], 4, axis=2).astype(np.float16),
        irradiance=irradiance,
        places=tuple(places),
        roughnesses=tuple(roughness for _, roughness in LEVELS),
    )


def look() -> SimpleNamespace:
    """Maps as a fit gives them, as images of the file: base colour, openness with roughness and metallic, normals."""
    rng = np.random.default_rng(1)
    textures = {}
    for name, space in (("kd", "sRGB"), ("orm", "Non-Color"), ("normal", "Non-Color")):
        image = bpy.data.images.new(f"gl_frames {name}", MAP_SIZE, MAP_SIZE)
        image.colorspace_settings.name = space
        pixels = rng.random((MAP_SIZE, MAP_SIZE, 4), dtype=np.float32)
        if name == "normal":
            pixels[..., :3] = 0.4 + 0.2 * pixels[..., :3] + np.array([0, 0, 0.4], dtype=np.float32)
        image.pixels.foreach_set(pixels.ravel())
        image.update()
        textures[name] = image.session_uid

    def texture(name: str, channel: int | None) -> SimpleNamespace:
        return SimpleNamespace(
            key=name,
            image_uid=textures[name],
            pixels=None,
            channel=channel,
            encoding="srgb" if name == "kd" else "linear",
        )

    return SimpleNamespace(
        kd=texture("kd", None),
        alpha=1.0,
        roughness=texture("orm", 1),
        metallic=texture("orm", 2),
        openness=texture("orm", 0),
        normal=texture("normal", None),
    )


def measure(options: argparse.Namespace, spot_look: SimpleNamespace) -> dict:
    """The record; needs a GPU context."""
    width, height = options.size
    arrays = read_obj(options.data / "spot" / "spot.obj")
    scene = SimpleNamespace(
        parts=(SimpleNamespace(key="spot", place="spot", arrays=arrays, matrix=np.eye(4), look=spot_look),)
    )
    prepared = light()
    projection = addon_module("axes").projection_matrix(math.radians(45), width / height, 0.1, 100.0)
    preview = addon_module("preview.gl.renderer").GlPreview()

    def frame(number: int) -> object:
        turn = 0.05 * number
        view = np.eye(4)
        view[0, [0, 2]] = math.cos(turn), math.sin(turn)
        view[2, [0, 2]] = -math.sin(turn), math.cos(turn)
        view[2, 3] = -2.6
        return preview.draw(
            scene, prepared, view, projection, (width, height), options.channel, options.spp, options.background
        )

    def finish(image: object) -> None:
        with image.bind():
            gpu.state.active_framebuffer_get().read_color(0, 0, 1, 1, 4, 0, "FLOAT")

    began = time.perf_counter()
    finish(frame(0))
    first = time.perf_counter() - began
    began = time.perf_counter()
    finish(frame(1))
    count = max(5, min(options.frames, int(options.seconds / (time.perf_counter() - began))))
    each = []
    for number in range(count):
        began = time.perf_counter()
        finish(frame(number))
        each.append(time.perf_counter() - began)
    began = time.perf_counter()
    for number in range(count):
        image = frame(number)
    queued = time.perf_counter() - began
    finish(image)
    together = time.perf_counter() - began
    preview.free()
    return {
        "renderer": gpu.platform.renderer_get(),
        "vendor": gpu.platform.vendor_get(),
        "driver": gpu.platform.version_get(),
        "gpu_backend": gpu.platform.backend_type_get(),
        "blender": bpy.app.version_string,
        "size": [width, height],
        "samples_per_side": options.spp,
        "channel": options.channel,
        "background": options.background,
        "triangles": len(arrays["triangles"]),
        "frames": count,
        "first_frame_s": first,
        "frame_ms_median": 1e3 * statistics.median(each),
        "frame_ms_worst": 1e3 * max(each),
        "frames_per_second": count / together,
        "python_ms_per_frame": 1e3 * queued / count,
    }


def with_gpu(work: Callable[[], dict]) -> dict:
    """What `work` returns, with a GPU context: after `gpu.init()` without a window where there is one, else in a render."""
    if bpy.app.background and hasattr(gpu, "init"):
        gpu.init()
        return work()
    found: list[dict] = []

    class Engine(bpy.types.RenderEngine):
        bl_idname = "PBRFIT_GL_FRAMES"
        bl_label = "PBRfit frames"
        bl_use_gpu_context = True

        def render(self, depsgraph: bpy.types.Depsgraph) -> None:
            found.append(work())

    bpy.utils.register_class(Engine)
    try:
        scene = bpy.data.scenes.new("gl_frames")
        scene.camera = bpy.data.objects.new("gl_frames", bpy.data.cameras.new("gl_frames"))
        scene.render.engine = Engine.bl_idname
        scene.render.resolution_x = scene.render.resolution_y = 8
        bpy.ops.render.render(scene=scene.name)
    finally:
        bpy.utils.unregister_class(Engine)
    return found[0]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/spot.obj")
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--spp", type=int, default=1, help="samples along a pixel's side")
    parser.add_argument("--channel", default="shaded")
    parser.add_argument("--background", choices=("none", "light"), default="none")
    parser.add_argument("--frames", type=int, default=200, help="at most so many frames")
    parser.add_argument("--seconds", type=float, default=10.0, help="measure about so long, twice")
    parser.add_argument("--json", type=Path, help="write the record there too")
    own = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    options = parser.parse_args(own)
    spot_look = look()
    record = with_gpu(lambda: measure(options, spot_look))
    text = json.dumps(record, indent=2) + "\n"
    print(text, end="", flush=True)
    if options.json is not None:
        options.json.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    status = main()
    if bpy.app.background:
        # Some Blenders do not end well as a module with a GPU context open.
        sys.stdout.flush()
        os._exit(status)
