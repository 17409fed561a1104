"""`pbrfit bake` and `pbrfit optimize` on many objects: what is done, what is left, what fails, and what is left when stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command_line import processes_that_mention, run_python

MAKER = Path(__file__).parents[2] / "support" / "batch_files.py"
FILES = {"chairs": 7, "tables": 6, "lamps": 6}
SMALL = ["--resolution", "64", "--supersampling", "1"]
TINY_FIT = [
    *("--quality", "draft", "--views", "4", "--held-out-views", "1", "--view-size", "32", "--samples", "2"),
    *("--resolution", "16", "--rounds", "0", "--start", "gray", "--no-report"),
]
# The commands that may need no Blender: starting one fails.
WITHOUT_BLENDER = (
    "import sys, subprocess; subprocess.Popen = None; from backend.cli.main import main; sys.exit(main(sys.argv[1:]))"
)

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it signals processes, and looks for them in /proc")

pytestmark = pytest.mark.usefixtures("blend_files")  # marks them as tests that need a Blender


def start(folder: Path, *arguments: str, code: str = "") -> subprocess.Popen[str]:
    """Run pbrfit in a folder; its temporary files are in `folder`/temporary."""
    (folder / "temporary").mkdir(exist_ok=True)
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "backend"]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "TMPDIR": str(folder / "temporary")},
        cwd=folder,
    )


def run(folder: Path, *arguments: str, status: int = 0, code: str = "") -> str:
    """Run pbrfit in a folder; returns what it printed, both streams."""
    process = start(folder, *arguments, code=code)
    output, errors = process.communicate(timeout=400)
    assert process.returncode == status, output + errors
    return output + errors


def table_of(folder: Path) -> dict:
    return json.loads((folder / "table.json").read_text(encoding="utf-8"))


def events_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with three files of 19 boards, a texture that they link, and a broken file."""
    folder = tmp_path_factory.mktemp("many")
    run_python(MAKER, folder, *(f"{name}={count}" for name, count in FILES.items()), "few=3")
    (folder / "broken.blend").write_bytes((folder / "lamps.blend").read_bytes()[:20000])
    return folder


@pytest.fixture
def few(made, tmp_path) -> Path:
    """A folder of its own with a file of three boards."""
    for name in ("few.blend", "texture.png"):
        shutil.copy2(made / name, tmp_path / name)
    return tmp_path


ALL = [
    *("bake", "chairs.blend", "broken.blend", "tables.blend", "lamps.blend", "--object", "*", "--out", "baked"),
    *SMALL,
    *("--table", "table.json"),
]


@pytest.fixture(scope="module")
def batch(made) -> dict:
    """A batch of 20, one of them broken: what it printed, its table and its events."""
    output = run(made, *ALL, "--at-once", "2", "--log-json", "log.jsonl", status=1)
    return {"folder": made, "output": output, "table": table_of(made), "events": events_of(made / "log.jsonl")}


def test_one_broken_file_costs_only_itself(batch):
    rows = batch["table"]["rows"]
    assert (len(rows), batch["table"]["exit"]) == (20, 1)
    assert batch["table"]["counts"] == {"done": 19, "failed": 1}
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert failed["file"] == "broken.blend"
    assert "cannot open" in failed["cause"]
    assert "use a backup" in failed["cure"]
    assert batch["output"].count(failed["cure"]) == 1
    assert "19 done, 1 failed" in batch["output"].splitlines()[-1]


def test_each_object_has_a_folder_with_its_result(batch):
    for name, count in FILES.items():
        folders = sorted(path.name for path in (batch["folder"] / "baked" / name).iterdir())
        assert folders == [f"Board {number}" for number in range(1, count + 1)]
        for number, folder in enumerate(folders, 1):
            place = batch["folder"] / "baked" / name / folder
            assert {path.name for path in place.iterdir()} == {f"{folder}.blend", "kd.png", "report.json"}
            report = json.loads((place / "report.json").read_text())
            # A Blender that serves several must not mix them up.
            (material,) = report["materials"]
            assert material["recipe"]["constants"]["Roughness"] == pytest.approx(number / 10.0)
            assert report["file"] == str(batch["folder"] / f"{name}.blend")


def test_the_rows_say_what_was_made(batch):
    done = [row for row in batch["table"]["rows"] if row["status"] == "done"]
    assert {(row["maps"], row["quality"]) for row in done} == {(1, "exact")}
    assert all(row["seconds"] > 0 and (batch["folder"] / row["out"]).is_dir() for row in done)


def test_the_log_has_each_event_of_the_description(batch):
    events = batch["events"]
    assert events[0]["event"] == "start"
    assert events[-1] == events[-1] | {"event": "end", "exit": 1}
    ends = [event for event in events if event["event"] == "job_end"]
    assert len(ends) == 19
    assert {event["status"] for event in ends} == {"done"}
    starts = [(event["file"], event["object"]) for event in events if event["event"] == "job_start"]
    assert sorted(starts) == sorted((event["file"], event["object"]) for event in ends)
    text = (Path(__file__).parents[3] / "docs" / "batch.md").read_text(encoding="utf-8")
    assert all(f"`{event}`" in text for event in {event["event"] for event in events})


def test_nothing_is_left_over(batch):
    assert not list((batch["folder"] / "temporary").iterdir())
    assert not list(batch["folder"].rglob(".*unfinished*"))
    assert not processes_that_mention(batch["folder"])


def test_a_second_run_does_nothing_and_says_so_within_two_seconds(batch):
    arguments = [word for word in ALL if word != "broken.blend"]
    files = {path: path.stat().st_mtime_ns for path in (batch["folder"] / "baked").rglob("*") if path.is_file()}
    began = time.monotonic()
    output = run(batch["folder"], *arguments, code=WITHOUT_BLENDER)
    assert time.monotonic() - began < 2.0
    assert "Nothing to do: all 19 are up to date" in output
    assert table_of(batch["folder"])["counts"] == {"up to date": 19}
    now = {path: path.stat().st_mtime_ns for path in (batch["folder"] / "baked").rglob("*") if path.is_file()}
    assert now == files


def test_a_dry_run_says_what_it_would_do_and_why(batch):
    arguments = ["--resolution" if word == "--resolution" else word for word in ALL]
    arguments[arguments.index("64")] = "32"
    output = run(batch["folder"], *arguments, "--dry-run", status=0, code=WITHOUT_BLENDER)
    assert output.count("changed: resolution 32, was 64") == 19
    assert "to be looked up" in output  # the broken file
    missing = run(batch["folder"], *arguments, "no.blend", "--dry-run", status=2, code=WITHOUT_BLENDER)
    assert "no.blend" in missing


# What is done again -----------------------------------------------------------------------------------------------


def test_what_changed_is_done_again_and_only_that(few):
    """Done by the command for one object, then by a batch of that one: an input, a file of the result, an option."""
    command = ["bake", "few.blend", "--object", "Board 1", "--out", "out", *SMALL]
    assert "Nothing to do" not in run(few, *command)
    again = [*command, "--table", "table.json"]
    os.utime(few / "texture.png")  # the same bytes at another time
    assert "Nothing to do: it is up to date" in run(few, *again, code=WITHOUT_BLENDER)
    (few / "texture.png").write_bytes((few / "texture.png").read_bytes() + b"\0")
    (few / "out" / "kd.png").unlink()
    (few / "out" / "mine.txt").write_text("mine")
    dry = run(few, *again, "--target", "gltf", "--dry-run", code=WITHOUT_BLENDER)
    assert f"changed: target gltf, was core, kd.png is gone, {few / 'texture.png'} changed" in dry
    run(few, *again)
    (row,) = table_of(few)["rows"]
    assert row["status"] == "done"
    assert {path.name for path in (few / "out").iterdir()} == {"Board 1.blend", "kd.png", "mine.txt", "report.json"}
    assert "Nothing to do" in run(few, *again, code=WITHOUT_BLENDER)
    assert "changed: --force" in run(few, *again, "--force", "--dry-run", code=WITHOUT_BLENDER)
    # What an artist does to a result is theirs: it stays up to date, and is never replaced.
    painted = (few / "out" / "kd.png").read_bytes() + b"painted"
    (few / "out" / "kd.png").write_bytes(painted)
    assert "Nothing to do" in run(few, *again, code=WITHOUT_BLENDER)
    for further in (["--force"], ["--target", "gltf"]):
        said = run(few, *again, *further, status=1, code=WITHOUT_BLENDER)
        assert f"{few / 'out' / 'kd.png'} was changed after PBRfit made it" in said
    assert "was changed after" in run(few, *command, status=2, code=WITHOUT_BLENDER)
    assert (few / "out" / "kd.png").read_bytes() == painted


# Selections and jobs ----------------------------------------------------------------------------------------------


LOOK_INTO = """
import os, sys
import bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
paths = [bpy.path.abspath(image.filepath) for image in bpy.data.images if image.source == "FILE"]
open(sys.argv[2], "w").write("\\n".join(sorted(os.path.realpath(path) for path in paths if os.path.exists(path))))
os._exit(0)
"""


def test_a_file_of_jobs_with_a_collection_and_options_of_its_own(few):
    (few / "jobs.toml").write_text(
        """
        [defaults]
        resolution = 64
        supersampling = 1
        blend = "few.blend"
        out = "out/{object}"

        [[jobs]]
        collection = "Others"
        object = "Board 2"

        [[jobs]]
        object = "Board 1"
        out = "first"
        resolution = 32
        material-name = "{object} clean"
        images = "files"
        """
    )
    run(few, "bake", "--jobs", "jobs.toml", "--table", "table.json")
    rows = table_of(few)["rows"]
    assert [row["object"] for row in rows] == ["Board 2", "Board 3", "Board 1"]
    assert [Path(row["out"]).name for row in rows] == ["Board 2", "Board 3", "first"]
    report = json.loads((few / "first" / "report.json").read_text())
    assert (report["settings"]["resolution"], report["material"]) == (32, "Board 1 clean")
    # The .blend was made in another folder: there it finds its maps, and what it links.
    (few / "look_into.py").write_text(LOOK_INTO)
    run_python(few / "look_into.py", few / "first" / "Board 1.blend", few / "seen.txt")
    maps = {path.resolve() for path in (few / "first" / "textures").iterdir()}
    assert {Path(line) for line in (few / "seen.txt").read_text().splitlines()} == {*maps, few / "texture.png"}
    assert len(maps) == 1
    assert "Nothing to do: all 3" in run(few, "bake", "--jobs", "jobs.toml", code=WITHOUT_BLENDER)


def test_a_name_that_the_file_has_not_fails_with_those_it_has(few):
    output = run(few, "bake", "few.blend", "--object", "Bord*", "--out", "out", *SMALL, status=1)
    assert 'no object "Bord*"' in output
    assert "Board 1" in output


def test_it_can_stop_at_the_first_error(few):
    command = ["bake", "few.blend", "--object", "Nothing", "--object", "Board 1", "--out", "out", *SMALL]
    output = run(few, *command, "--stop-at-first-error", "--table", "table.json", status=1)
    assert [row["status"] for row in table_of(few)["rows"]] == ["failed", "not started"]
    assert "There is no object 'Nothing'" in output


# Stopping ---------------------------------------------------------------------------------------------------------


def wait_for(path: Path, condition) -> None:
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        if path.exists() and any(condition(event) for event in events_of(path)):
            return
        time.sleep(0.05)
    raise AssertionError(path.read_text() if path.exists() else "no log")


@ON_LINUX
def test_stopping_it_leaves_what_is_finished_and_no_half_result(few):
    command = ["bake", "few.blend", "--object", "Board ?", "--out", "out", *SMALL]
    process = start(few, *command, "--log-json", "log.jsonl", "--table", "table.json")
    wait_for(few / "log.jsonl", lambda event: event.get("phase") == "Baking" and event["object"] == "Board 2")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert [row["status"] for row in table_of(few)["rows"]] == ["done", "interrupted", "not started"]
    assert [path.name for path in (few / "out" / "few").iterdir()] == ["Board 1"]
    assert not processes_that_mention(few)
    assert not list((few / "temporary").iterdir())
    # It goes on where it was stopped.
    assert "1 up to date, 2 new" in run(few, *command, "--dry-run", code=WITHOUT_BLENDER)


def kill(word: str, folder: Path) -> None:
    """Kill all processes whose command line has the word and names the folder."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode()
            if word in words and str(folder) in words:
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
        except OSError:
            continue
    assert killed == 1


@ON_LINUX
def test_a_blender_that_crashes_costs_only_its_job(few):
    command = ["bake", "few.blend", "--object", "Board ?", "--out", "out", *SMALL]
    process = start(few, *command, "--log-json", "log.jsonl", "--table", "table.json")
    wait_for(few / "log.jsonl", lambda event: event.get("phase") == "Baking" and event["object"] == "Board 2")
    kill("drive_several.py", few)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 1, output + errors
    rows = table_of(few)["rows"]
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert "Blender ended with status -9" in rows[1]["cause"]
    assert not processes_that_mention(few)


# Fits -------------------------------------------------------------------------------------------------------------


@ON_LINUX
def test_two_fits_share_a_backend_that_comes_back(few):
    """It is killed between them, perhaps when the second has begun."""
    process = start(
        few,
        *("optimize", "few.blend", "--object", "Board 1", "--object", "Board 2", "--out", "out", *TINY_FIT),
        *("--table", "table.json", "--log-json", "log.jsonl"),
    )
    wait_for(few / "log.jsonl", lambda event: event["event"] == "job_end")
    kill("backend_keys.json", few)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    rows = table_of(few)["rows"]
    assert all(row["maps"] == 3 and row["quality"].endswith("dB in the fit") for row in rows)
    assert [event["event"] for event in events_of(few / "log.jsonl")].count("backend_restart") == 1
    assert not processes_that_mention(few)


# What reads along ---------------------------------------------------------------------------------------------------


@ON_LINUX
def test_where_nobody_reads_the_output_it_ends_without_a_traceback(few):
    process = start(few, "bake", "few.blend", "--object", "Board*", "--out", "out", *SMALL, "--log-json", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    assert '"start"' in process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(120) == 2
    assert "nobody reads its output any more" in errors
    assert "Traceback" not in errors
    assert not processes_that_mention(few / "temporary")
