# SPDX-License-Identifier: GPL-3.0-or-later
"""How good a fitted or baked material is: good, fair or poor, the likely cause, and what to do about it.

It follows from the record that each new material keeps, so it is the same after the file is opened again. The one place
that decides where good and fair end; docs/fitting.md gives the reasons.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..closures.parameters import ALL_LOBES, CORE, GLTF, TARGET_NAMES
from ..closures.verdict import EXACT, UNREADABLE, VIEW
from ..common.light_names import SCENE, STUDIO
from ..comparing.errors import BAKE as BAKED
from ..protocol.quality import MOST_REFERENCES
from ..settings.presets import at_least
from ..settings.start import BAKE, GRAY, MAPS
from .verdict_text import compared_text

GOOD, FAIR, POOR, UNKNOWN = "GOOD", "FAIR", "POOR", "UNKNOWN"
LABELS = {GOOD: "Good", FAIR: "Fair", POOR: "Poor", UNKNOWN: "Not Measured"}
ORDER = (POOR, FAIR, UNKNOWN, GOOD)
"""From the one that needs the artist most."""
GOOD_DB, FAIR_DB = 30.0, 25.0
"""From here on: 8 and 14 codes of 255 root mean square, in the light that shows the greatest difference."""
ONE_LIGHT_DB = 6.0  # how much worse another light is where a material suits only its own
MUCH_UNSEEN = 0.1  # of the maps
HARDLY_BETTER_DB = 0.5  # than the bake
FEW_SAMPLES = 8

STANDARD, HIGH, USE_STUDIO, MORE_VIEWS, FROM_BAKE, KEEP_BAKE, FIT_IT = (
    *("STANDARD", "HIGH", "STUDIO", "VIEWS", "FROM_BAKE", "KEEP_BAKE", "FIT"),
)
REMEDIES = {
    STANDARD: "Fit Again with Standard",
    HIGH: "Fit Again with High",
    USE_STUDIO: "Use Studio Light",
    MORE_VIEWS: "Fit Again with More Views",
    FROM_BAKE: "Fit Again from the Bake",
    KEEP_BAKE: "Keep the Bake",
    FIT_IT: "Fit It Instead",
    CORE: "Keep It: Core",
    GLTF: "Keep It: glTF",
    ALL_LOBES: "Keep It: Principled",
}
"""What one click does about a verdict, by identifier: the labels."""


@dataclass(frozen=True)
class ResultVerdict:
    """grade: one of the names above; cause: why it is no better, one sentence, or what makes it good; remedy: what one click
    does about it, or empty; decibels: what decided, None where nothing was measured; details: lines of numbers and notes."""

    grade: str
    cause: str
    remedy: str = ""
    decibels: float | None = None
    details: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The grade in a word."""
        return LABELS[self.grade]


@lru_cache(maxsize=64)
def verdict_of_record(text: str) -> ResultVerdict:
    """The verdict on a material with this record, which is the text of its custom property. Anybody may have changed it there:
    a record that cannot be read is no reason to draw nothing."""
    try:
        record: dict[str, Any] = json.loads(text)
        verdict = of_bake(record) if record.get("kind") == "bake" else of_fit(record)
        seconds = record.get("seconds")
        took = () if seconds is None else (f"Made in {seconds:.0f} s",)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return ResultVerdict(UNKNOWN, "What was noted with this material cannot be read")
    return replace(verdict, details=verdict.details + took)


def of_bake(record: dict[str, Any]) -> ResultVerdict:
    """The verdict on a bake, which nothing measures: what its nodes say decides."""
    nodes = list(record.get("nodes", {}).values())
    details = tuple(record.get("notes", ()))
    if not nodes:
        return ResultVerdict(UNKNOWN, "Earlier versions did not note how exact a bake is", details=details)
    lost = lost_words(record)
    if lost:
        target = TARGET_NAMES[record["target"]]
        return ResultVerdict(FAIR, f"{target} cannot keep {lost}", keeper_of(record), details=details)
    if all(one["kind"] == EXACT for one in nodes):
        return ResultVerdict(GOOD, "Exactly what the nodes say", details=details)
    if any(one["kind"] == VIEW for one in nodes):
        return ResultVerdict(FAIR, "It changes with the view, which no map can", FIT_IT, details=details)
    return ResultVerdict(FAIR, "Several shaders became one, which nobody has measured", FIT_IT, details=details)


def of_fit(record: dict[str, Any]) -> ResultVerdict:
    """The verdict on a fit: what was measured decides."""
    choices = own_choices(record)
    measured = [score[f"{choice['kept'].lower()}_db"] for choice in choices for score in choice["scores"].values()]
    held_out = record.get("metrics", {}).get("fit_heldout_psnr_db")
    compared = bool(measured)
    if not measured and held_out is not None:
        measured = [held_out]
    details = [line for choice in choices if (line := compared_text(choice))]
    if not compared and held_out is not None:
        details.append(f"{held_out:.1f} dB in views that the fit did not use, their noise included")
    details += record.get("notes", ())
    if record.get("exact"):
        return ResultVerdict(GOOD, "Exactly what the nodes say", details=tuple(details))
    if not measured:
        return ResultVerdict(UNKNOWN, "Nothing was measured", details=tuple(details))
    decibels = min(measured)
    grade = GOOD if decibels >= GOOD_DB else FAIR if decibels >= FAIR_DB else POOR
    cause, remedy = ("", "") if grade == GOOD else why(record, choices)
    if grade == GOOD:
        near = "Hardly any difference" if decibels >= GOOD_DB + 5.0 else "Small differences"
        cause = f"{near} from the original"
    return ResultVerdict(grade, cause, remedy, decibels, tuple(details))


def why(record: dict[str, Any], choices: list[dict[str, Any]]) -> tuple[str, str]:
    """The likely cause why a fit is not good, and the remedy: the first that is found, those that explain most first."""
    return next(found for ask in CAUSES if (found := ask(record, choices)) is not None)


Found = tuple[str, str] | None


def lost_lobes(record: dict[str, Any], _choices: list[dict[str, Any]]) -> Found:
    """The target lacks what the nodes have."""
    words, keeper = lost_words(record), keeper_of(record)
    with_bake = scene(record, "start") not in (GRAY, MAPS)
    target = target_name(record) if with_bake else "A fit that does not begin with the bake"
    return (f"{target} cannot keep {words}", keeper) if words and keeper else None


def changes_with_view(record: dict[str, Any], _choices: list[dict[str, Any]]) -> Found:
    """A texel has one value."""
    seen = any(one["kind"] == VIEW for one in record.get("nodes", {}).values())
    return ("It changes with the view, which no map can", "") if seen else None


def flat_light(record: dict[str, Any], _choices: list[dict[str, Any]]) -> Found:
    """The light tells too little."""
    lack = record.get("lack", "")
    return (f"The light told little: {lack}", USE_STUDIO) if lack else None


def suits_one_light(record: dict[str, Any], choices: list[dict[str, Any]]) -> Found:
    """It is near in its own light, and not in another."""
    for choice in choices:
        by_light = {light: score[f"{choice['kept'].lower()}_db"] for light, score in choice["scores"].items()}
        own = by_light.get("own")
        if own is not None and own - min(by_light.values()) >= ONE_LIGHT_DB and record.get("light") != STUDIO:
            return "It suits only the light that it was fitted in", USE_STUDIO
    return None


def learned_light(record: dict[str, Any], _choices: list[dict[str, Any]]) -> Found:
    """Light and color share what is seen."""
    learned = scene(record, "learn_light") and record.get("light", SCENE) == SCENE
    return ("Colors and the learned light may have been mixed up", USE_STUDIO) if learned else None


def much_unseen(record: dict[str, Any], _choices: list[dict[str, Any]]) -> Found:
    """Views miss a part of it."""
    first = record.get("metrics", {}).get("texels_unseen", 0.0)  # before the rounds: all that earlier versions noted
    share = record.get("unseen_share", first)
    more = MORE_VIEWS if (scene(record, "views") or 0) < MOST_REFERENCES.views else ""
    return (f"No view sees {share:.0%} of the maps", more) if share >= MUCH_UNSEEN else None


def began_with_gray(record: dict[str, Any], _choices: list[dict[str, Any]]) -> Found:
    """The nodes could have told more."""
    readable = all(one["kind"] != UNREADABLE for one in record.get("nodes", {}).values())
    gray = scene(record, "start") == GRAY and readable
    return ("It began with gray, not with what the nodes say", FROM_BAKE) if gray else None


def no_better_than_bake(_record: dict[str, Any], choices: list[dict[str, Any]]) -> Found:
    """The fit brought nothing."""
    gains = [
        score[f"{choice['kept'].lower()}_db"] - score["bake_db"]
        for choice in choices
        if choice["kept"] != BAKED and choice.get("start") != MAPS
        for score in choice["scores"].values()
        if "bake_db" in score
    ]
    little = bool(gains) and max(gains) < HARDLY_BETTER_DB
    return ("The fit is hardly nearer than the bake, which has no grain", KEEP_BAKE) if little else None


def short_work(record: dict[str, Any], choices: list[dict[str, Any]]) -> Found:
    """The preset asked for little."""
    quality = scene(record, "quality")
    if quality == "draft":
        few = not choices and (scene(record, "samples") or FEW_SAMPLES) < FEW_SAMPLES
        return "Few samples: a part of this is their noise" if few else "Draft is a first look", STANDARD
    return ("Standard takes fewer and smaller views than High", HIGH) if quality == "standard" else None


def nothing_helps(record: dict[str, Any], _choices: list[dict[str, Any]]) -> Found:
    """What is left."""
    words = lost_words(record)
    return (f"No map can hold {words}" if words else "One material of this kind cannot look nearer", "")


CAUSES: tuple[Callable[[dict[str, Any], list[dict[str, Any]]], Found], ...] = (
    lost_lobes,
    changes_with_view,
    flat_light,
    suits_one_light,
    learned_light,
    much_unseen,
    began_with_gray,
    no_better_than_bake,
    short_work,
    nothing_helps,
)


def changed_settings(remedy: str, settings: dict[str, Any]) -> dict[str, bool | int | str]:
    """The settings of the scene that a remedy changes, from those that the material was made with."""
    if remedy in (STANDARD, HIGH):
        return at_least(remedy, settings)
    if remedy == MORE_VIEWS:
        return {"views": min(2 * int(settings.get("views", 0)), MOST_REFERENCES.views)}
    if remedy in TARGET_NAMES:
        return {"bake_target": remedy, "start": BAKE}
    changes: dict[str, dict[str, bool | int | str]] = {
        USE_STUDIO: {"reference_light": STUDIO, "learn_light": False},
        FROM_BAKE: {"start": BAKE},
    }
    return changes.get(remedy, {})


def own_choices(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What the comparison says of the material's own sets; of all sets where the record does not tell which are its own."""
    choices: list[dict[str, Any]] = record.get("compared", [])
    numbers = record.get("numbers", range(len(choices)))
    return [choices[number] for number in numbers if number < len(choices)]


def lost_words(record: dict[str, Any]) -> str:
    """What the nodes have and the target cannot keep: "a coat, sheen and a thin film"."""
    words = list(dict.fromkeys(word for one in record.get("nodes", {}).values() for word in one["lost"]))
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def keeper_of(record: dict[str, Any]) -> str:
    """The target that keeps what is lost of all materials, or empty."""
    keepers = [one["keeper"] for one in record.get("nodes", {}).values() if one["keeper"]]
    return max(keepers, key=(CORE, GLTF, ALL_LOBES).index, default="")


def scene(record: dict[str, Any], name: str) -> Any:
    """A setting that the material was made with; None if it is not known."""
    return record.get("scene_settings", {}).get(name)


def target_name(record: dict[str, Any]) -> str:
    """What the bake was for, in words."""
    return TARGET_NAMES.get(str(scene(record, "bake_target")), TARGET_NAMES[CORE])
