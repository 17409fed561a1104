"""``pbrfit demo`` and ``pbrfit optimize``: a fit in a Blender of its own, then the report on the result."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import build_addon
from backend.cli.blender_task import GRACE_SECONDS, Blender, BlenderTask, addon_file, find_blender
from backend.cli.errors import CommandError, Interrupted
from backend.cli.machine import machine_description
from backend.cli.report import ViewError, measure_view, summarise
from backend.cli.terminal import ProgressLine, duration

RELIT_HDRI = "sunset"
REPORT_SAMPLES = {"draft": 16, "standard": 32, "high": 128}
LARGEST_REPORT_SIZE = 256
"""The largest width and height of the report's renders in pixels: they are many, and samples lower noise, not pixels."""

REPORT_SEEDS = (900001, 900002)
PHASES = {
    "exporting": "Exporting",
    "starting": "Starting the backend",
    "rendering": "Rendering references",
    "fitting": "Fitting",
    "applying": "Creating the material",
    "done": "Fitted",
}
SHOWN_MESSAGES = ("rendering", "fitting")


@dataclass(frozen=True)
class OptimizeRequest:
    """What to fit.

    ``blend``: the file, or None for the demo's scene; ``name``: of the saved file, without its ending; ``properties``: of
    ``scene.pbrfit`` in Blender; ``blender``: the path of a Blender program, None for the module bpy.
    """

    blend: Path | None
    object_name: str
    out: Path
    name: str
    properties: dict[str, Any] = field(default_factory=dict)
    blender: str | None = None


def optimize(request: OptimizeRequest, progress: ProgressLine) -> dict[str, Any]:
    """Fit, save and report. Returns the content of report.json. Raises CommandError; Interrupted after Ctrl-C.

    After Ctrl-C and any error no process is left running; a file appears in ``request.out`` only when it is finished.
    """
    began = time.monotonic()
    blender = find_blender(request.blender)
    out = _output_folder(request)
    fitted = out / f"{request.name}.blend"
    with tempfile.TemporaryDirectory(prefix="pbrfit-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        progress.show("Starting Blender", 0.0)
        result = _fit(request, blender, work, fitted, progress)
        fitted_seconds = time.monotonic() - began
        for warning in result["warnings"]:
            progress.note(f"Warning: {warning}")
        progress.note(f"{fitted}  saved after {duration(fitted_seconds)}, with the material {result['material']}")
        original = request.blend if request.blend is not None else work / "original.blend"
        renders = _render_for_report(blender, work, {"original": original, "fitted": fitted}, result, progress)
    errors = {light: _measure(views) for light, views in renders.items()}
    report = _report(request, result, errors)
    report["seconds"].update(
        blender=_rounded(fitted_seconds - result["seconds"]["total"]),
        report=_rounded(time.monotonic() - began - fitted_seconds),
        total=_rounded(time.monotonic() - began),
    )
    _write_picture(request, out, result, renders, errors, report)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    progress.clear()
    return report


def _output_folder(request: OptimizeRequest) -> Path:
    out = request.out.resolve()
    fitted = out / f"{request.name}.blend"
    if request.blend is not None and fitted == request.blend.resolve():
        raise CommandError(f"The result would overwrite {request.blend}.", "Give --out another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise CommandError(f"{out} cannot be written to: {error.strerror}.", "Give --out another folder.") from error
    return out


def _fit(
    request: OptimizeRequest, blender: Blender, work: Path, fitted: Path, progress: ProgressLine
) -> dict[str, Any]:
    """Run the add-on's operator in Blender. Returns its result."""
    try:
        archives = build_addon.build(work / "extension", wheels="none" if blender.binary is None else "bundled")
    except build_addon.BuildError as error:
        raise CommandError(f"The Blender extension cannot be built: {error}", "") from error
    instructions = {
        "blend": None if request.blend is None else str(request.blend.resolve()),
        "object": request.object_name,
        "extensions": [str(path) for path in archives],
        "backend_python": sys.executable,
        "properties": request.properties,
        "original": str(work / "original.blend") if request.blend is None else None,
        "fitted": str(fitted),
        "maps": str(fitted.parent),
        "relit_hdri": RELIT_HDRI,
    }
    result: dict[str, Any]
    psnr_db = None
    for event in _run(blender, "command_line/drive.py", instructions, work):
        if "progress" in event:
            state = event["progress"]
            psnr_db = state["psnr_db"] or psnr_db  # it is measured only now and then
            phase = PHASES.get(state["state"], state["state"])
            message = state["message"].removeprefix(phase).strip() if state["state"] in SHOWN_MESSAGES else ""
            progress.show(phase, state["fraction"], state["seconds_left"], psnr_db, message)
        elif "cancelled" in event:
            raise Interrupted
        elif "result" in event:
            result = event["result"]
    return result


def _run(
    blender: Blender, script: str, instructions: dict[str, Any], work: Path, grace_seconds: float = GRACE_SECONDS
) -> Iterator[dict[str, Any]]:
    """Run a script of the add-on with a JSON file as its argument. Yields its events."""
    name = Path(script).stem
    argument = work / f"{name}.json"
    argument.write_text(json.dumps(instructions), encoding="utf-8")
    with BlenderTask(blender, addon_file(script), argument, work, grace_seconds) as task:
        yield from task.events()


Renders = dict[str, list[list[NDArray[np.float32]]]]
"""Views under one light: "original" and "fitted", each [seed][view], float32 [h, w, 4], linear, premultiplied."""


def _render_for_report(
    blender: Blender, work: Path, files: dict[str, Path], result: dict[str, Any], progress: ProgressLine
) -> dict[str, Renders]:
    """Render the held-out views of both files in Cycles, with two seeds each, in their own world and under an HDRI."""
    views = result["held_out_views"]
    lights = {"heldout": None, "relit": result["relit_hdri"]}
    plans = {}
    for light, hdri in lights.items():
        for which, path in files.items():
            for seed in REPORT_SEEDS:
                plans[light, which, seed] = {
                    "blend": str(path),
                    "scene": result["scene"],
                    "object": result["object"],
                    "size": min(result["settings"]["view_size"], LARGEST_REPORT_SIZE),
                    "samples": REPORT_SAMPLES[result["settings"]["quality"]],
                    "output": str(work / f"{light}_{which}_{seed}"),
                    "world_hdri": hdri,
                    "views": [{**view, "seed": seed + 10 * view["index"]} for view in views],
                }
    first, *others = plans.values()
    began, rendered, count = time.monotonic(), 0, len(plans) * len(views)
    progress.show("Rendering the report", 0.0)
    for event in _run(blender, "references/render_references.py", {**first, "plans": others}, work, grace_seconds=0.0):
        if "view" in event:
            rendered += 1
            left = (time.monotonic() - began) / rendered * (count - rendered) if rendered > 2 else None
            progress.show("Rendering the report", rendered / count, left, message=f"{rendered}/{count}")
    return {
        light: {
            which: [
                [np.load(Path(plans[light, which, seed]["output"]) / f"view_{view['index']:04d}.npy") for view in views]
                for seed in REPORT_SEEDS
            ]
            for which in files
        }
        for light in lights
    }


def _measure(renders: Renders) -> list[ViewError | None]:
    seeds_of_original = zip(*renders["original"], strict=True)
    seeds_of_fitted = zip(*renders["fitted"], strict=True)
    return [measure_view(original, fitted) for original, fitted in zip(seeds_of_original, seeds_of_fitted, strict=True)]


def _report(
    request: OptimizeRequest, result: dict[str, Any], errors: dict[str, list[ViewError | None]]
) -> dict[str, Any]:
    metrics = dict(result["metrics"])
    fit_seconds = metrics.pop("seconds", {})
    versions = {
        "pbrfit": importlib.metadata.version("pbrfit"),
        "blender": result["blender"],
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "numpy")},
        **metrics.pop("versions", {}),
    }
    seconds = {key: _rounded(value) for key, value in result["seconds"].items() if key != "total"}
    return {
        **summarise("heldout", errors["heldout"]),
        **summarise("relit", errors["relit"]),
        "relit_world": f"{RELIT_HDRI}.exr",
        "heldout_views": [view["index"] for view in result["held_out_views"]],
        "report_samples": REPORT_SAMPLES[result["settings"]["quality"]],
        "seconds": seconds,
        "fit_seconds": {key: _rounded(value) for key, value in fit_seconds.items()},
        "iterations": metrics.pop("iterations", None),
        "device": metrics.pop("device", None),
        "fit": metrics,
        "object": result["object"],
        "material": result["material"],
        "settings": result["settings"],
        "warnings": result["warnings"],
        "versions": versions,
        "machine": machine_description(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _write_picture(
    request: OptimizeRequest,
    out: Path,
    result: dict[str, Any],
    renders: dict[str, Renders],
    errors: dict[str, list[ViewError | None]],
    report: dict[str, Any],
) -> None:
    # Late: only the picture at the end needs Pillow and OpenImageIO.
    from backend.cli.contact_sheet import Comparison, contact_sheet, read_maps
    from render.core.image_io import encode_image

    titles = {"heldout": "Held-out views, own world", "relit": f"The same views relit by {RELIT_HDRI}.exr"}
    comparisons = [
        Comparison(
            title,
            [np.mean(seeds, axis=0) for seeds in zip(*renders[light]["original"], strict=True)],
            [np.mean(seeds, axis=0) for seeds in zip(*renders[light]["fitted"], strict=True)],
            [f"{error.psnr_db:.1f} dB" if error else "not seen" for error in errors[light]],
        )
        for light, title in titles.items()
    ]
    maps = read_maps({name: (out / name).read_bytes() for name in result["files"]})
    sheet = contact_sheet(
        f"{request.object_name}: {summary_text(report)}",
        "PSNR in sRGB over the object's pixels, Cycles against Cycles, without noise.   "
        f"Fit {report['seconds']['fit']:.0f} s of {report['seconds']['total']:.0f} s in all, {report['device']}.   "
        f"Blender {result['blender']}.",
        comparisons,
        maps,
    )
    (out / "report.png").write_bytes(encode_image(".png", sheet))


def summary_text(report: dict[str, Any]) -> str:
    """One phrase with both PSNRs."""
    parts = [
        f"{report[f'{light}_psnr_db']:.1f} dB {name}"
        for light, name in (("heldout", "held out"), ("relit", "relit"))
        if report[f"{light}_psnr_db"] is not None
    ]
    return ", ".join(parts) or "the object is in none of the held-out views"


def _rounded(seconds: float) -> float:
    return round(seconds, 2)
