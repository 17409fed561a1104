"""The options by which a command also saves the maps in the layout of another program."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from backend.cli.errors import CommandError
from backend.protocol.map_layouts import FORMATS, LAYOUTS, LayoutError, OutputOptions, find_layout, with_options
from backend.protocol.map_names import FIELDS

FOLDER = "maps"
"""Where the files are, in the folder of the result."""
BITS = tuple(sorted({bits for known in FORMATS.values() for bits in known.bits}))


def add_layout_options(parser: argparse.ArgumentParser) -> None:
    """Add how the maps are saved besides; `layout_request` gives what was chosen."""
    group = parser.add_argument_group("maps for other programs", "See docs/export.md for the layouts.")
    group.add_argument(
        "--layout",
        metavar="NAME|FILE",
        help=f"also save the maps as files in the folder {FOLDER}, laid out for {', '.join(LAYOUTS)}, or as a TOML or JSON "
        "file says",
    )
    group.add_argument(
        "--pattern",
        help=f"names of these files, of {', '.join('{' + name + '}' for name in FIELDS)} (default: the layout's)",
    )
    group.add_argument("--format", choices=tuple(FORMATS), help="type of these files (default: the layout's)")
    group.add_argument(
        "--bits", type=int, choices=BITS, help="bits of each channel; exr: 16 are half floats (default: the layout's)"
    )
    group.add_argument(
        "--dither", action="store_true", help="round what is finer than 8 bits with noise instead of steps"
    )
    group.add_argument(
        "--size",
        type=pixels,
        metavar="WIDTHxHEIGHT",
        help="width and height of these files in pixels, such as 2048x1024 (default: those of the maps)",
    )
    group.add_argument("--file-quality", type=int, metavar="1-100", help="of jpeg and webp (default: 90)")


def pixels(text: str) -> list[int]:
    """A width and a height. Raises ArgumentTypeError for anything else."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text} is no width and height, such as 2048x1024")
    return [int(part) for part in found.groups()]


def layout_request(chosen: argparse.Namespace) -> dict[str, Any] | None:
    """What drive.py needs to know of these options; None without a layout. Raises CommandError for what does not fit."""
    given = {
        "pattern": chosen.pattern,
        "format": chosen.format,
        "bits": chosen.bits,
        "quality": chosen.file_quality,
        "dither": chosen.dither or None,
        "size": chosen.size,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if chosen.layout is None:
        if given:
            raise CommandError(
                "The options of maps for other programs need a layout.",
                f"Give --layout, such as {next(iter(LAYOUTS))}.",
            )
        return None
    if not 1 <= given.get("quality", 1) <= 100:
        raise CommandError(f"--file-quality cannot be {given['quality']}.", "Allowed: 1 to 100.")
    try:
        layout = find_layout(chosen.layout)
        with_options(layout, OutputOptions(**given))
    except LayoutError as error:
        raise CommandError(error.cause, error.cure) from error
    name = chosen.layout if chosen.layout in LAYOUTS else str(Path(chosen.layout).resolve())
    return {"name": name, "folder": FOLDER, "options": given}
