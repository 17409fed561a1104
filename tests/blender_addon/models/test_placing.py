"""Where the files of an export go: beside each other, and never over what belongs to something else."""

from __future__ import annotations

import pytest

FILES = {"chair.obj": b"obj", "chair.mtl": b"mtl", "chair_textures/Wood.png": b"png"}


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_all_files_are_placed_and_the_model_is_first(addon, made, tmp_path) -> None:
    placed = addon.models.placing.place(made, tmp_path / "out" / "chair.obj", False)
    assert placed[0].name == "chair.obj"
    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in placed} == FILES
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == sorted(placed)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_moved_where_another_file_is(addon, made, tmp_path, name) -> None:
    other = tmp_path / "out" / name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"mine")
    place, error = addon.models.placing.place, addon.common.errors.PbrFitError
    with pytest.raises(error, match="exists already"):
        place(made, tmp_path / "out" / "chair.obj", False)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [other]
    place(made, tmp_path / "out" / "chair.obj", [str(other)])
    assert other.read_bytes() == FILES[name]
    other.write_bytes(b"mine")
    place(made, tmp_path / "out" / "chair.obj", True)
    assert other.read_bytes() == FILES[name]


def test_the_same_file_is_in_nobodys_way(addon, made, tmp_path) -> None:
    for _ in range(2):
        assert len(addon.models.placing.place(made, tmp_path / "out" / "chair.obj", False)) == len(FILES)
