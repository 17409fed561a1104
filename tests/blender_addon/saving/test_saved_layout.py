"""The command line's files are those of the button, byte for byte."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")
RANDOM = np.random.default_rng(5)
FILES = {
    "kd.png": png(RANDOM.integers(0, 256, (16, 16, 4)).astype(np.uint8)),
    "orm.png": png(RANDOM.integers(0, 256, (16, 16, 3)).astype(np.uint8)),
    "normal.png": png(RANDOM.integers(0, 2**16, (16, 16, 3)).astype(np.uint16)),
}


@pytest.fixture
def scripts(addon, monkeypatch):
    """The modules of the scripts' folder, which have no package there."""
    folder = Path(importlib.util.find_spec(f"{addon.name}.command_line").submodule_search_locations[0])
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize(("layout", "format_name", "bits"), [("unity-hdrp", "png", 8), ("unreal", "exr", 16)])
def test_the_same_bytes(addon, scripts, tmp_path, layout, format_name, bits) -> None:
    cube = ready_cube()
    assign(addon, FILES, alpha=True)
    options = {"format": format_name, "bits": bits, "dither": True}
    saved = scripts("saved_layout").SavedLayout({"name": layout, "folder": "maps", "options": options}, addon.name)
    files, said = saved.files(cube)
    output = bpy.context.scene.pbrfit_output
    output.layout, output.format, output.bits, output.dither = layout, format_name, str(bits), True
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps"))
    assert files == {f"maps/{path.name}": path.read_bytes() for path in (tmp_path / "maps").iterdir()}
    assert len(files) == 3
    assert (said["layout"], set(said["files"])) == (layout, set(files))


@pytest.mark.parametrize("shape", ["1:1", "4:1", "1:2"])
def test_names_are_checked_before_any_work(addon, scripts, tmp_path, shape) -> None:
    ready_cube()
    bpy.context.scene.pbrfit.map_shape = shape
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    request = {"name": "gltf", "folder": "maps", "options": {"pattern": "{map}-{resolution}"}}
    saved = scripts("saved_layout").SavedLayout(request, addon.name)
    saved.check_names(plan, tmp_path, set())
    size = {"1:1": "1024", "4:1": "1024x256", "1:2": "512x1024"}[shape]
    taken = tmp_path / "maps" / f"normal-{size}.png"
    taken.parent.mkdir()
    taken.write_bytes(b"mine")
    with pytest.raises(scripts("artist_file").DriveError) as refused:
        saved.check_names(plan, tmp_path, set())
    assert "would overwrite" in refused.value.cause
    saved.check_names(plan, tmp_path, {f"maps/{taken.name}"})
