"""``pbrfit optimize chair.glb --start-maps``: what is said, what is refused before work, and what comes out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_line import run_python

from backend.cli.inputs import Inputs, why_again
from backend.cli.main import main

MAKE_GLB = """
import os, sys
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add()
cube = bpy.context.object
cube.name = "Board"
material = bpy.data.materials.new("Paint")
if not material.use_nodes:
    material.use_nodes = True
shader = next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
image = bpy.data.images.load(sys.argv[1])
texture = material.node_tree.nodes.new("ShaderNodeTexImage")
texture.image = image
material.node_tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
shader.inputs["Roughness"].default_value = 0.4
cube.data.materials.append(material)
bpy.ops.export_scene.gltf(filepath=sys.argv[2], export_format="GLB")
sys.stdout.flush()
os._exit(0)
"""
SMALL = [
    "--preset",
    "draft",
    "--views",
    "4",
    "--held-out-views",
    "1",
    "--view-size",
    "32",
    "--resolution",
    "32",
    "--no-report",
]


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """The folder of maps of the paint."""
    folder = tmp_path / "maps"
    folder.mkdir()
    picture = Image.new("RGB", (32, 32), (180, 60, 30))
    picture.paste((30, 60, 180), (0, 0, 16, 32))
    picture.save(folder / "paint_albedo.png")
    Image.new("L", (8, 8), 153).save(folder / "paint_gloss.png")
    return folder


def fit(blend: Path, out: Path, *options: str) -> int:
    return main(["optimize", str(blend), "--object", "Board", "--out", str(out), *SMALL, *options])


@pytest.mark.blender
def test_a_glb_in_place_of_a_blend(tmp_path, maps, capsys) -> None:
    pytest.importorskip("bpy")
    glb, out = tmp_path / "board.glb", tmp_path / "out"
    run_python("-c", MAKE_GLB, maps / "paint_albedo.png", glb)
    assert main(["bake", str(glb), "--object", "Board", "--out", str(out), "--resolution", "32"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["file"] == str(glb)
    assert (out / "Board.blend").is_file()
    np.testing.assert_array_equal(np.array(Image.open(out / "kd.png"))[16, 4:12], [[30, 60, 180]] * 8)


def test_the_table_is_said_and_the_maps_count_among_what_the_result_is_made_of(tmp_path, maps, monkeypatch) -> None:
    blend = tmp_path / "scene.blend"
    blend.write_bytes(b"BLENDER-v405")
    for path in (blend, *maps.iterdir()):  # what was written a moment ago may be changing still
        os.utime(path, (1.0, 1.0))
    asked = []
    monkeypatch.setattr("backend.cli.optimize.optimize", lambda request, *_: asked.append(request) or {})
    assert fit(blend, tmp_path / "out", "--start-maps", str(maps)) == 0
    (request,) = asked
    assert "  Base Color: paint_albedo.png (32 x 32)" in request.notes
    assert "  Roughness: 1 - paint_gloss.png, red (8 x 8)" in request.notes
    assert (request.properties["start"], request.properties["start_maps"]) == ("MAPS", str(maps))
    request.result.parent.mkdir()
    inputs = Inputs(request).record([])
    report = {**request.owner.as_json(), "files": [], "inputs": inputs}
    (request.result.parent / "report.json").write_text(json.dumps(report))
    assert why_again(request) == []
    Image.new("L", (8, 8), 20).save(maps / "paint_gloss.png")
    assert why_again(request) == [f"{maps} changed"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--start-maps", "{folder}/nowhere"], "that does not exist"),
        (["--start-maps", "{folder}"], "has no images whose names say"),
        (["--start-maps", "{maps}", "--start-layout", "unreal"], 'that the layout "unreal" names'),
        (["--start-layout", "unreal"], "Give --start-maps"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path, maps, capsys, options, said) -> None:
    blend = tmp_path / "scene.blend"
    blend.write_bytes(b"BLENDER-v405")
    given = [option.format(folder=tmp_path, maps=maps) for option in options]
    assert fit(blend, tmp_path / "out", *given) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_gltf_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "chair.glb").write_bytes(b"BLENDER-v405")
    assert fit(tmp_path / "chair.glb", tmp_path / "out") == 2
    assert "is not a glTF file" in capsys.readouterr().err
