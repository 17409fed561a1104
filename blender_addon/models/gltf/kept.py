# SPDX-License-Identifier: GPL-3.0-or-later
"""What glTF cannot say of a new material: written into the file beside what it says, from where PBRfit restores it on import.

It is in `extras` of the material, which other programs leave alone: {"pbrfit_principled": {"version": 1, "inputs": {...},
"properties": {...}}}. Inputs and properties are named as those of the Principled BSDF. An input has a number, three numbers, or
{"image": the name of an image of the file, "part": "color", "red", "green", "blue" or "alpha", "range": what 0 and 1 stand for,
if they are not themselves}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...assign.saved_maps import image_files
from ...common.color import srgb_from_linear
from ...common.errors import PbrFitError
from ...common.reached_nodes import WITHOUT_WEIGHT
from ...protocol.map_layouts import COLOR, SIGNALS
from ...protocol.png import png
from ...saving.material_signals import WHOLE, ImagePart, Said, neutral
from ...saving.pixels import Decoder
from .file import GltfFile, media_type
from .maps import Array, values_of

EXTRAS, VERSION = "pbrfit_principled", 1
IRIDESCENCE = "KHR_materials_iridescence"
USUAL_THICKNESS = 400.0  # the largest, in nm, of glTF; Blender 5.2 reads no other
THIN_WALL = "Thin Wall"  # no map can hold it; from Blender 5.2 on
USUAL_PROPERTIES = {"distribution": "MULTI_GGX", "subsurface_method": "RANDOM_WALK"}
NO_WORD = (
    *("diffuse_roughness", "coat_ior", "coat_tint"),
    *("subsurface", "subsurface_radius", "subsurface_scale", "subsurface_ior", "subsurface_anisotropy"),
    *("thin_film_thickness", "thin_film_ior"),
)
"""The signals for which glTF, or Blender's importer of it, has no word."""


@dataclass(frozen=True)
class Film:
    """A thin film. thickness: in nm, [h, w, 1] or [1, 1, 1]; ior: its IOR."""

    thickness: Array
    ior: float


@dataclass(frozen=True)
class Kept:
    """What a file has of a material beside glTF's own words. inputs: by identifier; properties: of the Principled BSDF."""

    inputs: Mapping[str, Said | bool]
    properties: Mapping[str, str]
    film: Film | None = None


def is_seen(said: Mapping[str, Said], name: str) -> bool:
    """Whether a signal can change how a material looks: it is not at its neutral value, and not without weight."""
    own = said[name]
    if not isinstance(own, ImagePart) and np.allclose(own, neutral(SIGNALS[name])):
        return False
    for weight, without in WITHOUT_WEIGHT.items():
        signal = next((key for key, item in SIGNALS.items() if item.input == weight), "")
        if SIGNALS[name].input in without and signal and said[signal] == (0.0,):
            return False
    return True


def unsaid(
    material: bpy.types.Material,
    said: Mapping[str, Said],
    changed: set[str],
    film: Film | None,
) -> Kept:
    """What glTF cannot say of a material. changed: the signals that were changed for it."""
    shader = next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    weighty = is_seen(said, "subsurface")
    names = [name for name in NO_WORD if is_seen(said, name) or (weighty and name.startswith("subsurface"))]
    inputs: dict[str, Said | bool] = {SIGNALS[name].input: said[name] for name in [*names, *sorted(changed)]}
    there = {socket.identifier: socket for socket in shader.inputs}
    if THIN_WALL in there and there[THIN_WALL].default_value:
        inputs[THIN_WALL] = True
    properties = {
        name: getattr(shader, name)
        for name, usual in USUAL_PROPERTIES.items()
        if getattr(shader, name) != usual and (weighty or name != "subsurface_method")
    }
    return Kept(inputs, properties, film)


def write_kept(path: Path, kept: Mapping[str, Kept], folder: str) -> None:
    """Add to a glTF file what was kept of its materials, by their names. folder: the name of that of its images, if they lie
    beside it. Raises PbrFitError."""
    if not any(item.inputs or item.properties or item.film for item in kept.values()):
        return
    try:
        file = GltfFile.read(path, folder)
        for material in file.json.get("materials", []):
            if (own := kept.get(material.get("name", ""))) is not None:
                add_kept(file, material, own)
        file.write()
    except OSError as error:
        raise PbrFitError(f"{path} cannot be written: {error.strerror}.", "Make room on the disk.") from error


def add_kept(file: GltfFile, material: dict[str, Any], own: Kept) -> None:
    """Add to a material of a file what was kept of it. Raises OSError and PbrFitError."""
    if own.inputs or own.properties:
        decode = Decoder()
        inputs = {name: entry(file, material["name"], name, value, decode) for name, value in own.inputs.items()}
        extras = {"version": VERSION, "inputs": inputs, "properties": dict(own.properties)}
        material.setdefault("extras", {})[EXTRAS] = extras
    if own.film is not None:
        add_film(file, material, own.film)


def entry(file: GltfFile, owner: str, name: str, value: Said | bool, decode: Decoder) -> Any:
    """What the file has of one input: see above. Its image is added, if the file has it not yet."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, ImagePart):
        return value[0] if len(value) == 1 else list(value)
    data = image_files(value.image)[0]
    found: dict[str, Any] = {"part": value.part}
    if media_type(data) is None:  # floats
        signal = next(item for item in SIGNALS.values() if item.input == name)
        values = values_of(value, decode)
        low, high = (0.0 if signal.kind == COLOR else float(values.min())), float(values.max())
        scaled = (values - low) / max(high - low, 1e-9)
        stored = srgb_from_linear(scaled) if signal.kind == COLOR else scaled
        data = png(np.rint(65535.0 * np.clip(stored, 0.0, 1.0)).astype(np.uint16), signal.kind == COLOR)
        found |= {"part": value.part if value.part == WHOLE else "red", "range": [low, high]}
    return {"image": file.image(f"{owner} {name}", data), **found}


def add_film(file: GltfFile, material: dict[str, Any], film: Film) -> None:
    """Say a thin film in glTF's own words: a map of its thickness, also where that is the same everywhere."""
    most = max(USUAL_THICKNESS, float(film.thickness.max()))
    pixels = np.rint(255.0 * np.clip(np.repeat(film.thickness, 3, axis=-1) / most, 0.0, 1.0)).astype(np.uint8)
    image = file.image(f"{material['name']} Thin Film", png(pixels, False))
    material.setdefault("extensions", {})[IRIDESCENCE] = {
        "iridescenceFactor": 1.0,
        "iridescenceIor": max(1.0, film.ior),
        "iridescenceThicknessMinimum": 0.0,
        "iridescenceThicknessMaximum": most,
        "iridescenceThicknessTexture": {"index": file.texture(image), **file.coordinates(material)},
    }
    file.uses(IRIDESCENCE)
