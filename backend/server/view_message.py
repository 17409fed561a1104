"""The view of a `view` message, checked before a job sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.job.model import MOST_LIGHTS, ViewInput
from backend.protocol.wire import ArrayDescription, Limits, Message, ProtocolError

SEND_AS_DESCRIBED = "Send the message as docs/protocol.md describes it."


def read_view(message: Message) -> ViewInput:
    """The view of a `view` message; raises `ProtocolError` when a part is missing or not as described."""
    body, image = message.body, message.arrays.get("image")
    index, held_out = body.get("index"), body.get("held_out")
    if type(index) is not int or index < 0 or not isinstance(held_out, bool):
        raise ProtocolError("malformed", "The view lacks its index or held_out.", SEND_AS_DESCRIBED)
    if (
        image is None
        or image.dtype.name not in ("float16", "float32")
        or image.ndim != 3
        or image.shape[2] not in (4, 8)
    ):
        raise ProtocolError("malformed", f"The image of view {index} is not float16 or float32 [h, w, 4 or 8].")
    if 0 in image.shape:
        raise ProtocolError("malformed", f"The image of view {index} is empty.")
    content = message.descriptions["image"].hash
    light = body.get("light", 0)
    if type(light) is not int or not 0 <= light <= MOST_LIGHTS:
        raise ProtocolError("malformed", f"The light of view {index} is no number from 0 to {MOST_LIGHTS}.")
    return ViewInput(
        index, held_out, _read_matrix(body, "view"), _read_matrix(body, "projection"), image, content, light
    )


def read_offer(message: Message, limits: Limits) -> ArrayDescription:
    """The image that a `view` message without one names by its hash. Raises `ProtocolError`, also where it is too large."""
    image = ArrayDescription.from_dict(message.body["image"])
    if image.nbytes > limits.frame_bytes:
        raise ProtocolError("oversized", f"The image has {image.nbytes} bytes.", "Render smaller views.")
    return image


def _read_matrix(body: dict[str, Any], name: str) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # numbers too large become infinite and are refused below
            matrix = np.array(body.get(name), dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise ProtocolError("malformed", f"{name} is not a 4x4 matrix of numbers.", SEND_AS_DESCRIBED) from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ProtocolError("malformed", f"{name} is not a 4x4 matrix of finite numbers.", SEND_AS_DESCRIBED)
    return matrix
