"""Checkpoint files: what is written is read, and damage never escapes as an error."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil

import numpy as np
import pytest

from backend.job.checkpoints import CheckpointFolder, FinishedSet, RunningSet

KEY = "ab" * 16


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints", interval_s=0.0)


def put_running(folder, **changes):
    """The checkpoint of a job in the middle of its fit, as the job at hand would leave it, and the file it is in."""
    checkpoint = folder.job(KEY, 1 << 20)
    arrays = {"texels": np.full((16, 16, 8), 0.5, np.float32), **changes}
    checkpoint.offer(lambda: RunningSet(0, {"memory": {"iteration": 5}}, arrays))
    checkpoint.wait()
    return checkpoint, folder.path / KEY / "running.npz"


def test_what_is_written_is_read(folder):
    checkpoint, _ = put_running(folder, light=np.ones((6, 4, 4, 3), np.float32))
    checkpoint.keep(3, FinishedSet({"kd.png": b"abc", "orm.png": b""}, {"samples": 7}, None))
    checkpoint.wait()
    saved = folder.job(KEY, 1 << 20).read()
    assert (saved.running.set_index, saved.running.about) == (0, {"memory": {"iteration": 5}})
    np.testing.assert_array_equal(saved.running.arrays["texels"], np.full((16, 16, 8), 0.5, np.float32))
    np.testing.assert_array_equal(saved.running.light, 1.0)
    assert saved.finished[3] == FinishedSet({"kd.png": b"abc", "orm.png": b""}, {"samples": 7}, None)
    checkpoint.discard()
    assert list(folder.path.iterdir()) == []


def with_pickle(path):
    np.savez(path.with_suffix(""), about=np.array([{"format": 1}], object))


def of_another_job(path):
    shutil.copytree(path.parent, path.parents[1] / ("cd" * 16))
    os.replace(path.parents[1] / ("cd" * 16) / path.name, path)
    with np.load(path) as archive:
        arrays = dict(archive)
    about = json.loads(arrays["about"].tobytes())
    np.savez(
        path.with_suffix(""),
        **arrays | {"about": np.frombuffer(json.dumps(about | {"key": "cd" * 16}).encode(), np.uint8)},
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a checkpoint" * 100),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(_flipped(path.read_bytes())),
        lambda path: path.write_bytes(pickle.dumps({"texels": 1})),
        with_pickle,
        of_another_job,
        lambda path: np.savez(path.with_suffix(""), texels=np.zeros(3)),
        lambda path: np.savez(path.with_suffix(""), about=np.zeros(40 << 20, np.uint8)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "garbage", "cut off", "flipped", "pickle", "object array", "foreign", "incomplete", "huge", "folder"],
)
def test_a_damaged_or_foreign_file_is_ignored_with_a_line_in_the_log(folder, damage, caplog):
    _, path = put_running(folder)
    damage(path)
    with caplog.at_level(logging.WARNING):
        saved = folder.job(KEY, 1 << 20).read()
    assert saved.running is None
    assert "ignored the checkpoint" in caplog.text


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def test_damage_of_any_kind_never_escapes_as_an_error(folder):
    """Flipped, cut, doubled and moved bytes, in the directory of the archive too. Checksums find what the readers do not."""
    checkpoint, path = put_running(folder, more=np.arange(8, dtype=np.float32))
    checkpoint.keep(3, FinishedSet({"kd.png": b"abc"}, {"samples": 7}, None))
    checkpoint.wait()
    whole = path.read_bytes()
    wanted = folder.job(KEY, 1 << 20).read().running.arrays
    random = np.random.default_rng(0)
    logging.disable(logging.WARNING)
    try:
        for number in range(1500):
            # Half of the damage is where the archive says what is in it.
            last = len(whole) if number % 2 else min(len(whole), 700)
            first = 0 if number % 2 else len(whole) - last
            place = first + int(random.integers(last))
            data = bytearray(whole)
            for _ in range(int(random.integers(1, 4))):
                data[min(place, len(data) - 1)] = int(random.integers(256))
                place = first + int(random.integers(last))
            if number % 5 == 0:
                data = data[:place]
            elif number % 7 == 0:
                data[place:place] = data[place : place + 40]
            path.write_bytes(data)
            saved = folder.job(KEY, 1 << 20).read()
            for name, array in (saved.running.arrays if saved.running is not None else {}).items():
                if name in wanted and array.shape == wanted[name].shape:
                    np.testing.assert_array_equal(array, wanted[name])
    finally:
        logging.disable(logging.NOTSET)
