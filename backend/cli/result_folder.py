"""The folder of a result: a run overwrites nothing there, except an earlier result of the same object of the same file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from backend.cli.errors import CommandError
from backend.cli.file_stamps import Stamp, is_same, stamp

REPORT, PICTURE = "report.json", "report.png"
TEXTURES = "textures"
"""The folder of images that belong to the result's .blend; their names are always free ones."""
BAKED_KEYS = (
    *("kd", "orm", "normal", "geometry", "emission", "specular", "specular_tint", "anisotropy", "transmission"),
    *("coat", "coat_tint", "coat_normal", "sheen", "sheen_tint"),
    *("subsurface", "subsurface_radius", "subsurface_ior", "thin_film"),
)
BAKED_FILES = tuple(f"{key}{suffix}" for key in BAKED_KEYS for suffix in (".png", ".exr"))
"""What a bake may write for one set of maps."""
FIT_FILES = (*BAKED_FILES, "environment.exr")
"""What a fit may write for one set of maps: it may keep a bake."""
MADE = "made"
"""The entry of report.json that says how its files were when they were made."""
MOST_SHOWN = 5
"""How many files a message lists."""


@dataclass(frozen=True)
class Owner:
    """Whose result it is. ``file``: the path of the artist's .blend, None for the demo's scene; ``object_name``: in it."""

    file: str | None
    object_name: str

    def as_json(self) -> dict[str, Any]:
        """As report.json says it."""
        return {"file": self.file, "object": self.object_name}


def replaceable(out: Path, name: str, owner: Owner, maps: Sequence[str] = FIT_FILES) -> list[str]:
    """The files in ``out``, relative to it, that a run may overwrite: those of an earlier result of the same owner.

    ``name``: of the result's .blend, without its ending; ``maps``: the files that it may have for each set. Raises
    CommandError if the run would overwrite anything else, or what somebody has done to that result since.
    """
    report = read_report(out)
    listed = report.get("files")
    files = [one for one in listed if is_inside(one)] if isinstance(listed, list) else []
    mine = files if {key: report.get(key) for key in ("file", "object")} == owner.as_json() else []
    taken = [one for one in _in_the_way(out, name, owner, maps) if one not in mine or (out / one).is_symlink()]
    if not taken:
        if edited := changed_since(out, report, mine):
            raise CommandError(
                f"{out / edited[0]} was changed after PBRfit made it, and a new result would overwrite that.",
                "Move it to another folder, or give --out another one.",
            )
        return mine
    cure = f"Give --out another folder, such as {out / name}."
    if files and not mine:
        file = report.get("file") or "the demo"
        raise CommandError(f'{out} has the result for "{report.get("object")}" of {file}.', cure)
    shown = ", ".join(taken[:MOST_SHOWN]) + (f" and {len(taken) - MOST_SHOWN} more" if len(taken) > MOST_SHOWN else "")
    raise CommandError(
        f'The result would overwrite what {out} has: {shown}. No earlier result for "{owner.object_name}" wrote that.',
        cure,
    )


def is_inside(name: Any) -> bool:
    """Whether a name in a report is that of something in its folder: anybody may have written the report."""
    if not isinstance(name, str) or not name:
        return False
    path = PureWindowsPath(name)  # which takes both kinds of slashes
    return not path.anchor and ".." not in path.parts


def write_report(out: Path, report: Mapping[str, Any]) -> None:
    """Write the report of a folder, whole or not at all. Raises OSError."""
    part = out / f"{REPORT}.pbrfit-part"
    try:
        part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        os.replace(part, out / REPORT)
    finally:
        part.unlink(missing_ok=True)


def as_made(out: Path, names: Sequence[str]) -> dict[str, Stamp]:
    """How the files of a result are now, for the entry MADE of its report: those that another run would overwrite, except
    the report, which is written last, and its picture."""
    kept = [name for name in names if name not in (REPORT, PICTURE) and not name.startswith(f"{TEXTURES}/")]
    stamps = {name: stamp(out / name) for name in kept if (out / name).is_file()}
    return {name: {key: found[key] for key in found if key != "path"} for name, found in stamps.items()}


def changed_since(out: Path, report: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The files of a result that are there, and are no longer as they were made."""
    made = report.get(MADE)
    known = {name: one for name in names if isinstance(one := made.get(name), dict)} if isinstance(made, dict) else {}
    return [
        name
        for name, one in known.items()
        if os.path.lexists(out / name) and not is_same({**one, "path": str(out / name)})
    ]


def _in_the_way(out: Path, name: str, owner: Owner, maps: Sequence[str]) -> Iterator[str]:
    """What ``out`` has under the names that a result may have. Those in the folder textures are
    chosen free, and those in the folders maps and models are checked when the materials are known."""
    names = [f"{name}.blend", *maps, PICTURE, REPORT]
    if owner.file is not None and (Path(owner.file).parent / f"blendcache_{Path(owner.file).stem}").is_dir():
        names.append(f"blendcache_{name}")
    yield from (one for one in names if os.path.lexists(out / one))
    for folder in (TEXTURES, "maps", "models"):
        if os.path.lexists(out / folder) and not (out / folder).is_dir():
            yield folder
    for place in sorted(out.iterdir()) if out.is_dir() else []:
        if place.name.isdecimal():  # the folder of one of several sets of maps
            found = [f"{place.name}/{one}" for one in maps if os.path.lexists(place / one)]
            yield from found if place.is_dir() else [place.name]


def read_report(out: Path) -> dict[str, Any]:
    """The report in a folder; empty where there is none, or another program's."""
    try:
        content = json.loads((out / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
