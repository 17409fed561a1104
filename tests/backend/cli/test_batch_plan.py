"""What a batch would do, before any Blender starts: which jobs there are, where they go, and what refuses them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from backend.cli.batch_jobs import FileObject, Folders, Selection, folder_of_each
from backend.cli.errors import CommandError
from backend.cli.main import main

OBJECTS = [
    FileObject("Chair", ("Scene Collection", "Props")),
    FileObject("Chair.001", ("Scene Collection", "Props")),
    FileObject("Wh?t", ("Scene Collection",)),
    FileObject("What", ("Scene Collection",)),
]


def names(*objects: str, collections: tuple[str, ...] = ()) -> list[str]:
    jobs = Selection(Path("a.blend"), objects, collections, "out/{object}", {}).jobs(OBJECTS)
    return [job.object_name for job in jobs]


def test_names_patterns_and_collections_add_up():
    assert names("Chair*") == ["Chair", "Chair.001"]
    assert names("What", collections=("P*",)) == ["What", "Chair", "Chair.001"]
    assert names("Chair.00?", "*") == ["Chair.001", "Chair", "Wh?t", "What"]
    assert names("Wh?t") == ["Wh?t"]  # its own name comes before the pattern


def test_brackets_in_a_pattern_are_brackets():
    objects = [FileObject("a[1]"), FileObject("a1")]
    jobs = Selection(Path("a.blend"), ("a[1*",), (), "out", {}).jobs(objects)
    assert [job.object_name for job in jobs] == ["a[1]"]


@pytest.mark.parametrize(
    ("objects", "collections", "word"), [(("Chiar",), (), "Chair"), ((), ("Prop",), "Props"), (("x*",), (), "Chair")]
)
def test_a_name_that_is_none_is_told_with_those_that_are(objects, collections, word):
    with pytest.raises(CommandError) as error:
        Selection(Path("a.blend"), objects, collections, "out", {}).jobs(OBJECTS)
    assert word in error.value.cure


@pytest.mark.parametrize(
    ("out", "one", "folder"),
    [
        ("o", True, "o"),
        ("o", False, "o/{file}/{object}"),
        ("o/{file}", False, "o/{file}/{object}"),
        ("{object}/x", False, "{object}/x"),
    ],
)
def test_each_object_has_a_folder(out, one, folder):
    assert folder_of_each(out, one) == folder


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_have_each_object_once_and_as_many_as_each_other(parts):
    objects = [FileObject(f"Board {number}") for number in range(8)]
    shares = []
    for which in range(1, parts + 1):
        some = [
            Selection(Path(f"{number}.blend"), ("*",), (), "o", {}, number=number, part=(which, parts)).jobs(
                objects[:size]
            )
            for number, size in enumerate((1, 1, 1, 5, 8))
        ]
        shares.append([(job.blend, job.object_name) for jobs in some for job in jobs])
    found = [one for share in shares for one in share]
    assert len(found) == len(set(found)) == 16
    assert max(map(len, shares)) - min(map(len, shares)) <= 2


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/0"])
def test_a_part_that_is_none_is_refused(capsys, part):
    with pytest.raises(SystemExit) as exit_status:
        main(["bake", "a.blend", "--object", "A", "--out", "o", "--part", part])
    assert exit_status.value.code == 2
    assert "the second of ten parts" in capsys.readouterr().err


def test_a_part_without_an_object_has_nothing_to_do(capsys, folder):
    arguments = ["bake", "a.blend", "--object", "Cube", "--out", "o", "--part"]
    assert main([*arguments, "2/2", "--dry-run"]) == 0
    assert "no object is in this part" in capsys.readouterr().out
    assert main([*arguments, "1/2", "--dry-run"]) == 0
    assert "1 new" in capsys.readouterr().out


def test_two_results_for_one_folder_are_refused():
    first, second = (Selection(Path(f"{name}/a.blend"), ("Cube",), (), "out/{file}", {}).jobs()[0] for name in "xy")
    with pytest.raises(CommandError) as error:
        Folders([first, second])
    assert "x/a.blend" in error.value.cause
    assert "y/a.blend" in error.value.cause


# The command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with two files that look like Blender's."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.blend", "b.blend"):
        (tmp_path / name).write_bytes(b"BLENDER-v405")
    return tmp_path


def dry(capsys, *arguments: str, status: int = 0) -> list[dict]:
    """The rows of a dry run."""
    assert main([*arguments, "--dry-run", "--table", "table.json"]) == status, capsys.readouterr()
    return json.loads(Path("table.json").read_text(encoding="utf-8"))["rows"]


def test_a_dry_run_makes_nothing(capsys, folder):
    rows = dry(capsys, "optimize", "a.blend", "b.blend", "--object", "Cube", "--out", "out")
    assert [(row["status"], Path(row["out"])) for row in rows] == [
        ("new", Path("out/a/Cube")),
        ("new", Path("out/b/Cube")),
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["a.blend", "b.blend", "table.json"]


def test_files_that_are_missing_or_none_are_refused_and_the_others_not(capsys, folder):
    (folder / "text.blend").write_text("no")
    rows = dry(capsys, "bake", "a.blend", "no.blend", "text.blend", "--object", "Cube", "--out", "out", status=1)
    assert [row["status"] for row in rows] == ["new", "refused", "refused"]
    assert "does not exist" in rows[1]["cause"]
    assert "is not a .blend file" in rows[2]["cause"]


def test_what_is_refused_fails_without_a_blender(capsys, folder):
    nothing = ("bake", "no.blend", "--object", "*", "--out", "out", "--blender", "/no/blender")
    assert main([*nothing, "--table", "table.json"]) == 1
    (row,) = json.loads(Path("table.json").read_text())["rows"]
    assert (row["status"], row["object"], "does not exist" in row["cause"]) == ("failed", "*", True)
    assert "Give the path" in capsys.readouterr().out
    both = ("bake", "a.blend", "no.blend", "--object", "Cube", "--out", "out", "--stop-at-first-error")
    assert main([*both, "--table", "table.json"]) == 1
    rows = json.loads(Path("table.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["not started", "failed"]
    assert not (folder / "out").exists()


def test_what_the_folder_has_already_is_refused(capsys, folder):
    (folder / "out" / "a" / "Cube").mkdir(parents=True)
    (folder / "out" / "a" / "Cube" / "kd.png").write_bytes(b"mine")
    rows = dry(capsys, "bake", "a.blend", "b.blend", "--object", "Cube", "--out", "out", status=1)
    assert [row["status"] for row in rows] == ["refused", "new"]
    assert "kd.png" in rows[0]["cause"]


def test_an_earlier_result_without_its_inputs_is_unfinished(capsys, folder):
    (folder / "out").mkdir()
    claim = {"file": str(folder / "a.blend"), "object": "Cube", "files": ["Cube.blend", "report.json"]}
    (folder / "out" / "report.json").write_text(json.dumps(claim))
    (row,) = dry(capsys, "bake", "a.blend", "--object", "Cube", "--out", "out")
    assert (row["status"], "did not finish" in row["why"]) == ("changed", True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("bake", "a.blend", "x/a.blend", "--object", "Cube", "--out", "out"), "two results"),
        (("bake", "--jobs", "no.toml"), "no.toml"),
        (("bake", "a.blend", "--jobs", "no.toml"), "file of jobs"),
        (("bake", "a.blend", "--object", "*"), "--out"),
        (("bake", "--object", "*", "--out", "out"), "--jobs"),
        (("bake", "a.blend", "b.blend", "--out", "out"), "--object"),
        (("bake", "a.blend", "b.blend", "--object", "Cube", "--out", "out", "--resolution", "1000"), "power of two"),
        (("optimize", "a.blend", "b.blend", "--object", "C", "--out", "out", "--apply-world"), "--learn-light"),
        (("bake", "a.blend", "--object", "*", "--out", "out", "--at-once", "0"), "--at-once"),
        (("bake", "a.blend", "b.blend", "--object", "C", "--out", "out", "--blender", "/no/blender"), "/no/blender"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_before_anything_starts(capsys, folder, arguments, word):
    (folder / "x").mkdir()
    (folder / "x" / "a.blend").write_bytes(b"BLENDER-v405")
    try:
        status = main(list(arguments))
    except SystemExit as end:  # argparse
        status = end.code
    assert status == 2
    assert word in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_wrong_settings_in_a_file_of_jobs_name_the_job(capsys, folder):
    (folder / "jobs.toml").write_text('[[jobs]]\nblend = "a.blend"\nobject = "A"\nout = "o"\nresolution = 1000\n')
    assert main(["bake", "--jobs", "jobs.toml", "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert "jobs.toml, job 1" in message
    assert "power of two" in message


def test_names_that_a_folder_cannot_have():
    """Those of dots would be another folder, and Windows has more of them; others stay as they are."""
    names = (".", "..", "a.b", "Chair. ", "con", "Aux.001", "Stuhl ä/2")
    jobs = Selection(Path("a.blend"), names, (), "{object}", {}).jobs()
    assert [str(job.out) for job in jobs] == ["_", "__", "a.b", "Chair__", "_con", "_Aux.001", "Stuhl ä_2"]
    (long,) = Selection(Path("a.blend"), (120 * "ä" + "2",), (), "{object}", {}).jobs()
    assert len(str(long.out).encode()) <= 120
    assert str(long.out).endswith("ä2")


def test_ten_thousand_folders_are_compared_in_a_moment():
    folders, began = Folders(), time.process_time()
    for number in range(10_000):
        folders.take(Selection(Path("a.blend"), (f"Rock {number}",), (), "out/{object}", {}).jobs()[0])
    assert time.process_time() - began < 10.0  # one by one with all before: a quarter of an hour
    with pytest.raises(CommandError, match="two results"):
        folders.take(Selection(Path("b.blend"), ("Rock 7",), (), "out/{object}", {}).jobs()[0])


@pytest.mark.parametrize("option", ["--table", "--log-json"])
def test_what_the_batch_reads_is_not_overwritten_by_what_it_says(capsys, folder, option):
    (folder / "jobs.toml").write_text('[[jobs]]\nblend = "a.blend"\nobject = "Cube"\nout = "out"\n')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for target, arguments in {
        "a.blend": ("b.blend", "a.blend", "--object", "Cube", "--out", "out"),
        str(folder / "jobs.toml"): ("--jobs", "jobs.toml"),
    }.items():
        assert main(["bake", *arguments, "--dry-run", option, target]) == 2
        assert f"{option} would overwrite {target}" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_links_that_lead_nowhere_are_errors_of_their_job(capsys, folder):
    (folder / "loop").symlink_to("loop")
    rows = dry(capsys, "bake", "loop", "a.blend", "--object", "Cube", "--out", "out", status=1)
    assert [row["status"] for row in rows] == ["refused", "new"]
    assert len(dry(capsys, "bake", "a.blend", "b.blend", "--object", "Cube", "--out", "loop")) == 2
