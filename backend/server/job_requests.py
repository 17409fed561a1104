"""What clients ask about jobs and arrays, read and checked before anything is done; and the replies that refuse it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.job.model import JobError
from backend.protocol.settings import FitSettings
from backend.protocol.watching import LARGEST_WATCHED, SHORTEST_INTERVAL_S
from backend.protocol.wire import MOST_RECEIVED, ArrayDescription, Buffer, Limits, Message, ProtocolError
from backend.server.view_message import SEND_AS_DESCRIBED

MOST_ARRAYS_OF_JOB = 2048


@dataclass(frozen=True)
class SubmitRequest:
    """A job as its client describes it. view_count: 0 where unknown."""

    settings: FitSettings
    arrays: dict[str, ArrayDescription]
    view_count: int


@dataclass(frozen=True)
class PutRequest:
    """A piece of an array: the hash and the size of the whole, and where the piece begins."""

    digest: str
    offset: int
    total: int
    data: Buffer


def read_array(name: str, values: object, limits: Limits, cure: str) -> ArrayDescription:
    """An array that is announced. Raises `ProtocolError` where it is not described, or too large; `cure` helps then."""
    description = ArrayDescription.from_dict(values)
    if description.nbytes > limits.frame_bytes:
        cause = f"{name} has {description.nbytes} bytes; one array may have {limits.frame_bytes}."
        raise ProtocolError("oversized", cause, cure)
    return description


def read_arrays(described: dict[str, Any], limits: Limits, cure: str) -> dict[str, ArrayDescription]:
    """The arrays that are announced for a job or a scene. Raises `ProtocolError` as `read_array`, and where one hash stands for
    two sizes: what is kept under it could not be both.
    """
    arrays = {name: read_array(name, values, limits, cure) for name, values in described.items()}
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        if sizes.setdefault(array.hash, array.nbytes) != array.nbytes:
            cause = f"{name} has {array.nbytes} bytes, and another array with its hash has {sizes[array.hash]}."
            raise ProtocolError("array", cause, "Hash the arrays again.")
    return arrays


def read_submit(message: Message, limits: Limits) -> SubmitRequest:
    """The job of a `submit`. Raises `ProtocolError` or `SettingsError`."""
    settings = FitSettings.from_dict(message.body.get("settings", {}))
    described = message.body.get("arrays")
    if not isinstance(described, dict):
        raise ProtocolError("malformed", "The submit message lacks its arrays.", SEND_AS_DESCRIBED)
    if len(described) > MOST_ARRAYS_OF_JOB:
        cause = f"The job has {len(described)} arrays; allowed are {MOST_ARRAYS_OF_JOB}."
        raise ProtocolError("oversized", cause, "Fit fewer sets of maps at a time.")
    arrays = read_arrays(described, limits, "Reduce the mesh or the environment.")
    view_count = message.body.get("view_count", 0)
    if type(view_count) is not int or view_count < 0:
        raise ProtocolError("malformed", "view_count is not a whole number from 0.", SEND_AS_DESCRIBED)
    return SubmitRequest(settings, arrays, view_count)


def read_put(message: Message) -> PutRequest:
    """The piece of a `put`. Raises `ProtocolError`."""
    data = message.arrays.get("data")
    digest, offset, total = (message.body.get(name) for name in ("hash", "offset", "total"))
    if data is None or data.dtype != np.uint8 or data.ndim != 1 or not isinstance(digest, str):
        raise ProtocolError("malformed", "The put message lacks its hash or its bytes.", SEND_AS_DESCRIBED)
    if type(offset) is not int or type(total) is not int or not 0 <= offset <= offset + data.nbytes <= total:
        raise ProtocolError("chunk", "The piece does not lie within its array.", SEND_AS_DESCRIBED)
    return PutRequest(digest, offset, total, data.data if data.size else b"")


def read_received(message: Message) -> list[str]:
    """The names of the requests whose replies the client of a `ping` has. Raises `ProtocolError`."""
    received = message.body.get("received", [])
    if (
        not isinstance(received, list)
        or len(received) > MOST_RECEIVED
        or not all(type(name) is str for name in received)
    ):
        raise ProtocolError("malformed", f"received is not a list of at most {MOST_RECEIVED} names.", SEND_AS_DESCRIBED)
    return received


def read_attach(message: Message) -> int:
    """The number of the last event that the client of an `attach` has. Raises `ProtocolError`."""
    last_seq = message.body.get("last_seq", 0)
    if type(last_seq) is not int or last_seq < 0:
        raise ProtocolError("malformed", "last_seq is not a whole number from 0.", SEND_AS_DESCRIBED)
    return last_seq


def read_watch(message: Message) -> tuple[int, float]:
    """Size and interval of a `watch`. Raises `ProtocolError`."""
    size, interval_s = message.body.get("size"), message.body.get("interval_s")
    if type(size) is not int or not 0 <= size <= LARGEST_WATCHED or not isinstance(interval_s, (int, float)):
        raise ProtocolError("malformed", f"Previews have 0 to {LARGEST_WATCHED} pixels, not {size}.", SEND_AS_DESCRIBED)
    return size, max(float(interval_s), SHORTEST_INTERVAL_S)


def ending() -> JobError:
    """What the client of a job is told."""
    cause = "The backend ends, and the job with it."
    return JobError("draining", cause, "Submit it again when the backend is back: it goes on where it was.")


def error_reply(code: str, cause: str, cure: str) -> Message:
    """The reply to a request that was not carried out."""
    return Message("error", {"code": code, "cause": cause, "cure": cure})
