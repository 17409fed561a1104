"""What ``pbrfit optimize`` and ``pbrfit bake`` are to do for one object, from their options."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import Any

from backend.cli.arguments import check_others, file_name, given, map_properties, shared_maps
from backend.cli.batch_arguments import result_options
from backend.cli.driving import BAKE, OPTIMIZE, DriveRequest
from backend.cli.errors import CommandError
from backend.cli.layout_arguments import layout_request
from backend.cli.start_arguments import start_properties, start_table
from backend.protocol.map_shape import Resolution, edge_and_shape, resolution_of_text, resolution_text
from backend.protocol.quality import (
    DEFAULT_QUALITY,
    DEFAULT_REFERENCES,
    DEFAULT_RESOLUTION,
    DEFAULT_ROUNDS,
    MAP_NAMES,
)
from backend.protocol.settings import FitSettings, SettingsError


def optimize_request(chosen: argparse.Namespace) -> DriveRequest:
    """What to do for one object. Raises CommandError for settings that cannot be."""
    if chosen.apply_world and not chosen.learn_light:
        raise CommandError("--apply-world has no learned light to apply.", "Give --learn-light too, or leave it out.")
    if chosen.learn_light and chosen.reference_light == "studio":
        raise CommandError(
            "Studio light is known, so there is nothing to learn.",
            "Leave out --learn-light, or choose automatic or scene.",
        )
    defaults = {} if chosen.preset else {"quality": DEFAULT_QUALITY}
    settings = checked_settings(
        maps=chosen.maps,
        learn_light=chosen.learn_light,
        device=chosen.device,
        seed=chosen.seed,
        resolution=_resolution(chosen),
        **defaults | given(chosen, "quality"),
    )
    size = _size_properties(settings)
    if chosen.preset and chosen.resolution is None:
        del size["resolution"]
    preset: dict[str, Any] = {"preset": chosen.preset.upper()} if chosen.preset else defaults
    views = {} if chosen.preset else asdict(DEFAULT_REFERENCES)
    rounds = {} if chosen.preset else {"rounds": DEFAULT_ROUNDS}
    properties = {
        "reference": chosen.reference.upper(),
        **start_properties(chosen),
        **map_properties(chosen),
        "held_out_views": DEFAULT_REFERENCES.held_out_views,
        **preset,
        **views,
        **rounds,
        **size,
        **given(chosen, "quality", "views", "held_out_views", "view_size", "samples", "rounds"),
        **{f"use_{name}": name in settings.maps for name in MAP_NAMES},
        "reference_light": chosen.reference_light.upper(),
        "learn_light": settings.learn_light,
        "apply_world": chosen.apply_world,
        "device": settings.device,
        "render_device": chosen.render_device.upper(),
        "seed": settings.seed,
    }
    table = start_table(chosen)
    reads = () if chosen.start_maps is None else (str(chosen.start_maps.resolve()),)
    return replace(_request(chosen, properties, OPTIMIZE), notes=table, reads=reads)


def bake_request(chosen: argparse.Namespace) -> DriveRequest:
    """What to do for one object. Raises CommandError for settings that cannot be."""
    settings = checked_settings(resolution=_resolution(chosen))
    return _request(chosen, {**map_properties(chosen), **_size_properties(settings)}, BAKE)


def _resolution(chosen: argparse.Namespace) -> Resolution:
    """What is given or, without a preset, the default."""
    return DEFAULT_RESOLUTION if chosen.resolution is None else resolution_of_text(str(chosen.resolution))


def _size_properties(settings: FitSettings) -> dict[str, Any]:
    """How large the maps are, and their shape, for ``scene.pbrfit``: also of square ones, since a file may have others."""
    edge, shape = edge_and_shape(settings.resolution)
    return {"resolution": edge, "map_shape": shape}


def _request(chosen: argparse.Namespace, properties: dict[str, Any], button: str) -> DriveRequest:
    check_others(chosen)
    layout = layout_request(chosen)
    # By its whole path: the same words mean another file in another folder.
    options = result_options(chosen) | {"layout": layout["name"] if layout is not None else None}
    return DriveRequest(
        *(chosen.blend, chosen.object, chosen.out, file_name(chosen.object), properties, chosen.blender),
        unwrap=chosen.unwrap,
        button=button,
        layout=layout,
        export=chosen.export,
        options=options,
        **shared_maps(chosen),
    )


def checked_settings(**values: Any) -> FitSettings:
    """Settings of a fit. Raises CommandError that names the option and what is allowed."""
    try:
        return FitSettings(**values)
    except SettingsError as error:
        option = "--" + error.field.replace("_", "-")
        raise CommandError(f"{option} cannot be {_shown(error.value)}.", f"Allowed: {error.allowed}.") from error


def _shown(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return ",".join(value) if all(isinstance(part, str) for part in value) else resolution_text(value)
