"""What the command line says about a file or a name that it cannot use, and what the result keeps of the file."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_line import run_python

from backend.cli.blender_task import addon_file
from backend.cli.optimize import black_text

FIND = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import bpy
from artist_file import DriveError, find_target, open_file
try:
    open_file(sys.argv[2])
    scene, layer, thing = find_target(sys.argv[2], sys.argv[3])
    answer = {"scene": scene.name, "layer": layer.name, "object": thing.name, "linked": thing.library is not None}
except DriveError as error:
    answer = {"cause": error.cause, "cure": error.cure}
open(sys.argv[4], "w").write(json.dumps(answer))
os._exit(0)
"""

LINKS = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
from artist_file import linked_files, open_file

folder = Path(sys.argv[2])


def material(name, source):
    made = bpy.data.materials.new(name)
    if made.node_tree is None:
        made.use_nodes = True
    made.use_fake_user = True
    image = bpy.data.images.new("Image", 8, 8)
    image.filepath_raw, image.file_format = str(folder / source.replace("<UDIM>", "1001")), "PNG"
    image.save()
    texture = made.node_tree.nodes.new("ShaderNodeTexImage")
    texture.image = bpy.data.images.load(image.filepath_raw)
    if "<UDIM>" in source:
        texture.image.source, texture.image.filepath = "TILED", str(folder / source)
    return made


bpy.ops.wm.read_factory_settings(use_empty=True)
material("Shared", "wood.png")
bpy.ops.wm.save_as_mainfile(filepath=str(folder / "library.blend"))
bpy.ops.wm.read_factory_settings(use_empty=True)
material("Own", "own.<UDIM>.png")
material("Frames", "take2_03.png").node_tree.nodes["Image Texture"].image.source = "SEQUENCE"
for name in ("take2_4.png", "take3_03.png", "take2_03.txt"):
    (folder / name).touch()
material("Packed", "packed.png").node_tree.nodes["Image Texture"].image.pack()
with bpy.data.libraries.load(str(folder / "library.blend"), link=True) as (_, wanted):
    wanted.materials = ["Shared"]
bpy.context.scene["shared"] = bpy.data.materials["Shared"]
bpy.ops.wm.save_as_mainfile(filepath=str(folder / "file.blend"))
open_file(str(folder / "file.blend"))
(folder / "answer.json").write_text(json.dumps(linked_files()))
os._exit(0)
"""


@pytest.mark.usefixtures("blend_files")
def test_what_a_file_uses_is_all_that_it_links_and_its_libraries_use(tmp_path):
    script = tmp_path / "links.py"
    script.write_text(LINKS)
    run_python(script, addon_file("command_line/artist_file.py").parent, tmp_path)
    links = json.loads((tmp_path / "answer.json").read_text())
    names = ("library.blend", "own.<UDIM>.png", "take2_03.png", "take2_4.png", "wood.png")
    assert links == sorted(str(tmp_path / name) for name in names)


@pytest.fixture
def find(tmp_path):
    """A function that looks for an object in a file, in a Blender of its own."""

    def look(blend: Path, name: str) -> dict:
        script, answer = tmp_path / "find.py", tmp_path / "answer.json"
        script.write_text(FIND)
        run_python(script, addon_file("command_line/artist_file.py").parent, blend, name, answer)
        return json.loads(answer.read_text())

    return look


def test_an_object_that_is_only_instanced(blend_files, find):
    """Who shows it is said, also by way of another instance, and it is no choice for itself."""
    answer = find(blend_files["instanced_only"], "Thing")
    assert 'the Empty "Asset" shows it as an instance of the collection "Outer"' in answer["cause"]
    assert "Make Instances Real" in answer["cure"]
    answer = find(blend_files["instanced_only"], "Thong")
    assert "no object 'Thong'" in answer["cause"]
    assert "Other" in answer["cure"]
    assert "Thing" not in answer["cure"]


def test_an_object_that_only_another_one_uses(blend_files, find):
    answer = find(blend_files["instanced_only"], "Cutter")
    assert '"Cutter" is in the file, but in no scene by itself: only "Other" uses it.' in answer["cause"]
    assert "Cutter" not in answer["cure"]


def test_the_own_object_comes_before_a_linked_one_of_its_name(blend_files, find):
    answer = find(blend_files["same_name"], "Board")
    assert answer == {"scene": "Second", "layer": "ViewLayer", "object": "Board", "linked": False}


def test_the_active_scene_and_the_view_layer_that_has_it(blend_files, find):
    assert find(blend_files["many_scenes"], "Board")["scene"] == "Stage"
    assert find(blend_files["many_scenes"], "Board")["layer"] == "Second"
    assert find(blend_files["many_scenes"], "Elsewhere")["scene"] == "Another"


def test_a_collection_that_is_excluded(blend_files, find):
    answer = find(blend_files["many_scenes"], "Excluded")
    for word in ('"Excluded"', '"Off"', '"Stage"', "excluded"):
        assert word in answer["cause"]
    assert "Outliner" in answer["cure"]


FOG = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import bpy
from artist_file import foggy_world
bpy.ops.wm.open_mainfile(filepath=sys.argv[2])
scene, answers = bpy.context.scene, []
layer, tree = scene.view_layers[0], scene.world.node_tree
output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputWorld")
answers.append(foggy_world(scene, layer))
tree.links.new(tree.nodes.new("ShaderNodeVolumeScatter").outputs[0], output.inputs["Volume"])
answers.append(foggy_world(scene, layer))
output.target = "EEVEE"
answers.append(foggy_world(scene, layer))
scene.world = None
answers.append(foggy_world(scene, layer))
open(sys.argv[3], "w").write(json.dumps(answers))
os._exit(0)
"""


def test_a_world_with_fog_is_named_where_it_makes_the_report_black(blend_files, tmp_path):
    script, answer = tmp_path / "fog.py", tmp_path / "answer.json"
    script.write_text(FOG)
    run_python(script, addon_file("command_line/artist_file.py").parent, blend_files["board"], answer)
    assert json.loads(answer.read_text()) == [None, "World", None, None]
    text = black_text("Board", "World")
    assert 'The volume of the world "World"' in text
    assert "world with light" not in text
    assert "world with light" in black_text("Board", None)


def versioned(blend: Path, folder: Path, compress: Callable[[bytes], bytes]) -> Path:
    """A copy of a file that says that Blender 9.99 saved it."""
    data = blend.read_bytes()
    assert data.startswith(b"BLENDER")
    newer = b"BLENDER-v999" + data[12:] if data[7:8] in b"-_" else data[:13] + b"0999" + data[17:]
    path = folder / "newer.blend"
    path.write_bytes(compress(newer))
    return path


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_of_a_newer_blender(blend_files, find, tmp_path, compress):
    answer = find(versioned(blend_files["board"], tmp_path, compress), "Board")
    assert "Blender 9.99 saved" in answer["cause"]
    assert "this is Blender" in answer["cause"]
    assert "--blender" in answer["cure"]
    assert "9.99" in answer["cure"]


def test_a_damaged_file(blend_files, find, tmp_path):
    cut = tmp_path / "cut.blend"
    cut.write_bytes(blend_files["board"].read_bytes()[:5000])
    answer = find(cut, "Board")
    assert f"cannot open {cut}" in answer["cause"]
    assert "damaged" in answer["cure"]


def test_the_command_says_it_and_ends_with_2(blend_files, tmp_path):
    command = [sys.executable, "-m", "backend", "optimize", str(blend_files["instanced_only"]), "--object", "Thing"]
    result = subprocess.run([*command, "--out", tmp_path / "out"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "in no scene by itself" in result.stderr
    assert not list((tmp_path / "out").iterdir())


KEEP = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
from artist_file import find_target, open_file, select_alone
from result_files import ResultFolder
from bpy.props import EnumProperty, IntProperty, PointerProperty

def choose(settings, number):
    settings.views = settings.samples = (1, 7)[number]

class Settings(bpy.types.PropertyGroup):
    views: IntProperty(default=1)
    samples: IntProperty(default=1)
    preset: EnumProperty(items=[("ONE", "", ""), ("SEVEN", "", "")], get=lambda self: self.views == 7, set=choose)

bpy.utils.register_class(Settings)
bpy.types.Scene.pbrfit = PointerProperty(type=Settings)

def seen():
    window = bpy.context.window_manager.windows[0]
    scene, layer = window.scene, window.view_layer
    active = layer.objects.active
    return {
        "scene": scene.name,
        "layer": layer.name,
        "workspace": window.workspace.name,
        "active": active.name,
        "mode": active.mode,
        "selected": sorted(thing.name for thing in layer.objects if thing.select_get(view_layer=layer)),
        "others": sorted(thing.name for thing in bpy.data.objects),
        "selected_there": sorted(
            thing.name for thing in bpy.data.scenes["Another"].view_layers[0].objects
            if thing.select_get(view_layer=bpy.data.scenes["Another"].view_layers[0])
        ),
        "settings": {
            scene.name: [scene.pbrfit.views, scene.pbrfit.is_property_set("samples")]
            for scene in bpy.data.scenes if scene.is_property_set("pbrfit")
        },
        "frame": scene.frame_current,
    }

blend, name, fitted, answer, *views = sys.argv[2:]
open_file(blend)
if views:
    bpy.data.scenes["Stage"].pbrfit.views = int(views[0])
    bpy.ops.wm.save_mainfile()
    open_file(blend)
first = seen()
scene, layer, thing = find_target(blend, name)
state = select_alone(scene, layer, thing)
alone = seen()
state.keep_settings()
scene.pbrfit.views = scene.pbrfit.samples = 7
state.restore()
ResultFolder(Path(fitted).parent, Path(fitted), []).save(None)
open_file(fitted)
open(answer, "w").write(json.dumps({"first": first, "alone": alone, "last": seen()}))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(("name", "scene"), [("Board", "Stage"), ("Elsewhere", "Another")])
def test_the_result_opens_as_the_file_did(blend_files, tmp_path, name, scene):
    script, answer, fitted = tmp_path / "keep.py", tmp_path / "answer.json", tmp_path / "fitted.blend"
    script.write_text(KEEP)
    folder = addon_file("command_line/artist_file.py").parent
    run_python(script, folder, blend_files["many_scenes"], name, fitted, answer)
    seen = json.loads(answer.read_text())
    assert seen["first"] == seen["last"]
    assert seen["first"]["mode"] == "EDIT"
    assert seen["first"]["selected"] == ["Other", "Wall"]
    assert (seen["alone"]["scene"], seen["alone"]["active"], seen["alone"]["mode"]) == (scene, name, "OBJECT")
    assert seen["alone"]["selected"] == [name]
    assert seen["first"]["settings"] == {}
    assert not list(tmp_path.glob("*.blend1"))


def test_the_result_keeps_the_settings_of_the_file(blend_files, tmp_path):
    blend = tmp_path / "own.blend"
    blend.write_bytes(blend_files["many_scenes"].read_bytes())
    script, answer, fitted = tmp_path / "keep.py", tmp_path / "answer.json", tmp_path / "fitted.blend"
    script.write_text(KEEP)
    run_python(script, addon_file("command_line/artist_file.py").parent, blend, "Board", fitted, answer, 3)
    seen = json.loads(answer.read_text())
    assert seen["first"]["settings"] == seen["last"]["settings"] == {"Stage": [3, False]}


def test_disk_caches_go_with_the_result(blend_files, tmp_path):
    blend = tmp_path / "own.blend"
    blend.write_bytes(blend_files["many_scenes"].read_bytes())
    (tmp_path / "blendcache_own").mkdir()
    (tmp_path / "blendcache_own" / "cache_000001_00.bphys").write_bytes(b"cache")
    script, answer, fitted = tmp_path / "keep.py", tmp_path / "answer.json", tmp_path / "out" / "Board.blend"
    fitted.parent.mkdir()
    script.write_text(KEEP)
    run_python(script, addon_file("command_line/artist_file.py").parent, blend, "Board", fitted, answer)
    assert (fitted.parent / "blendcache_Board" / "cache_000001_00.bphys").read_bytes() == b"cache"
