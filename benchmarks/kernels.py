"""`python -m benchmarks kernels`: what an iteration of the fit on a GPU is made of, kernel by kernel, against the roofline.

The floor of a kernel is the time in which the bytes it must read and write pass at the bandwidth of a plain copy, each
counted once. Times are those of the profiler (CUPTI), which leave out the gaps between kernels; `wall_ms` has them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backend.cli.errors import CommandError
from backend.fit.table_fit import TableFit
from backend.job.device import resolve_device
from benchmarks.cases import DATA, load_case, training_cameras
from benchmarks.fitting import build_table, plan_for, row_bytes
from benchmarks.measure import Clock, check_output, circumstances, copy_bandwidth, print_table, synchronize, write_json
from render.light.environment import create_trainable_env_rnd, prefilter_parts
from render.light.kernels.light_prefilter import LightPrefilter, light_prefilter

# nvdiffrec's batch: 8 views of 512 x 512, about 570 k covered pixels.
_ANCHOR_VIEWS = 8
_WARM_UPS, _REPEATS = 20, 100
# Adam reads value, gradient and two moments and writes three of them; a map's step reads its neighbours from the cache.
_ADAM_PASSES = 7
_NAME = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--device", default="auto", help="auto, cuda or cuda:N")
    parser.add_argument("--model", choices=("nvdiffrec", "principled"), default="nvdiffrec", help="shading model")
    parser.add_argument("--resolution", type=int, default=512, help="edge of the maps in texels")
    parser.add_argument("--light-resolution", type=int, default=512, help="edge of a face of the light")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Profile iterations with the light known and learned, print, write; returns what was written."""
    check_output(options.json)
    device = resolve_device(options.device)
    if device.type != "cuda":
        raise CommandError(f"{device} has no kernels to profile.", "Run it on a machine with an NVIDIA GPU.")
    bandwidth = copy_bandwidth(device)
    result = circumstances(device) | {"copy_bandwidth_bytes_per_second": bandwidth, "iterations": []}
    for learned in (False, True):
        result["iterations"].append(_iteration(options, device, learned, bandwidth))
    if options.json is not None:
        write_json(options.json, result)
    return result


def _iteration(options: argparse.Namespace, device: torch.device, learned: bool, bandwidth: float) -> dict[str, Any]:
    case = load_case("spot", options.data, options.resolution, options.light_resolution, options.model, device)
    table = build_table(case, training_cameras(_ANCHOR_VIEWS, device=device), 512, Clock(device))
    plan = replace(plan_for(options.resolution, options.model, learned), batch=len(table), stages=1)
    light = create_trainable_env_rnd(options.light_resolution, device=device) if learned else case.light
    fit = TableFit(table, light, plan)
    fit.set_resolution(plan.resolution, len(table))
    wall = _wall(lambda: fit.step(0.01), device)
    operator, layout, _ = prefilter_parts(light)
    floors = _floors(row_bytes(table), case.maps.texels.nbytes, light_prefilter(operator, layout), learned)
    kernels = [
        {"kernel": name, "launches": count, "us": 1e6 * seconds}
        | ({"floor_us": 1e6 * floors[name] / bandwidth} if name in floors else {})
        for name, (seconds, count) in _profiled(lambda: fit.step(0.01), device).items()
    ]
    about = {"light": "learned" if learned else "known", "samples": len(table), "wall_ms": 1e3 * wall}
    rows: list[list[object]] = [["kernel", "launches", "us", "floor us"]]
    rows += [[item["kernel"], item["launches"], item["us"], item.get("floor_us")] for item in kernels]
    rows.append(["all", sum(item["launches"] for item in kernels), sum(item["us"] for item in kernels), None])
    print_table(f"an iteration of {len(table)} samples, light {about['light']}: {about['wall_ms']:.3f} ms", rows)
    return about | {"kernels": kernels}


def _floors(table: int, maps: int, light: LightPrefilter, learned: bool) -> dict[str, int]:
    """Bytes that each of the larger kernels must move in an iteration, all its launches together."""
    cells = 12 * light.cells
    atlas = 4 * light.layout.height * light.layout.width  # one channel
    floors = {
        # The table; the maps' pyramid (a third more than the maps) and its gradient, read and added to.
        "fused_samples": table + 3 * maps * 4 // 3 + (3 * atlas + 2 * 4 * atlas if learned else 3 * atlas),
        "step_texels": 7 * maps + maps // 4,
        "halve_texels": 2 * maps + maps // 3,
    }
    if not learned:
        return floors
    base = 6 * light.resolutions[0] ** 2 * 12
    return floors | {
        "blocked_pieces": light.product_bytes,
        "sum_cells": light.sum_bytes + cells + 4 * atlas,
        "adam_values": _ADAM_PASSES * base * 4 // 3,
        "halve": base + cells,
        "halve_transposed": 2 * base + cells,
        "enlarge_and_add": 2 * cells,
        "enlarge_transposed": cells,
        "fill_atlas": 4 * atlas + base,
        "to_logarithm": 3 * base,
    }


def _wall(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one of many in a row."""
    for _ in range(_WARM_UPS):
        work()
    synchronize(device)
    begin = time.perf_counter()
    for _ in range(_REPEATS):
        work()
    synchronize(device)
    return (time.perf_counter() - begin) / _REPEATS


def _profiled(work: Callable[[], object], device: torch.device) -> dict[str, tuple[float, float]]:
    """Seconds and launches of each kernel in one call of `work`, longest first."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for _ in range(_REPEATS):
            work()
        synchronize(device)
    found: dict[str, list[float]] = {}
    for event in profiler.events():
        if event.device_time_total:
            entry = found.setdefault(event.name[:_NAME], [0.0, 0.0])
            entry[0] += event.device_time_total * 1e-6 / _REPEATS
            entry[1] += 1 / _REPEATS
    ordered = sorted(found.items(), key=lambda item: -item[1][0])
    return {name: (seconds, count) for name, (seconds, count) in ordered}
