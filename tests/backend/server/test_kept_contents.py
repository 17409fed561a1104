"""Arrays and views on disk: what a restarted server still has, and what it never touches or believes."""

from __future__ import annotations

import os
import queue
import threading
import time

import numpy as np
import pytest
from support.server_harness import (
    CLIENT_KEYS,
    PATIENCE_S,
    connected_client,
    put,
    raw_client,
    running_server,
    small_capacity,
    submit,
    wait_for,
)

from backend.job.checkpoints import CheckpointFolder
from backend.protocol.client.events import Failed, Result
from backend.protocol.keys import new_keys
from backend.protocol.settings import FitSettings
from backend.protocol.wire import content_hash, describe
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.kept_contents import FOLDER, MARKER, OLDEST_S, KeptContents

OTHER_KEYS = new_keys()
ARRAY = np.arange(3000, dtype=np.uint16)
VIEW = {"index": 0, "held_out": False, "view": np.eye(4).tolist(), "projection": np.eye(4).tolist()}
IMAGE = np.full((8, 8, 4), 2.0, np.float16)


class Contents(KeptContents):
    """With the I/O thread's queue."""

    def __init__(self, folder, most_bytes=1 << 20):
        self.reports = queue.Queue()
        super().__init__(folder, most_bytes, self.reports.put)

    def read(self, key, data):
        found = []
        self.load(key, content_hash(data), len(data), found.append)
        self.reports.get(timeout=PATIENCE_S)()
        return None if found[0] is None else bytes(found[0])

    def has(self, key, data):
        return self.holds(key, content_hash(data), len(data))


@pytest.fixture
def contents(tmp_path):
    made = []

    def make(**options):
        for earlier in made:
            assert earlier.close(PATIENCE_S)
        made.append(Contents(tmp_path, **options))
        return made[-1]

    yield make
    for item in made:
        assert item.close(PATIENCE_S)


def keep(kept, key, *pieces):
    for data in pieces:
        kept.keep(key, content_hash(data), data)
    settle(kept)


def settle(kept):
    """Wait until the thread has done what it was given."""
    done = queue.Queue()
    kept._tasks.put(lambda: done.put(None))
    done.get(timeout=PATIENCE_S)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_content_outlives_the_server_and_belongs_to_its_key(contents):
    keep(contents(), "key", b"content", b"")
    kept = contents()
    assert kept.read("key", b"content") == b"content"
    assert kept.read("key", b"") == b""
    assert not kept.has("other", b"content")
    assert kept.read("other", b"content") is None


def test_files_and_folders_are_private(contents, tmp_path):
    keep(contents(), "key", b"content")
    for path in (tmp_path / FOLDER).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / FOLDER).stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_dropped(contents, tmp_path, caplog):
    for damage in (b"cOntent", b"conten", b"contents"):
        kept = contents()
        keep(kept, "key", b"content")
        (path,) = (tmp_path / FOLDER).glob("*/*")
        path.write_bytes(damage)
        assert kept.read("key", b"content") is None
        assert not kept.has("key", b"content")
        assert not path.exists()
    assert "damaged" in caplog.text
    keep(contents(), "key", b"content")
    path.write_bytes(b"longer than it was")
    assert not contents().has("key", b"content")  # nor after a restart


def test_where_there_is_too_much_the_oldest_of_the_largest_goes(contents):
    kept = contents(most_bytes=100)
    keep(kept, "small", b"s" * 20)
    keep(kept, "large", b"a" * 30, b"b" * 30)
    kept.keep("large", content_hash(b"a" * 30), b"a" * 30)  # used again
    keep(kept, "large", b"c" * 30)
    assert kept.has("small", b"s" * 20)
    assert [kept.has("large", letter * 30) for letter in (b"a", b"b", b"c")] == [True, False, True]
    assert kept.nbytes == 80
    keep(kept, "large", b"d" * 101)
    assert kept.nbytes == 80


def test_what_is_old_or_half_written_is_cleared_away_and_nothing_else(contents, tmp_path):
    keep(contents(), "key", b"old", b"new")
    (folder,) = (path for path in (tmp_path / FOLDER).iterdir() if path.is_dir())
    long_ago = time.time() - OLDEST_S - 10
    os.utime(folder / content_hash(b"old"), (long_ago, long_ago))
    (folder / "pbrfit-abc.tmp").touch()
    (folder / "notes.txt").write_text("mine")
    (tmp_path / FOLDER / "photos").mkdir()
    (tmp_path / FOLDER / "photos" / ("0" * 64)).write_text("mine")
    os.utime(tmp_path / FOLDER / "photos" / ("0" * 64), (long_ago, long_ago))
    kept = contents()
    assert (kept.has("key", b"old"), kept.has("key", b"new")) == (False, True)
    kept.forget("key")
    settle(kept)
    name = folder.name
    assert files(tmp_path / FOLDER) == sorted([f"{name}/notes.txt", MARKER, f"photos/{'0' * 64}"])


def test_a_folder_of_the_users_is_not_used(contents, tmp_path, caplog):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "mine.txt").touch()
    kept = contents()
    keep(kept, "key", b"content")
    assert not kept.has("key", b"content")
    assert files(tmp_path) == [f"{FOLDER}/mine.txt"]
    assert "something else is in" in caplog.text


def test_a_full_disk_is_said_once_and_costs_only_the_copy(contents, tmp_path, monkeypatch, caplog):
    kept = contents()

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.server.kept_contents.os.replace", full)
    keep(kept, "key", b"one", b"two")
    assert not kept.has("key", b"one")
    assert caplog.text.count("No space left") == 1
    assert files(tmp_path / FOLDER) == [MARKER]
    monkeypatch.undo()
    keep(kept, "key", b"one")
    assert kept.has("key", b"one")


# In a server


def keeping_server(tmp_path, **options):
    return running_server(checkpoints=CheckpointFolder(tmp_path), **options)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def left_by_an_earlier_server(tmp_path, **options):
    """Upload an array and a view of a job that waits for another view."""
    with keeping_server(tmp_path, **options) as server, raw_client(server.address) as raw:
        job = submit(raw, {"a": ARRAY}, 2).job
        put(raw, ARRAY)
        raw.request("view", VIEW, job, image=IMAGE)
        for array in (ARRAY, IMAGE):
            wait_until(lambda array=array: server._kept.holds(CLIENT_KEYS.public, describe(array).hash, array.nbytes))


def offer(raw, job, index=0):
    return raw.request("view", VIEW | {"index": index, "image": describe(IMAGE).to_dict()}, job)


def test_a_restarted_server_needs_no_upload(tmp_path):
    left_by_an_earlier_server(tmp_path)
    with keeping_server(tmp_path) as server, raw_client(server.address) as raw:
        assert raw.request("hello").body["keeps_views"]
        accepted = submit(raw, {"a": ARRAY}, 1)
        assert accepted.type == "accepted"
        assert accepted.body["missing"] == []
        assert "missing" not in offer(raw, accepted.job).body
        raw.request("end_views", {"count": 1}, accepted.job)
        metrics = raw.event("result").body["metrics"]
        assert (metrics["mean"], metrics["sums"]) == (2.0, {"a": float(ARRAY.sum())})


def test_a_request_that_is_repeated_while_the_disk_is_read_is_carried_out_once(tmp_path):
    left_by_an_earlier_server(tmp_path)
    with keeping_server(tmp_path) as server, raw_client(server.address) as raw:
        described = {"settings": {}, "arrays": {"a": describe(ARRAY).to_dict()}, "view_count": 1}
        frames = raw.frames("submit", described)
        for _ in range(3):
            raw.send(frames)
        raw.request("ping")
        wait_until(lambda: len(raw.events) + server._service.stores.content_bytes >= ARRAY.nbytes)
        assert len(list(server._service.jobs)) == 1
        reply = raw.exchange(frames)
        assert reply.type == "accepted"
        assert len(list(server._service.jobs)) == 1


def test_a_job_that_ends_while_the_disk_is_read_is_accepted_first(tmp_path):
    """Found by fuzzing: its client was told that a job was cancelled that it did not know yet."""
    left_by_an_earlier_server(tmp_path)
    with keeping_server(tmp_path) as server, raw_client(server.address) as raw:
        blocked = threading.Event()
        server._kept._tasks.put(lambda: blocked.wait(PATIENCE_S))
        described = {"settings": {}, "arrays": {"a": describe(ARRAY).to_dict()}, "view_count": 1}
        raw.send(raw.frames("submit", described))
        raw.request("hello")  # the session begins again
        raw.request("ping")
        assert raw.events == []
        blocked.set()
        accepted = raw.receive()
        assert (accepted.type, accepted.body["state"]) == ("accepted", "cancelled")
        assert raw.receive().type == "cancelled"


def test_what_is_damaged_on_disk_is_asked_for(tmp_path):
    left_by_an_earlier_server(tmp_path)
    for path in (tmp_path / FOLDER).glob("*/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with keeping_server(tmp_path) as server, raw_client(server.address) as raw:
        accepted = submit(raw, {"a": ARRAY}, 1)
        assert accepted.body["missing"] == [describe(ARRAY).hash]
        assert offer(raw, accepted.job).body["missing"]
        assert raw.request("view", VIEW, accepted.job, image=IMAGE).type == "ok"
        put(raw, ARRAY)
        raw.request("end_views", {"count": 1}, accepted.job)
        assert raw.event("result").body["metrics"]["mean"] == 2.0


def test_another_key_has_nothing_of_it(tmp_path):
    authorized = AuthorizedKeys([CLIENT_KEYS.public, OTHER_KEYS.public])
    left_by_an_earlier_server(tmp_path, authorized=authorized)
    with keeping_server(tmp_path, authorized=authorized) as server, raw_client(server.address, OTHER_KEYS) as thief:
        accepted = submit(thief, {"a": ARRAY}, 1)
        assert accepted.body["missing"] == [describe(ARRAY).hash]
        assert offer(thief, accepted.job).body["missing"]


def test_a_key_that_is_taken_away_has_nothing_on_disk(tmp_path):
    keys = tmp_path / "authorized_keys"
    keys.write_text(f"{CLIENT_KEYS.public}\n{OTHER_KEYS.public}\n")
    keys.chmod(0o600)
    kept = tmp_path / "kept"
    left_by_an_earlier_server(kept, authorized=AuthorizedKeys([CLIENT_KEYS.public]))
    with keeping_server(kept, authorized=AuthorizedKeys([], keys)) as server, raw_client(server.address) as raw:
        raw.request("ping")
        assert server._kept.nbytes
        keys.write_text(f"{OTHER_KEYS.public}\n")
        keys.chmod(0o600)
        wait_until(lambda: not server._kept.nbytes)


def test_views_go_with_their_job_and_arrays_stay_for_the_next(tmp_path):
    with keeping_server(tmp_path) as server, raw_client(server.address) as raw:
        job = submit(raw, {"a": ARRAY}, 1).job
        put(raw, ARRAY)
        raw.request("view", VIEW, job, image=IMAGE)
        raw.request("end_views", {"count": 1}, job)
        raw.event("result")
        wait_until(lambda: server._kept.nbytes == ARRAY.nbytes)
        assert files(tmp_path / FOLDER)[0].endswith(describe(ARRAY).hash)


def test_arrays_of_a_preview_are_not_written(tmp_path):
    """They may be gigabytes of textures, and are asked for again soon."""
    with keeping_server(tmp_path) as server, raw_client(server.address) as raw:
        raw.request("light", {"array": describe(np.ones((4, 8, 3), np.float32)).to_dict()})
        put(raw, np.ones((4, 8, 3), np.float32))
        submit(raw)
        settle(server._kept)
        assert server._kept.nbytes == 0


@pytest.mark.parametrize("image", [None, {}, "x", describe(IMAGE).to_dict() | {"shape": [1 << 20, 1 << 20, 4]}])
def test_an_offer_that_makes_no_sense_is_refused(tmp_path, image):
    with keeping_server(tmp_path) as server, raw_client(server.address) as raw:
        job = submit(raw, {}, 1).job
        assert raw.request("view", VIEW | {"image": image}, job).type == "error"


def test_a_server_without_a_folder_keeps_nothing():
    with running_server() as server, raw_client(server.address) as raw:
        assert not raw.request("hello").body["keeps_views"]
        assert offer(raw, submit(raw, {}, 1).job).body["missing"]


def test_the_client_sends_only_what_is_missing(tmp_path):
    """Two jobs of one client, with a restart between: of the second, only the view that is new travels."""
    other = np.full((8, 8, 4), 4.0, np.float16)
    received: list[int] = []
    for views in ([IMAGE], [IMAGE, other]):
        with keeping_server(tmp_path, capacity=small_capacity()) as server:
            handle, now = server._service.handle, []

            def counted(message, owner="", handle=handle, now=now):
                now += [array.nbytes for array in message.arrays.values()]
                return handle(message, owner)

            server._service.handle = counted
            with connected_client(server.address) as client:
                client.submit(FitSettings(), {"a": ARRAY}, view_count=2)
                for index, image in enumerate(views):
                    client.add_view(VIEW | {"index": index}, image)
                if len(views) == 2:
                    client.end_views()
                    result = wait_for(client, Result, Failed)[-1]
                    assert (result.metrics["views"], result.metrics["mean"]) == (2, 3.0)
                else:
                    wait_until(lambda: server._kept.nbytes == ARRAY.nbytes + IMAGE.nbytes)
                    server.stop()
                    wait_until(lambda server=server: server._context.closed)
        received.append(sum(now))
    assert received == [ARRAY.nbytes + IMAGE.nbytes, other.nbytes]
