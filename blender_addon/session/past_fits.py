# SPDX-License-Identifier: GPL-3.0-or-later
"""How long fits took on this machine, kept in the user's folder, so that the next one is estimated by them.

A fit has parts (bake, renders, fit, comparisons), each with a guess from the settings alone and the seconds that it took.
Their ratio says how much faster or slower this machine, device or material is than the guess.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ..common.package import ADDON
from .estimates import Seconds

FILE = "past_fits.json"
MOST_FITS = 60
LATEST = 3  # fits that a ratio is the mean of
LEAST_RATIO, MOST_RATIO = 0.02, 50.0


@dataclass(frozen=True)
class FitKind:
    """What fits are compared by. materials: their names; kind: the verdict on what a bake of them can do; sets: how many sets
    of maps; device: of the backend; quality: the setting's name."""

    materials: tuple[str, ...]
    kind: str
    sets: int
    device: str
    quality: str


@dataclass(frozen=True)
class PastFit:
    """A fit that is over. guess, seconds: of each part; a part that was not needed took no seconds."""

    of: FitKind
    guess: Seconds = field(default_factory=dict)
    seconds: Seconds = field(default_factory=dict)


_known: list[PastFit] | None = None

# From the most to the least alike: the parts of one material that were not needed will not be needed again.
ALIKE: tuple[Callable[[FitKind], object], ...] = (
    lambda one: one,
    lambda one: (one.kind, one.sets, one.device, one.quality),
    lambda one: (one.device, one.quality),
    lambda one: one.device,
)


def learned(guess: Seconds, of: FitKind) -> Seconds:
    """The seconds of each part of a fit: the guess, times what the latest fits that are most alike took of theirs."""
    return {part: seconds * ratio_of(part, of, past_fits()) for part, seconds in guess.items()}


def ratio_of(part: str, of: FitKind, past: Sequence[PastFit]) -> float:
    """How much longer than the guess a part takes on this machine; 1 while nothing is known."""
    for number, likeness in enumerate(ALIKE):
        alike = [one for one in past if likeness(one.of) == likeness(of) and one.guess.get(part, 0.0) > 0.0]
        # Only the same materials tell that a part will not be needed.
        alike = [one for one in alike if number == 0 or one.seconds.get(part, 0.0) > 0.0][-LATEST:]
        if alike:
            took, guessed = sum(one.seconds.get(part, 0.0) for one in alike), sum(one.guess[part] for one in alike)
            return 0.0 if took == 0.0 else min(max(took / guessed, LEAST_RATIO), MOST_RATIO)
    return 1.0


def remember(fit: PastFit) -> None:
    """Keep a fit, in place of the oldest one where there are many; a folder that cannot be written is passed over."""
    known = past_fits()
    known.append(fit)
    del known[:-MOST_FITS]
    with contextlib.suppress(OSError, ValueError):
        write(Path(bpy.utils.extension_path_user(ADDON, create=True)) / FILE, known)


def past_fits() -> list[PastFit]:
    """The fits that are known, the latest last; read from the file once."""
    global _known
    if _known is None:
        _known = []
        with contextlib.suppress(OSError, ValueError):
            _known = read(Path(bpy.utils.extension_path_user(ADDON)) / FILE)
    return _known


def last_device() -> str:
    """Where the last fit was computed, "cuda" or "cpu"; empty before the first."""
    return next((one.of.device for one in reversed(past_fits()) if one.of.device), "")


def forget() -> None:
    """Read the file again when it is asked for."""
    global _known
    _known = None


def read(path: Path) -> list[PastFit]:
    """The fits in a file; entries of another form are left out. Raises OSError, or ValueError if it is no JSON."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    found: list[PastFit] = []
    for entry in entries if isinstance(entries, list) else ():
        with contextlib.suppress(TypeError, KeyError, ValueError, AttributeError):
            found.append(from_json(entry))
    return found[-MOST_FITS:]


def from_json(entry: Any) -> PastFit:
    """An entry of the file. Raises TypeError, KeyError, ValueError or AttributeError if it has another form."""
    of = FitKind(**{**entry["of"], "materials": tuple(entry["of"]["materials"])})
    guess, seconds = ({str(name): float(value) for name, value in entry[key].items()} for key in ("guess", "seconds"))
    hash(of)
    return PastFit(of, guess, seconds)


def write(path: Path, fits: Sequence[PastFit]) -> None:
    """Write all fits in one step, so that no Blender reads half a file. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump([asdict(one) for one in fits], file)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
