# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay's drawing on Blender's own GPU: translucent stripes over what no view saw."""

from __future__ import annotations

import gpu
import numpy as np
from mathutils import Matrix

from .unseen_faces import UnseenFaces

NEARER = 1e-3  # of its distance: so much nearer than the surface is what is drawn, so that the surface does not hide it
VERTEX = "void main() { at = uv; gl_Position = clip_from_object * vec4(position, 1.0); }"
FRAGMENT = """
void main()
{
  int size = textureSize(unseen, 0).x;
  ivec2 texel = clamp(ivec2(fract(at) * float(size)), ivec2(0), ivec2(size - 1));
  if (texelFetch(unseen, texel, 0).r < 0.5) {
    discard;
  }
  bool stripe = mod(gl_FragCoord.x + gl_FragCoord.y, 14.0) < 7.0;
  drawn_color = stripe ? vec4(0.95, 0.1, 0.55, 0.8) : vec4(1.0, 0.75, 0.9, 0.5);
}
"""

_shader: gpu.types.GPUShader | None = None


class DrawnFaces:
    """Faces on the GPU. Make and draw it where Blender draws."""

    def __init__(self, faces: UnseenFaces) -> None:
        layout = gpu.types.GPUVertFormat()
        layout.attr_add(id="position", comp_type="F32", len=3, fetch_mode="FLOAT")
        layout.attr_add(id="uv", comp_type="F32", len=2, fetch_mode="FLOAT")
        vertices = gpu.types.GPUVertBuf(format=layout, len=len(faces.corners))
        vertices.attr_fill(id="position", data=faces.corners)
        vertices.attr_fill(id="uv", data=faces.uv)
        self._batch = gpu.types.GPUBatch(type="TRIS", buf=vertices)
        upright = np.ascontiguousarray(faces.mask[::-1], np.float32)
        data = gpu.types.Buffer("FLOAT", upright.size, upright.ravel())
        self._mask = gpu.types.GPUTexture(upright.shape, format="R32F", data=data)

    def draw(self, clip_from_object: Matrix) -> None:
        """Draw the faces into the view that Blender draws."""
        shader = _compiled()
        shader.bind()
        shader.uniform_float("clip_from_object", clip_from_object)
        shader.uniform_sampler("unseen", self._mask)
        self._batch.draw(shader)


def clip_matrix(view: Matrix, window: Matrix, matrix_world: Matrix, distance: float) -> Matrix:
    """From object space to the clip space of a view, a little nearer to the eye than the object is.

    view, window: of the region; distance: how far the view's center is, for views without perspective.
    """
    if window[3][3] == 0.0:  # with perspective: all of it shrinks towards the eye
        nearer = Matrix.Diagonal((1.0 - NEARER, 1.0 - NEARER, 1.0 - NEARER, 1.0))
    else:
        nearer = Matrix.Translation((0.0, 0.0, NEARER * distance))
    return window @ nearer @ view @ matrix_world


def _compiled() -> gpu.types.GPUShader:
    global _shader
    if _shader is None:
        between = gpu.types.GPUStageInterfaceInfo("pbrfit_unseen")
        between.smooth("VEC2", "at")
        info = gpu.types.GPUShaderCreateInfo()
        info.vertex_in(0, "VEC3", "position")
        info.vertex_in(1, "VEC2", "uv")
        info.push_constant("MAT4", "clip_from_object")
        info.sampler(0, "FLOAT_2D", "unseen")
        info.vertex_out(between)
        info.fragment_out(0, "VEC4", "drawn_color")
        info.vertex_source(VERTEX)
        info.fragment_source(FRAGMENT)
        _shader = gpu.shader.create_from_info(info)
    return _shader
