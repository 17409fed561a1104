# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets: settings that go together. Nothing is stored: which preset is shown follows from the settings."""

from __future__ import annotations

from typing import Any

CUSTOM = ("CUSTOM", "Custom", "Settings of your own")
PRESETS = (
    (
        "DRAFT",
        "Draft",
        "A first look: 60 views and maps of 512 pixels",
        {"resolution": 512, "views": 60, "view_size": 192, "samples": 8, "quality": "draft"},
    ),
    (
        "STANDARD",
        "Standard",
        "Good maps in reasonable time: 120 views and maps of 1024 pixels",
        {"resolution": 1024, "views": 120, "view_size": 256, "samples": 8, "quality": "standard"},
    ),
    (
        "HIGH",
        "High",
        "The best maps, slowly: 200 views of twice the size and maps of 2048 pixels",
        {"resolution": 2048, "views": 200, "view_size": 512, "samples": 16, "quality": "high"},
    ),
)


def shown(settings: Any) -> int:
    """The number of the preset whose values the settings have; that of Custom where none has."""
    for number, (_, _, _, values) in enumerate(PRESETS):
        if all(getattr(settings, name) == value for name, value in values.items()):
            return number
    return len(PRESETS)


def choose(settings: Any, number: int) -> None:
    """Give the settings the values of the preset of that number; Custom changes nothing."""
    if number < len(PRESETS):
        for name, value in PRESETS[number][3].items():
            setattr(settings, name, value)
