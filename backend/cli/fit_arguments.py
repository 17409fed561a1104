"""The arguments of ``pbrfit optimize`` and ``pbrfit bake``."""

from __future__ import annotations

import argparse

from backend.cli.arguments import (
    add_blender_option,
    add_device_option,
    add_file_arguments,
    add_map_options,
    names,
    whole_number,
)
from backend.cli.batch_arguments import add_batch_options
from backend.cli.export_arguments import add_export_option
from backend.cli.layout_arguments import add_layout_options
from backend.cli.start_arguments import add_start_options
from backend.protocol.quality import (
    DEFAULT_MAPS,
    DEFAULT_QUALITY,
    DEFAULT_REFERENCES,
    DEFAULT_ROUNDS,
    FEWEST_REFERENCES,
    MAP_NAMES,
    MOST_REFERENCES,
    MOST_ROUNDS,
    QUALITY_NAMES,
)

REFERENCES = ("cycles",)
PRESETS = ("draft", "standard", "high")
STARTS = ("bake", "gray")
REFERENCE_LIGHTS = ("automatic", "studio", "scene")


def add_optimize_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pbrfit optimize``."""
    add_file_arguments(parser, "fit")
    add_batch_options(parser)
    _add_fit_options(parser)
    parser.add_argument(
        "--no-report",
        action="store_true",
        help="do not render the result beside the original: no report.png, which takes as long as a short fit",
    )
    add_start_options(parser)
    add_layout_options(parser)
    add_export_option(parser)
    add_device_option(parser)
    add_blender_option(parser)


def add_bake_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pbrfit bake``."""
    add_file_arguments(parser, "bake")
    add_batch_options(parser)
    add_map_options(parser)
    add_layout_options(parser)
    add_export_option(parser)
    add_blender_option(parser)


def _add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Add what the panel offers. Options that a preset sets are None where they are not given."""
    parser.add_argument("--reference", choices=REFERENCES, default="cycles", help="what to fit to (default: cycles)")
    parser.add_argument(
        "--start",
        choices=STARTS,
        default="bake",
        help="begin with what the nodes say, or with nothing; what a bake says exactly is not fitted (default: %(default)s)",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="views, their size, samples, resolution and quality together; those given besides replace the preset's",
    )
    add_map_options(parser)
    _add_reference_option(parser, "views", "number of renders to fit to")
    _add_reference_option(parser, "held_out_views", "number of further renders that only measure")
    _add_reference_option(parser, "view_size", "width and height of these renders in pixels")
    _add_reference_option(parser, "samples", "Cycles samples for each pixel")
    parser.add_argument(
        "--maps",
        type=names,
        default=DEFAULT_MAPS,
        help=f"some of {','.join(MAP_NAMES)} (default: {','.join(DEFAULT_MAPS)})",
    )
    parser.add_argument(
        "--reference-light",
        choices=REFERENCE_LIGHTS,
        default="automatic",
        help="what lights the renders: the scene's world and lights made for this, those alone, or the world alone "
        "(default: %(default)s)",
    )
    parser.add_argument("--learn-light", action="store_true", help="fit the light too, instead of using the world's")
    parser.add_argument(
        "--apply-world", action="store_true", help="with --learn-light: give the scene a world with the learned light"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default: 0)")
    parser.add_argument("--quality", choices=QUALITY_NAMES, help=f"how long the fit works (default: {DEFAULT_QUALITY})")
    parser.add_argument(
        "--rounds",
        type=whole_number(0, MOST_ROUNDS),
        help="how often Cycles renders the fitted maps, and the fit goes on with what differs "
        f"(default: {DEFAULT_ROUNDS})",
    )


def _add_reference_option(parser: argparse.ArgumentParser, name: str, meaning: str) -> None:
    """Add an option for a field of `References`."""
    fewest, default, most = (getattr(limit, name) for limit in (FEWEST_REFERENCES, DEFAULT_REFERENCES, MOST_REFERENCES))
    option, text = "--" + name.replace("_", "-"), f"{meaning} (default: {default})"
    parser.add_argument(option, type=whole_number(fewest, most), help=text)
