"""References on the device that is wanted: the CPU in place of one that is not there, a GPU with the CPU's pixels."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIZE, SAMPLES = 64, 64
VIEW = {
    "index": 0,
    "matrix_world": [[1, 0, 0, 0], [0, 0, -1, -5], [0, 1, 0, 0], [0, 0, 0, 1]],
    "fov": 2.0 * np.arctan(2.0 / 5.0),
    "seed": 3,
    "clip_start": 0.1,
    "clip_end": 100.0,
}
"""The board of the scene fills half of it."""


@pytest.fixture
def render(installed_extension, blend_files, tmp_path) -> Any:
    """A function that renders the view: its lines and its pixels."""
    script = importlib.import_module(f"{installed_extension}.references.process").SCRIPT

    def carry_out(name: str, **changes: Any) -> tuple[list[dict[str, Any]], np.ndarray]:
        folder: Path = tmp_path / name
        folder.mkdir()
        plan = {
            "blend": str(blend_files["board"]),
            "scene": "Stage",
            "view_layer": "ViewLayer",
            "objects": [["Board", None]],
            "size": SIZE,
            "samples": SAMPLES,
            "views": [VIEW],
            "output": str(folder),
            **changes,
        }
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        command = [sys.executable, str(script), str(folder / "plan.json")]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        lines = [json.loads(line.removeprefix("PBRFIT ")) for line in said if line.startswith("PBRFIT ")]
        assert lines[-1] == {"done": True}, lines
        return lines, np.load(folder / "view_0000.npy")

    return carry_out


def test_a_device_that_is_not_there_is_replaced_by_the_cpu(render):
    lines, pixels = render("gone", devices={"kind": "OPTIX", "ids": ["no such device"]})
    assert lines[0]["device"].endswith("(CPU)")
    assert not lines[0]["on_gpu"]
    assert "OptiX" in lines[0]["note"]
    lines, on_cpu = render("cpu", devices={"kind": "CPU", "ids": []})
    assert "note" not in lines[0]
    np.testing.assert_array_equal(pixels, on_cpu)
    lines, unasked = render("unasked")
    assert "device" not in lines[0]
    np.testing.assert_array_equal(unasked, on_cpu)


def test_what_cycles_reports_on_a_gpu_is_the_gpus_failure(addon):
    """There is no camera, which no device can render without; so only the error's kind tells the devices apart."""
    import bpy  # late: this file is collected where there is no Blender, for the message of the skip

    references, errors = addon.references, addon.common.errors
    bpy.ops.mesh.primitive_cube_add()
    name = bpy.context.object.name
    for on_gpu in (True, False):
        scene, layer = bpy.context.scene, bpy.context.view_layer
        stage = references.stage.set_up(scene, layer, [(name, None)], 1, 1, on_gpu)
        assert scene.cycles.device == ("GPU" if on_gpu else "CPU")
        bpy.data.objects.remove(stage.camera)
        with pytest.raises(RuntimeError if not on_gpu else errors.GpuFailed, match="camera"):
            references.rendering.render(stage, 8, 8)


@pytest.mark.cuda
def test_a_gpu_renders_what_the_cpu_renders(render):
    """The same random numbers: the pixels differ by rounding, and where a path has gone another way after it."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA GPU")
    lines, on_gpu = render("gpu", devices={"kind": "AUTO", "ids": []})
    assert lines[0]["on_gpu"], f"Cycles finds no GPU, only {lines[0]['device']}"
    assert lines[0]["device"].endswith(("(OptiX)", "(CUDA)"))
    print(lines[0]["device"])
    _, on_cpu = render("cpu", devices={"kind": "CPU", "ids": []})
    assert on_gpu.max() > 0.1
    assert on_gpu.mean() == pytest.approx(on_cpu.mean(), rel=1e-3)
    error = float(np.square(np.clip(on_gpu, 0.0, 1.0) - np.clip(on_cpu, 0.0, 1.0)).mean())
    assert -10.0 * np.log10(max(error, 1e-12)) > 40.0
