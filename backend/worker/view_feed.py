"""The views of a job on their way to the worker process, and kept for another one if that is lost."""

from __future__ import annotations

import logging
import mmap
import tempfile
import threading
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from backend.job.model import JobCancelled, ViewInput, ViewStream

MOST_KEPT_BYTES = 8 << 30
_NOTHING: NDArray[Any] = np.zeros((0, 0, 4), np.float16)

logger = logging.getLogger(__name__)


@dataclass
class _Kept:
    """A view; its image is in memory, in the file at `place`, or gone."""

    view: ViewInput
    in_memory: bool
    dtype: str
    shape: tuple[int, ...]
    place: int | None = None


class ViewFeed:
    """Takes the views of a job as they come, in a thread of its own, and keeps their images in a file without a name.

    Where the file cannot be written to, an image is kept until it has been sent, and the job cannot begin again.
    condition: notified when there is something new; its lock guards all.
    """

    def __init__(self, views: ViewStream, folder: str, condition: threading.Condition) -> None:
        """folder: where the file lies; empty: where temporary files do."""
        self._views = views
        self._folder = folder or None
        self._condition = condition
        self._kept: list[_Kept] = []
        self._file: IO[bytes] | None = None
        self._file_bytes = 0
        self._file_fails = False
        self._closed = False
        self.ended = False
        self._thread = threading.Thread(target=self._take, name="pbrfit-views", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._kept)

    def size(self, index: int) -> int:
        """Bytes of the image of a view that has come."""
        kept = self._kept[index]
        return int(np.prod(kept.shape)) * np.dtype(kept.dtype).itemsize

    def get(self, index: int) -> ViewInput | None:
        """A view that has come; None where its image is gone."""
        with self._condition:
            kept = self._kept[index]
            if kept.in_memory:
                return kept.view
            if kept.place is None or self._file is None:
                return None
            first = kept.place // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            skipped, size = kept.place - first, self.size(index)
            mapped = mmap.mmap(self._file.fileno(), skipped + size, access=mmap.ACCESS_READ, offset=first)
        image = np.frombuffer(mapped, np.dtype(kept.dtype), offset=skipped, count=int(np.prod(kept.shape)))
        return replace(kept.view, image=image.reshape(kept.shape))

    def sent(self, index: int) -> None:
        """A view is in the pipe: its image need not stay in memory."""
        with self._condition:
            if index < len(self._kept):
                self._forget(self._kept[index])
            self._condition.notify_all()

    def close(self) -> None:
        """The job is over."""
        self._views.stop(JobCancelled())
        with self._condition:
            self._closed = True
            self._kept.clear()
            self._condition.notify_all()
        self._thread.join()
        if self._file is not None:
            self._file.close()

    def _take(self) -> None:
        try:
            for view in self._views:
                self._keep(view)
        except Exception:  # the job was stopped, and whoever stopped it knows why
            return
        with self._condition:
            self.ended = True
            self._condition.notify_all()

    def _keep(self, view: ViewInput) -> None:
        kept = _Kept(view, True, view.image.dtype.str, view.image.shape)
        with self._condition:
            self._kept.append(kept)
            self._condition.notify_all()
        place = self._write(view.image)
        with self._condition:
            kept.place = place
            if place is not None:
                self._forget(kept)
            else:
                self._condition.wait_for(lambda: self._closed or not kept.in_memory)

    def _forget(self, kept: _Kept) -> None:
        kept.in_memory = False
        kept.view = replace(kept.view, image=_NOTHING)

    def _write(self, image: NDArray[Any]) -> int | None:
        """Where in the file the image is now."""
        if self._file_fails or self._file_bytes + image.nbytes > MOST_KEPT_BYTES:
            return None
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (`close` does)
            place = self._file_bytes
            data = np.ascontiguousarray(image).reshape(-1).view(np.uint8).data
            while data.nbytes:
                data = data[self._file.write(data) :]
        except OSError as error:
            logger.warning("views cannot be kept for a second attempt: %s", error)
            self._file_fails = True
            return None
        self._file_bytes += image.nbytes
        return place
