"""``pbrfit demo`` and ``pbrfit optimize``: a fit in a Blender of its own, then the report on the result."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import build_addon
from backend.cli.blender_task import Blender, find_blender, run_script
from backend.cli.errors import CommandError, Interrupted
from backend.cli.judging import is_black, measure, render_for_report
from backend.cli.report_files import RELIT_HDRI, report_contents, rounded, write_report
from backend.cli.result_folder import Owner, replaceable
from backend.cli.terminal import ProgressLine, duration

PHASES = {
    "exporting": "Exporting",
    "starting": "Starting the backend",
    "rendering": "Rendering references",
    "fitting": "Fitting",
    "applying": "Creating the material",
    "done": "Fitted",
}
SHOWN_MESSAGES = ("rendering", "fitting")
BLEND_STARTS = (b"BLENDER", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""How the file begins: plain, or compressed by gzip or Zstandard."""


@dataclass(frozen=True)
class OptimizeRequest:
    """What to fit.

    ``blend``: the file, or None for the demo's scene; ``name``: of the saved file, without its ending; ``properties``: of
    ``scene.pbrfit`` in Blender, in order; ``blender``: the path of a Blender program, None for the module bpy;
    ``unwrap``: whether to fit to a new UV map.
    """

    blend: Path | None
    object_name: str
    out: Path
    name: str
    properties: dict[str, Any] = field(default_factory=dict)
    blender: str | None = None
    unwrap: bool = False

    @property
    def owner(self) -> Owner:
        """Whose result it will be."""
        return Owner(None if self.blend is None else str(self.blend.resolve()), self.object_name)


def optimize(request: OptimizeRequest, progress: ProgressLine) -> dict[str, Any]:
    """Fit, save and report. Returns the content of report.json. Raises CommandError; Interrupted after Ctrl-C.

    After Ctrl-C and any error no process is left running; a file appears in ``request.out`` only when it is finished.
    """
    began = time.monotonic()
    blender = find_blender(request.blender)
    out, may_replace = _output_folder(request)
    fitted = out / f"{request.name}.blend"
    with tempfile.TemporaryDirectory(prefix="pbrfit-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        progress.show("Starting Blender", 0.0)
        result = _fit(request, blender, work, fitted, may_replace, progress)
        fitted_seconds = time.monotonic() - began
        for warning in result["warnings"]:
            progress.note(f"Warning: {warning}")
        progress.note(f"{fitted}  saved after {duration(fitted_seconds)}, with {_materials_text(result)}")
        original = request.blend if request.blend is not None else work / "original.blend"
        renders = render_for_report(blender, work, {"original": original, "fitted": fitted}, result, progress)
    if is_black(renders["heldout"]):
        result["warnings"].append(black_text(request.object_name, result["foggy_world"]))
        progress.note(f"Warning: {result['warnings'][-1]}")
    errors = {light: measure(views) for light, views in renders.items()}
    report = report_contents(request.owner, result, errors)
    report["seconds"].update(
        blender=rounded(fitted_seconds - result["seconds"]["total"]),
        report=rounded(time.monotonic() - began - fitted_seconds),
        total=rounded(time.monotonic() - began),
    )
    write_report(out, result, renders, errors, report)
    progress.clear()
    return report


def _output_folder(request: OptimizeRequest) -> tuple[Path, list[str]]:
    """The folder for the result, which is made, and the files in it that may be overwritten. Raises CommandError."""
    out = request.out.resolve()
    fitted = out / f"{request.name}.blend"
    if request.blend is not None and fitted == request.blend.resolve():
        raise CommandError(f"The result would overwrite {request.blend}.", "Give --out another folder.")
    if out.exists() and not out.is_dir():
        raise CommandError(f"{out} cannot be written to: it is a file, not a folder.", "Give --out another folder.")
    if request.blend is not None:
        check_file(request.blend)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        return out, replaceable(out, request.name, request.owner)
    except OSError as error:
        raise CommandError(f"{out} cannot be written to: {error.strerror}.", "Give --out another folder.") from error


def check_file(blend: Path) -> None:
    """Raise CommandError where the file cannot be read, or is no .blend."""
    try:
        with open(blend, "rb") as file:
            start = file.read(7)
    except OSError as error:
        raise CommandError(
            f"{blend} cannot be read: {error.strerror}.", "Get the right to read it, or copy it to where you can."
        ) from error
    if not start.startswith(BLEND_STARTS):
        raise CommandError(f"{blend} is not a .blend file.", "Give the path of a file that Blender saved.")


def black_text(object_name: str, foggy_world: str | None) -> str:
    """The warning for an object that its own world shows black. ``foggy_world``: the world's name, if it has a volume."""
    black = f'"{object_name}" is black in its own world, so the held-out views tell nothing and have no PSNR.'
    if foggy_world is None:
        return f"{black} Give the scene a world with light."
    return (
        f'{black} The volume of the world "{foggy_world}" lets no light through; PBRfit leaves it out of the fit. '
        "Go by the relit views, or unlink the volume."
    )


def _materials_text(result: dict[str, Any]) -> str:
    names = list(dict.fromkeys(one["material"] for one in result["sets"]))
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"the material{'s' if len(names) > 1 else ''} {shown}"


def _fit(
    request: OptimizeRequest,
    blender: Blender,
    work: Path,
    fitted: Path,
    may_replace: list[str],
    progress: ProgressLine,
) -> dict[str, Any]:
    """Run the add-on's operator in Blender. Returns its result."""
    try:
        archives = build_addon.build(work / "extension", wheels="none" if blender.binary is None else "bundled")
    except build_addon.BuildError as error:
        raise CommandError(f"The Blender extension cannot be built: {error}", "") from error
    instructions = {
        "blend": None if request.blend is None else str(request.blend.resolve()),
        "object": request.object_name,
        "unwrap": request.unwrap,
        "extensions": [str(path) for path in archives],
        "backend_python": sys.executable,
        "properties": request.properties,
        "original": str(work / "original.blend") if request.blend is None else None,
        "fitted": str(fitted),
        "owner": request.owner.as_json(),
        "replaceable": may_replace,
        "relit_hdri": RELIT_HDRI,
    }
    result: dict[str, Any]
    psnr_db = None
    for event in run_script(blender, "command_line/drive.py", instructions, work):
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
