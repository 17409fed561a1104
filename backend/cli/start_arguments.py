"""The options by which a fit begins with maps of another origin."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backend.cli.errors import CommandError
from backend.protocol.find_start_maps import find_maps
from backend.protocol.map_layouts import DIRECTX, LAYOUTS, OPENGL
from backend.protocol.start_maps import StartMapsError

NORMALS = (OPENGL, DIRECTX)


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Add which maps a fit begins with; `start_properties` gives what was chosen."""
    group = parser.add_argument_group("maps to begin with", "See docs/fitting.md for the names that are understood.")
    group.add_argument(
        "--start-maps",
        type=Path,
        metavar="FOLDER|FILE",
        help="begin the fit with the maps in a folder or in the materials of a .glb or .gltf, in place of the bake",
    )
    group.add_argument(
        "--start-layout",
        metavar="NAME|FILE",
        help=f"what wrote the folder: {', '.join(LAYOUTS)}, or a TOML or JSON file (default: the names of the files tell)",
    )
    group.add_argument(
        "--start-normals", choices=NORMALS, help="which way green points in them (default: as names or the layout say)"
    )


def start_properties(chosen: argparse.Namespace) -> dict[str, Any]:
    """What a fit begins with, for ``scene.pbrfit``. Raises CommandError for maps that cannot be used."""
    if chosen.start_maps is None:
        if chosen.start_layout or chosen.start_normals:
            raise CommandError(
                "--start-layout and --start-normals say how maps are, and there are none.", "Give --start-maps."
            )
        return {"start": chosen.start.upper()}
    layout = chosen.start_layout or ""
    if layout and layout not in LAYOUTS:
        layout = str(Path(layout).resolve())
    start_table(chosen)
    return {
        "start": "MAPS",
        "start_maps": str(chosen.start_maps.resolve()),
        "start_layout": layout,
        "start_normals": (chosen.start_normals or "automatic").upper(),
    }


def start_table(chosen: argparse.Namespace) -> tuple[str, ...]:
    """What is taken as what, a line each; none without maps. Raises CommandError for maps that cannot be used."""
    if chosen.start_maps is None:
        return ()
    try:
        found = find_maps(str(chosen.start_maps), chosen.start_layout or "", chosen.start_normals or "")
    except StartMapsError as error:
        raise CommandError(error.cause, error.cure) from error
    return (f"The fit begins with the maps of {chosen.start_maps}:", *(f"  {line}" for line in found.words()))
