# SPDX-License-Identifier: GPL-3.0-or-later
"""What is noted with each material that PBRfit makes, in a custom property of it."""

from __future__ import annotations

import json
from typing import Any

import bpy

from .names import RECORD


def is_baked(material: bpy.types.Material) -> bool:
    """Whether a material by PBRfit came from a bake."""
    return bool(record_of(material).get("kind") == "bake")


def record_of(material: bpy.types.Material) -> dict[str, Any]:
    """What is recorded with a fitted material: settings, scene_settings, metrics, objects, set, uv_map, fit; numbers: which of
    the sets of the fit are its own; nodes: what the originals were (`session.prepare.nodes_of`); unseen: which
    of its texels no view saw, by UDIM tile (as text, "0": none), as `protocol.unseen` writes it. Empty where
    somebody has changed the property so that it cannot be read."""
    try:
        record = json.loads(str(material.get(RECORD, "")))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
