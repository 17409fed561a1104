"""`python -m benchmarks known_truth`: scenes whose maps are known to the last bit, fitted by `pbrfit optimize` as a user would
from a gray start, so that no bake gives the truth away.

`rough_metals`: a sphere of gold and copper at four roughnesses. `bowl`, `knot`, `crevice`: bright paint on shapes that light
themselves. `startup`: the cube of Blender's startup scene, painted metal, under its own lamp and gray world, and
`startup_hdri` the same cube under an image. Errors are over the surface that views see; base colors in sRGB codes of 255.
--rounds and --reference-light take several values, and each combination is a fit; without them the options are not passed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.cli.errors import CommandError
from benchmarks.cases import DATA
from benchmarks.known_truth_errors import compare, fitted_maps, picture
from benchmarks.known_truth_scenes import SCENES, Codes, Floats, KnownScene, Maps
from benchmarks.looks import run_program
from benchmarks.measure import check_output, circumstances, print_table, write_json
from render.core.image_io import encode_image

INSIDE = Path(__file__).with_name("known_truth_inside.py")
HDRI = "forest_1k.hdr"
LIGHTS = ("automatic", "studio", "scene")
MOST_BETWEEN_LIGHTS_DB = 1.0
"""By how much the maps of the startup scene may be worse or better than those under an image."""
_HEADING: list[object] = [
    *(
        "scene",
        "rounds",
        "light",
        "color",
        "95%",
        "bias",
        "roughness",
        "95%",
        "bias",
        "metallic",
        "decided",
        "held out",
    ),
    *("seconds", "asked"),
]
_PASSED = ("preset", "resolution", "views", "view_size", "samples", "quality", "seed")
_MAPS = ("base_color", "roughness", "metallic")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--only", nargs="+", default=[], metavar="SCENE", help=f"some of {', '.join(SCENES)}")
    parser.add_argument(
        "--rounds", nargs="+", type=int, default=[None], metavar="N", help="numbers of rounds to compare"
    )
    parser.add_argument(
        "--reference-light", nargs="+", choices=LIGHTS, default=[None], metavar="LIGHT", help=f"of {', '.join(LIGHTS)}"
    )
    parser.add_argument("--preset", default="standard", help="of the fit (default: standard)")
    parser.add_argument("--resolution", type=int, default=256, help="width and height of the maps (default: 256)")
    parser.add_argument("--views", type=int, help="renders to fit to (default: the preset's)")
    parser.add_argument("--view-size", type=int, help="their width and height (default: the preset's)")
    parser.add_argument("--samples", type=int, help="of each pixel (default: the preset's)")
    parser.add_argument("--quality", help="how long the fit works (default: the preset's)")
    parser.add_argument("--seed", type=int, help="of the fit (default: its own)")
    parser.add_argument("--render-device", help="what Cycles renders with (default: what is found)")
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder of {HDRI}")
    parser.add_argument("--keep", type=Path, help="leave the files in this folder")
    parser.add_argument("--picture", type=Path, help="draw truth, fit and difference of the maps of fits made now")
    parser.add_argument("--json", type=Path, help="write the record here; fits that it has already are not done again")


def run(options: argparse.Namespace) -> None:
    """Fit each scene in each way, print the tables, and write the record."""
    for path in (options.json, options.picture):
        check_output(path)
    unknown = set(options.only) - SCENES.keys()
    if unknown:
        raise CommandError(f"There is no scene {', '.join(sorted(unknown))}.", f"It is one of {', '.join(SCENES)}.")
    if not (options.data / HDRI).is_file():
        raise CommandError(f"There is no {options.data / HDRI}.", "Give --data the folder of the test data.")
    settings = {key: getattr(options, key) for key in _PASSED}
    rows = _record(options.json, settings)
    sheet = []
    with tempfile.TemporaryDirectory(prefix="pbrfit-known-truth-") as temporary:
        for name in options.only or SCENES:
            folder = (options.keep or Path(temporary)).absolute() / name
            for rounds, light in ((rounds, light) for rounds in options.rounds for light in options.reference_light):
                key = key_of(name, rounds, light)
                if key in rows:
                    continue
                row, drawn = measure(name, SCENES[name], folder, rounds, light, options)
                rows[key] = row
                sheet.append(drawn)
                if options.json:
                    record = {"settings": settings, "fits": rows}
                    write_json(options.json, circumstances(torch.device("cpu")) | record)
                print("  " + "  ".join(str(cell) for cell in cells(row)), flush=True)
    if options.picture and sheet:
        options.picture.write_bytes(encode_image(".png", np.concatenate(sheet)))
    print_table("Fits against known maps", [_HEADING, *(cells(row) for row in rows.values())])
    _print_by_roughness(rows)
    _print_between_lights(rows)


def _record(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The fits of a record that was begun. Raises CommandError if it has other settings."""
    if path is None or not path.is_file():
        return {}
    begun = json.loads(path.read_text(encoding="utf-8"))
    if begun["settings"] != settings:
        raise CommandError(f"{path} was measured with {begun['settings']}.", "Give the same settings, or another file.")
    fits: dict[str, Any] = begun["fits"]
    return fits


def key_of(name: str, rounds: int | None, light: str | None) -> str:
    """The name of a fit in the record."""
    return " ".join(
        [name, *(f"{key}={value}" for key, value in (("rounds", rounds), ("light", light)) if value is not None)]
    )


# Measuring ----------------------------------------------------------------------------------------------------------


def build(scene: KnownScene, folder: Path, resolution: int, hdri: Path) -> tuple[Path, Maps, Floats]:
    """Write a scene's .blend in a folder; the file, its true maps, and the area of the surface in each texel that views see,
    float64 [R, R]. Raises CommandError where Blender reads other maps from it."""
    folder.mkdir(parents=True, exist_ok=True)
    file, output = folder / "scene.blend", folder / "built.npz"
    maps = scene.maps(resolution)
    shape = {} if scene.shape is None else asdict(scene.shape())
    np.savez(folder / "scene.npz", **asdict(maps), **shape)
    request = {
        "blend": str(file),
        "scene": str(folder / "scene.npz"),
        "hdri": str(hdri.absolute()) if scene.hdri else None,
        "object": scene.object_name,
        "output": str(output),
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    run_program([sys.executable, INSIDE, folder / "request.json"])
    with np.load(output) as found:
        for name, codes in asdict(maps).items():
            if not np.array_equal(found[name], codes):
                raise CommandError(f"Blender reads another {name} from {file}.", "Build it with another Blender.")
        return file, maps, np.where(found["seen"], found["area"], 0.0)


def measure(
    name: str, scene: KnownScene, folder: Path, rounds: int | None, light: str | None, options: argparse.Namespace
) -> tuple[dict[str, Any], Codes]:
    """Fit a scene in one way; its row of the record, and the picture of its maps."""
    file, truth, area = build(scene, folder, options.resolution, options.data / HDRI)
    out = folder / key_of("fit", rounds, light).replace(" ", "_")
    command = [sys.executable, "-m", "backend", "optimize", file, "--object", scene.object_name, "--out", out]
    command += ["--start", "gray", "--no-report"]
    given = {key: getattr(options, key) for key in (*_PASSED, "render_device")}
    given |= {"rounds": rounds, "reference_light": light}
    for key, value in given.items():
        if value is not None:
            command += ["--" + key.replace("_", "-"), value]
    began = time.monotonic()
    run_program(command, threads=None)
    seconds = time.monotonic() - began
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    fitted = fitted_maps(out, options.resolution)
    row = {
        "scene": name,
        "rounds": rounds,
        "light": light,
        **compare(truth, fitted, area),
        "held_out_db": report["fit"]["fit_heldout_psnr_db"],  # by the fit's own renderer: the report renders nothing
        "seconds": round(seconds, 1),
        "phases": report["seconds"],
        "device": report["device"],
        "verdicts": report["verdicts"],
        "warnings": report["warnings"],
        "compared": report["compared"],
    }
    return row, picture(truth, fitted, area)


# Tables -------------------------------------------------------------------------------------------------------------


def cells(row: dict[str, Any]) -> list[object]:
    """The row of a fit in the table."""
    color, rough = row["base_color"], row["roughness"]
    figures: list[object] = [f"{color['mean']:.2f}", f"{color['p95']:.0f}", f"{color['bias']:+.2f}"]
    figures += [
        f"{rough['mean']:.3f}",
        f"{rough['p95']:.3f}",
        f"{rough['bias']:+.3f}",
        f"{row['metallic']['mean']:.3f}",
    ]
    figures.append("-" if row["decided"] is None else f"{row['decided']:.1%}")
    figures += ["-" if row["held_out_db"] is None else f"{row['held_out_db']:.1f}", row["seconds"]]
    return [row["scene"], row["rounds"], row["light"], *figures, asked_text(row)]


def asked_text(row: dict[str, Any]) -> str:
    """Whether a fit is as near as its scene asks for."""
    scene = SCENES[row["scene"]]
    checks = [
        ("color", row["base_color"]["mean"], scene.asked_base_color),
        ("roughness", row["roughness"]["mean"], scene.asked_roughness),
        ("undecided", None if row["decided"] is None else 1 - row["decided"], _undecided(scene)),
    ]
    missed = [f"{what} {most:g}" for what, value, most in checks if most is not None and value > most]
    return "misses " + ", ".join(missed) if missed else "met"


def _undecided(scene: KnownScene) -> float | None:
    return None if scene.asked_decided is None else round(1.0 - scene.asked_decided, 6)


def _print_by_roughness(rows: dict[str, Any]) -> None:
    """The rough metals by their true roughness."""
    lines: list[list[object]] = [["scene", "rounds", "light", "true roughness", "color", "roughness", "bias"]]
    for row in rows.values():
        for level, found in row["by_roughness"].items():
            figures = [f"{found['base_color']:.2f}", f"{found['roughness']:.3f}", f"{found['roughness_bias']:+.3f}"]
            lines.append([row["scene"], row["rounds"], row["light"], level, *figures])
    if len(lines) > 1:
        print_table("By true roughness", lines)


def between_lights(rows: dict[str, Any]) -> list[list[object]]:
    """PSNRs of the startup cube's maps under its own light and under an image, of each way that has both."""
    lines: list[list[object]] = []
    for row in rows.values():
        other = rows.get(key_of("startup_hdri", row["rounds"], row["light"]))
        if row["scene"] == "startup" and other is not None:
            pairs = [(row[name]["psnr_db"], other[name]["psnr_db"]) for name in _MAPS]
            known = [(own, image) for own, image in pairs if own is not None and image is not None]  # None: exact
            most = max((abs(own - image) for own, image in known), default=0.0)
            texts = ["/".join("exact" if db is None else f"{db:.1f}" for db in pair) for pair in pairs]
            lines.append([row["rounds"], row["light"], *texts, "met" if most <= MOST_BETWEEN_LIGHTS_DB else "missed"])
    return lines


def _print_between_lights(rows: dict[str, Any]) -> None:
    lines = between_lights(rows)
    if lines:
        title = f"The startup scene's own light / an image, PSNR of maps in dB (asked: within {MOST_BETWEEN_LIGHTS_DB:g} dB)"
        print_table(title, [["rounds", "light", "base color", "roughness", "metallic", "asked"], *lines])
