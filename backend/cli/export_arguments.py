"""The option by which a command also exports its result as a model, and as pictures and films."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backend.protocol.model_kinds import KINDS

FOLDER = "models"
"""Where the files are, in the folder of the result."""
TURNTABLE, SHEET = "turntable", "sheet"
NAMES = (*KINDS, TURNTABLE, SHEET)
TURNTABLE_VALUES = {"form": "MP4", "frames": 72, "fps": 24, "size": [512, 512], "samples": 32, "engine": "CYCLES"}
SHEET_VALUES = {"size": 384, "samples": 32}


def add_export_option(parser: argparse.ArgumentParser) -> None:
    """Add what is exported besides; `export_request` gives what was chosen."""
    group = parser.add_argument_group("models for other programs", "See docs/export.md.")
    group.add_argument(
        "--export",
        type=exported_names,
        metavar="KIND,...",
        default=(),
        help=f"also write the result into the folder {FOLDER} as {', '.join(KINDS)}, as a {TURNTABLE} (MP4), or as a contact "
        f"{SHEET} (PNG)",
    )


def exported_names(text: str) -> tuple[str, ...]:
    """The kinds in a list with commas. Raises argparse.ArgumentTypeError for one that there is not."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        what = f'there is no "{unknown[0]}"' if unknown else "nothing is named"
        raise argparse.ArgumentTypeError(f"{what}; there are {', '.join(NAMES)}")
    return names


def export_request(names: tuple[str, ...], stem: str, title: str) -> list[dict[str, Any]]:
    """What drive.py needs to know of the option. stem: of the names of the files; title: on a contact sheet."""
    found: list[dict[str, Any]] = []
    for name in names:
        if name == TURNTABLE:
            found.append({"what": TURNTABLE, "path": f"{FOLDER}/{stem}.mp4", **TURNTABLE_VALUES})
        elif name == SHEET:
            found.append({"what": SHEET, "path": f"{FOLDER}/{stem}_sheet.png", "title": title, **SHEET_VALUES})
        else:
            # The three documents of MaterialX have one ending.
            middle = name.removeprefix("mtlx") if name.startswith("mtlx") else ""
            path = f"{FOLDER}/{stem}{middle.replace('-', '_')}{KINDS[name].suffix}"
            found.append({"what": "model", "kind": name, "path": path})
    return found


def export_text(result: dict[str, Any], out: Path) -> str:
    """What was exported, in words; empty where nothing was asked for."""
    files = result.get("exported") or []
    return f"Exported {len(files)} file{'' if len(files) == 1 else 's'}: {out / FOLDER}" if files else ""
