"""Arrays and views of jobs on disk, by key and hash: after a server was killed, a job that goes on uploads nothing again.

They stand beside the checkpoints, in a folder with a marker of ours; nothing without our names is ever touched. A thread of
its own reads, writes and hashes, so that the I/O thread waits for no disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from backend.protocol.wire import Buffer, content_hash
from backend.server.sharing import largest_holder

FOLDER, MARKER = "contents", "pbrfit-contents"
OLDEST_S = 14 * 24 * 3600.0
# So many bytes may wait to be written; what comes then is not kept.
MOST_WAITING_BYTES = 1 << 30
LOG_INTERVAL_S = 60.0
_TEMPORARY = "pbrfit-"
_CONTENT, _KEY = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
# So many contents may be read before the I/O thread has taken them.
_MOST_READ = 4

logger = logging.getLogger(__name__)


class KeptContents:
    """At most `most_bytes` of all keys; where there is more, the oldest of the key that has the most goes first.

    All methods are for the I/O thread. What cannot be written, is damaged or is older than two weeks is not kept: its client
    uploads it again.
    """

    def __init__(self, folder: Path, most_bytes: int, report: Callable[[Callable[[], None]], None]) -> None:
        """folder: where checkpoints are. report: has the I/O thread call something, from any thread."""
        self._folder = folder / FOLDER
        self._most_bytes = most_bytes
        self._report = report
        self._lock = threading.Lock()
        self._sizes: dict[str, OrderedDict[str, int]] = {}  # by the name of a key's folder, the oldest first
        self._waiting: set[tuple[str, str]] = set()
        self._waiting_bytes = 0
        self._logged = -LOG_INTERVAL_S
        self._read = threading.Semaphore(_MOST_READ)
        self._closing = False
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._usable = self._prepare()
        self._thread = threading.Thread(target=self._run, name="pbrfit-contents", daemon=True)
        self._thread.start()

    @property
    def nbytes(self) -> int:
        """The bytes that are kept."""
        with self._lock:
            return sum(self._held().values())

    def holds(self, key: str, digest: str, size: int) -> bool:
        """Whether content of a key is kept, as far as its name and size tell."""
        with self._lock:
            mine = self._sizes.get(_name_of(key))
            return mine is not None and mine.get(digest) == size

    def keep(self, key: str, digest: str, data: Buffer) -> None:
        """Keeps content soon; it must not change any more. Content that is kept already counts as new."""
        name = _name_of(key)
        with self._lock:
            mine = self._sizes.get(name)
            if mine is not None and digest in mine:
                mine.move_to_end(digest)
                return
            too_much = self._waiting_bytes + len(data) > MOST_WAITING_BYTES or len(data) > self._most_bytes
            if not self._usable or too_much or (name, digest) in self._waiting or not _CONTENT.fullmatch(digest):
                return
            self._waiting.add((name, digest))
            self._waiting_bytes += len(data)
        self._tasks.put(partial(self._write, name, digest, data))

    def load(self, key: str, digest: str, size: int, done: Callable[[Buffer | None], None]) -> None:
        """Reads content; the I/O thread then calls `done` with it, or with None where it is not there or damaged."""
        self._tasks.put(partial(self._load, _name_of(key), digest, size, done))

    def drop(self, key: str, digests: Iterable[str]) -> None:
        """Removes content."""
        self._tasks.put(partial(self._remove, _name_of(key), list(digests)))

    def forget(self, key: str) -> None:
        """Removes all content of a key."""
        self._tasks.put(partial(self._forget, _name_of(key)))

    def close(self, patience_s: float) -> bool:
        """Ends the thread when all is written that waits. Returns whether it has ended."""
        self._closing = True
        self._read.release(_MOST_READ)
        self._tasks.put(None)
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    # At the start

    def _prepare(self) -> bool:
        """Makes the folder, and looks what is in it. Returns whether it can be used."""
        folder = self._folder
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.is_symlink() or (not (folder / MARKER).is_file() and any(folder.iterdir())):
                raise FileExistsError(f"something else is in {folder}")
            (folder / MARKER).touch(mode=0o600)
            for path in folder.iterdir():
                if _KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    self._look_into(path)
        except OSError as error:
            logger.warning("arrays are not kept on disk: %s", error)
            return False
        return True

    def _look_into(self, path: Path) -> None:
        found = []
        for file in path.iterdir():
            about = file.lstat()
            if file.name.startswith(_TEMPORARY) and file.name.endswith(".tmp"):
                file.unlink()  # of a server that was killed while it wrote
            elif _CONTENT.fullmatch(file.name) and file.is_file() and not file.is_symlink():
                if time.time() - about.st_mtime > OLDEST_S:
                    file.unlink()
                else:
                    found.append((about.st_mtime, file.name, about.st_size))
        if found:
            self._sizes[path.name] = OrderedDict((digest, size) for _, digest, size in sorted(found))
        else:
            with contextlib.suppress(OSError):  # something else is in it
                path.rmdir()

    # In the thread

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:  # whatever one content makes of it, the next is kept
                logger.exception("arrays on disk: a task failed")

    def _write(self, name: str, digest: str, data: Buffer) -> None:
        try:
            self._make_room(len(data))
            folder = self._folder / name
            folder.mkdir(mode=0o700, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=_TEMPORARY, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb", buffering=0) as file:
                    rest = memoryview(data).cast("B")
                    while rest:
                        rest = rest[file.write(rest) :]
                os.replace(temporary, folder / digest)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            with self._lock:
                self._sizes.setdefault(name, OrderedDict())[digest] = len(data)
        except OSError as error:  # a full disk must not end a job
            if time.monotonic() - self._logged >= LOG_INTERVAL_S:
                self._logged = time.monotonic()
                logger.warning("an array is not kept on disk: %s", error)
        finally:
            with self._lock:
                self._waiting.discard((name, digest))
                self._waiting_bytes -= len(data)

    def _make_room(self, size: int) -> None:
        while True:
            with self._lock:
                held = self._held()
                if sum(held.values()) + size <= self._most_bytes or not held:
                    return
                name = largest_holder(held)
                oldest = next(iter(self._sizes[name]))
            self._remove(name, [oldest])

    def _load(self, name: str, digest: str, size: int, done: Callable[[Buffer | None], None]) -> None:
        data = self._whole(name, digest, size)
        if data is None:
            self._remove(name, [digest])
        self._read.acquire()
        if not self._closing:
            self._report(partial(self._hand_over, done, data))

    def _hand_over(self, done: Callable[[Buffer | None], None], data: Buffer | None) -> None:
        self._read.release()
        done(data)

    def _whole(self, name: str, digest: str, size: int) -> Buffer | None:
        path = self._folder / name / digest
        try:
            data = np.empty(size, np.uint8)
            with path.open("rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size != size:
                    raise OSError("it is not as long as it was")
                rest = data.data if size else memoryview(b"")
                while rest:
                    count = file.readinto(rest)
                    if not count:
                        raise OSError("it ends too early")
                    rest = rest[count:]
            with contextlib.suppress(OSError):
                os.utime(path)  # the oldest goes first
        except (OSError, MemoryError) as error:
            logger.warning("an array on disk cannot be read: %s: %s", path, error)
            return None
        if content_hash(data) != digest:
            logger.warning("an array on disk is damaged and removed: %s", path)
            return None
        with self._lock:
            if digest in self._sizes.get(name, {}):
                self._sizes[name].move_to_end(digest)
        data.flags.writeable = False
        return data.data if size else b""

    def _remove(self, name: str, digests: Iterable[str]) -> None:
        for digest in digests:
            with self._lock:
                mine = self._sizes.get(name, OrderedDict())
                known = mine.pop(digest, None) is not None
                if not mine:
                    self._sizes.pop(name, None)
            if known:
                with contextlib.suppress(OSError):
                    (self._folder / name / digest).unlink()
        if name not in self._sizes:
            with contextlib.suppress(OSError):  # it is gone, or something else is in it
                (self._folder / name).rmdir()

    def _forget(self, name: str) -> None:
        with self._lock:
            digests = list(self._sizes.get(name, ()))
        self._remove(name, digests)

    def _held(self) -> dict[str, int]:
        """The bytes by key."""
        return {name: sum(mine.values()) for name, mine in self._sizes.items()}


def _name_of(key: str) -> str:
    """The folder of a key: a hash, since keys have characters that no file system likes."""
    return content_hash(key.encode())[:32]
