"""The command ``pbrfit``: demo, optimize, serve, doctor."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.cli.errors import CommandError, Interrupted
from backend.protocol.quality import (
    DEFAULT_MAPS,
    DEFAULT_QUALITY,
    DEFAULT_REFERENCES,
    DEFAULT_RESOLUTION,
    FEWEST_REFERENCES,
    MAP_NAMES,
    MOST_REFERENCES,
    QUALITY_NAMES,
)
from backend.protocol.settings import FitSettings, SettingsError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
REFERENCES = ("cycles",)
DEMO_OBJECT = "Suzanne"
MAP_SETS = {"material": "SLOT", "object": "OBJECT"}
PRESETS = ("draft", "standard", "high")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0 done, 1 doctor found something missing, 2 error, 130 Ctrl-C."""
    chosen = argument_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = chosen.run
    try:
        return run(chosen)
    except CommandError as error:
        print(f"pbrfit: {error.cause}", *([error.cure] if error.cure else []), sep="\n  ", file=sys.stderr)
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
    demo.add_argument("--out", type=_folder, default=Path("demo"), help="folder for the results (default: demo)")
    _add_machine_options(demo)
    demo.set_defaults(run=run_demo)

    optimize = commands.add_parser("optimize", help="fit the material of an object of a .blend file and report")
    optimize.add_argument("blend", type=Path, metavar="FILE.blend")
    optimize.add_argument("--object", required=True, metavar="NAME", help="the mesh object to fit")
    optimize.add_argument("--out", type=_folder, required=True, metavar="DIR", help="folder for the results")
    _add_fit_options(optimize)
    _add_machine_options(optimize)
    optimize.set_defaults(run=run_optimize)

    serve = commands.add_parser("serve", help="run the backend alone, for a Blender on this or another machine")
    serve.add_argument("--address", default="tcp://127.0.0.1:*", help="where to listen (default: tcp://127.0.0.1:*)")
    serve.add_argument("--address-file", type=Path, metavar="FILE", help="write the chosen address to this file")
    serve.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process ends")
    serve.add_argument(
        "--client-key",
        type=_public_key,
        action="append",
        default=[],
        metavar="KEY",
        help="public key of a client that may connect; may be repeated",
    )
    serve.add_argument(
        "--authorized-keys",
        type=Path,
        metavar="FILE",
        help="file with the public keys of clients that may connect, one in a line; read again when it changes",
    )
    serve.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file of the backend's own keys, made where there is none (default: with --authorized-keys "
        "~/.config/pbrfit/backend-key.json, else new keys each time)",
    )
    serve.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="folder that keeps what jobs need to go on after a crash"
    )
    serve.set_defaults(run=run_serve)

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
        "--preset",
        choices=PRESETS,
        help="views, their size, samples, resolution and quality together; those given besides replace the preset's",
    )
    parser.add_argument(
        "--map-sets",
        choices=tuple(MAP_SETS),
        default="material",
        help="one set of maps for each material, or one for the whole object (default: %(default)s)",
    )
    parser.add_argument(
        "--unwrap",
        action="store_true",
        help="fit to a new UV map without overlaps; for an object that has no UV map, or not a good one",
    )
    parser.add_argument(
        "--no-udim", action="store_true", help="show the same maps in all UDIM tiles, instead of one set for each"
    )
    parser.add_argument(
        "--resolution",
        type=int,
        help=f"width and height of the maps in pixels, a power of two (default: {DEFAULT_RESOLUTION})",
    )
    _add_reference_option(parser, "views", "number of renders to fit to")
    _add_reference_option(parser, "held_out_views", "number of further renders that only measure")
    _add_reference_option(parser, "view_size", "width and height of these renders in pixels")
    _add_reference_option(parser, "samples", "Cycles samples for each pixel")
    parser.add_argument(
        "--maps",
        type=_names,
        default=DEFAULT_MAPS,
        help=f"some of {','.join(MAP_NAMES)} (default: {','.join(DEFAULT_MAPS)})",
    )
    parser.add_argument("--learn-light", action="store_true", help="fit the light too, instead of using the world's")
    parser.add_argument(
        "--apply-world", action="store_true", help="with --learn-light: give the scene a world with the learned light"
    )
    parser.add_argument(
        "--material-name",
        metavar="SCHEME",
        help='names of new materials, in which {object} and {material} stand for what is fitted (default: "{material} '
        'PBRfit")',
    )
    parser.add_argument(
        "--images",
        choices=("packed", "files"),
        default="packed",
        help="keep the maps in the .blend, or in a folder textures beside it (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default: 0)")
    parser.add_argument("--quality", choices=QUALITY_NAMES, help=f"how long the fit works (default: {DEFAULT_QUALITY})")


def run_demo(chosen: argparse.Namespace) -> int:
    """``pbrfit demo``."""
    settings = _checked_settings(device=chosen.device)
    return _optimize(chosen, None, DEMO_OBJECT, "demo", {"map_sets": "OBJECT", "device": settings.device})


def run_optimize(chosen: argparse.Namespace) -> int:
    """``pbrfit optimize``. Raises CommandError for wrong arguments before anything starts."""
    _check_path(chosen.blend)
    if chosen.apply_world and not chosen.learn_light:
        raise CommandError("--apply-world has no learned light to apply.", "Give --learn-light too, or leave it out.")
    defaults = {} if chosen.preset else {"resolution": DEFAULT_RESOLUTION, "quality": DEFAULT_QUALITY}
    settings = _checked_settings(
        maps=chosen.maps,
        learn_light=chosen.learn_light,
        device=chosen.device,
        seed=chosen.seed,
        **defaults | _given(chosen, "resolution", "quality"),
    )
    preset: dict[str, Any] = {"preset": chosen.preset.upper()} if chosen.preset else defaults
    views = {} if chosen.preset else asdict(DEFAULT_REFERENCES)
    properties = {
        "reference": chosen.reference.upper(),
        "map_sets": MAP_SETS[chosen.map_sets],
        "use_udim": not chosen.no_udim,
        "image_storage": chosen.images.upper(),
        "held_out_views": DEFAULT_REFERENCES.held_out_views,
        **preset,
        **views,
        **_given(chosen, "resolution", "quality", "views", "held_out_views", "view_size", "samples", "material_name"),
        **{f"use_{name}": name in settings.maps for name in MAP_NAMES},
        "learn_light": settings.learn_light,
        "apply_world": chosen.apply_world,
        "device": settings.device,
        "seed": settings.seed,
    }
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", chosen.object)
    return _optimize(chosen, chosen.blend, chosen.object, name, properties)


def _check_path(blend: Path) -> None:
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


def _given(chosen: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of these names that were given."""
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}


def run_serve(chosen: argparse.Namespace) -> int:
    """``pbrfit serve``. Raises CommandError where no client may connect, for unusable keys, or for a taken address."""
    import logging

    from backend.job.checkpoints import CheckpointError, CheckpointFolder
    from backend.protocol.keys import KeyFileError, kept_keys
    from backend.server.gatekeeper import AuthorizedKeys
    from backend.server.server import ServerError, serve

    if not chosen.client_key and chosen.authorized_keys is None:
        raise CommandError(
            "No client may connect: the backend knows no client's public key.",
            "Give it a key with --client-key, or a file of keys with --authorized-keys; PBRfit's preferences in Blender "
            "show the key of that Blender.",
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _interrupt)
    key_file = chosen.key_file
    if key_file is None and chosen.authorized_keys is not None:
        key_file = _default_key_file()
    try:
        serve(
            chosen.address,
            chosen.address_file,
            chosen.parent_pid,
            keys=None if key_file is None else kept_keys(key_file),
            authorized=AuthorizedKeys(chosen.client_key, chosen.authorized_keys),
            checkpoints=None if chosen.checkpoints is None else CheckpointFolder(chosen.checkpoints),
            listening=_print_address if chosen.authorized_keys is not None else lambda _address, _key: None,
        )
    except (ServerError, KeyFileError, CheckpointError) as error:
        raise CommandError(error.cause, error.cure) from error
    return 0


def run_doctor(chosen: argparse.Namespace) -> int:
    """``pbrfit doctor``."""
    from backend.cli.doctor import as_json, examine

    findings = examine(chosen.blender, chosen.backend_only)
    if chosen.json:
        print(as_json(findings))
    else:
        print(*findings, sep="\n")
    return 1 if any(finding.missing for finding in findings) else 0


def _default_key_file() -> Path:
    """The file that keeps the keys of a backend for other machines: so Blender needs its public key only once."""
    folder = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "pbrfit" / "backend-key.json"


def _print_address(address: str, public_key: str) -> None:
    print(f"Address:    {address}\nPublic key: {public_key}", flush=True)


def _public_key(text: str) -> str:
    from backend.protocol.keys import is_key

    if not is_key(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a public key: 40 characters, as Blender's preferences show")
    return text


def _optimize(
    chosen: argparse.Namespace, blend: Path | None, object_name: str, name: str, properties: dict[str, Any]
) -> int:
    from backend.cli.optimize import OptimizeRequest, optimize
    from backend.cli.report_files import summary_text
    from backend.cli.terminal import ProgressLine

    signal.signal(signal.SIGTERM, _interrupt)
    progress = ProgressLine()
    unwrap = blend is not None and chosen.unwrap
    request = OptimizeRequest(blend, object_name, chosen.out, name, properties, chosen.blender, unwrap)
    try:
        report = optimize(request, progress)
    finally:
        progress.clear()
    print(f"{chosen.out / name}.blend: {summary_text(report)} (see {chosen.out / 'report.png'})")
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
    parser.add_argument(option, type=_count(fewest, most), help=text)


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--blender", metavar="PATH", help="a Blender program (default: the module bpy of this Python)")


def _count(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers in a range."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give the path of a folder")
    return Path(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
