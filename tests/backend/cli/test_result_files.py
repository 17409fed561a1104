"""What a result's files leave alone in their folder, and what becomes of packed maps, in a Blender."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.command_line import run_python

from backend.cli.blender_task import addon_file

UNPACK = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
from result_files import ResultFolder
out = Path(sys.argv[2])
bpy.ops.wm.read_factory_settings(use_empty=True)

def painted(name, color):
    image = bpy.data.images.new(name, 4, 4)
    image.pixels.foreach_set(color * 16)
    return image

def single(name, color):
    source = painted(name, color)
    source.filepath_raw, source.file_format = str(out.parent / (name + ".png")), "PNG"
    source.save()
    image = bpy.data.images.load(source.filepath_raw)
    image.pack()
    image.filepath_raw = "//textures/Color.png"
    image.colorspace_settings.name = "Non-Color"
    return image

def tiled():
    for tile in (1001, 1002):
        source = painted("source", (0.0, 0.0, tile - 1001.0, 1.0))
        source.filepath_raw, source.file_format = str(out.parent / f"Tiles.{tile}.png"), "PNG"
        source.save()
    image = bpy.data.images.load(str(out.parent / "Tiles.1001.png"))
    image.source = "TILED"
    image.tiles.new(tile_number=1002)
    image.filepath_raw = str(out.parent / "Tiles.<UDIM>.png")
    image.pack()
    image.filepath_raw = "//textures/Tiles.<UDIM>.png"
    for entry in image.packed_files:
        entry.filepath = f"//textures/Tiles.{entry.tile_number}.png"
    return image

images = [single("red", (1.0, 0.0, 0.0, 1.0)), single("green", (0.0, 1.0, 0.0, 1.0)), tiled()]
for image in images:
    image.use_fake_user = True
names = [image.name for image in images]
written = ResultFolder(out, out / "Chair.blend", []).save(images)
bpy.ops.wm.open_mainfile(filepath=str(out / "Chair.blend"))
seen = {
    name: {
        "packed": bool(bpy.data.images[name].packed_files),
        "path": bpy.data.images[name].filepath,
        "space": bpy.data.images[name].colorspace_settings.name,
        "first": list(bpy.data.images[name].pixels[:4]),
        "tiles": [tile.number for tile in bpy.data.images[name].tiles],
    }
    for name in names
}
Path(sys.argv[3]).write_text(json.dumps({"written": written, "seen": list(seen.values())}))
sys.stdout.flush()
os._exit(0)
"""

WRITE = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
from artist_file import DriveError
from result_files import ResultFolder
out, may_replace = Path(sys.argv[2]), json.loads(sys.argv[4])
try:
    folder = ResultFolder(out, out / "Chair.blend", may_replace)
    answer = folder.write({"file": "room.blend", "object": "Chair"}, {"0/kd.png": b"new", "1/kd.png": b"new"}, ["report.png"])
except DriveError as error:
    answer = [error.cause, error.cure]
Path(sys.argv[3]).write_text(json.dumps(answer))
sys.stdout.flush()
os._exit(0)
"""

USED = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
from artist_file import DriveError
from result_files import ResultFolder
out = Path(sys.argv[2])
image = bpy.data.images.new("Paint", 1, 1)
image.source, image.filepath = "FILE", str(out / ".." / "out" / "kd.png")
folder = ResultFolder(out, out / "Chair.blend", json.loads(sys.argv[4]))
try:
    folder.check_unused("room.blend")
    answer = None
except DriveError as error:
    answer = [error.cause, error.cure]
Path(sys.argv[3]).write_text(json.dumps(answer))
sys.stdout.flush()
os._exit(0)
"""

pytestmark = pytest.mark.usefixtures("blend_files")


@pytest.fixture
def run(tmp_path):
    """A function that runs a script on the folder "out" in a Blender of its own, and returns its answer."""
    (tmp_path / "out").mkdir()

    def run_script(text: str, *arguments: str) -> object:
        script, answer = tmp_path / "script.py", tmp_path / "answer.json"
        script.write_text(text)
        folder = addon_file("command_line/result_files.py").parent
        run_python(script, folder, tmp_path / "out", answer, *arguments)
        return json.loads(answer.read_text())

    return run_script


def test_maps_as_files_take_names_that_are_free(run, tmp_path):
    textures = tmp_path / "out" / "textures"
    textures.mkdir()
    mine = {name: textures / name for name in ("Color.png", "Tiles.1002.png")}
    for path in mine.values():
        path.write_bytes(b"mine")
    answer = run(UNPACK)
    assert {path.read_bytes() for path in mine.values()} == {b"mine"}
    files = ["Color_001.png", "Color_002.png", "Tiles_001.1001.png", "Tiles_001.1002.png"]
    assert answer["written"] == [f"textures/{name}" for name in files]
    assert sorted(path.name for path in textures.iterdir()) == sorted([*files, *mine])
    red, green, tiles = answer["seen"]
    assert (red["path"], green["path"]) == ("//textures/Color_001.png", "//textures/Color_002.png")
    assert tiles["path"] == "//textures/Tiles_001.<UDIM>.png"
    assert tiles["tiles"] == [1001, 1002]
    assert (red["first"], green["first"]) == ([1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0])
    assert {red["space"], green["space"]} == {"Non-Color"}
    assert not any(image["packed"] for image in answer["seen"])


def test_an_earlier_result_that_the_file_uses_is_not_replaced(run, tmp_path):
    (tmp_path / "out" / "kd.png").touch()
    cause, cure = run(USED, '["kd.png"]')
    assert cause == f"room.blend uses {tmp_path / 'out' / 'kd.png'}, which the result would overwrite."
    assert "--out" in cure
    assert run(USED, '["orm.png"]') is None


def test_the_first_file_says_whose_they_are(run, tmp_path):
    names = run(WRITE, "[]")
    assert names == ["Chair.blend", "0/kd.png", "1/kd.png", "report.png", "report.json"]
    claim = json.loads((tmp_path / "out" / "report.json").read_text())
    assert claim == {"file": "room.blend", "object": "Chair", "files": names}
    assert (tmp_path / "out" / "1" / "kd.png").read_bytes() == b"new"


def test_maps_that_only_the_earlier_result_had_are_removed(run, tmp_path):
    out = tmp_path / "out"
    (out / "0").mkdir()
    earlier = ["coat.png", "0/coat_normal.exr", "0/kd.png", "report.json", "report.png"]
    kept = ["textures/coat.png", "../artist.png", "notes.txt"]
    (out / "textures").mkdir()
    for name in [*earlier, *kept, "mine.png"]:
        (out / name).write_bytes(b"earlier")
    assert "0/kd.png" in run(WRITE, json.dumps([*earlier, *kept]))
    assert [(out / name).exists() for name in earlier] == [False, False, True, True, True]
    assert all((out / name).read_bytes() == b"earlier" for name in [*kept, "mine.png"])


@pytest.mark.parametrize("name", ["report.json", "Chair.blend", "0/kd.png"])
def test_what_came_while_the_fit_ran_stays(run, tmp_path, name):
    path: Path = tmp_path / "out" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mine")
    cause, cure = run(WRITE, "[]")
    assert str(path) in cause
    assert "--out" in cure
    assert path.read_bytes() == b"mine"
    assert "Chair.blend" in run(WRITE, json.dumps(["Chair.blend", "report.json", "0/kd.png", "1/kd.png"]))


BAKES = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
from result_files import ResultFolder
out = Path(sys.argv[2])
artist = out.parent / "artist"
for folder in ("blendcache_scene/Thing", "bakes"):
    (artist / folder).mkdir(parents=True)
(artist / "blendcache_scene" / "Thing" / "bake").write_bytes(b"bake")
bpy.ops.wm.read_factory_settings(use_empty=True)
thing = bpy.data.objects.new("Thing", bpy.data.meshes.new("Thing"))
bpy.context.scene.collection.objects.link(thing)
beside, elsewhere = (thing.modifiers.new(name, "NODES") for name in ("Beside", "Elsewhere"))
bpy.ops.wm.save_as_mainfile(filepath=str(artist / "scene.blend"))
beside.bake_directory, elsewhere.bake_directory = "//blendcache_scene/Thing", "//bakes"
ResultFolder(out, out / "Chair.blend", []).save(None)
bpy.ops.wm.open_mainfile(filepath=str(out / "Chair.blend"))
seen = {item.name: os.path.normpath(bpy.path.abspath(item.bake_directory)) for item in bpy.data.objects["Thing"].modifiers}
seen["copied"] = (out / "blendcache_Chair" / "Thing" / "bake").read_bytes().decode()
Path(sys.argv[3]).write_text(json.dumps(seen))
sys.stdout.flush()
os._exit(0)
"""


def test_caches_that_the_file_names_are_found_from_the_result(run, tmp_path):
    assert run(BAKES) == {
        "Beside": str(tmp_path / "out" / "blendcache_Chair" / "Thing"),
        "Elsewhere": str(tmp_path / "artist" / "bakes"),
        "copied": "bake",
    }


FULL_DISK = """
import json, os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bpy
from artist_file import DriveError
from result_files import ResultFolder
out, may_replace = Path(sys.argv[2]), json.loads(sys.argv[4])
bpy.ops.wm.read_factory_settings(use_empty=True)
folder = ResultFolder(out, out / "Chair.blend", may_replace)
causes = []
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # no file may become larger: a disk with hardly any room
for work in (
    lambda: folder.write({"file": "room.blend", "object": "Chair"}, {"kd.png": b"new", "orm.png": bytes(2000)}, []),
    lambda: folder.save(None),
):
    try:
        work()
    except DriveError as error:
        causes.append(error.cause)
resource.setrlimit(resource.RLIMIT_FSIZE, before)
Path(sys.argv[3]).write_text(json.dumps(causes))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of the size of files is POSIX's")
def test_a_full_disk_leaves_the_earlier_files_whole(run, tmp_path):
    out = tmp_path / "out"
    earlier = ["Chair.blend", "kd.png", "orm.png", "report.json"]
    for name in earlier:
        (out / name).write_bytes(b"earlier")
    maps, blend = run(FULL_DISK, json.dumps(earlier))
    assert f"{out / 'orm.png'} cannot be written: File too large" in maps
    assert f"Blender cannot save {out / 'Chair.blend'}: " in blend
    assert blend.endswith(" MiB free.")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == dict.fromkeys(earlier, b"earlier")
