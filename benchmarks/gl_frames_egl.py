"""Frames of the preview's GLSL without Blender: the add-on's own shaders in a context of OpenGL that EGL gives.

    python -m benchmarks.gl_frames_egl --json FILE

For machines that have a GPU but no Blender (`benchmarks/gl_frames.py` measures within one). Needs moderngl. Draws Spot with
maps of 512 x 512 under the forest HDRI, compares a frame with that of `render.preview.renderer`, and times frames: each waited
for, and a hundred one after the other. What Blender adds (its own overlays, colour management) is not in it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.job.device import resolve_device
from benchmarks.cases import DATA, load_case
from benchmarks.measure import check_output, circumstances, print_table, write_json
from render.core.color import psnr
from render.geometry.camera import Camera, look_at, perspective
from render.light.environment import EnvironmentLight
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS
from render.preview.renderer import PreviewRenderer

SIZES = {"512": (512, 512), "1080p": (1920, 1080), "4K": (3840, 2160)}
_FRAMES = 100
_TYPES = {"VEC2": "vec2", "VEC3": "vec3", "VEC4": "vec4"}


def addon_module(name: str) -> Any:
    """A module of the add-on that needs nothing of Blender to run, without the package's own registration."""
    if "pbrfit_gl" not in sys.modules:
        package = types.ModuleType("pbrfit_gl")
        package.__path__ = [str(Path(__file__).parents[1] / "blender_addon")]
        sys.modules["pbrfit_gl"] = package
        sys.modules.setdefault("gpu", types.ModuleType("gpu"))  # named in type hints alone by what is used here
    return importlib.import_module(f"pbrfit_gl.{name}")


def glsl(source: Any, blocks: dict[str, str]) -> tuple[str, str]:
    """Vertex and fragment shader, GLSL 3.30, of a `ShaderSource`."""
    head = ["#version 330"]
    head += [f"#define {name} {value}" for name, value in source.defines]
    for block in source.blocks:
        head += [blocks[block], f"layout(std140) uniform {block}_block {{ Pbrfit{block.capitalize()} {block}; }};"]
    head += [f"uniform sampler2D {name};" for name in source.samplers]
    inputs = [f"layout(location = {slot}) in {_TYPES[kind]} {name};" for slot, (kind, name) in enumerate(source.inputs)]
    outward = [f"smooth out {_TYPES[kind]} {name};" for kind, name in source.between]
    inward = [f"smooth in {_TYPES[kind]} {name};" for kind, name in source.between]
    vertex = "\n".join([*head, *inputs, *outward, source.vertex])
    return vertex, "\n".join([*head, *inward, "out vec4 drawn_color;", source.fragment])


class Drawing:
    """Spot with its maps and light on the GPU, and a frame of it."""

    def __init__(self, context: Any, mesh: Any, texels: torch.Tensor, light: EnvironmentLight) -> None:
        import moderngl

        sources, textures = addon_module("preview.gl.sources"), addon_module("preview.gl.textures")
        self.values = addon_module("preview.gl.values")
        self.context = context
        with torch.no_grad():
            prefiltered = light.build_mips()
        kd, ks, normal = _map_pixels(texels.cpu())
        strips = [textures.strip_of(pixels) for pixels in (kd, ks, normal)]
        self.sizes = [(texels.shape[1], texels.shape[0], count, 0.0) for _, count in strips]
        atlas = prefiltered.atlas[0].permute(1, 2, 0).cpu().numpy()
        table = np.load(Path(textures.__file__).with_name("ggx_table.npy"))
        images = {
            "light_atlas": (np.dstack([atlas, np.ones_like(atlas[..., :1])]), "f2"),
            "ggx_table": (table.reshape(table.shape[0], -1, 4), "f4"),
            **{f"map_{number}": (strip, "f2") for number, (strip, _) in enumerate(strips)},
        }
        plan = sources.LookPlan(
            ("strip",) * 3,
            (("kd", 0, None), ("openness", 1, 0), ("roughness", 1, 1), ("metallic", 1, 2), ("normal", 2, None)),
        )
        vertex, fragment = glsl(sources.surface_source(plan), sources.BLOCKS)
        self.program = context.program(vertex_shader=vertex, fragment_shader=fragment)
        self.textures = []
        for slot, (name, (pixels, kind)) in enumerate(images.items()):
            data = np.ascontiguousarray(pixels, dtype=np.float16 if kind == "f2" else np.float32)
            texture = context.texture((data.shape[1], data.shape[0]), 4, data.tobytes(), dtype=kind)
            texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
            texture.use(slot)
            self.program[name] = slot
            self.textures.append(texture)
        self.blocks = {}
        for slot, block in enumerate(("frame", "part")):
            self.program[f"{block}_block"].binding = slot
            self.blocks[block] = context.buffer(reserve=self.program[f"{block}_block"].size)
            self.blocks[block].bind_to_uniform_block(slot)
        columns = [mesh.position, mesh.normal, mesh.tangent, mesh.uv * torch.tensor([1.0, -1.0], device=mesh.uv.device)]
        columns[3] = columns[3] + torch.tensor([0.0, 1.0], device=mesh.uv.device)  # Blender's v points up
        vertices = torch.cat(columns, dim=1).float().cpu().numpy()
        self.mesh = context.vertex_array(
            self.program,
            [(context.buffer(vertices.tobytes()), "3f 3f 4f 2f", "position", "normal", "tangent", "uv")],
            context.buffer(mesh.triangles.int().cpu().numpy().tobytes()),
        )
        places = [
            (*place, level.roughness)
            for place, level in zip(prefiltered.layout.places, prefiltered.levels, strict=True)
        ]
        self.irradiance = np.zeros((9, 4), np.float32)
        self.irradiance[:, :3] = prefiltered.irradiance.cpu().numpy()
        self.places = np.array(places, np.float32)

    def draw(self, target: Any, camera: Camera, size: tuple[int, int]) -> None:
        """A frame of one sample a pixel into the target; not waited for."""
        view = camera.view.double().cpu().numpy()
        upright = np.diag([1.0, -1.0, 1.0, 1.0]) @ camera.projection.double().cpu().numpy()
        eye, turn = np.linalg.inv(view)[:3, 3], np.eye(4)
        turn[:3, :3] = view[:3, :3]
        frame = self.values.frame_values(turn, upright, size, (0, 0, *size), "shaded", 1, self.irradiance, self.places)
        constants = {"kd": (0.0, 0.0, 0.0), "alpha": 1.0, "roughness": 0.0, "metallic": 0.0, "openness": 1.0}
        part = self.values.part_values(np.eye(4), eye, upright @ turn, constants, self.sizes)
        self.blocks["frame"].write(frame.tobytes())
        self.blocks["part"].write(part.tobytes())
        target.use()
        target.clear()
        self.context.enable_only(self.context.DEPTH_TEST)
        self.mesh.render()


def _map_pixels(texels: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Base colour, ORM and normal, float32 [R, R, 4], as the shader reads them."""
    one = torch.ones_like(texels[..., :1])
    kd = torch.cat([texels[..., KD], one], -1)
    ks = torch.cat([one, texels[..., ROUGHNESS], texels[..., METALLIC], one], -1)
    normal = torch.cat([texels[..., NORMAL] * 0.5 + 0.5, one], -1)
    return kd.numpy(), ks.numpy(), normal.numpy()


def _camera(size: tuple[int, int], angle: float = 0.7) -> Camera:
    eye = torch.tensor([3.0 * np.sin(angle), 1.0, 3.0 * np.cos(angle)])
    view = look_at(eye.float(), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    return Camera(view, perspective(np.radians(45), size[0] / size[1], 0.1, 100.0))


def _target(context: Any, size: tuple[int, int]) -> Any:
    return context.framebuffer([context.texture(size, 4, dtype="f2")], context.depth_renderbuffer(size))


def _interior_db(image: torch.Tensor, truth: torch.Tensor) -> float:
    """PSNR of what both cover wholly, a pixel and more from what they do not."""
    covered = (image[..., 3] > 0.999) & (truth[..., 3] > 0.999)
    shrunk = -torch.nn.functional.max_pool2d(-covered[None, None].float(), 3, 1, 1)[0, 0] > 0
    return psnr(image[..., :3][shrunk], truth[..., :3][shrunk])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is measured, as JSON values."""
    import moderngl

    context = moderngl.create_context(
        standalone=True, backend="egl", require=330, libgl="libGL.so.1", libegl="libEGL.so.1"
    )
    device = resolve_device(options.device)
    case = load_case("spot", options.data, 512, options.light_resolution, "principled", device)
    drawing = Drawing(context, case.mesh, case.maps.texels, case.light)
    renderer = PreviewRenderer(case.mesh, device)
    renderer.set_maps(case.maps)
    with torch.no_grad():
        renderer.set_light(case.light.build_mips())
    rows = []
    for name in options.sizes:
        size = SIZES[name]
        target, camera = _target(context, size), _camera(size)
        drawing.draw(target, camera, size)
        data = np.frombuffer(target.read(components=4, dtype="f2"), np.float16).reshape(size[1], size[0], 4)
        drawn = torch.from_numpy(data[::-1].astype(np.float32))
        truth = renderer.frame(camera, (size[1], size[0]))[0].float().cpu()
        cameras = [_camera(size, 0.7 + 0.02 * step) for step in range(_FRAMES)]
        waited = []
        for view in cameras:
            begin = time.perf_counter()
            drawing.draw(target, view, size)
            context.finish()
            waited.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        for view in cameras:
            drawing.draw(target, view, size)
        context.finish()
        together = (time.perf_counter() - begin) / _FRAMES
        rows.append(
            {
                "size": name,
                "ms_waited_for": 1000 * float(np.median(waited)),
                "ms_one_after_the_other": 1000 * together,
                "frames_per_second": 1 / together,
                "db_against_render_preview": _interior_db(drawn, truth),
            }
        )
    opengl = {name: context.info[f"GL_{name.upper()}"] for name in ("renderer", "version", "vendor")}
    return circumstances(device) | {"opengl": opengl, "frames": rows, "timing": f"median or mean of {_FRAMES} frames"}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="where the frames to compare with are drawn")
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--light-resolution", type=int, default=512, help="edge of a face of the light")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args()
    check_output(options.json)
    result = measure(options)
    rows = [[row[key] for key in row] for row in result["frames"]]
    print_table(f"GLSL frames, {result['opengl']['renderer']}", [["", *list(result["frames"][0])[1:]], *rows])
    if options.json is not None:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
