"""Render objects with their own materials and with baked ones, in Cycles, and compare. Nothing of PBRfit is imported.

    python tests/looks/equality.py request.json

The request is JSON: `looks`, a list of {`look`, `object`, `blend`} as for judge.py; `size`, `samples`, `views`; and `output`,
the file for {look: {world: dB}}, null where the two are equal within noise; the first world is the look's own. `pictures`, if it
is there: an .npz file for the first view of each look, WORLD/own and WORLD/new, in sRGB code values 0..1. Each image is
rendered with two seeds, and the mean of (new1 - own1) (new2 - own2) is the squared error without noise.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, this folder alone is on the path

from looks.catalogue import OWN_WORLD, UNSEEN_WORLDS, build_looks
from looks.compare import srgb
from looks.seen_values import aim, judging_camera, show_only
from scenes.parts import image_world, shipped_hdri
from support.blender.exr_passes import read_passes, write_passes

WORLDS = (OWN_WORLD, *UNSEEN_WORLDS)
SEEDS = (1, 2)
DIRECTIONS = ((1.0, -0.9, 0.7), (-0.4, 1.0, 0.5), (-0.9, -0.5, 0.9), (0.3, 0.2, 1.0))
"""From where the object is seen: a flat one from above only."""
BRIGHTEST = 4.0  # one path's share of a pixel, times the samples: a chance hit of a lamp is no difference
BEST_DB = 90.0  # what cannot be told from noise counts as equal
Images = dict[str, NDArray[np.float64]]


def compare_all(request: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The errors of each look of a request, by world. The open file is lost."""
    found = {}
    for item in request["looks"]:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        (thing,) = build_looks([item["look"]])
        own = rendered(thing, request)
        bpy.ops.wm.open_mainfile(filepath=item["blend"], load_ui=False)
        new = rendered(bpy.data.objects[item["object"]], request)
        found[item["look"]] = {world: corrected_db(own[world], new[world]) for world in WORLDS}
        if "pictures" in request:
            kinds = (("own", own), ("new", new))
            np.savez(
                request["pictures"],
                **{f"{world}/{kind}": coded(images[world].mean(0)[0]) for kind, images in kinds for world in WORLDS},
            )
    return found


def rendered(thing: bpy.types.Object, request: dict[str, Any]) -> Images:
    """An object of the open file in each world: float64 [seeds, views, size, size, 4], premultiplied."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    set_up(scene, layer, request["size"], request["samples"])
    show_only(thing)
    camera, center, radius = judging_camera(thing)
    found: Images = {}
    with tempfile.TemporaryDirectory(prefix="looks_") as folder:
        path = Path(folder) / "render.exr"
        write_passes(path)
        for name in WORLDS:
            image_world(shipped_hdri(name))
            images = []
            for seed in SEEDS:
                for number, direction in enumerate(DIRECTIONS[: request["views"]]):
                    scene.cycles.seed = 10 * seed + number
                    aim(camera, center, radius, Vector(direction))
                    bpy.ops.render.render(write_still=True)
                    images.append(read_passes(path)["Combined"].astype(np.float64))
            found[name] = np.stack(images).reshape(len(SEEDS), -1, *images[0].shape)
    return found


def set_up(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, size: int, samples: int) -> None:
    """Renders in a transparent film, in which no single path can outshine all others."""
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = scene.render.use_persistent_data = True
    scene.render.use_border = scene.render.use_compositing = scene.render.use_sequencer = False
    cycles = scene.cycles
    cycles.device, cycles.samples = "CPU", samples
    cycles.sampling_pattern = "TABULATED_SOBOL"  # the noise of seeds is alike in others
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.sample_clamp_direct = cycles.sample_clamp_indirect = BRIGHTEST
    for old in list(layer.aovs):
        layer.aovs.remove(old)


def corrected_db(own: NDArray[np.float64], new: NDArray[np.float64]) -> float | None:
    """The PSNR in sRGB code values over the object's pixels, without noise; None if no difference can be told from it.

    own, new: [2, views, size, size, 4].
    """
    covered = (own[..., 3].mean(0) > 0.01) | (new[..., 3].mean(0) > 0.01)
    errors = (coded(new) - coded(own))[:, covered]
    products = errors[0] * errors[1]
    mean, doubt = products.mean(), products.std() / np.sqrt(products.size)
    if mean <= doubt:
        return None
    decibels = float(-10.0 * np.log10(mean))
    return None if decibels > BEST_DB else decibels


def coded(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a screen shows of them, over black, without what is brighter than white."""
    return srgb(np.clip(images[..., :3], 0.0, 1.0))


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(asked["output"]).write_text(json.dumps(compare_all(asked), indent=1), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # some versions of Blender hang or crash when Python ends
