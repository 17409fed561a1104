"""`python -m benchmarks.fuzz_coverage SECONDS`: nearly right messages, led by which lines of our code they reach.

Needs `pip install atheris`, which is no dependency of PBRfit. Messages go to the same code as a server's, without sockets and
worker process: `unpack`, the services of jobs and previews, the store. Half of the messages are those of
`benchmarks/fuzz_messages.py`, with the choices of the fuzzer, the others are frames that it makes. Ends with status 77 where a
message raises what it must not.
"""

from __future__ import annotations

import sys
import tempfile
from random import Random
from typing import Any

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["backend.protocol", "backend.server"]):
    from backend.job.model import Job
    from backend.preview import tasks
    from backend.protocol.wire import Limits, ProtocolError, pack, unpack
    from backend.server.capacity import Capacity
    from backend.server.job_service import JobService
    from backend.server.preview_service import PreviewService
    from backend.server.sessions import Caller
    from backend.server.sharing import Sharing

from benchmarks.fuzz_messages import Known, Speaker, contents_of

_MARKS = ("QmarkOfTheFirst", "QmarkOfTheOther")
_LIMITS = Limits(header_bytes=1 << 16, frame_bytes=1 << 22)
_MOST_MESSAGES = 12


class _Chosen(Random):
    """A source of choices that the fuzzer makes."""

    def __init__(self, data: Any) -> None:
        super().__init__(0)
        self._data = data

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """A number below `start`."""
        return int(self._data.ConsumeIntInRange(0, start - 1))


class _NoDrawer:
    """Draws nothing."""

    def set_scene(self, session: str, task: tasks.SceneTask) -> None:
        """Take a scene."""

    def prefilter(self, session: str, task: tasks.LightTask) -> None:
        """Take a light."""

    def draw(self, session: str, task: tasks.FrameTask) -> tasks.FrameTask | None:
        """Take a frame."""
        return None

    def seen(self, session: str, viewport: str, name: str) -> None:
        """Take a confirmation."""

    def drop(self, session: str) -> None:
        """Forget a session."""

    def watch(self, job: Job) -> None:
        """Watch a job."""

    def close(self, timeout_s: float) -> bool:
        """End."""
        return True


class _NoWorker:
    """In place of the workers: a job that it gets never ends."""

    count = 1

    def check(self, job: Job) -> None:
        """Any job."""

    def can_take(self, job: Job) -> bool:
        """Always."""
        return True

    def submit(self, job: Job) -> None:
        """Nothing."""

    def close(self, timeout_s: float) -> bool:
        """End."""
        return True


def one_input(data: bytes) -> None:
    """A few messages of two clients to a server of their own."""
    chosen = atheris.FuzzedDataProvider(data)
    random = _Chosen(chosen)
    known = Known([content for mark in _MARKS for content in contents_of(mark)])
    speakers = [Speaker(random, mark, known) for mark in _MARKS]
    sharing, capacity = Sharing(lambda: False), Capacity(store_bytes=1 << 22, live_jobs=8)
    jobs = JobService(_NoWorker(), _LIMITS, capacity, {}, None, lambda _job: None, sharing)
    previews = PreviewService(jobs.stores, _NoDrawer(), _LIMITS, jobs.live_of, capacity, sharing)
    for _ in range(_MOST_MESSAGES):
        if not chosen.remaining_bytes():
            break
        speaker = speakers[random.randrange(2)]
        raw = random.randrange(2) == 0
        frames: list[Any] = [chosen.ConsumeBytes(200), chosen.ConsumeBytes(20)] if raw else speaker.message()
        try:
            message = unpack(frames, _LIMITS)
        except ProtocolError:
            continue
        if previews.handles(message.type):
            reply = previews.handle(message, speaker.mark)
        else:
            reply = jobs.handle(message, speaker.mark)
            if message.type == "put":
                previews.contents_changed(speaker.mark)
        if reply is not None:
            pack(reply)
            if reply.type == "accepted":
                known.note_job(reply.job, speaker.mark, message.session)
        for caller, event in [*jobs.take_events(), *previews.take_events()]:
            pack(event)
            if event.job and jobs._job_of(event, caller.key).owner != caller.key:
                raise AssertionError("an event of another's job")
    for mark in _MARKS:
        for caller in list(previews.sessions):
            previews.drop(Caller(caller.key, caller.session))
        jobs.end_key(mark)


def main() -> None:
    """Fuzz for as long as the first argument says; further ones are libFuzzer's."""
    seconds, *others = sys.argv[1:] or ["60"]
    with tempfile.TemporaryDirectory() as folder:
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1", f"-artifact_prefix={folder}/"]
        atheris.Setup([sys.argv[0], *options, *others], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
