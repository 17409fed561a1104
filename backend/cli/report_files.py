"""The report's files: report.json and report.png."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import numpy as np

from backend.cli.judging import REPORT_SAMPLES, Renders, is_black
from backend.cli.machine import machine_description
from backend.cli.report import ViewError, summarise
from backend.cli.result_folder import PICTURE, Owner

RELIT_HDRI = "sunset"
MOST_SETS = 8
"""How many sets of maps report.png shows."""


def report_contents(owner: Owner, result: dict[str, Any], errors: dict[str, list[ViewError | None]]) -> dict[str, Any]:
    """What report.json holds, except the seconds of what comes after the fit.

    owner: whose result it is; result: what drive.py says about the fit; errors: of the views, "heldout" and "relit", where
    the result was rendered.
    """
    metrics = dict(result["metrics"])
    fit_seconds = metrics.pop("seconds", {})
    versions = {
        "pbrfit": importlib.metadata.version("pbrfit"),
        "blender": result["blender"],
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "numpy")},
        **metrics.pop("versions", {}),
    }
    seconds = {key: rounded(value) for key, value in result["seconds"].items() if key != "total"}
    return {
        **summarise("heldout", errors.get("heldout", [])),
        **summarise("relit", errors.get("relit", [])),
        "relit_world": f"{RELIT_HDRI}.exr",
        "heldout_views": [view["index"] for view in result["held_out_views"]],
        "report_samples": REPORT_SAMPLES[result["settings"]["quality"]],
        "seconds": seconds,
        "fit_seconds": {key: rounded(value) for key, value in fit_seconds.items()},
        "iterations": metrics.pop("iterations", None),
        "device": metrics.pop("device", None),
        "render_device": result["render_device"] or None,
        "fit": metrics,
        "compared": result["compared"],
        "verdicts": result["verdicts"],
        "scene": result["scene"],
        "view_layer": result["view_layer"],
        **owner.as_json(),
        "files": result["files"],
        "material": result["material"],
        "sets": result["sets"],
        "layout": result.get("layout"),
        "exported": result.get("exported", []),
        "settings": result["settings"],
        "warnings": result["warnings"],
        "versions": versions,
        "machine": machine_description(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def draw_report(
    out: Path,
    result: dict[str, Any],
    renders: dict[str, Renders],
    errors: dict[str, list[ViewError | None]],
    report: dict[str, Any],
) -> None:
    """Draw report.png into a folder that has the maps. ``report``: of `report_contents`."""
    # Late: only the picture at the end needs Pillow and OpenImageIO.
    from backend.cli.contact_sheet import Comparison, contact_sheet, read_maps
    from backend.cli.picture_text import use_fonts
    from render.core.image_io import encode_image

    use_fonts(Path(result["fonts"]))
    titles = {"heldout": "Held-out views, own world", "relit": f"The same views relit by {RELIT_HDRI}.exr"}
    comparisons = [
        Comparison(
            title,
            [np.mean(seeds, axis=0) for seeds in zip(*renders[light]["original"], strict=True)],
            [np.mean(seeds, axis=0) for seeds in zip(*renders[light]["fitted"], strict=True)],
            [
                f"{error.psnr_db:.1f} dB" if error else "black" if is_black(renders[light]) else "not seen"
                for error in errors[light]
            ],
        )
        for light, title in titles.items()
    ]
    sets = result["sets"]
    maps = {
        set_title(one, sets): read_maps({name.rsplit("/", 1)[-1]: (out / name).read_bytes() for name in one["files"]})
        for one in sets[:MOST_SETS]
    }
    notes = [*report["verdicts"], *(f"Warning: {warning}" for warning in report["warnings"])]
    if len(sets) > MOST_SETS:
        notes.append(f"The maps below are those of the first {MOST_SETS} of {len(sets)} sets.")
    sheet = contact_sheet(
        f"{report['object']}: {summary_text(report)}",
        "PSNR in sRGB over the object's pixels, Cycles against Cycles, without noise.   "
        f"{times_text(report)}   "
        f"Blender {result['blender']}.",
        comparisons,
        maps,
        notes,
    )
    (out / PICTURE).write_bytes(encode_image(".png", sheet))


def set_title(one: dict[str, Any], sets: list[dict[str, Any]]) -> str:
    """The heading of one set's maps; none where there is only one set."""
    if len(sets) == 1:
        return ""
    tile = f", UDIM tile {one['tile']}" if one["tile"] else ""
    folder = one["files"][0].split("/")[0] + "/" if one["files"] else "no files"
    return f"{one['name']}{tile} ({folder})"


def times_text(report: dict[str, Any]) -> str:
    """How long it took, and where the fit ran, if there was one."""
    seconds = report["seconds"]
    if "fit" not in seconds:
        return f"Baked in {seconds.get('bake', 0.0):.0f} s of {seconds['total']:.0f} s in all."
    fit = f"Fit {seconds['fit']:.0f} s of {seconds['total']:.0f} s in all, {report['device']}."
    return f"{fit} References with {report['render_device']}." if report["render_device"] else fit


def summary_text(report: dict[str, Any]) -> str:
    """One phrase with both PSNRs."""
    parts = [
        f"{report[f'{light}_psnr_db']:.1f} dB {name}"
        for light, name in (("heldout", "held out"), ("relit", "relit"))
        if report[f"{light}_psnr_db"] is not None
    ]
    return ", ".join(parts) or "the object is in none of the held-out views"


def rounded(seconds: float) -> float:
    """Seconds as a report gives them."""
    return round(seconds, 2)
