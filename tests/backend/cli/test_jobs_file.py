"""Files of jobs: what they say comes to the same options as on the command line, and a mistake is named with its line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from backend.cli.batch_jobs import Selection
from backend.cli.command_options import CommandOptions, OptionError
from backend.cli.errors import CommandError
from backend.cli.fit_arguments import add_bake_arguments, add_optimize_arguments
from backend.cli.jobs_file import read_jobs
from backend.cli.main import argument_parser


@pytest.fixture
def read(tmp_path):
    """A function that reads a file of jobs with this text, for pbrfit optimize."""

    def jobs(text: str, given: tuple[str, ...] = (), out: Path | None = None) -> list[Selection]:
        path = tmp_path / "jobs.toml"
        path.write_text(text, encoding="utf-8")
        options = CommandOptions(add_optimize_arguments)
        return read_jobs(path, options, options.given(given), out)

    return jobs


def refusal(read, text: str) -> str:
    with pytest.raises(CommandError) as error:
        read(text)
    return error.value.cause


ONE = '[[jobs]]\nblend = "a.blend"\nobject = "Cube"\nout = "out"\n'


def test_the_options_are_those_of_the_command_line(read, tmp_path):
    (selection,) = read(
        ONE + 'view-size = 96\nmaps = ["kd", "normal"]\nno-report = true\nlearn-light = false\nmaterial-name = "-x"\n'
    )
    same = ["--view-size", "96", "--maps", "kd,normal", "--no-report", "--material-name=-x"]
    chosen = vars(argument_parser().parse_args(["optimize", "a.blend", "--object", "Cube", "--out", "o", *same]))
    for name in ("blend", "object", "collection", "out", "run"):
        del chosen[name]
    assert selection.options == chosen
    (job,) = selection.jobs()
    assert (job.blend, job.object_name, job.out) == (tmp_path / "a.blend", "Cube", tmp_path / "out")


def test_paths_among_the_options_are_relative_to_the_file_too(read, tmp_path):
    (selection,) = read(ONE + 'start-maps = "scan"\nstart-layout = "own.toml"\nlayout = "gltf"\n')
    found = [selection.options[name] for name in ("start_maps", "start_layout", "layout")]
    assert found == [tmp_path / "scan", str(tmp_path / "own.toml"), "gltf"]


def test_a_job_comes_before_the_defaults_and_the_command_line_before_both(read, tmp_path):
    text = '[defaults]\nresolution = 256\nseed = 3\nsamples = 5\nout = "all"\n'
    text += '[[jobs]]\nblend = ["a.blend", "b.blend"]\nobject = "A/B"\nsamples = 7\nseed = 4\n'
    first, second = read(text, ("--seed", "9"))
    assert [first.options[name] for name in ("resolution", "samples", "seed")] == [256, 7, 9]
    assert [job.out for one in (first, second) for job in one.jobs()] == [
        tmp_path / "all" / "a" / "A_B",
        tmp_path / "all" / "b" / "A_B",
    ]
    first, _ = read(text, (), Path("elsewhere"))
    assert first.jobs()[0].out == Path("elsewhere/a/A_B")


def test_maps_that_are_not_square(read):
    job = '[[jobs]]\nblend = "a.blend"\nobject = "A"\nout = "o"\nresolution = '
    found = [one.options["resolution"] for one in read("".join(f"{job}{value}\n" for value in ('"64x32"', 64, '"64"')))]
    assert found == ["64x32", 64, 64]


def test_a_pattern_stands_for_the_files_that_there_are(read, tmp_path):
    for name in ("b.blend", "a.blend", "c.txt"):
        (tmp_path / name).touch()
    found = read('[[jobs]]\nblend = ["*.blend", "no.blend"]\nobject = "*"\nout = "{object} of {file}"\n')
    assert [one.blend.name for one in found] == ["a.blend", "b.blend", "no.blend"]
    assert not found[0].is_known
    assert found[0].root == tmp_path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE + "resoluton = 64\n", ("line 5", "job 1", '"resoluton"', 'is "resolution" meant')),
        (ONE + "view_size = 64\n", ("line 5", 'is "view-size" meant')),
        (ONE + ONE.replace("out", "uot"), ("line 8", "job 2", '"uot"', 'is "out" meant')),
        ("[defaults]\nsed = 1\n" + ONE, ("line 2", "defaults", 'is "seed" meant')),
        ("[default]\nseed = 1\n" + ONE, ("line 1", "default", 'is "defaults" meant')),
        (ONE + "force = true\n", ("line 5", '"force"')),
        (ONE + "resolution = [64, 32]\n", ("line 5", "resolution", "2048x1024")),
        (ONE + "samples = 0\n", ("line 5", "--samples", "from 1")),
        (ONE + "no-report = 1\n", ("line 5", "no-report", "true or false")),
        (ONE + "samples = true\n", ("line 5", "samples", "needs a value")),
        (ONE + 'quality = "best"\n', ("line 5", "quality", "draft")),
        (ONE.replace('"Cube"', "7"), ("line 3", "object", "text")),
        (ONE.replace('object = "Cube"\n', ""), ("line 1", "object", "collection", "missing")),
        (ONE.replace('blend = "a.blend"\n', ""), ("line 1", "blend", "missing")),
        (ONE.replace('out = "out"\n', ""), ("line 1", "out", "missing")),
        ("[defaults]\n", ('no "jobs"',)),
        ("jobs = 3 x", ("not TOML", "line 1")),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_key(read, text, words):
    cause = refusal(read, text)
    assert "jobs.toml" in cause
    for word in words:
        assert word in cause


def test_a_missing_file_of_jobs(tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        read_jobs(tmp_path / "no.toml", CommandOptions(add_bake_arguments), {}, None)


def add_new_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every form that a command may get some day."""
    parser.add_argument("--layout", action="append")
    parser.add_argument("--size", type=int, nargs=2, default=[64, 64])
    parser.add_argument("--dither", action=argparse.BooleanOptionalAction, default=True)
    one_of = parser.add_mutually_exclusive_group()
    one_of.add_argument("--near", action="store_true")
    one_of.add_argument("--far", action="store_true")


def test_an_option_that_a_command_gets_is_a_key_by_itself():
    options = CommandOptions(add_new_arguments)
    assert options.names == ("layout", "size", "dither", "no-dither", "near", "far")
    parsed = options.parse({"layout": ["orm", "mask"], "size": [128, 64], "no-dither": True})
    assert parsed == {"layout": ["orm", "mask"], "size": [128, 64], "dither": False}
    given = {"layout": None, "size": [8, 9], "dither": True, "near": False, "far": False}
    assert options.defaults | options.given(["--size", "8", "9"]) == given
    assert options.parse({"near": False, "far": True}) == {"near": False, "far": True}
    with pytest.raises(OptionError, match="not allowed with"):
        options.parse({"near": True, "far": True})


def test_a_file_by_an_editor_of_windows_is_read(read, tmp_path):
    path = tmp_path / "jobs.toml"
    path.write_bytes(ONE.replace("\n", "\r\n").encode("utf-8-sig"))
    options = CommandOptions(add_optimize_arguments)
    assert len(read_jobs(path, options, {}, None)) == 1


def test_layout_and_blender_are_seen_from_the_folder_of_the_file(read, tmp_path):
    def options(text: str, given: tuple[str, ...] = ()) -> tuple[str, str]:
        (selection,) = read(ONE + text, given)
        return selection.options["layout"], selection.options["blender"]

    theirs = 'layout = "studio.toml"\nblender = "blender-4.5/blender"\n'
    assert options(theirs) == (str(tmp_path / "studio.toml"), str(tmp_path / "blender-4.5" / "blender"))
    assert options('layout = "unreal"\nblender = "blender"\n') == ("unreal", "blender")
    # What the command line says is seen from where it is said.
    assert options(theirs, ("--layout", "mine.toml"))[0] == "mine.toml"


def test_a_pattern_that_cannot_be_is_named_with_its_line(read):
    assert "jobs.toml, line 2, job 1" in refusal(read, ONE.replace("a.blend", "x**/*.blend"))
