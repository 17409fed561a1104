"""`python -m benchmarks input_cases`: small files that went wrong, fitted as a user would, against their known base color.

Each builder writes a file, most also the right base color (`expected_kd.npy`) and which texels count (`mask.npy`). The
error is that of the fitted base color in sRGB steps of 255, over the texels that the object's faces cover. The outline is
the first references' against the mesh that the artist's own scene renders (intersection over union). With --compare it
writes the table of two records instead.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.cli.errors import CommandError
from benchmarks.measure import check_output, circumstances, write_json
from render.core.image_io import read_image

_ROOT = Path(__file__).resolve().parents[1]
_SHARED = _ROOT.parent / "shared" / "cases"
_OWN = _ROOT / "tests" / "scenes" / "cases.py"
_TRUTH = _ROOT / "tests" / "scenes" / "truth.py"
_DECIDED = 0.2  # a pixel counts for an outline if less than this, or more than the rest, is covered
_ACES = {"OCIO": "ocio://studio-config-v2.1.0_aces-v1.3_ocio-v2.3"}
_REFERENCES = ("--views", "24", "--view-size", "128", "--samples", "16")
# The base color alone: in a draft it trades with metallic, by 20 of 255 on a plain sphere and by 6 without metallic, which
# would hide what is wrong with a case.
_SETTINGS = (*_REFERENCES, "--resolution", "256", "--maps", "kd", "--quality", "draft", "--seed", "0")
_OUTLINES = 3
_LONGEST_SECONDS = 900.0
_RED, _BLUE = (0.6, 0.03, 0.03), (0.03, 0.1, 0.6)


@dataclass(frozen=True)
class Case:
    """A file to fit. kind: a letter of docs/cases.md; own: whether tests/scenes/cases.py builds it; environment: variables
    of the programs that build and fit it; options: of the command line; slots: the right linear color of each slot's set."""

    name: str
    kind: str
    own: bool = False
    object_name: str = "Thing"
    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    slots: tuple[tuple[float, float, float], ...] = ()


CASES = (
    Case("simplify", "A"),
    Case("gn_is_viewport", "A"),
    Case("screw", "A"),
    Case("viewlayer_attr", "B"),
    Case("fps", "B"),
    Case("active_camera", "B"),
    Case("scene_driver", "B", own=True),
    Case("other_scene", "B", own=True),
    Case("cloth_cache", "C", own=True),
    Case("baked_nodes", "C", own=True),
    Case("gn_instances", "D"),
    Case("particles_objects", "D"),
    Case("hair", "D"),
    Case("emitter_hidden", "D"),
    Case("same_name", "E"),
    Case("linked_slot_names", "E", own=True),
    Case("other_colors", "F", own=True, environment=_ACES),
    Case("flipped", "G"),
    Case("open_shell", "G"),
    Case("card", "G"),
    Case("uvtile", "H"),
    Case("unused_missing", "I"),
    Case("sequence", "I"),
    Case("muted_missing", "I", own=True),
    Case("gn_uv", "J"),
    Case("gn_material", "J"),
    Case("instanced_only", "K"),
    Case("world_png_alpha", "L", own=True),
    Case("world_volume", "M"),
    Case("world_by_ray", "M", own=True),
    Case("two_materials", "N", options=("--map-sets", "material"), slots=(_RED, _BLUE)),
    Case("backfacing", "O"),
    Case("shader_to_rgb", "O"),
    Case("override", "O"),
    Case("foreign_names", "O", own=True, object_name="Dückdalben 物"),
    Case("studio_world", "-", own=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--cases", type=Path, default=_SHARED, help="folder of the builders (default: ../shared/cases)")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="measure only these")
    parser.add_argument(
        "--python", default=sys.executable, help="the Python whose PBRfit is measured (default: this one)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files and the results here")
    parser.add_argument("--json", type=Path, help="write what was measured to this file, after each case")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="print the table of two records"
    )
    parser.add_argument(
        "--into", type=Path, metavar="FILE.md", help="with --compare: put the table between the file's marks"
    )


def run(options: argparse.Namespace) -> None:
    """Fit each case and print a row for it, or print the table of two records."""
    if options.compare:
        _compare(*(json.loads(path.read_text(encoding="utf-8")) for path in options.compare), options.into)
        return
    check_output(options.json)
    unknown = set(options.only) - {case.name for case in CASES}
    if unknown:
        raise CommandError(f"There is no case {', '.join(sorted(unknown))}.", f"It is one of {', '.join(_names())}.")
    record = circumstances(torch.device("cpu")) | {
        "settings": " ".join(_SETTINGS),
        "measured": _measured(options.python),
    }
    rows: dict[str, Any] = {}
    if options.json and options.json.is_file():  # a record that was begun goes on
        rows = json.loads(options.json.read_text(encoding="utf-8"))["cases"]
    with tempfile.TemporaryDirectory(prefix="pbrfit-cases-") as temporary:
        for case in CASES:
            if case.name in rows if not options.only else case.name not in options.only:
                continue
            folder = (options.keep or Path(temporary)) / case.name
            rows[case.name] = {"kind": case.kind} | measure(case, options.cases, folder.absolute(), options.python)
            print(f"| {case.name} | {case.kind} | {cell(rows[case.name])} |", flush=True)
            if options.json:
                write_json(options.json, record | {"cases": rows})


def _names() -> list[str]:
    return [case.name for case in CASES]


def _measured(python: str) -> dict[str, str]:
    """The commit and the Blender of the PBRfit that `python` imports."""
    code = (
        "import backend, bpy, sys, os; print(backend.__file__, bpy.app.version_string); sys.stdout.flush(); os._exit(0)"
    )
    said = subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True, check=True).stdout.split()
    git = ["git", "-C", str(Path(said[0]).parent), "rev-parse", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return {"commit": found.stdout.strip() or "none", "blender": " ".join(said[1:])}


# Measuring ----------------------------------------------------------------------------------------------------------


def measure(case: Case, builders: Path, folder: Path, python: str) -> dict[str, Any]:
    """Build a case in `folder`, fit it with the PBRfit of `python`, and compare: figures, or the words of the refusal."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "case.blend"
    script = [_OWN, case.name] if case.own else [builders / f"{case.name}.py"]
    built = _run([sys.executable, *script, file], folder, case.environment)
    if not file.is_file():
        raise CommandError(f"The case {case.name} cannot be built: {built.stderr[-500:]}", "Give --cases its folder.")
    command = [
        python,
        "-m",
        "backend",
        "optimize",
        file,
        "--object",
        case.object_name,
        "--out",
        folder / "out",
        *_SETTINGS,
    ]
    began = time.monotonic()
    with _References(folder / "references") as kept:
        fitted = _run(
            [*command, *_known(case.options, python)], folder, case.environment | {"TMPDIR": str(kept.scratch)}
        )
    row: dict[str, Any] = {"seconds": round(time.monotonic() - began, 1)}
    if fitted.returncode:
        words = [line.strip() for line in fitted.stderr.splitlines()]
        start = next((i for i, line in enumerate(words) if line.startswith("pbrfit:")), max(0, len(words) - 3))
        told = " ".join(words[start:]).removeprefix("pbrfit:").strip()
        return row | {"refused": told.replace(f"{folder}{os.sep}", "")}
    report = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    row |= {"held_out_psnr_db": report["heldout_psnr_db"], "warnings": report["warnings"]}
    return row | _against_truth(case, folder, kept)


def _known(options: tuple[str, ...], python: str) -> tuple[str, ...]:
    """The options, if the PBRfit of `python` has them."""
    if not options:
        return ()
    said = subprocess.run(
        [python, "-m", "backend", "optimize", "--help"], cwd="/", capture_output=True, text=True, check=True
    )
    return options if options[0] in said.stdout else ()


def _run(command: list[Any], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_SECONDS,
    )


class _References:
    """Keeps the first references of a fit, which PBRfit removes at its end: as second names of the files, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder.with_name("scratch")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _References:
        for place in (self.folder, self.scratch):
            place.mkdir(exist_ok=True)
        for old in self.folder.iterdir():
            old.unlink()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        names = ["plan.json", "mesh.npz", *(f"view_{index:04d}.npy" for index in range(_OUTLINES))]
        while not self._ended.wait(0.1):
            with contextlib.suppress(FileNotFoundError):  # folders come and go
                for plan in self.scratch.rglob("group_0/plan.json"):
                    for name in names:
                        kept = self.folder / name
                        if not kept.exists() and (plan.parent / name).exists():
                            os.link(plan.parent / name, kept)

    def views(self) -> list[dict[str, Any]]:
        """The first cameras: of the plan, or those that PBRfit plans around the mesh that it exported."""
        path = self.folder / "plan.json"
        plan = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"views": []}
        if "views" in plan:
            return list(plan["views"][:_OUTLINES])
        # As PBRfit's second Blender does it: the add-on's own __init__ would need a Blender.
        modules = types.ModuleType("pbrfit_modules")
        modules.__path__ = [str(_ROOT / "blender_addon")]
        sys.modules[modules.__name__] = modules
        views = importlib.import_module("pbrfit_modules.references.views")
        with np.load(self.folder / "mesh.npz") as mesh:
            x, y, z = mesh["vertex_position"].T
        center, radius = views.bounding_sphere(np.stack([-z, -x, y], axis=1))
        cameras = plan["cameras"]
        planned = views.plan_views(center, radius, cameras["training"], cameras["held_out"], cameras["seed"])
        return [view.for_blender() for view in planned[:_OUTLINES]]


def _against_truth(case: Case, folder: Path, kept: _References) -> dict[str, Any]:
    """The error of the base color, and how the references' outlines agree with the mesh of the artist's scene."""
    request = folder / "truth.json"
    images = [np.load(path) for path in sorted(kept.folder.glob("view_*.npy"))]
    size = images[0].shape[0] if images else 128
    views = kept.views()[: len(images)]
    asked = {"blend": str(folder / "case.blend"), "object": case.object_name, "views": views, "size": size}
    request.write_text(json.dumps(asked | {"output": str(folder / "truth.npz")}), encoding="utf-8")
    inside = _run([sys.executable, _TRUTH, request], folder, case.environment)
    if not (folder / "truth.npz").is_file():
        raise CommandError(f"The truth of {case.name} cannot be computed: {inside.stderr[-800:]}", "")
    truth = np.load(folder / "truth.npz")
    row: dict[str, Any] = {}
    if images:
        pairs = zip(truth["outlines"], [image[..., 3] for image in images], strict=True)
        row["outline_iou"] = min(_agreement(covered, alpha) for covered, alpha in pairs)
    errors = _kd_errors(case, folder, truth["coverage"])
    if errors is not None:
        row |= {"kd_mean": float(errors.mean()), "kd_p95": float(np.percentile(errors, 95))}
    return row


def _agreement(covered: NDArray[Any], alpha: NDArray[Any]) -> float:
    """Intersection over union, without the pixels that the outline halves: noise decides there."""
    decided = np.abs(covered - 0.5) > 0.5 - _DECIDED
    one, other = covered[decided] > 0.5, alpha[decided] > 0.5
    return float((one & other).sum() / max(1, (one | other).sum()))


def _kd_errors(case: Case, folder: Path, slots: NDArray[np.int32]) -> NDArray[np.float64] | None:
    """Absolute differences in steps of 255, [N, 3]; None where no right color is known.

    slots: int32 [slot, 256, 256], 1 where faces of the slot cover the texel, row 0 at the top.
    """
    found = sorted((folder / "out").glob("*/kd.png")) or [folder / "out" / "kd.png"]
    fitted = [np.asarray(read_image(path), np.float64)[..., :3] for path in found]
    if case.slots:
        right = [_srgb(np.broadcast_to(color, (256, 256, 3))) for color in case.slots]
        parts = [
            (fitted[min(slot, len(fitted) - 1)], color, covered > 0)
            for slot, (color, covered) in enumerate(zip(right, slots, strict=True))
        ]
    elif (folder / "expected_kd.npy").is_file():
        covered = slots.any(axis=0)
        if (folder / "mask.npy").is_file():
            covered &= np.load(folder / "mask.npy")
        parts = [(fitted[0], np.load(folder / "expected_kd.npy").astype(np.float64), covered)]
    else:
        return None
    return np.concatenate([np.abs(kd[mask] - right[mask] * 255.0) for kd, right, mask in parts if mask.any()])


def _srgb(linear: NDArray[Any]) -> NDArray[np.float64]:
    encoded: NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


# The table ----------------------------------------------------------------------------------------------------------


def cell(row: dict[str, Any] | None) -> str:
    """What happened, for a cell of a table."""
    if row is None:
        return "not measured"
    if "refused" in row:
        return f"refused: {_short(row['refused'])}"
    parts = []
    if "kd_mean" in row:
        parts.append(f"kd off by {row['kd_mean']:.1f} (95%: {row['kd_p95']:.0f})")
    if "outline_iou" in row:
        parts.append(f"outline {row['outline_iou']:.3f}")
    if row["held_out_psnr_db"] is not None:
        parts.append(f"reported {row['held_out_psnr_db']:.1f} dB")
    parts += [f"warns: {_short(warning)}" for warning in row["warnings"]]
    return "; ".join(parts)


def _short(text: str, most: int = 160) -> str:
    text = " ".join(text.replace("|", "/").split())
    return text if len(text) <= most else text[: most - 3] + "..."


def _compare(before: dict[str, Any], after: dict[str, Any], into: Path | None) -> None:
    lines = ["| case | kind | before | after |", "| --- | --- | --- | --- |"]
    for case in CASES:
        old, new = (cell(record["cases"].get(case.name)) for record in (before, after))
        lines.append(f"| {case.name} | {case.kind} | {old} | {new} |")
    machine = after["machine"]
    lines += ["", f"Blender {after['measured']['blender']}, {machine.get('cpu', machine['device'])}, {after['date']}."]
    table = "\n".join(lines)
    print(table)
    if into is not None:
        start, end = "<!-- table of benchmarks/input_cases.py -->\n", "\n<!-- end of the table -->"
        text = into.read_text(encoding="utf-8")
        head, _, rest = text.partition(start)
        _, found, tail = rest.partition(end)
        if not found:
            raise CommandError(f"{into} has no marks for the table.", f"Write {start.strip()} and {end.strip()} in it.")
        into.write_text(head + start + table + end + tail, encoding="utf-8")
