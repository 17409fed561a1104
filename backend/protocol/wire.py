"""Messages as ZeroMQ frames: one JSON header, then one raw frame for each array that the header describes.

Everything that comes from the other end is distrusted: counts, sizes and types are checked before a frame is
interpreted, and each frame's blake2 hash after that; only pictures that the next ones replace (`UNHASHED_TYPES`) and pieces
(`PIECE_TYPES`) have none. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CauseAndCure

PROTOCOL_VERSION = 1
DTYPE_NAMES = ("bool", "uint8", "uint16", "uint32", "int32", "int64", "float16", "float32", "float64")
MOST_DIMENSIONS = 8
LONGEST_NAME = 64
MOST_RECEIVED = 256  # names in a ping, of requests whose replies have come
# Of an array on its way to the backend, or of a file on its way back, in one message.
CHUNK_BYTES = 2 << 20
# Messages whose arrays have an empty hash: what is seen once and replaced. CURVE authenticates them, and hashing would take
# longer than drawing: 16 ms for a frame of 1920 x 1080 at each end.
UNHASHED_TYPES = ("frame_piece", "preview")
# Pieces of what has a hash of its own, which is checked when it is whole: theirs may be empty. Hashing twice at each end took
# more time than encrypting.
PIECE_TYPES = ("put", "piece")
_HASH_BYTES = 32
_SAME_VERSION = "Install the same version of PBRfit in Blender and for the backend."
_REPORT = "If both ends are PBRfit of the same version, please report this as a fault."

Buffer = bytes | bytearray | memoryview


class ProtocolError(CauseAndCure):
    """A message that cannot be understood or must not be accepted.

    Attributes: `code` (for programs), `cause` and `cure` (sentences), and `session` and `request` of the message
    where its header could be read that far (else empty), so that the sender can be answered.
    """

    def __init__(self, code: str, cause: str, cure: str = _REPORT, session: str = "", request: str = "") -> None:
        super().__init__(cause, cure)
        self.code = code
        self.session = session
        self.request = request


@dataclass(frozen=True)
class Limits:
    """The largest message either end accepts: sizes in bytes, `frames` counts the arrays of one message."""

    header_bytes: int = 1 << 20
    frame_bytes: int = 1 << 30
    message_bytes: int = (1 << 30) + (1 << 20)
    frames: int = 64


@dataclass(frozen=True)
class ArrayDescription:
    """An array without its content: dtype name, shape, and the blake2 hash of its little-endian C-order bytes, which is empty
    in messages of `UNHASHED_TYPES`, and may be in those of `PIECE_TYPES`.
    """

    dtype: str
    shape: tuple[int, ...]
    hash: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def to_dict(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "byte_order": "little", "shape": list(self.shape), "hash": self.hash}

    @classmethod
    def from_dict(cls, values: object, hashed: bool = True) -> ArrayDescription:
        """Checks every value; raises `ProtocolError` with code "array" when one is not allowed. hashed: whether it must
        have a hash; else it must have none.
        """
        if not isinstance(values, Mapping):
            raise ProtocolError("array", "The description of an array is not a JSON object.")
        dtype, shape, digest = values.get("dtype"), values.get("shape"), values.get("hash")
        if not isinstance(dtype, str) or dtype not in DTYPE_NAMES:
            raise ProtocolError("array", f"The dtype {_shown(dtype)} is not one of {', '.join(DTYPE_NAMES)}.")
        if values.get("byte_order") != "little":
            raise ProtocolError("array", f"The byte order {_shown(values.get('byte_order'))} is not 'little'.")
        sizes = shape if isinstance(shape, list) else [-1]
        if len(sizes) > MOST_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**48 for size in sizes):
            raise ProtocolError("array", f"The shape {_shown(shape)} is not a list of at most 8 sizes.")
        if math.prod(size or 1 for size in sizes) >= 2**48:  # NumPy refuses such a shape even where one size is 0
            raise ProtocolError("size", f"The shape {_shown(shape)} is too large.")
        digits = 2 * _HASH_BYTES if hashed else 0
        if not isinstance(digest, str) or len(digest) != digits:
            raise ProtocolError("array", f"The hash {_shown(digest)} is not {digits} hexadecimal digits.")
        return cls(dtype, tuple(sizes), digest)


@dataclass
class Message:
    """One message. `body` holds JSON values, `arrays` numpy arrays of the allowed dtypes by name.

    session: names the client across reconnects. request: names a request, and its reply repeats it; a request that
    is sent again with the same name is answered again but carried out once. job: the job it is about.
    seq: counts the events of a job from 1; 0 for requests and replies.
    descriptions: of the arrays, by name. `unpack` fills it with what it verified; whoever packs may fill it with what
    is known already, to save hashing again.
    """

    type: str
    body: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    session: str = ""
    request: str = ""
    job: str = ""
    seq: int = 0
    descriptions: dict[str, ArrayDescription] = field(default_factory=dict)


def new_hash() -> hashlib.blake2b:
    """The hash of `content_hash`, to be fed piece by piece."""
    return hashlib.blake2b(digest_size=_HASH_BYTES)


def content_hash(data: Buffer | NDArray[Any]) -> str:
    """The blake2b hash (256 bits, hexadecimal) that names this content."""
    content = data.data if isinstance(data, np.ndarray) else data
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()


def check_dtype(name: str, array: NDArray[Any]) -> None:
    """Raises `ProtocolError` with code "array" when this array's dtype cannot travel."""
    if not isinstance(array, np.ndarray) or array.dtype.name not in DTYPE_NAMES:
        kind = array.dtype.name if isinstance(array, np.ndarray) else type(array).__name__
        raise ProtocolError("array", f"{name} is {kind}; allowed are arrays of {', '.join(DTYPE_NAMES)}.")


def array_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """The array's content as a flat uint8 array, little-endian and in C order; copies only where it must."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)


def describe(array: NDArray[Any], data: NDArray[Any] | None = None, hashed: bool = True) -> ArrayDescription:
    """The description of an array; `data` is its `array_bytes` where the caller has them already. hashed: with its hash."""
    content = array_bytes(array) if data is None else data
    return ArrayDescription(array.dtype.name, tuple(array.shape), content_hash(content) if hashed else "")


def array_from_bytes(data: Buffer, description: ArrayDescription) -> NDArray[Any]:
    """The array over `data` without a copy where its address is aligned; writable only if `data` is.

    The length of `data` must have been checked against the description.
    """
    dtype = np.dtype(description.dtype).newbyteorder("<")
    if description.nbytes == 0:
        return np.empty(description.shape, dtype)
    array = np.frombuffer(data, dtype).reshape(description.shape)
    return array if array.flags.aligned else array.copy()


def plain(value: Any) -> Any:
    """`value` with numpy scalars, tuples and mappings turned into JSON values; what is not finite becomes None.

    Raises TypeError for anything else, such as an array or an object.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot travel in a message's body")


def pack(message: Message) -> list[Buffer]:
    """The frames of a message. The arrays' frames share memory with the arrays: do not write to them until sent.

    Raises `ProtocolError` for a dtype that cannot travel and TypeError for a body that is not JSON.
    """
    frames: list[Buffer] = []
    described: list[dict[str, Any]] = []
    for name, array in message.arrays.items():
        check_dtype(name, array)
        data = array_bytes(array)
        description = message.descriptions.get(name) or describe(array, data, message.type not in UNHASHED_TYPES)
        described.append({"name": name, **description.to_dict()})
        frames.append(data.data if data.size else b"")
    header = {
        "protocol": PROTOCOL_VERSION,
        "type": message.type,
        "session": message.session,
        "request": message.request,
        "job": message.job,
        "seq": message.seq,
        "body": plain(message.body),
        "frames": described,
    }
    return [json.dumps(header, allow_nan=False, separators=(",", ":")).encode(), *frames]


def unpack(frames: Sequence[Buffer], limits: Limits = Limits()) -> Message:
    """The message in these frames. Its arrays share memory with the frames where they are aligned.

    Raises `ProtocolError` with code "oversized", "malformed", "version", "array", "size" or "hash".
    """
    header = _read_header(frames, limits)
    session, request = _name(header, "session"), _name(header, "request")
    try:
        if header.get("protocol") != PROTOCOL_VERSION:
            cause = f"This end speaks protocol {PROTOCOL_VERSION}, the other end {_shown(header.get('protocol'))}."
            raise ProtocolError("version", cause, _SAME_VERSION)
        return _read_message(header, frames[1:], limits)
    except ProtocolError as error:
        error.session, error.request = session, request
        raise


def _read_header(frames: Sequence[Buffer], limits: Limits) -> dict[str, Any]:
    if not frames or len(frames) - 1 > limits.frames:
        raise ProtocolError("oversized", f"The message has {len(frames)} frames; allowed are 1 to {limits.frames + 1}.")
    sizes = [len(frame) for frame in frames]
    if sizes[0] > limits.header_bytes:
        raise ProtocolError("oversized", f"The header has {sizes[0]} bytes; allowed are {limits.header_bytes}.")
    if max(sizes) > limits.frame_bytes or sum(sizes) > limits.message_bytes:
        raise ProtocolError("oversized", f"The message has {sum(sizes)} bytes, more than allowed.")
    try:
        header = json.loads(bytes(frames[0]).decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("malformed", "The header is not JSON.") from error
    if not isinstance(header, dict):
        raise ProtocolError("malformed", "The header is not a JSON object.")
    return header


def _read_message(header: dict[str, Any], frames: Sequence[Buffer], limits: Limits) -> Message:
    body, seq, described = header.get("body"), header.get("seq"), header.get("frames")
    kind = _name(header, "type")
    if not kind or not isinstance(body, dict) or type(seq) is not int or not isinstance(described, list):
        raise ProtocolError("malformed", "The header lacks its type, body, seq or frames.")
    for part in ("session", "request", "job"):
        if header.get(part, "") != _name(header, part):
            raise ProtocolError("malformed", f"The header's {part} is not a text of at most {LONGEST_NAME} characters.")
    if len(described) != len(frames):
        raise ProtocolError("malformed", f"The header describes {len(described)} frames, {len(frames)} came.")
    arrays: dict[str, NDArray[Any]] = {}
    descriptions: dict[str, ArrayDescription] = {}
    for values, data in zip(described, frames, strict=True):
        bare = kind in PIECE_TYPES and isinstance(values, dict) and values.get("hash") == ""
        hashed = kind not in UNHASHED_TYPES and not bare
        description = ArrayDescription.from_dict(values, hashed)
        name = _name(values, "name")
        if not name or name in arrays:
            raise ProtocolError("malformed", "An array has no name of its own.")
        if description.nbytes != len(data):
            cause = f"{name} should have {description.nbytes} bytes for its dtype and shape, but has {len(data)}."
            raise ProtocolError("size", cause)
        if hashed and content_hash(data) != description.hash:
            raise ProtocolError("hash", f"The content of {name} does not match its hash.", "Send it again.")
        arrays[name] = array_from_bytes(data, description)
        descriptions[name] = description
    session, request, job = (_name(header, part) for part in ("session", "request", "job"))
    return Message(kind, body, arrays, session, request, job, seq, descriptions)


def _name(values: Mapping[str, Any], key: str) -> str:
    """The text at `key`, or nothing where it is absent, no text or too long."""
    value = values.get(key, "")
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
