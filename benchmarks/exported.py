"""`python -m benchmarks exported`: the demo's object exported, imported again, and rendered beside what it was.

The object is baked for each target: the demo's own look for Core, and noise in each lobe for the fuller ones; then, as GLB
only, with each lobe alone and with a fuller material. A GLB is imported twice: with the add-on and without it. The floor is the
same scene before the export with other random numbers. Each kind of file
is written by the button's own operator, which starts a second Blender. Files are judged by other programs where these
are there: --node-modules names a folder with the npm packages gltf-validator and three; the Python packages usd-core and
materialx. --chromium names a Chromium, for the picture by three.js beside that of Cycles.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import build_addon
from backend.cli.errors import CommandError
from backend.protocol.model_kinds import KINDS
from benchmarks.measure import check_output, circumstances, print_table, rounded, write_json
from benchmarks.web_viewer import web_picture

INSIDE = Path(__file__).with_name("exported_inside.py")
TARGETS = ("CORE", "GLTF", "PRINCIPLED")
LONGEST_SECONDS = 1800.0
VALIDATOR = """
const validator = require(process.argv[1] + "/gltf-validator"), fs = require("fs"), path = require("path");
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])), {
  externalResourceFunction: uri => Promise.resolve(
    new Uint8Array(fs.readFileSync(path.join(path.dirname(process.argv[2]), decodeURIComponent(uri))))),
}).then(found => console.log(JSON.stringify(found.issues)));
"""
BACKDROP, GAP = 38, 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--resolution", type=int, default=512, help="width and height of the maps (default: 512)")
    parser.add_argument("--size", type=int, default=256, help="width and height of the renders (default: 256)")
    parser.add_argument("--samples", type=int, default=64, help="of the renders (default: 64)")
    parser.add_argument("--node-modules", type=Path, help="a folder with the npm packages gltf-validator and three")
    parser.add_argument("--chromium", type=Path, help="a Chromium, for the picture by three.js")
    parser.add_argument("--picture", type=Path, help="write Cycles and three.js side by side here")
    parser.add_argument("--keep", type=Path, help="keep the files in this folder")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Export all kinds for all targets, print a table, and write the record."""
    check_output(options.json)
    with tempfile.TemporaryDirectory(prefix="pbrfit-exported-") as temporary:
        folder = options.keep.resolve() if options.keep else Path(temporary, "files")
        folder.mkdir(parents=True, exist_ok=True)
        rows, looks = export_all(options, folder, Path(temporary))
        for row in rows:
            path = folder / row["target"] / f"{row['kind']}{KINDS[row['kind']].suffix}"
            row.update(judged(row["kind"], path, options.node_modules))
        for row in looks:
            path = folder / "looks" / f"{row['look'].replace(' ', '_')}.glb"
            row.update(judged("glb", path, options.node_modules))
        record: dict[str, Any] = {}
        if options.chromium:
            record["three_js"] = compare_with_the_web(options, folder)
    quality = ("psnr_db", "without_pbrfit_db", "floor_db", "errors", "warnings")
    for names, found in ((("target", "kind", "seconds", "bytes", *quality), rows), (("look", *quality), looks)):
        print_table("Exported", [list(names), *([row.get(name, "") for name in names] for row in found)])
    if options.json:
        settings = {"resolution": options.resolution, "size": options.size, "samples": options.samples}
        write_json(
            options.json,
            {**circumstances(torch.device("cpu")), "settings": settings, "files": rows, "looks": looks, **record},
        )


def export_all(
    options: argparse.Namespace, folder: Path, temporary: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of exported_inside.py: of all kinds of files, and of GLB files of single lobes."""
    request = {
        "zip": str(build_addon.build(temporary, "none")),
        "user": str(temporary / "user"),
        "folder": str(folder),
        "targets": TARGETS,
        "resolution": options.resolution,
        "size": options.size,
        "samples": options.samples,
    }
    done = subprocess.run(
        [sys.executable, str(INSIDE), json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    if done.returncode:
        raise CommandError("The export was not measured.", done.stderr[-3000:])
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    rows, looks = ([rounded(json.loads(rest)) for word, _, rest in lines if word == kind] for kind in ("ROW", "LOOK"))
    return rows, looks


def judged(kind: str, path: Path, node_modules: Path | None) -> dict[str, Any]:
    """What the makers of a format say of a file: ``errors`` and ``warnings``, and by which program (``judge``)."""
    if kind in ("glb", "gltf") and node_modules:
        command = ["node", "-e", VALIDATOR, str(node_modules.resolve()), str(path)]
        issues = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return {"judge": "gltf-validator", "errors": issues["numErrors"], "warnings": issues["numWarnings"]}
    if kind.startswith("usd") and (usd := module("pxr.Usd")) and (validation := module("pxr.UsdValidation")):
        validators = validation.ValidationRegistry().GetOrLoadAllValidators()
        found = validation.ValidationContext(validators).Validate(usd.Stage.Open(str(path)))
        kinds = [str(error.GetType()).rpartition(".")[2] for error in found]
        return {"judge": "UsdValidation", "errors": kinds.count("Error"), "warnings": kinds.count("Warn")}
    if kind.startswith("mtlx") and (materialx := module("MaterialX")):
        library, document = materialx.createDocument(), materialx.createDocument()
        materialx.loadLibraries(materialx.getDefaultDataLibraryFolders(), materialx.getDefaultDataSearchPath(), library)
        materialx.readFromXmlFile(document, str(path))
        document.setDataLibrary(library)
        valid, said = document.validate()
        return {"judge": "MaterialX", "errors": 0 if valid else len(said.splitlines()), "warnings": 0}
    return {}


def module(name: str) -> Any:
    """A module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def compare_with_the_web(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The PSNR of three.js against Cycles for the first GLB, and the picture of both if it is wanted."""
    png = folder / "three_js.png"
    png.write_bytes(
        web_picture(options.chromium, options.node_modules / "three", folder / TARGETS[0] / "glb.glb", folder)
    )
    shutil.rmtree(folder / "chromium", ignore_errors=True)
    cycles, web = (opened(folder / name) for name in (f"{TARGETS[0]}_before.png", png.name))
    inside = (cycles[..., 3] > 254.0) & (web[..., 3] > 254.0)
    error = np.mean(((cycles - web)[inside][:, :3] / 255.0) ** 2)
    if options.picture:
        over = [
            item[..., :3] * item[..., 3:] / 255.0 + BACKDROP * (1.0 - item[..., 3:] / 255.0) for item in (cycles, web)
        ]
        gap = np.full((cycles.shape[0], GAP, 3), 255.0)
        image = Image.fromarray(np.rint(np.concatenate([over[0], gap, over[1]], axis=1)).astype(np.uint8))
        image.quantize(256).save(options.picture, optimize=True)
    version = json.loads((options.node_modules / "three" / "package.json").read_text())["version"]
    browser = subprocess.run(
        [str(options.chromium), "--version"], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    return {"psnr_db": round(-10.0 * float(np.log10(error)), 2), "three": version, "browser": browser.stdout.strip()}


def opened(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A PNG as numbers from 0 to 255, not multiplied by alpha: [h, w, 4]."""
    return np.asarray(Image.open(path).convert("RGBA"), np.float64)
