# SPDX-License-Identifier: GPL-3.0-or-later
"""Shaders and uniform blocks on Blender's own GPU. Every graphics back end of Blender takes `GPUShaderCreateInfo`."""

from __future__ import annotations

import gpu
import numpy as np
from numpy.typing import NDArray

from .sources import BLOCKS, ShaderSource


def compiled(source: ShaderSource) -> gpu.types.GPUShader:
    """Compile a source."""
    info = gpu.types.GPUShaderCreateInfo()
    info.typedef_source("".join(BLOCKS[block] for block in source.blocks))
    for slot, block in enumerate(source.blocks):
        info.uniform_buf(slot, f"Pbrfit{block.capitalize()}", block)
    for slot, name in enumerate(source.samplers):
        info.sampler(slot, "FLOAT_2D", name)
    for slot, (kind, name) in enumerate(source.inputs):
        info.vertex_in(slot, kind, name)
    if source.between:
        between = gpu.types.GPUStageInterfaceInfo(source.name)
        for kind, name in source.between:
            between.smooth(kind, name)
        info.vertex_out(between)
    for name, value in source.defines:
        info.define(name, value)
    info.fragment_out(0, "VEC4", "drawn_color")
    info.vertex_source(source.vertex)
    info.fragment_source(source.fragment)
    return gpu.shader.create_from_info(info)


class UniformBlock:
    """A uniform block on the GPU, written again only if its values change."""

    def __init__(self) -> None:
        self._values: NDArray[np.float32] | None = None
        self._buffer: gpu.types.GPUUniformBuf | None = None

    def set(self, values: NDArray[np.float32]) -> gpu.types.GPUUniformBuf:
        """The block with these float32 values [n]; n is a multiple of four."""
        if self._values is None or not np.array_equal(values, self._values):
            data = gpu.types.Buffer("FLOAT", values.size, values)
            if self._buffer is None:
                self._buffer = gpu.types.GPUUniformBuf(data)
            else:
                self._buffer.update(data)
            self._values = values
        return self._buffer
