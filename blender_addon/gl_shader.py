# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview's shaders for Blender's own GPU, by `GPUShaderCreateInfo`, which every back end of Blender takes.

Push constants are limited to 128 bytes, so all that is not a texture comes in two uniform blocks, `frame` and `part`.
A look's textures are sampled by lines that are written for it (`LookPlan`), so that a shader only has the samplers it
needs; there are few plans in practice, and each is compiled once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import gpu
import numpy as np

CHANNELS = ("shaded", "kd", "occlusion", "roughness", "metallic", "normal", "light", "depth")
MOST_LEVELS = 16
MOST_MAPS = 6

FRAME_BLOCK = f"""struct PbrfitFrame {{
  vec4 settings;
  vec4 eye;
  vec4 axis;
  vec4 ray_middle;
  vec4 ray_right;
  vec4 ray_up;
  vec4 tile;
  vec4 bounds;
  vec4 irradiance[9];
  vec4 places[{MOST_LEVELS}];
}};
"""
"""settings: number of the channel, samples along a pixel's side, levels of the light; eye: what to subtract a point from for
the way to the eye, and 1 for a point (0: a direction); axis: that the camera looks along; ray_*: of the sky; tile: its
lower left pixel; bounds: of the tile in device coordinates, left, bottom, right, top; places: of each level resolution,
top, left and roughness."""

PART_BLOCK = f"""struct PbrfitPart {{
  mat4 clip;
  mat4 place;
  mat4 turn;
  vec4 color;
  vec4 surface;
  vec4 sizes[{MOST_MAPS}];
}};
"""
"""clip: local to clip space; place: local to the world, relative to the eye; turn: of normals; color: base colour, alpha;
surface: roughness, metallic, openness, -1 for a mirrored part; sizes: width, height and levels of each strip."""


@dataclass(frozen=True)
class LookPlan:
    """What a look's shader samples. maps: of each texture whether it is an "image" of Blender's or a "strip";
    sources: (property, number of the map, channel or None for its colour), of properties that are no constants;
    divided: whether the base colour has been multiplied by its alpha."""

    maps: tuple[str, ...] = ()
    sources: tuple[tuple[str, int, int | None], ...] = ()
    divided: bool = False


@lru_cache(maxsize=1)
def _sources() -> dict[str, str]:
    here = Path(__file__).parent
    return {path.stem.removeprefix("gl_"): path.read_text(encoding="utf-8") for path in here.glob("gl_*.glsl")}


def look_up_lines(plan: LookPlan) -> str:
    """GLSL that samples the look's textures and sets its properties."""
    lines = []
    for number, kind in enumerate(plan.maps):
        size = f", part.sizes[{number}]" if kind == "strip" else ""
        lines.append(f"vec4 texel_{number} = {kind}_texel(map_{number}, seen_uv, footprint{size});")
    for name, number, channel in plan.sources:
        if channel is not None:
            value = f"texel_{number}[{channel}]"
            value = f"vec3({value})" if name in ("kd", "normal") else value
        else:
            value = f"texel_{number}.rgb" if name in ("kd", "normal") else f"texel_{number}.r"
        if name == "normal":
            lines.append(f"normal_map = {value} * 2.0 - 1.0;")
        else:
            lines.append(f"{name} = {value};")
    if plan.divided:
        lines.append("kd = alpha > 0.0 ? kd / alpha : kd;")
    return "\n  ".join(lines)


def _info(blocks: tuple[str, ...]) -> gpu.types.GPUShaderCreateInfo:
    info = gpu.types.GPUShaderCreateInfo()
    info.typedef_source("".join({"frame": FRAME_BLOCK, "part": PART_BLOCK}[block] for block in blocks))
    for slot, block in enumerate(blocks):
        info.uniform_buf(slot, f"Pbrfit{block.capitalize()}", block)
    info.fragment_out(0, "VEC4", "drawn_color")
    return info


def surface_shader(plan: LookPlan) -> gpu.types.GPUShader:
    """The shader of parts with such a look: vertex attributes position, normal, tangent, uv; samplers light_atlas,
    ggx_table, map_0 and so on."""
    info = _info(("frame", "part"))
    for slot, name in enumerate(("light_atlas", "ggx_table", *(f"map_{number}" for number in range(len(plan.maps))))):
        info.sampler(slot, "FLOAT_2D", name)
    for slot, (kind, name) in enumerate(
        (("VEC3", "position"), ("VEC3", "normal"), ("VEC4", "tangent"), ("VEC2", "uv"))
    ):
        info.vertex_in(slot, kind, name)
    between = gpu.types.GPUStageInterfaceInfo("pbrfit_surface")
    for kind, name in (("VEC3", "position"), ("VEC3", "normal"), ("VEC4", "tangent"), ("VEC2", "uv")):
        between.smooth(kind, f"seen_{name}")
    info.vertex_out(between)
    for number, channel in enumerate(CHANNELS):
        info.define(f"CHANNEL_{channel.upper()}", str(number))
    sources = _sources()
    info.vertex_source(sources["surface_vert"])
    info.fragment_source(sources["common"] + sources["surface_frag"].replace("LOOK_UP", look_up_lines(plan)))
    return gpu.shader.create_from_info(info)


def sky_shader() -> gpu.types.GPUShader:
    """The shader of the light behind all: vertex attribute position (device coordinates); sampler light_atlas."""
    info = _info(("frame",))
    info.sampler(0, "FLOAT_2D", "light_atlas")
    info.vertex_in(0, "VEC2", "position")
    between = gpu.types.GPUStageInterfaceInfo("pbrfit_sky")
    between.smooth("VEC3", "ray")
    info.vertex_out(between)
    sources = _sources()
    info.vertex_source(sources["sky_vert"])
    info.fragment_source(sources["common"] + sources["sky_frag"])
    return gpu.shader.create_from_info(info)


def mean_shader() -> gpu.types.GPUShader:
    """The shader that reduces samples to pixels: vertex attribute position, -1 to 1 over the tile; sampler samples."""
    info = _info(("frame",))
    info.sampler(0, "FLOAT_2D", "samples")
    info.vertex_in(0, "VEC2", "position")
    sources = _sources()
    info.vertex_source(sources["mean_vert"])
    info.fragment_source(sources["mean_frag"])
    return gpu.shader.create_from_info(info)


class UniformBlock:
    """A uniform block on the GPU, written anew when its values change."""

    def __init__(self) -> None:
        self._values: np.ndarray | None = None
        self._buffer: gpu.types.GPUUniformBuf | None = None

    def set(self, values: np.ndarray) -> gpu.types.GPUUniformBuf:
        """The block with these float32 values, a multiple of four."""
        if self._values is None or not np.array_equal(values, self._values):
            data = gpu.types.Buffer("FLOAT", values.size, values)
            if self._buffer is None:
                self._buffer = gpu.types.GPUUniformBuf(data)
            else:
                self._buffer.update(data)
            self._values = values
        return self._buffer

    @property
    def current(self) -> gpu.types.GPUUniformBuf:
        """The block as it was set last."""
        return self._buffer
