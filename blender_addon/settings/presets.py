# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets: settings that go together. A preset is not stored: the settings tell which one is shown."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..protocol.quality import DEFAULT_QUALITY, DEFAULT_REFERENCES, DEFAULT_RESOLUTION, DEFAULT_ROUNDS, QUALITIES


class Preset(NamedTuple):
    """A preset: its identifier, label and description in Blender, and its values by the names of the settings."""

    identifier: str
    label: str
    description: str
    values: dict[str, int | str]


CUSTOM = ("CUSTOM", "Custom", "Your own settings")
PRESETS = (
    Preset(
        "DRAFT",
        "Draft",
        "A first look: 60 views and maps of 512 pixels",
        {"resolution": 512, "views": 60, "view_size": 192, "samples": 8, "quality": "draft", "rounds": 0},
    ),
    Preset(
        "STANDARD",
        "Standard",
        f"Good maps in reasonable time: {DEFAULT_REFERENCES.views} views and maps of {DEFAULT_RESOLUTION} pixels",
        {
            "resolution": DEFAULT_RESOLUTION,
            "views": DEFAULT_REFERENCES.views,
            "view_size": DEFAULT_REFERENCES.view_size,
            "samples": DEFAULT_REFERENCES.samples,
            "quality": DEFAULT_QUALITY,
            "rounds": DEFAULT_ROUNDS,
        },
    ),
    Preset(
        "HIGH",
        "High",
        "The best maps, slowly: 200 views of twice the size and maps of 2048 pixels",
        {"resolution": 2048, "views": 200, "view_size": 512, "samples": 16, "quality": "high", "rounds": 2},
    ),
)


def shown(settings: Any) -> int:
    """The number of the preset whose values the settings have, or that of Custom if none has."""
    for number, preset in enumerate(PRESETS):
        if all(getattr(settings, name) == value for name, value in preset.values.items()):
            return number
    return len(PRESETS)


def choose(settings: Any, number: int) -> None:
    """Give the settings the values of the preset with that number; Custom changes nothing."""
    if number < len(PRESETS):
        for name, value in PRESETS[number].values.items():
            setattr(settings, name, value)


def at_least(identifier: str, settings: dict[str, Any]) -> dict[str, bool | int | str]:
    """The values of a preset, except where the settings, by name, ask for more already."""
    qualities = list(QUALITIES)
    found: dict[str, bool | int | str] = {}
    for name, value in next(preset.values for preset in PRESETS if preset.identifier == identifier).items():
        own = settings.get(name, value)
        if isinstance(value, int):
            found[name] = max(value, int(own))
        else:
            found[name] = max(value, str(own), key=lambda name: qualities.index(name) if name in qualities else -1)
    return found
