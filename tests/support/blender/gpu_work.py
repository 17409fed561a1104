"""Work that needs Blender's own GPU, in a Blender without a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import gpu


def on_the_gpu(work: Callable[[], Any]) -> Any:
    """What `work` returns, with a GPU context."""
    if hasattr(gpu, "init"):
        gpu.init()
        return work()
    outcome: list[Any] = []

    class Engine(bpy.types.RenderEngine):
        bl_idname = "PBRFIT_TEST_GPU"
        bl_label = "Draws with the GPU"
        bl_use_gpu_context = True

        def render(self, depsgraph):
            try:
                outcome.append(("done", work()))
            except BaseException as error:  # Blender would only print it
                outcome.append(("failed", error))

    bpy.utils.register_class(Engine)
    try:
        scene = bpy.context.scene
        scene.camera = scene.camera or bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
        scene.render.engine = Engine.bl_idname
        scene.render.resolution_x = scene.render.resolution_y = 8
        bpy.ops.render.render()
    finally:
        bpy.utils.unregister_class(Engine)
    ((how, result),) = outcome
    if how == "failed":
        raise result
    return result
