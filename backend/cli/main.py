"""The command ``pbrfit``: demo, optimize, bake, serve, status, stop, keys, doctor."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.cli.arguments import (
    add_blender_option,
    add_device_option,
    add_file_arguments,
    add_map_options,
    check_others,
    check_path,
    file_name,
    folder,
    given,
    map_properties,
    names,
    shared_maps,
    whole_number,
)
from backend.cli.errors import CommandError, Interrupted
from backend.cli.key_arguments import add_keys_parser
from backend.cli.layout_arguments import add_layout_options, layout_request
from backend.cli.serve_arguments import add_serve_parser, add_status_parser
from backend.protocol.quality import (
    DEFAULT_MAPS,
    DEFAULT_QUALITY,
    DEFAULT_REFERENCES,
    DEFAULT_RESOLUTION,
    DEFAULT_ROUNDS,
    FEWEST_REFERENCES,
    MAP_NAMES,
    MOST_REFERENCES,
    MOST_ROUNDS,
    QUALITY_NAMES,
)
from backend.protocol.settings import FitSettings, SettingsError

EXIT_ERROR = 2
# No space left, a quota or a limit of file sizes reached.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXIT_INTERRUPTED = 130
REFERENCES = ("cycles",)
DEMO_OBJECT = "Suzanne"
PRESETS = ("draft", "standard", "high")
STARTS = ("bake", "gray")
REFERENCE_LIGHTS = ("automatic", "studio", "scene")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0 done, 1 doctor found something missing, 2 error, 130 Ctrl-C."""
    chosen = argument_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = chosen.run
    try:
        return run(chosen)
    except CommandError as error:
        print(f"pbrfit: {error.cause}", *([error.cure] if error.cure else []), sep="\n  ", file=sys.stderr)
        return EXIT_ERROR
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        cause = f"pbrfit: The disk is full: {error.strerror}" + (f" ({error.filename})." if error.filename else ".")
        print(cause, "Free space there, or choose another folder, then run it again.", sep="\n  ", file=sys.stderr)
        return EXIT_ERROR
    except (KeyboardInterrupt, Interrupted):
        print("\npbrfit: cancelled; nothing is left running.", file=sys.stderr)
        return EXIT_INTERRUPTED


def argument_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``."""
    parser = argparse.ArgumentParser(
        prog="pbrfit", description="Fit one clean physically based material to any look of an object."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="build an example scene in Blender, fit it and report")
    demo.add_argument("--out", type=folder, default=Path("demo"), help="folder for the results (default: demo)")
    add_device_option(demo)
    add_blender_option(demo)
    demo.set_defaults(run=run_demo)

    optimize = commands.add_parser("optimize", help="fit the material of an object of a .blend file and report")
    add_file_arguments(optimize, "fit")
    _add_fit_options(optimize)
    optimize.add_argument(
        "--no-report",
        dest="judged",
        action="store_false",
        help="do not render the result beside the original: no report.png, which takes as long as a short fit",
    )
    add_layout_options(optimize)
    add_device_option(optimize)
    add_blender_option(optimize)
    optimize.set_defaults(run=run_optimize)

    bake = commands.add_parser("bake", help="bake what the nodes of an object's materials say, without a backend")
    add_file_arguments(bake, "bake")
    add_map_options(bake)
    add_layout_options(bake)
    add_blender_option(bake)
    bake.set_defaults(run=run_bake)

    add_serve_parser(commands, run_serve)
    add_status_parser(commands, run_status)
    add_keys_parser(commands, run_keys)

    doctor = commands.add_parser("doctor", help="show what is installed, what will be used and what is missing")
    doctor.add_argument("--blender", metavar="PATH", help="a Blender program to check instead of the module bpy")
    doctor.add_argument(
        "--backend-only", action="store_true", help="check only what the backend needs, without Blender"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON, for programs")
    doctor.set_defaults(run=run_doctor)
    return parser


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


def run_demo(chosen: argparse.Namespace) -> int:
    """``pbrfit demo``."""
    settings = _checked_settings(device=chosen.device)
    properties = {
        "map_sets": "OBJECT",
        "device": settings.device,
        "render_device": chosen.render_device.upper(),
    }
    return _optimize(chosen, None, DEMO_OBJECT, "demo", properties)


def run_optimize(chosen: argparse.Namespace) -> int:
    """``pbrfit optimize``. Raises CommandError for wrong arguments before anything starts."""
    check_path(chosen.blend)
    check_others(chosen)
    if chosen.apply_world and not chosen.learn_light:
        raise CommandError("--apply-world has no learned light to apply.", "Give --learn-light too, or leave it out.")
    if chosen.learn_light and chosen.reference_light == "studio":
        raise CommandError(
            "Studio light is known, so there is nothing to learn.",
            "Leave out --learn-light, or choose automatic or scene.",
        )
    defaults = {} if chosen.preset else {"resolution": DEFAULT_RESOLUTION, "quality": DEFAULT_QUALITY}
    settings = _checked_settings(
        maps=chosen.maps,
        learn_light=chosen.learn_light,
        device=chosen.device,
        seed=chosen.seed,
        **defaults | given(chosen, "resolution", "quality"),
    )
    preset: dict[str, Any] = {"preset": chosen.preset.upper()} if chosen.preset else defaults
    views = {} if chosen.preset else asdict(DEFAULT_REFERENCES)
    rounds = {} if chosen.preset else {"rounds": DEFAULT_ROUNDS}
    properties = {
        "reference": chosen.reference.upper(),
        "start": chosen.start.upper(),
        **map_properties(chosen),
        "held_out_views": DEFAULT_REFERENCES.held_out_views,
        **preset,
        **views,
        **rounds,
        **given(chosen, "resolution", "quality", "views", "held_out_views", "view_size", "samples", "rounds"),
        **{f"use_{name}": name in settings.maps for name in MAP_NAMES},
        "reference_light": chosen.reference_light.upper(),
        "learn_light": settings.learn_light,
        "apply_world": chosen.apply_world,
        "device": settings.device,
        "render_device": chosen.render_device.upper(),
        "seed": settings.seed,
    }
    return _optimize(chosen, chosen.blend, chosen.object, file_name(chosen.object), properties)


def run_bake(chosen: argparse.Namespace) -> int:
    """``pbrfit bake``. Raises CommandError for wrong arguments before anything starts."""
    from backend.cli.bake import bake, maps_text
    from backend.cli.driving import BAKE, DriveRequest
    from backend.cli.terminal import ProgressLine

    check_path(chosen.blend)
    check_others(chosen)
    settings = _checked_settings(resolution=DEFAULT_RESOLUTION if chosen.resolution is None else chosen.resolution)
    properties = {
        **map_properties(chosen),
        "resolution": settings.resolution,
    }
    signal.signal(signal.SIGTERM, _interrupt)
    progress = ProgressLine()
    name = file_name(chosen.object)
    request = DriveRequest(
        *(chosen.blend, chosen.object, chosen.out, name, properties, chosen.blender, chosen.unwrap, BAKE),
        layout=layout_request(chosen),
        **shared_maps(chosen),
    )
    try:
        report = bake(request, progress)
    finally:
        progress.clear()
    print(f"{chosen.out / name}.blend: {maps_text(report)} (see {chosen.out / 'report.json'})")
    return 0


def run_serve(chosen: argparse.Namespace) -> int:
    """``pbrfit serve``."""
    from backend.cli.serve import serve

    return serve(chosen)


def run_status(chosen: argparse.Namespace) -> int:
    """``pbrfit status`` and ``pbrfit stop``."""
    from backend.cli.status import ACTIONS

    return ACTIONS[chosen.action](chosen)


def run_doctor(chosen: argparse.Namespace) -> int:
    """``pbrfit doctor``."""
    from backend.cli.doctor import as_json, examine

    findings = examine(chosen.blender, chosen.backend_only)
    if chosen.json:
        print(as_json(findings))
    else:
        print(*findings, sep="\n")
    return 1 if any(finding.missing for finding in findings) else 0


def run_keys(chosen: argparse.Namespace) -> int:
    """``pbrfit keys``."""
    from backend.cli.keys import ACTIONS

    return ACTIONS[chosen.action](chosen)


def _optimize(
    chosen: argparse.Namespace, blend: Path | None, object_name: str, name: str, properties: dict[str, Any]
) -> int:
    from backend.cli.driving import DriveRequest
    from backend.cli.optimize import optimize
    from backend.cli.report_files import summary_text
    from backend.cli.terminal import ProgressLine

    signal.signal(signal.SIGTERM, _interrupt)
    progress = ProgressLine()
    unwrap = blend is not None and chosen.unwrap
    shared = {} if blend is None else shared_maps(chosen) | {"layout": layout_request(chosen)}
    request = DriveRequest(blend, object_name, chosen.out, name, properties, chosen.blender, unwrap, **shared)
    try:
        judged = getattr(chosen, "judged", True)  # the demo always is
        report = optimize(request, progress, judged)
    finally:
        progress.clear()
    if judged:
        print(f"{chosen.out / name}.blend: {summary_text(report)} (see {chosen.out / 'report.png'})")
    else:
        print(f"{chosen.out / name}.blend (see {chosen.out / 'report.json'})")
    return 0


def _checked_settings(**values: Any) -> FitSettings:
    try:
        return FitSettings(**values)
    except SettingsError as error:
        option = "--" + error.field.replace("_", "-")
        raise CommandError(f"{option} cannot be {_shown(error.value)}.", f"Allowed: {error.allowed}.") from error


def _add_reference_option(parser: argparse.ArgumentParser, name: str, meaning: str) -> None:
    """Add an option for a field of `References`."""
    fewest, default, most = (getattr(limit, name) for limit in (FEWEST_REFERENCES, DEFAULT_REFERENCES, MOST_REFERENCES))
    option, text = "--" + name.replace("_", "-"), f"{meaning} (default: {default})"
    parser.add_argument(option, type=whole_number(fewest, most), help=text)


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
