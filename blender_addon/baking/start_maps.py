# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of another origin in place of a bake: files of any size and layout as the inputs of a Principled BSDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..closures.parameters import BASE_COLOR, COLORS, EMISSION, KEPT, NORMALS, VECTORS
from ..closures.values import Triple
from ..common.color import linear_from_srgb
from ..common.color_spaces import to_scene_linear
from ..common.decoded_images import decoded
from ..common.errors import PbrFitError
from ..common.material_recipe import OCCLUSION
from ..common.resizing import resized
from ..protocol.map_layouts import NORMAL, SIGNALS
from ..protocol.map_shape import MapSize, map_size
from ..protocol.start_maps import CHANNELS, WHOLE, ImageBytes
from ..references.plan_work import no_room
from .fields import BOUNDLESS, Array, Baked, Field, Inputs
from .maps import MapWriter
from .start import write_start

Json = dict[str, Any]
OPAQUE = 1.0 - 0.5 / 255.0


def write_start_maps(plan: Json, output: Path) -> Json:
    """Do what a plan with ``start_maps`` asks for in place of a bake; returns what `plan_work.write_maps` does.

    Raises PbrFitError if a file cannot be read or written.
    """
    recipes, files, starts = [], [], []
    entries: list[Json] = plan["start_maps"]
    size = map_size(plan["resolution"])
    decoder = Decoder()
    for number, entry in enumerate(entries):
        inputs = inputs_from(entry, plan["target"], size, decoder)
        baked = Baked(covered={0: np.ones(size, np.bool_)})
        writer = MapWriter(output, {0: f"{number}/" if len(entries) > 1 else ""})
        recipes.append(writer.recipe(plan["target"], inputs, baked, [], {}).to_json())
        files += writer.files
        starts.append(f"start_{number}.npz")
        try:
            write_start(output / starts[-1], inputs, baked, [], 0, size)
        except OSError as error:
            raise no_room(output / starts[-1], error) from error
    return {"recipes": recipes, "files": files, "starts": starts}


class Decoder:
    """Decodes files, the last one only once: neighboring properties are often in one."""

    def __init__(self) -> None:
        self._known: tuple[tuple[ImageBytes, bool], Array] | None = None

    def __call__(self, image: ImageBytes, multiplied: bool) -> Array:
        """The stored values of an image, [H, W, C], row 0 at the top. Raises PbrFitError if it cannot be read."""
        key = image, multiplied
        if self._known is None or self._known[0] != key:
            try:
                values = decoded(image.read(), multiplied)
            except OSError as error:
                raise PbrFitError(f"{image.name} cannot be read: {error.strerror}.", "Check its path.") from error
            except RuntimeError as error:  # Blender gives no pixels of a damaged file
                raise damaged(image) from error
            if not values.size or not np.isfinite(values).all():
                raise damaged(image)
            self._known = key, values
        return self._known[1]


def damaged(image: ImageBytes) -> PbrFitError:
    """The error for a file that is no whole image."""
    return PbrFitError(f"{image.name} is damaged, or has values that are no numbers.", "Replace the file.")


def inputs_from(entry: Json, target: str, size: MapSize, decode: Decoder) -> Inputs:
    """The inputs that the maps of one set say, at [H, W], `size`. entry: of `protocol.start_maps.start_entry`.

    What no map says is as in a new material. Raises PbrFitError if a file cannot be read.
    """
    constants: dict[str, Triple] = {
        name: (SIGNALS[signal].neutral,) * 3
        for signal, name in (("base_color", BASE_COLOR), ("roughness", "Roughness"), ("metallic", "Metallic"))
    }
    constants["IOR"] = (1.5, 1.5, 1.5)
    kept = {*KEPT[target], OCCLUSION}
    for signal, numbers in entry["numbers"].items():
        if (name := input_of(signal)) in kept:
            found = np.array(numbers if len(numbers) == 3 else numbers * 3, np.float32)
            constants[name] = triple(to_scene_linear(found) if name in COLORS else found)
    fields: dict[str, Field] = {}
    for item in sorted(entry["maps"], key=lambda one: (one["image"]["path"], one["image"]["start"])):
        name = input_of(item["signal"])
        if name in kept:
            values = resized(values_of(item, decode), size[1], size[0])
            if name == "Alpha" and values.min() >= OPAQUE:
                continue
            fields[name] = {0: as_input(values, item, name)}
            constants.pop(name, None)
    return Inputs(constants, fields)


def input_of(signal: str) -> str:
    """The name of a property among the inputs of `fields.Inputs`."""
    return {"emission": EMISSION, "occlusion": OCCLUSION}.get(signal, SIGNALS[signal].input)


def values_of(item: Json, decode: Decoder) -> Array:
    """What a map says, in its own size: [H, W, 1], or [H, W, 3] for a color, vector or encoded normal; colors are linear."""
    values = decode(ImageBytes(**item["image"]), item["multiplied"])
    if item["part"] != WHOLE:
        place = CHANNELS.index(item["part"])
        if place == 3 and values.shape[-1] < 4:
            return np.ones((*values.shape[:2], 1), np.float32)
        values = values[..., min(place, values.shape[-1] - 1), None]
        return np.float32(1.0) - values if item["inverted"] else values
    values = np.repeat(values[..., :1], 3, axis=-1) if values.shape[-1] < 3 else values[..., :3]
    if SIGNALS[item["signal"]].kind == NORMAL:
        return np.stack([values[..., 0], 1.0 - values[..., 1], values[..., 2]], axis=-1) if item["directx"] else values
    return values if item["linear"] or input_of(item["signal"]) not in COLORS else linear_from_srgb(values)


def as_input(values: Array, item: Json, name: str) -> Array:
    """Values of a map as the input's: with its factor, colors scene linear, [H, W] for a number."""
    factor = np.array(item["factor"], np.float32)
    if name in NORMALS:
        return ((values * 2.0 - 1.0) * factor * 0.5 + 0.5).astype(np.float32)
    values = values * factor
    if name not in BOUNDLESS and name != EMISSION:
        values = np.clip(values, 0.0, 1.0)
    if name in COLORS:
        return to_scene_linear(values)
    return values if name in VECTORS else np.ascontiguousarray(values[..., 0])


def triple(values: NDArray[np.float32]) -> Triple:
    """Three numbers."""
    x, y, z = (float(value) for value in values)
    return x, y, z
