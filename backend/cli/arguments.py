"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.cli.errors import CommandError
from backend.protocol.map_names import DEVICES, LONGEST_NAME, shortened
from backend.protocol.map_shape import resolution_of_text, resolution_text
from backend.protocol.quality import DEFAULT_RESOLUTION, LARGEST_MARGIN

MAP_SETS = {"material": "SLOT", "object": "OBJECT", "all": "ALL"}
TARGETS = ("core", "gltf", "principled")
SUPERSAMPLING = (1, 2, 4)
GEOMETRY = {
    "height": "how far the displacement moves the surface",
    "curvature": "how much the surface bends",
    "thickness": "how thick the object is",
}
RENDER_DEVICES = ("auto", "cpu")


def add_file_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the files, the objects in them, the folder for the results, and how to go through many."""
    files = parser.add_argument(
        "blend", type=Path, nargs="+", metavar="FILE", help="the .blend, .glb or .gltf files; not with --jobs"
    )
    files.required = False
    parser.add_argument(
        "--object",
        action="append",
        metavar="NAME",
        help=f"the mesh object to {verb}; may be repeated, and * and ? stand for any letters and any letter",
    )
    parser.add_argument(
        "--collection",
        action="append",
        metavar="NAME",
        help=f"{verb} every mesh object with a material in this collection; as --object",
    )
    parser.add_argument(
        "--with",
        dest="others",
        action="append",
        default=[],
        metavar="NAME",
        help=f"another mesh object to {verb}, into the same maps; can be given several times, with --map-sets all",
    )
    parser.add_argument(
        "--out",
        type=folder,
        metavar="DIR",
        help="folder for the results; of several objects each gets DIR/FILE/OBJECT, or what {file} and {object} in DIR say",
    )


def add_map_options(parser: argparse.ArgumentParser) -> None:
    """Add what the panel offers for the maps; `map_properties` gives what was chosen."""
    parser.add_argument(
        "--map-sets",
        choices=tuple(MAP_SETS),
        default="material",
        help="one set of maps for each material, one for the whole object, or an atlas for all objects (default: %(default)s)",
    )
    new_uv_map = parser.add_mutually_exclusive_group()
    new_uv_map.add_argument(
        "--unwrap",
        action="store_true",
        help="first make a new UV map without overlaps; for an object that has no UV map, or not a good one",
    )
    new_uv_map.add_argument(
        "--pack-islands",
        action="store_true",
        help="first pack the UV islands of all slots, tiles and objects side by side into a new UV map",
    )
    parser.add_argument(
        "--no-udim", action="store_true", help="show the same maps in all UDIM tiles, instead of one set for each"
    )
    parser.add_argument(
        "--resolution",
        type=resolution,
        metavar="N|WIDTHxHEIGHT",
        help=f"width and height of the maps in pixels, powers of two: 2048, or 2048x1024 (default: {DEFAULT_RESOLUTION})",
    )
    parser.add_argument(
        "--material-name",
        metavar="SCHEME",
        help="names of new materials, in which {object} and {material} stand for those that they replace (default: "
        '"{material} PBRfit")',
    )
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default="core",
        help="what a bake keeps: base color, roughness, metallic, normal, alpha and emission; also what glTF's extensions "
        "have; or all of the Principled BSDF (default: %(default)s)",
    )
    parser.add_argument(
        "--supersampling",
        type=int,
        choices=SUPERSAMPLING,
        default=2,
        help="how many points in a row each baked texel is the mean of, where something is finer (default: %(default)s)",
    )
    parser.add_argument(
        "--margin",
        type=margin,
        metavar="all|PIXELS",
        help="how far the maps are filled beside the UV islands, with what the nearest texel of an island has (default: all)",
    )
    parser.add_argument(
        "--occlusion",
        action="store_true",
        help="bake ambient occlusion too, into the red of orm.png; a fit finds it out itself",
    )
    for name, meaning in GEOMETRY.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"bake {meaning} too, into geometry.png")
    parser.add_argument(
        "--images",
        choices=("packed", "files"),
        default="packed",
        help="keep the maps in the .blend, or in a folder textures beside it (default: %(default)s)",
    )


def map_properties(chosen: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_map_options` for ``scene.pbrfit``, except the resolution."""
    return {
        "map_sets": MAP_SETS[chosen.map_sets],
        "use_udim": not chosen.no_udim,
        "image_storage": chosen.images.upper(),
        "bake_target": chosen.target.upper(),
        "supersampling": str(chosen.supersampling),
        "use_occlusion": chosen.occlusion,
        **{f"use_{name}": getattr(chosen, name) for name in GEOMETRY},
        **given(chosen, "material_name"),
        **margin_properties(chosen.margin),
    }


def margin_properties(width: int | None) -> dict[str, Any]:
    """How far maps are filled beside the islands, for ``scene.pbrfit``."""
    return {} if width is None else {"margin_type": "WIDTH", "margin": width}


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add where the backend computes, and where Cycles renders."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--render-device",
        choices=RENDER_DEVICES,
        default="auto",
        help="what Cycles renders references and comparisons with: a GPU if it finds one, or the CPU (default: %(default)s)",
    )


def add_blender_option(parser: argparse.ArgumentParser) -> None:
    """Add which Blender to use."""
    parser.add_argument("--blender", metavar="PATH", help="a Blender program (default: the module bpy of this Python)")


def given(chosen: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of these names that were given."""
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}


def shared_maps(chosen: argparse.Namespace) -> dict[str, Any]:
    """How one set of maps is made for what lies in several, for a `DriveRequest`."""
    return {"pack_islands": chosen.pack_islands, "others": tuple(chosen.others)}


def check_others(chosen: argparse.Namespace) -> None:
    """Raise CommandError where further objects would not share the maps of the first one."""
    if chosen.others and chosen.map_sets != "all":
        raise CommandError("--with adds objects that share one set of maps.", "Give --map-sets all too.")


def check_path(blend: Path) -> None:
    """Raise CommandError where there is no such file."""
    try:
        if blend.is_dir():
            files = ", ".join(sorted(path.name for path in blend.glob("*.blend"))[:10])
            cure = f"Give one of the files in it: {files}." if files else "Give the path of a saved .blend file."
            raise CommandError(f"{blend} is a folder.", cure)
        there = blend.is_file()
    except OSError as error:
        raise CommandError(f"{blend} cannot be read: {error.strerror}.", "Get the right to read its folder.") from error
    if not there:
        raise CommandError(f"{blend} does not exist.", "Give the path of a saved .blend file.")


def file_name(object_name: str) -> str:
    """An object's name as part of a file's name, as every system allows it: one of dots alone would be the folder itself or
    the one above, Windows drops dots and spaces at the end, and gives some names to devices, and since Blender 5 a name may
    be too long for a file with an ending."""
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", object_name)
    name = re.sub(r"[. ]+$", lambda end: "_" * len(end[0]), name)
    name = shortened(name, LONGEST_NAME)
    return f"_{name}" if name.partition(".")[0].casefold() in DEVICES else name


# Parsers ------------------------------------------------------------------------------------------------------------


def folder(text: str) -> Path:
    """The path of a folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give the path of a folder")
    return Path(text)


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(","))


def margin(text: str) -> int | None:
    """A width in pixels, or None for "all"."""
    return None if text == "all" else whole_number(0, LARGEST_MARGIN)(text)


def resolution(text: str) -> int | str:
    """Width and height as records have them: a number where they are the same, else a text such as "2048x1024"."""
    try:
        found = resolution_of_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return found if isinstance(found, int) else resolution_text(found)


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers in a range."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {highest}")
        return int(text)

    return parse
