"""The folder for checkpoints: what is removed from it, and what never is."""

from __future__ import annotations

import os
import time

import numpy as np

from backend.job.checkpoints import CheckpointFolder, FinishedSet, RunningSet


def test_old_checkpoints_are_cleared_away_when_the_backend_starts(tmp_path):
    for number in range(20):
        (tmp_path / f"{number:02d}").mkdir()
        (tmp_path / f"{number:02d}" / "running.npz").touch()
        (tmp_path / f"{number:02d}" / "pbrfit-checkpoint").touch()
        os.utime(tmp_path / f"{number:02d}", (time.time() - 100 + number,) * 2)
    os.utime(tmp_path / "19", (0, 0))
    CheckpointFolder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{number:02d}" for number in range(3, 19)]


def test_what_is_not_ours_in_the_folder_for_checkpoints_is_never_touched(tmp_path):
    """Folders of the user's, however old, also one that is named as a job; and what the user puts into a job's folder."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "running.npz").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "photos")
    for number in range(20):
        (tmp_path / f"{number:02d}").mkdir()
        (tmp_path / f"{number:02d}" / "running.npz").touch()
        (tmp_path / f"{number:02d}" / "pbrfit-checkpoint").touch()
    (tmp_path / "00" / "notes.txt").touch()
    for path in (tmp_path / "photos", *(tmp_path / f"{number:02d}" for number in range(20))):
        os.utime(path, (0, 0))
    CheckpointFolder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00", "linked", "photos"]
    assert sorted(path.name for path in (tmp_path / "00").iterdir()) == ["notes.txt", "pbrfit-checkpoint"]
    assert (tmp_path / "photos" / "running.npz").is_file()
    job = CheckpointFolder(tmp_path).job("photos", 1 << 20)
    job.offer(lambda: RunningSet(0, {}, {"texels": np.full((16, 16, 8), 0.5, np.float32)}))
    job.keep(0, FinishedSet({}, {}, None))
    job.discard()
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["running.npz"]


def test_an_empty_folder_of_a_backend_killed_before_it_was_marked_is_used(tmp_path):
    (tmp_path / "job").mkdir()
    job = CheckpointFolder(tmp_path).job("job", 1 << 20)
    job.keep(0, FinishedSet({}, {}, None))
    job.wait()
    assert {path.name for path in (tmp_path / "job").iterdir()} == {"pbrfit-checkpoint", "set0.npz"}
    job.discard()
    assert not (tmp_path / "job").exists()
