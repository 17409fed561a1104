"""``pbrfit bake``: what the nodes of an object's materials say, baked in a Blender of its own; needs no backend."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import platform
import time
from typing import Any

from backend.cli.driving import DriveRequest, Host, drive, layout_text, materials_text, output_folder, own_blender
from backend.cli.inputs import Inputs
from backend.cli.machine import machine_description
from backend.cli.result_folder import MADE, as_made, write_report
from backend.cli.terminal import Progress, duration


def bake(request: DriveRequest, progress: Progress, host: Host | None = None) -> dict[str, Any]:
    """Bake, save and report. Returns the content of report.json. Raises CommandError; Interrupted after Ctrl-C.

    host: whose Blender to use; None: one of its own.
    After Ctrl-C and any error no process is left running; a file appears in ``request.out`` only when it is finished.
    """
    began = time.monotonic()
    with own_blender(request.blender) if host is None else contextlib.nullcontext(host) as used:
        may_replace = output_folder(request)
        inputs = Inputs(request)
        progress.show("Starting Blender", 0.0)
        result = drive(request, used, may_replace, progress, lambda event: _note_verdicts(event, progress))
    for warning in result["warnings"]:
        progress.note(f"Warning: {warning}")
    total = time.monotonic() - began
    progress.note(f"{request.result.name}  saved after {duration(total)}, with {materials_text(result)}")
    if said := layout_text(result, request.result.parent):
        progress.note(said)
    report = _report(request, result, total) | {"inputs": inputs.record(result["links"])}
    report[MADE] = as_made(request.result.parent, result["files"])
    write_report(request.result.parent, report)
    return report


def maps_text(report: dict[str, Any]) -> str:
    """How many maps there are, and where; for the last line of the output."""
    files = [name for one in report["sets"] for name in one["files"]]
    if not files:
        return "no maps, since nothing varies: the materials have only numbers"
    return f"{len(files)} map{'s' if len(files) > 1 else ''}: {', '.join(files)}"


def _note_verdicts(event: dict[str, Any], progress: Progress) -> None:
    for material in event.get("verdicts", []):
        progress.note(material["text"])
        for sentence in material["lost"]:
            progress.note(f"  {sentence}")


def _report(request: DriveRequest, result: dict[str, Any], total: float) -> dict[str, Any]:
    inside = result["seconds"]
    seconds = {key: value for key, value in inside.items() if key != "total"}
    seconds |= {"blender": total - inside["total"], "total": total}
    return {
        "target": result["settings"]["bake_target"],
        "materials": result["materials"],
        "seconds": {key: round(value, 2) for key, value in seconds.items()},
        "scene": result["scene"],
        "view_layer": result["view_layer"],
        **request.owner.as_json(),
        "files": result["files"],
        "material": result["material"],
        "sets": result["sets"],
        "layout": result["layout"],
        "exported": result["exported"],
        "settings": result["settings"],
        "warnings": result["warnings"],
        "versions": {
            "pbrfit": importlib.metadata.version("pbrfit"),
            "blender": result["blender"],
            "python": platform.python_version(),
        },
        "machine": machine_description(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
