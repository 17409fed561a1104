"""Messages that are nearly right: of each type and field, valid values, edge values and values of wrong types.

Shapes, sizes and hashes agree with the content in most of them, since what does not agree is refused before anything uses it.
All choices are drawn by `randrange` of a `random.Random`, so that Hypothesis, a fuzzer guided by coverage, or a seed may choose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any, TypeVar

import numpy as np

from backend.protocol.wire import DTYPE_NAMES, LONGEST_NAME, PROTOCOL_VERSION, Buffer, content_hash

ChosenT = TypeVar("ChosenT")
Content = tuple[bytes, str]
"""Bytes and their hash."""

IDENTITY = [[float(row == column) for column in range(4)] for row in range(4)]
_DEEP: list[Any] = []
for _ in range(60):
    _DEEP = [_DEEP]
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 7, 2**31, 2**32, 2**48, 2**53, 2**63, 2**64, 10**30, -0.0, 0.5, 1e-320, 1e38, 3e38, -1e308,
    "", "x", "x" * LONGEST_NAME, "x" * (LONGEST_NAME + 1), "\x00", "\ud800", "../../etc/passwd", "é" * 40, "0" * 64, "g" * 64,
    [], {}, [0], [0, 2**31, 2**32], [1] * 8, [1] * 9, [[1.0]], {"a": 1}, _DEEP, [None] * 5, "z" * 5000, list(range(300)),
)  # fmt: skip
_SIZES = (0, 1, 2, 16, 96, 100, 4096, 65536)
JOB_COMMANDS = (
    "end_views", "pause", "resume", "finish", "cancel", "watch", "preview_seen", "get_result", "fetch", "acknowledge",
)  # fmt: skip
# What a client does most comes more often.
KINDS = (
    "hello", "ping", "submit", "submit", "submit", "put", "put", "put", "put", "view", "view", "view", "scene", "scene",
    "frame", "frame", "frame_seen", "light", "leave_preview", "attach", *JOB_COMMANDS, "end_views", "end_views",
    "finish", "cancel", "fetch", "fetch",
)  # fmt: skip


@cache
def contents_of(mark: str) -> tuple[Content, ...]:
    """The contents that a client has: its mark, again and again."""
    repeated = mark.encode() * (max(_SIZES) // len(mark) + 1)
    return tuple((repeated[:size], content_hash(repeated[:size])) for size in _SIZES)


@dataclass
class Known:
    """What may be named: by all clients together, so that each names what is another's. jobs: the latest, each with the mark of
    its client and its session.
    """

    hashes: Sequence[Content]
    jobs: list[tuple[str, str, str]] = field(default_factory=lambda: [("0" * 16, "", "s0")])
    most: int = 24

    def note_job(self, job: str, mark: str, session: str) -> None:
        """Remember a job; the oldest goes where there are many."""
        self.jobs = [*self.jobs, (job, mark, session)][-self.most :]


class Speaker:
    """One client's messages. mark: text that all its contents and names bear, and no other client's."""

    def __init__(self, random: Random, mark: str, known: Known, requests: int = 0) -> None:
        self.random = random
        self.mark = mark
        self.known = known
        self.requests = requests
        self.contents = contents_of(mark)
        self._builders: dict[str, Callable[[], tuple[dict[str, Any], list[Any]]]] = {
            "submit": self._submit,
            "put": self._put,
            "view": self._view,
            "scene": self._scene,
            "frame": lambda: (self._frame(), []),
            "light": lambda: ({"array": self._described(self.pick(self.known.hashes), "float32", [1, 2, 4, 3])}, []),
        }

    def pick(self, among: Sequence[ChosenT]) -> ChosenT:
        """One of these."""
        return among[self.random.randrange(len(among))]

    def _known(self, among: Sequence[ChosenT]) -> ChosenT:
        """One of these, however many they are now: what is drawn does not depend on what came back."""
        return among[self.random.randrange(self.known.most) % len(among)]

    def chance(self, one_in: int) -> bool:
        """True once in so many times."""
        return self.random.randrange(one_in) == 0

    def message(self) -> list[Buffer]:
        """The frames of the next message."""
        kind = self.pick(KINDS)
        body, contents = self._builders.get(kind, lambda: (self._small_body(kind), []))()
        if self.chance(3):
            self._spoil(body)
        frames = [self._frame_entry(*content) for content in contents]
        if frames and self.chance(8):
            self._spoil(self.pick(frames))
        self.requests += 1
        fresh = 0 if self.chance(30) else self.requests
        job, session = self._job_and_session(kind)
        header = {
            "protocol": PROTOCOL_VERSION,
            "type": kind,
            "session": session,
            "request": f"{self.mark[:4]}{fresh}",
            "job": job,
            "seq": 0,
            "body": body,
            "frames": frames,
        }
        if self.chance(25):
            self._spoil(header)
        data: list[Buffer] = [content for _, (content, _), _, _ in contents]
        if self.chance(60):
            data = data[1:] if data and self.chance(2) else [*data, self.pick(self.contents)[0]]
        text = json.dumps(header).encode()
        if self.chance(200):
            text = text[: self.random.randrange(2**20) % len(text)]
        return [text, *data]

    def _job_and_session(self, kind: str) -> tuple[str, str]:
        """Of a message: mostly its own job in that job's session, at times another's, or a session of its own."""
        session = f"other{self.random.randrange(500)}" if self.chance(100) else f"s{self.random.randrange(4)}"
        if kind not in JOB_COMMANDS and kind != "view" and not self.chance(4):
            return "", session
        mine = [job for job in self.known.jobs if job[1] == self.mark][-6:]
        job, _, of_job = self._known(self.known.jobs if self.chance(4) or not mine else mine)
        return job, session if self.chance(6) else of_job

    def _spoil(self, values: dict[str, Any]) -> None:
        """Replace or remove one value at any depth."""
        place: Any = values
        for _ in range(self.random.randrange(3)):
            inner = [value for value in (place.values() if isinstance(place, dict) else place) if value]
            inner = [value for value in inner if isinstance(value, (dict, list)) and value not in ODD]
            if inner:
                place = self.pick(inner)
        if isinstance(place, dict):
            name = self.pick([*place, f"{self.mark}new"])
            if self.chance(5):
                place.pop(name, None)
                return
            place[name] = self.pick(ODD)
        elif place:
            place[self.random.randrange(len(place))] = self.pick(ODD)

    def _shape(self, dtype: str, size: int) -> list[int]:
        """A shape that agrees with a size in bytes where there is one; of nothing, one of any size."""
        count = size // np.dtype(dtype).itemsize
        if not count:
            return self.pick(([0], [0, 3], [0, 2**31, 2**32], [2**47, 0], [0, 1, 2**40], [1, 0, 1, 0], [0] * 8))
        across = self.pick((1, 1, 2, 3, 4))
        return [count // across, across] if count % across == 0 and across > 1 else self.pick(([count], [1, count]))

    def _described(self, content: Content, dtype: str, shape: list[int]) -> dict[str, Any]:
        data, digest = content
        if dtype and np.dtype(dtype).itemsize * int(np.prod([float(size) for size in shape])) != len(data):
            shape = self._shape(dtype, len(data))
        return {"dtype": dtype, "byte_order": "little", "shape": shape, "hash": digest}

    def _array(self) -> dict[str, Any]:
        """An array that is announced."""
        dtype = self.pick(DTYPE_NAMES)
        content = self.pick(self.known.hashes if self.chance(3) else self.contents)
        if self.chance(12):  # announced and never sent
            return {"dtype": dtype, "byte_order": "little", "shape": [self.pick((1, 2**20, 2**28))], "hash": "ab" * 32}
        return self._described(content, dtype, [len(content[0])])

    def _frame_entry(self, name: str, content: Content, dtype: str, shape: list[int]) -> dict[str, Any]:
        return {"name": name, "dtype": dtype, "byte_order": "little", "shape": shape, "hash": content[1]}

    def _submit(self) -> tuple[dict[str, Any], list[Any]]:
        settings = self.pick(({}, {}, {"resolution": 16, "seed": 3}, {"maps": ["kd"], "quality": "draft"}))
        arrays = {f"{self.mark}{number}": self._array() for number in range(self.random.randrange(4))}
        return {"settings": dict(settings), "arrays": arrays, "view_count": self.pick((0, 0, 1, 2))}, []

    def _put(self) -> tuple[dict[str, Any], list[Any]]:
        whole = self.pick(self.contents)
        offset = self.pick((0, 0, 0, len(whole[0]) // 2))
        piece = whole if not offset else (whole[0][offset:], content_hash(whole[0][offset:]))
        body = {"hash": whole[1], "offset": offset, "total": len(whole[0])}
        if self.chance(6):
            body["hash"] = self.pick(self.known.hashes)[1]
        return body, [("data", piece, "uint8", [len(piece[0])])]

    def _view(self) -> tuple[dict[str, Any], list[Any]]:
        body = {"index": self.random.randrange(4), "held_out": False, "view": IDENTITY, "projection": IDENTITY}
        body = json.loads(json.dumps(body))  # so that what is spoiled is its own
        content = self.pick(self.contents[3:6])
        dtype = self.pick(("float16", "float32", *DTYPE_NAMES[:2]))
        count = len(content[0]) // np.dtype(dtype).itemsize
        shape = [1, count // 4, 4] if count % 4 == 0 and count else [count]
        if np.dtype(dtype).itemsize * int(np.prod(shape)) != len(content[0]):
            dtype, shape = "uint8", [len(content[0])]
        if self.chance(3):  # an offer
            body["image"] = {"dtype": dtype, "byte_order": "little", "shape": shape, "hash": content[1]}
            self._spoil(body)
            return body, []
        return body, [("image", content, dtype, shape)]

    def _scene(self) -> tuple[dict[str, Any], list[Any]]:
        names = ("vertex_position", "vertex_normal", "vertex_tangent", "vertex_uv", "triangles")
        mesh = {name: f"{self.mark}{number}" for number, name in enumerate(names)}
        description: dict[str, Any] = {"parts": [], "light": None}
        if self.chance(2):
            description["parts"] = [{"mesh": mesh, "matrix": [list(row) for row in IDENTITY]}]
            if self.chance(3):
                description["parts"][0]["job"] = {"id": self._known(self.known.jobs)[0], "set": 0}
            self._spoil(description)
        text = json.dumps(description).encode()
        arrays = {name: self._array() for name in mesh.values()} if self.chance(3) else {}
        body = {"scene": self.random.randrange(1000), "arrays": arrays, "jobs": [self._known(self.known.jobs)[0]]}
        return body, [("description", (text, content_hash(text)), "uint8", [len(text)])]

    def _frame(self) -> dict[str, Any]:
        return {
            "viewport": f"{self.mark}{self.random.randrange(3)}",
            "number": self.random.randrange(1000),
            "view": [list(row) for row in IDENTITY],
            "projection": [list(row) for row in IDENTITY],
            "width": self.pick((1, 8, 33)),
            "height": self.pick((1, 8)),
            "spp": self.pick((1, 1, 2)),
            "dtype": self.pick(("float16", "float32")),
            "channel": self.pick(("shaded", "kd", "depth", "normal", "light")),
        }

    def _small_body(self, kind: str) -> dict[str, Any]:
        bodies: dict[str, dict[str, Any]] = {
            "hello": {"client": self.mark},
            "end_views": {"count": self.random.randrange(3)},
            "watch": {"size": self.pick((0, 64, 1024)), "interval_s": self.pick((0, 0.05, 1))},
            "fetch": {"file": self.pick(("means.json", "0.bin", "1.bin")), "offset": self.pick((0, 0, 0, 1))},
            "frame_seen": {"viewport": f"{self.mark}0", "request": f"{self.mark[:4]}{self.requests}"},
            "attach": {"last_seq": self.random.randrange(5)},
        }
        return bodies.get(kind, {})


def endings(sessions: Sequence[str], number: int) -> list[list[Buffer]]:
    """Messages that end all jobs and scenes of these sessions."""
    said = []
    for session in sessions:
        for kind in ("hello", "leave_preview"):
            number += 1
            header = {"protocol": PROTOCOL_VERSION, "type": kind, "session": session, "request": f"end{number}{kind}"}
            said.append([json.dumps(header | {"job": "", "seq": 0, "body": {}, "frames": []}).encode()])
    return said
