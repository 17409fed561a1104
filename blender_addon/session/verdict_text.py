# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison of bake and fit found, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..comparing.errors import BAKE, FIT
from ..settings.start import MAPS

LIGHTS = {"own": "own light", "unseen": "another light"}


def compared_text(choice: dict[str, Any]) -> str:
    """Of one set of maps: "Bake 25.3, fit 31.0 dB in own light; ...: the fit is kept", or how near the bake alone is. Empty
    where no view shows it."""
    found, maps = choice["scores"], choice.get("start") == MAPS
    if found and not any("fit_db" in score for score in found.values()):
        near = ", ".join(f"{score['bake_db']:.1f} dB in {LIGHTS[light]}" for light, score in found.items())
        if maps:
            return f"Start {near}: so near that nothing was fitted"
        return f"Bake {near}: so near that nothing was fitted"
    scores = [f"{scores_text(score, maps)} dB in {LIGHTS[light]}" for light, score in found.items()]
    text = "; ".join(scores)
    text = text[:1].upper() + text[1:]
    return f"{text}: the {kept_text(choice['kept'], maps)} is kept" if scores else ""


def scores_text(score: dict[str, float], maps: bool = False) -> str:
    """The decibels of each candidate: "bake 25.3, fit 31.0, corrected 33.0". maps: the fit began with maps, not with a bake."""
    return ", ".join(
        f"{kept_text(name.removesuffix('_db').upper(), maps)} {value:.1f}" for name, value in score.items()
    )


def kept_text(name: str, maps: bool = False) -> str:
    """A candidate in words: "bake", "fit", "corrected fit"; after more than one round with its number. maps: as in
    `scores_text`."""
    if name == BAKE and maps:
        return "start"
    if name in (BAKE, FIT):
        return name.lower()
    number = int(name.rpartition("_")[2])
    return "corrected fit" if number == 1 else f"fit corrected {number} times"


def compared_lines(names: Sequence[str], choices: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each set of maps that was compared, with its name where there are several; none where nothing was."""
    if not choices:
        return []
    texts = dict.fromkeys(
        (name, text) for name, choice in zip(names, choices, strict=True) if (text := compared_text(choice))
    )
    return [text if len(choices) == 1 else f"{name}: {text}" for name, text in texts]
