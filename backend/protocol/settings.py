"""The settings of one fit, as they travel in the `submit` message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeGuard

from .map_shape import MapSize, Resolution, as_resolution, map_size
from .quality import (
    DEFAULT_MAPS,
    DEFAULT_QUALITY,
    DEFAULT_RESOLUTION,
    LARGEST_ASPECT,
    LARGEST_MARGIN,
    LARGEST_RESOLUTION,
    MAP_NAMES,
    MOST_ROUNDS,
    QUALITY_NAMES,
    SMALLEST_RESOLUTION,
)

SHADING_NAMES = ("principled", "nvdiffrec")
LARGEST_SEED = 2**31 - 1
# Protocol 1 has a word of its own for nvdiffrec's formula.
_SHADING_ON_THE_WIRE = {"principled": "principled", "nvdiffrec": "seed"}
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


class SettingsError(ValueError):
    """A setting has a value that is not allowed, or is not a setting at all.

    Attributes: `field` (its name), `value` (what was given) and `allowed` (a phrase that says what would do).
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        shown = repr(value)
        shown = shown if len(shown) <= 100 else shown[:97] + "..."
        super().__init__(f"Setting {field!r} is {shown}; allowed: {allowed}.")
        self.field = field
        self.value = value
        self.allowed = allowed


@dataclass(frozen=True)
class FitSettings:
    """What to fit and how. Every value is checked on construction; a bad one raises `SettingsError`.

    resolution: edge of square maps in texels, or (width, height) of others; each a power of two from 16 to 8192, since the
        fit doubles it from a coarse start and every engine can mip such a map. One is at most 8 times the other. Of the same
        width and height it is kept as one number.
    maps: which maps to fit, a subset of kd, ks, normal, alpha without repeats; kd is required. Kept in that order.
    learn_light: fit the environment too, instead of taking the given one as known.
    device: "auto", "cpu", "cuda" or "cuda:N".
    seed: of the random sample batches, 0..2^31-1.
    quality: "draft", "standard" or "high": how long and how finely the fit works.
    shading: "principled" (as Blender's Principled BSDF) or "nvdiffrec" (its split-sum formula).
    self_shadowing: whether the object's own shape darkens its light.
    correction: 0, or the number of the round after a fit: the job starts from that fit's maps, and each view comes with a
        render of them, so that what this renderer and that of the references see differently is taken off.
    margin: how many texels beside the faces get the values of the nearest face, 0 to 1024; None: all.
    """

    resolution: Resolution = DEFAULT_RESOLUTION
    maps: tuple[str, ...] = DEFAULT_MAPS
    learn_light: bool = False
    device: str = "auto"
    seed: int = 0
    quality: str = DEFAULT_QUALITY
    shading: str = "principled"
    self_shadowing: bool = True
    correction: int = 0
    margin: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolution", _checked_resolution(self.resolution))
        object.__setattr__(self, "maps", _checked_maps(self.maps))
        _check_flag("learn_light", self.learn_light)
        if not isinstance(self.device, str) or not _DEVICE.fullmatch(self.device):
            raise SettingsError("device", self.device, "auto, cpu, cuda, or cuda:N with the number N of a GPU")
        if not _is_integer(self.seed) or not 0 <= self.seed <= LARGEST_SEED:
            raise SettingsError("seed", self.seed, f"a whole number from 0 to {LARGEST_SEED}")
        _check_name("quality", self.quality, QUALITY_NAMES)
        _check_name("shading", self.shading, SHADING_NAMES)
        _check_flag("self_shadowing", self.self_shadowing)
        if not _is_integer(self.correction) or not 0 <= self.correction <= MOST_ROUNDS:
            raise SettingsError("correction", self.correction, f"a whole number from 0 to {MOST_ROUNDS}")
        if self.margin is not None and not (_is_integer(self.margin) and 0 <= self.margin <= LARGEST_MARGIN):
            raise SettingsError("margin", self.margin, f"a whole number from 0 to {LARGEST_MARGIN}, or none")

    @property
    def map_size(self) -> MapSize:
        """Height and width of the maps in texels."""
        return map_size(self.resolution)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values; `from_dict` takes them back."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        if not isinstance(self.resolution, int):
            values["resolution"] = list(self.resolution)
        values["maps"] = list(self.maps)
        values["shading"] = _SHADING_ON_THE_WIRE[self.shading]
        if self.margin is None:
            del values["margin"]  # servers of earlier versions fill all, and know no such setting
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FitSettings:
        """Settings from JSON values; what is absent takes its default, an unknown name raises `SettingsError`."""
        if not isinstance(values, Mapping):
            raise SettingsError("settings", values, "a JSON object of settings")
        names = [field.name for field in fields(cls)]
        for name, value in values.items():
            if name not in names:
                raise SettingsError(str(name), value, "one of the settings " + ", ".join(names))
        given = dict(values)
        if (word := given.get("shading")) is not None:
            named = {wire: name for name, wire in _SHADING_ON_THE_WIRE.items()}
            given["shading"] = named.get(word, word) if isinstance(word, str) else word
        return cls(**given)


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_edge(value: object) -> TypeGuard[int]:
    return _is_integer(value) and SMALLEST_RESOLUTION <= value <= LARGEST_RESOLUTION and value & (value - 1) == 0


def _checked_resolution(value: object) -> Resolution:
    if _is_edge(value):
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2 and _is_edge(value[0]) and _is_edge(value[1]):
        width, height = value
        if max(width, height) <= LARGEST_ASPECT * min(width, height):
            return as_resolution(width, height)
    raise SettingsError(
        "resolution",
        value,
        f"a power of two from {SMALLEST_RESOLUTION} to {LARGEST_RESOLUTION}, or two of them, width and height, of which one is "
        f"at most {LARGEST_ASPECT} times the other",
    )


def _checked_maps(value: object) -> tuple[str, ...]:
    names = list(value) if isinstance(value, (tuple, list)) else []
    good = all(isinstance(name, str) and name in MAP_NAMES for name in names)
    if not good or "kd" not in names or len(set(names)) != len(names):
        raise SettingsError("maps", value, "kd, and any of ks, normal, alpha, each once")
    return tuple(name for name in MAP_NAMES if name in names)


def _check_flag(field: str, value: object) -> None:
    if not isinstance(value, bool):
        raise SettingsError(field, value, "true or false")


def _check_name(field: str, value: object, names: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in names:
        raise SettingsError(field, value, ", ".join(names))
