"""The texts that the add-on shows, read from the source: what a catalogue of translations has to hold.

A text is found where it is written: as a label, a tooltip, a name or an item of a setting, and as any sentence or phrase,
since those are shown sooner or later: as a cause, a cure, a message. So a new sentence cannot be forgotten; one that is
never shown stands in `NOT_SHOWN`. Of the backend it is those files whose sentences an artist sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.text_reader import TextReader

BACKEND_FILES = (
    "cli/doctor",
    *("fit/memory", "job/checkpoints", "job/device", "job/failures", "job/map_sets", "job/run", "job/set_fit"),
    *("job/set_fits", "job/starts", "job/tables", "preview/look", "preview/scene", "preview/worker"),
    *("protocol/client/connection", "protocol/client/link", "protocol/client/link_loop", "protocol/keys"),
    *(
        "protocol/find_start_maps",
        "protocol/gltf_maps",
        "protocol/map_layouts",
        "protocol/map_names",
        "protocol/start_maps",
    ),
    *("protocol/settings", "server/job_requests", "server/job_service", "server/job_table", "server/preview_service"),
    *("server/store", "worker/host", "worker/process", "worker/remote_jobs", "worker/remote_preview", "worker/slot"),
    "worker/slots",
)
"""Those whose messages and errors come to the artist. What the others say is for who writes a client or runs a server."""

SILENT = {
    "command_line": "the command line's, which is English",
    "closures/parameters": "names of nodes and sockets, except TARGET_NAMES, which are proper names",
    "baking/detail": "names of nodes and sockets",
    "baking/stand_ins": "names of nodes and sockets",
    "baking/tangents": "names of nodes and sockets",
    "common/geometry_output": "names of sockets, which are the file's",
    "common/material_recipe": "labels of frames and nodes, which are the file's",
    "common/node_layout": "names of nodes, which are the file's",
    "common/reached_nodes": "names of nodes and sockets",
    "common/color": "numbers",
    "models/gltf/kept": "names of images, which are the file's",
    "overlay/drawing": "shaders",
    "preview/gl/sources": "shaders",
    "preview/gl/shader": "shaders",
    "translations": "the translations themselves",
}
"""Files and folders of the add-on that show nothing, and why."""

WORDS_AS_VALUES = {
    "blender_addon/settings/output.py": ("JPEG", "TIFF", "Floats: OpenEXR"),
    "blender_addon/ui/operators_export.py": ("EEVEE",),
    "blender_addon/session/bake_session.py": ("bake",),
    "blender_addon/session/state_machine.py": ("fit",),
    "blender_addon/preflight/libraries.py": ("image", "node group"),
    "blender_addon/preflight/checks.py": ("material", "world"),
    "blender_addon/preflight/mesh.py": (
        "Convert the object to a mesh, which moves them into its slots (Object > Convert > Mesh).",
    ),
    "blender_addon/preflight/objects.py": ("curves", "instances", "points"),
}
"""Words that are put into sentences, and a sentence that is also put into another, by the file that says them."""
MADE_FROM_NUMBERS = {
    "blender_addon/settings/presets.py": ("Good maps in reasonable time: 120 views and maps of 1024 pixels",),
    "blender_addon/settings/preview.py": tuple(f"{count} samples a pixel" for count in (1, 4, 16, 64)),
}
"""Names and tooltips that are made of numbers when the add-on starts, as Blender then has them, by the file that makes them."""


@dataclass(frozen=True)
class ShownText:
    """A text that is shown. source: the file, relative to the checkout."""

    text: str
    source: str


def shown_texts(root: Path) -> list[ShownText]:
    """All texts of a checkout that are shown, each once for each file, in the order of the files and of their lines."""
    return [item for item in written_texts(root) if item.text not in NOT_SHOWN]


def written_texts(root: Path) -> list[ShownText]:
    """The same with those that are not shown."""
    found: dict[ShownText, None] = {}
    for path in sorted((root / "blender_addon").rglob("*.py")):
        place = path.relative_to(root / "blender_addon").with_suffix("").as_posix()
        if not any(place == silent or place.startswith(f"{silent}/") for silent in SILENT):
            found |= dict.fromkeys(_texts_of(path, root, is_addon=True))
    for name in BACKEND_FILES:
        found |= dict.fromkeys(_texts_of(root / "backend" / f"{name}.py", root, is_addon=False))
    for source, words in (*WORDS_AS_VALUES.items(), *MADE_FROM_NUMBERS.items()):
        found |= dict.fromkeys(ShownText(word, source) for word in words)
    return list(found)


def _texts_of(path: Path, root: Path, is_addon: bool) -> Iterator[ShownText]:
    reader = TextReader(path.read_text(encoding="utf-8"), is_addon)
    source = path.relative_to(root).as_posix()
    for text in reader.texts():
        yield ShownText(text, source)


NOT_SHOWN = frozenset(
    """
    {name} PBRfit Environment
    Share {number}
    # A layout of PBRfit: what each file holds. docs/export.md explains the words.
    title = {title}
    about = {about}
    normal = {normal}  # opengl: +Y; directx: -Y
    pattern = {pattern}
    map = {map}
    color = {whole}
    alpha = {alpha}
    format = {format}
    bits = {bits}
    PBRfit display
    PBRfit file
    PBRfit objects
    PBRfit rows
    display notification (item 2 of argv) with title (item 1 of argv)
    end run
    on run argv
    PBRfit bake
    PBRfit camera
    PBRfit depth
    PBRfit end
    PBRfit Exporter
     of {name}
    PBRfit light
    PBRfit output
    PBRfit object
    PBRfit page
    PBRfit picture
    PBRfit pictures
    PBRfit sheet
    PBRfit source
    PBRfit text
    PBRfit turn
    PBRfit second Blender
    PBRfit unseen light
    PBRfit unused
    PBRfit world
    PBRfit Studio light
    linear Rec.709
    scene linear
    usage: SCRIPT plan.json
    viewport {names}
    there is no channel {channel} or no background {background}: {channels}
    No module named '?backend
    pip install {name}
    pip install --force-reinstall {name}
    pip install --force-reinstall bpy
    pip install triton
    pip install triton-windows
    pip install ".[blender]", for `pbrfit demo` and `pbrfit optimize`; or give them --blender PATH.
    not installed; an installed Blender with the add-on does not need it
    apt-get install {packages}
    DLL load failed
    Blender (module bpy)
    Blender (program)
    Blender ended when it looked for them
    Cycles devices
    Give --blender another path.
    Give --blender the path of a Blender program.
    Give --blender the path of a Blender.
    Give `pbrfit optimize` the option --render-device cpu, or update the graphics driver.
    Use Blender {oldest} or newer.
    there is no program {program}
    {found} cannot be run: {strerror}
    {found} is not a Blender, or does not start: {stderr}
    No matching distribution found
    Installing collected packages:
    pip install
    unrecognized arguments
    settings = bpy.context.scene.pbrfit
    can't allocate memory
    cannot allocate memory
    not enough memory
    out of memory
    CUDA error
    it belongs to another job or version
    something else is in {path}
    its numbers are not those of a fit
    it is at no place of the plan
    its iterations are not those of its place in the plan
    {name} is missing or of another form
    {name} has values that are not finite
    its light does not belong to this job
    set {number} does not belong to this job
    its maps do not belong to this job's plan
    A later request has taken this frame's place.
    Submit it again.
    Wait for its final event.
    The scene lacks its description, arrays, jobs or number.
    No scene has been set.
    Set a scene before a frame is asked for.
    The message does not say which frame was seen.
    The submit message lacks its arrays.
    view_count is not a whole number from 0.
    last_seq is not a whole number from 0.
    The put message lacks its hash or its bytes.
    The piece does not lie within its array.
    Previews have 0 to {largest_watched} pixels, not {size}.
    {name} has {nbytes} bytes, and another array with its hash has {sizes}.
    Hash the arrays again.
    Hash the array again.
    Content {digest} was announced with two sizes.
    Content {digest} belongs to no job.
    Content {digest} has {total} bytes; {pinned} were announced.
    Content {digest} does not match its hash.
    Submit the job first.
    Submit the job again.
    There is no request {type}.
    Set {field} to {allowed}.
    Job {id} is {state}.
    Job {id} has no such piece of a file.
    The environment is {dtype} {shape}.
    The client fell silent, and the job waits for it.
    a JSON object of settings
    one of the settings {names}
    true or false
    A view is in a light that the job has not.
    Send an environment for each light of the views.
    The array {name} is {given} where finite float16 {shape} belong.
    triangle_set is {dtype} {shape} where whole numbers [{count}] belong
    triangle_set does not number the sets from 0 without gaps (-1: no set)
    """.replace("\n    ", "\n")
    .strip()
    .splitlines()
)
"""Sentences and phrases that nobody sees in the interface: names of what PBRfit makes, output of programs that is searched, what
goes to logs, and what the backend answers to messages that no add-on sends."""
