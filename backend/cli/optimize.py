"""``pbrfit demo`` and ``pbrfit optimize``: a fit in a Blender of its own, then the report on the result."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from backend.cli.driving import (
    DriveRequest,
    Host,
    drive,
    is_gltf,
    layout_text,
    materials_text,
    output_folder,
    own_blender,
)
from backend.cli.inputs import Inputs
from backend.cli.judging import Renders, is_black, measure, render_for_report
from backend.cli.report_files import RELIT_HDRI, draw_report, report_contents, rounded
from backend.cli.result_folder import MADE, PICTURE, as_made, write_report
from backend.cli.terminal import Progress, duration


def optimize(
    request: DriveRequest, progress: Progress, judged: bool = True, host: Host | None = None
) -> dict[str, Any]:
    """Fit, save and report. Returns the content of report.json. Raises CommandError; Interrupted after Ctrl-C.

    judged: whether the result is rendered beside the original; without that there is no report.png and no PSNR of it.
    host: whose Blender to use; None: one of its own.
    After Ctrl-C and any error no process is left running; a file appears in ``request.out`` only when it is finished.
    """
    began = time.monotonic()
    fitted = request.result
    with own_blender(request.blender) if host is None else contextlib.nullcontext(host) as used:
        may_replace = output_folder(request)
        inputs = Inputs(request)
        for note in request.notes:
            progress.note(note)
        progress.show("Starting Blender", 0.0)
        is_made = request.blend is None or is_gltf(request.blend)
        original = used.work / "original.blend" if is_made or request.blend is None else request.blend
        kept = str(original) if is_made else None
        result = drive(request, used, may_replace, progress, original=kept, relit_hdri=RELIT_HDRI)
        fitted_seconds = time.monotonic() - began
        for warning in result["warnings"]:
            progress.note(f"Warning: {warning}")
        for verdict in result["verdicts"]:
            progress.note(f"{verdict}.")
        progress.note(f"{fitted.name}  saved after {duration(fitted_seconds)}, with {materials_text(result)}")
        if said := layout_text(result, fitted.parent):
            progress.note(said)
        renders: dict[str, Renders] = {}
        if judged:
            renders = render_for_report(
                used.blender, used.work, {"original": original, "fitted": fitted}, result, progress
            )
    if judged and is_black(renders["heldout"]):
        result["warnings"].append(black_text(request.object_name, result["foggy_world"]))
        progress.note(f"Warning: {result['warnings'][-1]}")
    errors = {light: measure(views) for light, views in renders.items()}
    report = report_contents(request.owner, result, errors) | {"inputs": inputs.record(result["links"])}
    report["seconds"].update(
        blender=rounded(fitted_seconds - result["seconds"]["total"]),
        report=rounded(time.monotonic() - began - fitted_seconds),
        total=rounded(time.monotonic() - began),
    )
    if not judged:
        report["files"] = [name for name in report["files"] if name != PICTURE]
        if PICTURE in may_replace:  # that of an earlier result
            (fitted.parent / PICTURE).unlink(missing_ok=True)
    report[MADE] = as_made(fitted.parent, result["files"])
    write_report(fitted.parent, report)
    if judged:
        draw_report(fitted.parent, result, renders, errors, report)
    progress.clear()
    return report


def black_text(object_name: str, foggy_world: str | None) -> str:
    """The warning for an object that its own world shows black. ``foggy_world``: the world's name, if it has a volume."""
    black = f'"{object_name}" is black in its own world, so the held-out views tell nothing and have no PSNR.'
    if foggy_world is None:
        return f"{black} Give the scene a world with light."
    return (
        f'{black} The volume of the world "{foggy_world}" lets no light through; PBRfit leaves it out of the fit. '
        "Go by the relit views, or unlink the volume."
    )
