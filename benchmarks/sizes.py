"""`python -m benchmarks sizes`: what each step costs as its input grows, one input at a time."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from backend.cli.errors import CommandError
from backend.job.device import resolve_device
from benchmarks.cases import DATA, Case, load_case, subdivided, training_cameras
from benchmarks.fitting import build_table, plan_for, time_iterations
from benchmarks.measure import (
    Clock,
    check_output,
    circumstances,
    is_out_of_memory,
    median_seconds,
    peak_bytes,
    print_table,
    reset_peak,
    write_json,
)
from benchmarks.ops import prefilter_outputs
from render.light.environment import create_trainable_env_rnd
from render.light.prefilter import SpecularPrefilter, default_levels
from render.texture.map_size import MapSize, Size

# What stands still while one input grows.
_VIEWS, _VIEW_SIZE, _RESOLUTION, _LIGHT = 16, 512, 512, 256
# Steps shorter than this say more about launching than about the size.
_TOO_SHORT = 2e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--only", choices=tuple(_SWEEPS), help="this sweep alone")
    parser.add_argument("--maps", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--shapes", nargs="+", default=["2048x2048", "4096x1024", "1024x4096"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--views", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--subdivisions", type=int, default=5, help="how often spot's 5856 triangles are quartered")
    parser.add_argument("--lights", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--view-size", type=int, default=_VIEW_SIZE, help="edge of a view in pixels")
    parser.add_argument("--resolution", type=int, default=_RESOLUTION, help="edge of the maps where they stand still")
    parser.add_argument("--light-resolution", type=int, default=_LIGHT, help="of the light where it stands still")
    parser.add_argument("--base-views", type=int, default=_VIEWS, help="views where they stand still")
    parser.add_argument("--model", choices=("nvdiffrec", "principled"), default="nvdiffrec", help="shading model")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for each sweep; larger sizes are left out")
    parser.add_argument("--memory", type=float, default=math.inf, metavar="GIB", help="of a GPU to use at most")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--plot", type=Path, metavar="STEM", help="draw it as STEM.png and STEM.svg")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the sweeps, print, write; returns what was written."""
    for path in (options.json, options.plot):
        check_output(path)
    for name in ("maps", "views", "lights"):
        if min(getattr(options, name)) < 1:
            raise CommandError(f"--{name} holds {min(getattr(options, name))}.", "Give numbers of at least 1.")
    if options.plot is not None:
        from benchmarks.plots import require_matplotlib

        require_matplotlib()
    for shape in options.shapes:
        _size_of(shape)
    device = resolve_device(options.device)
    if device.type == "cuda" and math.isfinite(options.memory):
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, options.memory * 2**30 / total), device)
    case = load_case("spot", options.data, options.resolution, options.light_resolution, options.model, device)
    _fit_steps(case, 1, options, options.resolution)  # what a process builds once is no cost of a size
    sweeps = {
        name: measured(sweep(case, options), device, options.budget)
        for name, sweep in _SWEEPS.items()
        if options.only in (None, name)
    }
    result = circumstances(device) | {
        "sweeps": sweeps,
        "growth": {name: growth(points) for name, points in sweeps.items()},
        "growth_is": "largest exponent between neighbouring sizes, seconds against input; 1 is linear",
        "settings": {
            key: value for key, value in vars(options).items() if key not in ("json", "plot", "data", "command")
        },
    }
    for name, points in sweeps.items():
        _print(name, points, result["growth"][name])
    if options.json is not None:
        write_json(options.json, result)
    if options.plot is not None:
        from benchmarks.plots import plot_sizes

        plot_sizes(sweeps, options.plot)
    return result


# A size, how much input it is, in what unit, and the work that gives seconds by step.
Point = tuple[int | str, int, str, Callable[[], dict[str, float]]]


def measured(points: Iterator[Point], device: torch.device, budget: float) -> list[dict[str, Any]]:
    """Seconds and peak memory of each point; what the budget or the memory leaves out is noted with the reason."""
    result: list[dict[str, Any]] = []
    started, reason = time.perf_counter(), None
    try:
        for size, count, unit, work in points:
            values: dict[str, Any] = {"size": size, "input": count, "input_unit": unit}
            result.append(values)
            if reason is None and time.perf_counter() - started > budget:
                reason = f"the budget of {budget:g} s was spent"
            if reason is not None:
                values["skipped"] = reason
                continue
            reset_peak(device)
            begin = time.perf_counter()
            try:
                values["seconds"] = work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                values["skipped"] = reason = "out of memory"
                continue
            values |= {"peak_bytes": peak_bytes(device), "wall_seconds": time.perf_counter() - begin}
    except (RuntimeError, MemoryError) as error:  # the input itself does not fit
        if not is_out_of_memory(error):
            raise
    return result


def growth(points: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """For each step the largest exponent between neighbouring sizes, leaving out what is too short to tell."""
    done = [point for point in points if "seconds" in point]
    result: dict[str, float | None] = {}
    for step in done[0]["seconds"] if done else ():
        exponents = [
            math.log(later["seconds"][step] / earlier["seconds"][step]) / math.log(later["input"] / earlier["input"])
            for earlier, later in pairwise(done)
            if min(earlier["seconds"][step], later["seconds"][step]) > _TOO_SHORT and later["input"] > earlier["input"]
        ]
        result[step] = max(exponents, default=None)
    return result


def _fit_steps(case: Case, views: int, options: argparse.Namespace, resolution: Size) -> dict[str, float]:
    """References, table, and preparation and one iteration of a fit at full size, with the plan's batch, the light known."""
    device = case.mesh.position.device
    clock = Clock(device)
    table = build_table(case, training_cameras(views, device=device), options.view_size, clock)
    window, windows = (10, 4) if device.type == "cuda" else (2, 2)
    plan = plan_for(resolution, options.model, learn_light=False)
    timed = time_iterations(table, case.light, plan, window, windows)
    return {
        "references": clock.phases["references"],
        "table": clock.phases["table"],
        "preparation": timed.preparation,
        "iteration": timed.iteration,
    }


def _maps(case: Case, options: argparse.Namespace) -> Iterator[Point]:
    for size in options.maps:
        yield size, size * size, "texels", lambda size=size: _fit_steps(case, options.base_views, options, size)


def _shapes(case: Case, options: argparse.Namespace) -> Iterator[Point]:
    for shape in options.shapes:
        size = _size_of(shape)
        yield shape, size.texels, "texels", lambda size=size: _fit_steps(case, options.base_views, options, size)


def _size_of(shape: str) -> MapSize:
    width, _, height = shape.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise CommandError(f"--shapes holds {shape}.", "Give widths and heights, as in 4096x1024.")
    return MapSize(int(height), int(width))


def _views(case: Case, options: argparse.Namespace) -> Iterator[Point]:
    for count in options.views:
        yield count, count, "views", lambda count=count: _fit_steps(case, count, options, options.resolution)


def _triangles(case: Case, options: argparse.Namespace) -> Iterator[Point]:
    for times in range(options.subdivisions + 1):
        mesh = subdivided(case.mesh) if times else case.mesh
        case = replace(case, mesh=mesh)
        count = len(mesh.triangles)
        yield (
            count,
            count,
            "triangles",
            lambda case=case: _fit_steps(case, options.base_views, options, options.resolution),
        )


def _lights(case: Case, options: argparse.Namespace) -> Iterator[Point]:
    device = case.mesh.position.device
    for size in options.lights:
        yield size, 6 * size * size, "texels of the cube", lambda size=size: _light_steps(size, device)


def _light_steps(size: int, device: torch.device) -> dict[str, float]:
    """Building the operator with its transpose, and applying it."""
    light = create_trainable_env_rnd(size, device=device)

    def forward() -> list[torch.Tensor]:
        with torch.no_grad():
            return prefilter_outputs(light.build_mips())

    def both() -> None:
        outputs = prefilter_outputs(light.build_mips())
        light.base.grad = None
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])

    clock = Clock(device)
    # A new one: `build_mips` keeps those it has built.
    levels = SpecularPrefilter(size, default_levels(size), device, light.base.dtype).apply(light.base)
    torch.autograd.backward(levels, [torch.ones_like(level) for level in levels])
    clock.lap("building")
    del levels
    return {
        "building": clock.phases["building"],
        "forward": median_seconds(forward, device, budget=5.0),
        "forward + backward": median_seconds(both, device, budget=5.0),
    }


def _print(name: str, points: Sequence[dict[str, Any]], exponents: dict[str, float | None]) -> None:
    steps = list(next((point["seconds"] for point in points if "seconds" in point), {}))
    rows: list[list[object]] = [[name, *(f"{step} s" for step in steps), "peak MiB"]]
    for point in points:
        if "seconds" in point:
            rows.append([point["size"], *(point["seconds"][step] for step in steps), point["peak_bytes"] / 2**20])
        else:
            rows.append([point["size"], *[point["skipped"]][: len(steps)], *[""] * max(0, len(steps) - 1), ""])
    if steps:
        rows.append(["growth", *(exponents[step] for step in steps), ""])
    print_table(f"cost against {name}", [row[: len(rows[0])] for row in rows])


_SWEEPS: dict[str, Callable[[Case, argparse.Namespace], Iterator[Point]]] = {
    "maps": _maps,
    "shapes": _shapes,
    "views": _views,
    "triangles": _triangles,
    "lights": _lights,
}
