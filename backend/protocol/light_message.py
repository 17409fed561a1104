"""A prefiltered light as it travels: in `light_ready` for whoever asked, in `light_preview` while a job learns it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .wire import Message, ProtocolError


def light_message(kind: str, light: dict[str, Any]) -> Message:
    """A message with the fields of `PreparedLight`; `read_light` takes them back."""
    body = {name: light[name] for name in ("key", "places", "roughnesses")}
    return Message(kind, body, {"atlas": light["atlas"], "irradiance": light["irradiance"]})


def read_light(message: Message) -> dict[str, Any]:
    """The fields of `PreparedLight`. Raises `ProtocolError` where they are not as described."""
    atlas, irradiance = message.arrays.get("atlas"), message.arrays.get("irradiance")
    try:
        places = tuple((int(r), int(top), int(left)) for r, top, left in message.body["places"])
        roughnesses = tuple(float(value) for value in message.body["roughnesses"])
        key = str(message.body["key"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError("malformed", "The light does not describe its levels.") from error
    good = atlas is not None and atlas.dtype == np.float16 and atlas.ndim == 3 and atlas.shape[2] == 4
    if atlas is None or not good or irradiance is None or irradiance.dtype != np.float32 or irradiance.shape != (9, 3):
        raise ProtocolError("malformed", "The light lacks its atlas or its irradiance.")
    height, width = atlas.shape[:2]
    fit = all(
        r > 0 <= min(top, left) and top + r + 2 <= height and left + 6 * (r + 2) <= width for r, top, left in places
    )
    if not places or len(places) != len(roughnesses) or not fit:
        raise ProtocolError("malformed", "The light's levels do not lie within its atlas.")
    return {"key": key, "atlas": atlas, "irradiance": irradiance, "places": places, "roughnesses": roughnesses}
