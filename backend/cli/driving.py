"""Press a button of the add-on in a Blender of its own, for one object of a .blend, and take its result."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import build_addon
from backend.cli.blender_task import Blender, find_blender, run_script
from backend.cli.errors import CommandError, Interrupted
from backend.cli.export_arguments import export_request, export_text
from backend.cli.result_folder import BAKED_FILES, FIT_FILES, Owner, replaceable
from backend.cli.terminal import Progress
from backend.extension.archives import BuildError
from backend.protocol.find_start_maps import GLTF
from backend.protocol.map_layouts import LAYOUTS

OPTIMIZE, BAKE = "optimize", "bake_maps"
"""The buttons: names of the add-on's operators."""

PHASES = {
    "exporting": "Exporting",
    "starting": "Starting the backend",
    "rendering": "Rendering references",
    "fitting": "Fitting",
    "baking": "Baking",
    "comparing": "Comparing",
    "applying": "Creating the material",
}
DONE = {OPTIMIZE: "Fitted", BAKE: "Baked"}
SHOWN_MESSAGES = ("rendering", "fitting", "baking")
BLEND_STARTS = (b"BLENDER", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""How the file begins: plain, or compressed by gzip or Zstandard."""


@dataclass(frozen=True)
class DriveRequest:
    """What to do with which object.

    ``blend``: the .blend or glTF, None for the demo's scene; ``name``: of the saved file, without its ending; ``properties``: of
    ``scene.pbrfit`` in Blender, in order; ``blender``: the path of a Blender program, None for the module bpy;
    ``unwrap``, ``pack_islands``: whether to make a new UV map first, and how; ``button``: OPTIMIZE or BAKE; ``others``: names
    of objects that share its maps; ``layout``: of `layout_arguments.layout_request`; ``export``: names of `export_arguments`;
    ``options``: of the command, as JSON values, as far as the result depends on them: for the record of its inputs;
    ``notes``: what to say before it begins; ``reads``: paths of files and folders that it reads beside the .blend.
    """

    blend: Path | None
    object_name: str
    out: Path
    name: str
    properties: dict[str, Any] = field(default_factory=dict)
    blender: str | None = None
    unwrap: bool = False
    button: str = OPTIMIZE
    pack_islands: bool = False
    others: tuple[str, ...] = ()
    layout: dict[str, Any] | None = None
    export: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    @property
    def layout_file(self) -> Path | None:
        """The file of the layout; None without one, and for PBRfit's own layouts."""
        if self.layout is None or self.layout["name"] in LAYOUTS:
            return None
        return Path(self.layout["name"])

    @property
    def owner(self) -> Owner:
        """Whose result it will be."""
        return Owner(None if self.blend is None else str(self.blend.resolve()), self.object_name)

    @property
    def result(self) -> Path:
        """The .blend that will be saved."""
        return Path(os.path.realpath(self.out)) / f"{self.name}.blend"


class Host(Protocol):
    """Where the button is pressed. blender: which one; work: a folder for temporary files that somebody else removes."""

    @property
    def blender(self) -> Blender: ...

    @property
    def work(self) -> Path: ...

    def events(self, instructions: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Carry out a request of drive.py. Yields its events; raises CommandError as they do."""
        ...


@dataclass(frozen=True)
class OwnBlender:
    """A Blender for one request."""

    blender: Blender
    work: Path

    def events(self, instructions: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Start it for the request, and end it."""
        extension = str(build_extension(self.blender, self.work))
        yield from run_script(
            self.blender, "command_line/drive.py", {**instructions, "extension": extension}, self.work
        )


@contextlib.contextmanager
def own_blender(binary: str | None) -> Iterator[Host]:
    """A Blender for one request, with a temporary folder. Raises CommandError where there is none."""
    blender = find_blender(binary)
    with tempfile.TemporaryDirectory(prefix="pbrfit-", ignore_cleanup_errors=True) as folder:
        yield OwnBlender(blender, Path(folder))


def build_extension(blender: Blender, work: Path) -> Path:
    """The zip of the extension. Raises CommandError."""
    try:
        wheels = "none" if blender.binary is None else "bundled"
        return build_addon.build(work / "extension", wheels, with_manual=False)
    except BuildError as error:
        raise CommandError(f"The Blender extension cannot be built: {error}", "") from error


def output_folder(request: DriveRequest) -> list[str]:
    """Make the folder for the result. Returns the files in it that may be overwritten. Raises CommandError."""
    out, blend = request.result.parent, request.blend
    if blend is not None and request.result == blend.resolve():
        raise CommandError(f"The result would overwrite {blend}.", "Give --out another folder.")
    if out.exists() and not out.is_dir():
        raise CommandError(f"{out} cannot be written to: it is a file, not a folder.", "Give --out another folder.")
    if blend is not None:
        check_file(blend)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        return may_be_replaced(request)
    except OSError as error:
        raise CommandError(f"{out} cannot be written to: {error.strerror}.", "Give --out another folder.") from error


def may_be_replaced(request: DriveRequest) -> list[str]:
    """The files in the folder of the result that may be overwritten. Raises CommandError where others are in the way."""
    maps = BAKED_FILES if request.button == BAKE else FIT_FILES
    return replaceable(request.result.parent, request.name, request.owner, maps)


def is_gltf(path: Path | None) -> bool:
    """Whether a file is not opened, but imported."""
    return path is not None and path.suffix.lower() in GLTF


def check_file(blend: Path) -> None:
    """Raise CommandError where the file cannot be read, or is no .blend and no glTF."""
    try:
        with open(blend, "rb") as file:
            start = file.read(7)
    except OSError as error:
        raise CommandError(
            f"{blend} cannot be read: {error.strerror}.", "Get the right to read it, or copy it to where you can."
        ) from error
    if is_gltf(blend):
        if not start.startswith((b"glTF", b"{")):
            raise CommandError(
                f"{blend} is not a glTF file.", "Give the path of a .glb or .gltf that a program exported."
            )
    elif not start.startswith(BLEND_STARTS):
        raise CommandError(
            f"{blend} is not a .blend file.", "Give the path of a file that Blender saved, or of a glTF."
        )


def drive(
    request: DriveRequest,
    host: Host,
    may_replace: list[str],
    progress: Progress,
    take: Callable[[dict[str, Any]], None] = lambda _event: None,
    **further: Any,
) -> dict[str, Any]:
    """Press the button in the host's Blender, wait, and save. Returns drive.py's result. Raises CommandError, or Interrupted.

    ``may_replace``: of `output_folder`; ``take``: called with events that are
    neither progress nor the result; ``further``: values of drive.py's request.
    """
    instructions = {
        "blend": None if request.blend is None else str(request.blend.resolve()),
        "object": request.object_name,
        "button": request.button,
        "unwrap": request.unwrap,
        "pack_islands": request.pack_islands,
        "others": list(request.others),
        "layout": request.layout,
        "export": export_request(request.export, request.name, request.object_name),
        "backend_python": sys.executable if request.button == OPTIMIZE else "",
        "properties": request.properties,
        "original": None,
        "result": str(request.result),
        "owner": request.owner.as_json(),
        "replaceable": may_replace,
        **further,
    }
    result: dict[str, Any]
    psnr_db = None
    phases = {**PHASES, "done": DONE[request.button]}
    for event in host.events(instructions):
        if "progress" in event:
            state = event["progress"]
            psnr_db = state["psnr_db"] or psnr_db  # it is measured only now and then
            phase = phases.get(state["state"], state["state"])
            message = state["message"].removeprefix(phase).strip() if state["state"] in SHOWN_MESSAGES else ""
            progress.show(phase, state["fraction"], state["seconds_left"], psnr_db, message)
        elif "cancelled" in event:
            raise Interrupted
        elif "result" in event:
            result = event["result"]
        else:
            take(event)
    return result


def layout_text(result: dict[str, Any], out: Path) -> str:
    """What was saved for other programs besides, in words; empty where nothing was asked for."""
    layout, exported = result.get("layout"), export_text(result, out)
    if not layout:
        return exported
    count = len(layout["files"])
    folder = out / Path(layout["files"][0]).parent if count else out
    said = f"{count} file{'' if count == 1 else 's'} in the layout {layout['layout']}" + (
        f": {folder}" if count else ""
    )
    return f"{said}\n{exported}" if exported else said


def materials_text(result: dict[str, Any]) -> str:
    """The new materials of a result, in words."""
    names = list(dict.fromkeys(one["material"] for one in result["sets"]))
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"the material{'s' if len(names) > 1 else ''} {shown}"
