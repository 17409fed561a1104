"""`python -m benchmarks fit`: how fast and how well the fit does nvdiffrec's two cases and a varied surface."""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from backend.cli.errors import CommandError
from backend.fit.fit_plan import FitPlan
from backend.job.device import resolve_device
from benchmarks.cases import (
    ANCHOR_DB,
    CASES,
    DATA,
    Case,
    HeldOut,
    anchor_curves,
    kd_psnrs,
    load_case,
    training_cameras,
)
from benchmarks.fitting import FitRun, build_table, plan_for, run_fit, time_iterations
from benchmarks.image_space import ImageSpacePlan, run_image_space
from benchmarks.measure import Clock, check_output, circumstances, peak_bytes, print_table, reset_peak, write_json
from render.light.environment import EnvironmentLight, create_trainable_env_rnd
from render.material.material import MaterialMaps

_LEVELS_DB = (30, 35, 40)
_WARM_UP_ITERATIONS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--case", choices=(*CASES, "all"), default="all")
    parser.add_argument(
        "--light", choices=("known", "learned"), default="learned", help="whether the light is fitted too"
    )
    parser.add_argument(
        "--model", choices=("nvdiffrec", "principled"), default="nvdiffrec", help="shading model of both sides"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--views", type=int, default=32, help="training views")
    parser.add_argument("--cameras", choices=("spread", "random"), default="spread", help="where they are seen from")
    parser.add_argument("--validation-views", type=int, default=0, help="further views by which the fit may stop early")
    parser.add_argument("--view-size", type=int, default=512, help="edge of a training view in pixels")
    parser.add_argument("--held-out-size", type=int, default=512, help="edge of a held-out view in pixels")
    parser.add_argument("--resolution", type=int, default=512, help="edge of the maps in texels")
    parser.add_argument("--light-resolution", type=int, default=512, help="edge of a face of the lights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--noise",
        type=int,
        default=0,
        metavar="SAMPLES",
        help="give the references the noise of so many samples a pixel",
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the fit's plan")
    parser.add_argument("--cold", action="store_true", help="measure a first run in a fresh process too")
    parser.add_argument("--compare-image-space", action="store_true", help="fit by whole images to 35 dB too")
    parser.add_argument("--image-space-batch", type=int, default=4, help="views an iteration of that")
    parser.add_argument("--image-space-learning-rate", type=float, default=0.02)
    parser.add_argument("--image-space-seconds", type=float, default=600.0, help="when it is given up")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/, forest_1k.hdr, anchor-nvdiffrec.json")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--plot", type=Path, metavar="STEM", help="draw PSNR against time as STEM.png and STEM.svg")
    parser.add_argument("--first-run", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as the options say, print, write; returns what was written."""
    _check(options)
    for path in (options.json, options.plot):
        check_output(path)
    if options.plot is not None:
        from benchmarks.plots import require_matplotlib

        require_matplotlib()
        anchor_curves(options.data)
    names = CASES if options.case == "all" else (options.case,)
    runs = []
    for name in names:
        runs.append(run_case(name, options))
        _print(runs[-1])
    result = (
        runs[0]
        if len(runs) == 1
        else {"runs": runs} | {key: runs[0][key] for key in ("machine", "versions", "date", "settings")}
    )
    if options.json is not None:
        write_json(options.json, result)
    if options.plot is not None:
        from benchmarks.plots import plot_quality

        plot_quality(runs, anchor_curves(options.data), options.plot)
    return result


def _check(options: argparse.Namespace) -> None:
    for name in ("views", "view_size", "held_out_size", "resolution", "light_resolution", "image_space_batch"):
        if getattr(options, name) < 1:
            raise CommandError(
                f"--{name.replace('_', '-')} is {getattr(options, name)}.", "Give a number of at least 1."
            )
    if options.validation_views < 0:
        raise CommandError(f"--validation-views is {options.validation_views}.", "Give 0 for none.")


def first_run(options: argparse.Namespace) -> None:
    """References, table and fit of one case and nothing else: what a fresh process is timed with."""
    case, plan = _prepared(options.case, options)
    _timed_run(case, plan, options, snapshots=False)


def _prepared(name: str, options: argparse.Namespace) -> tuple[Case, FitPlan]:
    device = resolve_device(options.device)
    plan = plan_for(options.resolution, options.model, options.light == "learned", options.set)
    case = load_case(name, options.data, options.resolution, options.light_resolution, options.model, device)
    return replace(case, noise=options.noise), plan


def _start_light(case: Case, options: argparse.Namespace, seed: int) -> EnvironmentLight:
    if options.light == "known":
        return case.light.clone()
    return create_trainable_env_rnd(options.light_resolution, seed=seed, device=case.mesh.position.device)


def _timed_run(case: Case, plan: FitPlan, options: argparse.Namespace, snapshots: bool) -> FitRun:
    device = case.mesh.position.device
    cameras = training_cameras(options.views, options.cameras, options.seed, device)
    validation = training_cameras(options.validation_views, "random", options.seed + 1, device)
    light = _start_light(case, options, options.seed)
    return run_fit(case, light, plan, cameras, options.view_size, options.seed, snapshots, validation)


def warm_up(case: Case, plan: FitPlan, options: argparse.Namespace) -> float:
    """Seconds of a short fit with other views, another seed and smaller references: a process is warm after it."""
    device = case.mesh.position.device
    clock = Clock(device)
    cameras = training_cameras(min(8, options.views), "random", options.seed + 100, device)
    short = replace(plan, iterations=_WARM_UP_ITERATIONS)
    light = _start_light(case, options, options.seed + 100)
    run_fit(case, light, short, cameras, max(16, options.view_size // 2), options.seed + 100, snapshots=False)
    clock.lap("warm-up")
    return clock.phases["warm-up"]


def run_case(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is measured of one case, as JSON values."""
    cold = cold_start(name, options) if options.cold else None
    case, plan = _prepared(name, options)
    device = case.mesh.position.device
    about = circumstances(device)
    warm_up_seconds = warm_up(case, plan, options)
    fit = _timed_run(case, plan, options, snapshots=True)

    history, views = _judged(case, fit, options.held_out_size)
    kd, kd_scaled = kd_psnrs(case, fit.maps)
    result = {
        "case": name,
        "light": options.light,
        "model": options.model,
        "seconds_to": seconds_to(history, ANCHOR_DB[name]),
        "anchor_db": ANCHOR_DB[name],
        "seconds": fit.seconds,
        "phases": fit.phases,
        "iterations": fit.iterations,
        "ms_per_iteration_in_fit": 1e3 * fit.phases["fit"] / max(1, fit.iterations),
        "held_out_psnr_db": fmean(views),
        "held_out_psnr_db_list": views,
        "worst_fall_db": worst_fall(history),
        "kd_psnr_db": kd,
        "kd_psnr_scaled_db": kd_scaled,
        "kd_scale": "one factor a channel, least squares on linear values; PSNR in sRGB, clipped to 0..1",
        "samples": fit.samples,
        "table_bytes": fit.table_bytes,
        "history": history,
        "clock": "from the request of the references, process warm; synchronised at snapshots and between phases",
        "warm_up_seconds": warm_up_seconds,
        "cold_start": cold,
    }
    del fit
    result |= _speed_and_memory(case, plan, options)
    if options.compare_image_space:
        result["image_space"] = _image_space(case, history, options)
    settings = {key: value for key, value in vars(options).items() if key not in _NOT_SETTINGS}
    return result | about | {"settings": settings | {"device": str(device), "plan": asdict(plan)}}


_NOT_SETTINGS = ("json", "plot", "first_run", "data", "command", "case", "device")


def seconds_to(history: Sequence[dict[str, float]], anchor_db: float) -> dict[str, float | None]:
    """Seconds of the first snapshot at or above 30, 35, 40 dB and nvdiffrec's final PSNR; None where none is."""
    levels = {str(level): float(level) for level in _LEVELS_DB} | {"anchor": anchor_db}
    return {
        name: next((entry["seconds"] for entry in history if entry["psnr_db"] >= level), None)
        for name, level in levels.items()
    }


def worst_fall(history: Sequence[dict[str, float]]) -> float:
    """By how many dB the PSNR against the clean truth was ever lower than at an earlier snapshot: a fit to noise falls."""
    best, fall = -math.inf, 0.0
    for entry in history:
        best = max(best, entry["psnr_db"])
        fall = max(fall, best - entry["psnr_db"])
    return fall


def _judged(case: Case, fit: FitRun, size: int) -> tuple[list[dict[str, float]], list[float]]:
    """PSNR of each snapshot, and of each held-out view at the end."""
    judge, known = HeldOut(case, size), case.light.base.detach()
    history = []
    for snapshot in fit.snapshots:
        base = known if snapshot.base is None else snapshot.base.to(known)
        quality = fmean(judge.psnr_db(MaterialMaps(snapshot.texels.to(known)), base))
        history.append({"iteration": snapshot.iteration, "seconds": snapshot.seconds, "psnr_db": quality})
    return history, judge.psnr_db(fit.maps, fit.base)


def _speed_and_memory(case: Case, plan: FitPlan, options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory in a run without snapshots (all of it on a GPU, a few iterations of each size on the CPU, where it is
    slow), and the time of an iteration at full size."""
    device = case.mesh.position.device
    on_gpu = device.type == "cuda"
    reset_peak(device)
    again = _timed_run(case, plan if on_gpu else replace(plan, iterations=2 * plan.stages), options, snapshots=False)
    result = {
        "peak_bytes": peak_bytes(device),
        "peak_bytes_of": "torch.cuda.max_memory_allocated" if on_gpu else "resident set of the process",
        "seconds_without_snapshots": again.seconds if on_gpu else None,
    }
    del again
    cameras = training_cameras(options.views, options.cameras, options.seed, device)
    table = build_table(case, cameras, options.view_size, Clock(device))
    window, windows = (20, 10) if on_gpu else (2, 5)
    light = _start_light(case, options, options.seed)
    seconds = time_iterations(table, light, plan, window, windows, options.seed).iteration
    return result | {"ms_per_iteration": 1e3 * seconds, "ms_per_iteration_window": [window, windows]}


def _image_space(case: Case, history: list[dict], options: argparse.Namespace) -> dict[str, Any]:
    cameras = training_cameras(options.views, options.cameras, options.seed, case.mesh.position.device)
    light = _start_light(case, options, options.seed)
    plan = ImageSpacePlan(
        options.image_space_batch, options.image_space_learning_rate, budget=options.image_space_seconds
    )
    learned = options.light == "learned"
    judge = HeldOut(case, options.held_out_size)
    result = run_image_space(case, light, learned, cameras, options.view_size, judge, plan, options.seed)
    ours = next((entry["seconds"] for entry in history if entry["psnr_db"] >= plan.target_db), None)
    theirs = result["seconds_to_target"]
    # Where it never gets there, it is at least this many times slower.
    spent = theirs if theirs is not None else sum(result["phases"].values())
    return result | {
        "fit_seconds_to_target": ours,
        "ratio": None if ours is None else spent / ours,
        "ratio_is": "exact" if theirs is not None else "a lower bound: the target was not met in the budget",
    }


def cold_start(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Wall-clock seconds of the same run as a process of its own: imports, files, operators, kernels, fit, exit.

    Twice: with no kernel compiled before, and with those that the first left.
    """
    command = [sys.executable, "-m", "benchmarks", "fit", "--first-run", "--case", name]
    names = ("light", "model", "device", "views", "cameras", "validation_views", "view_size", "resolution")
    for option in (*names, "light_resolution", "seed", "data"):
        command += [f"--{option.replace('_', '-')}", str(getattr(options, option))]
    for change in options.set:
        command += ["--set", change]
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    seconds = []
    with tempfile.TemporaryDirectory() as kernels:
        environment = os.environ | {"PYTHONPATH": path, "TRITON_CACHE_DIR": kernels}
        for _ in range(2):
            begin = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            seconds.append(time.perf_counter() - begin)
            if done.returncode != 0:
                raise CommandError(
                    f"The first run in a fresh process failed: {done.stderr.strip()[-500:]}", "Run without --cold."
                )
    return {
        "seconds": seconds[0],
        "seconds_with_kernels_compiled": seconds[1],
        "includes": "interpreter, imports, files, operators, kernels, references, table, fit, exit",
    }


def _print(result: dict[str, Any]) -> None:
    reached = result["seconds_to"]
    heading = ["", "30 dB", "35 dB", "40 dB", f"{result['anchor_db']} dB", "ms/iteration", "iterations", "held out dB"]
    heading += ["kd dB", "kd scaled dB", "peak MiB"]
    values = [result[key] for key in ("ms_per_iteration", "iterations", "held_out_psnr_db", "kd_psnr_db")]
    row = ["seconds to", *reached.values(), *values, result["kd_psnr_scaled_db"], result["peak_bytes"] / 2**20]
    print_table(f"{result['case']}, light {result['light']}, model {result['model']}", [heading, row])
    print("  phases: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in result["phases"].items()))
    if result["cold_start"]:
        cold = result["cold_start"]
        print(
            f"  cold start: {cold['seconds']:.2f} s, {cold['seconds_with_kernels_compiled']:.2f} s with kernels compiled"
        )
    if "image_space" in result:
        other = result["image_space"]
        print(
            f"  image space to {other['target_db']} dB: {other['seconds_to_target']} s, ratio {other['ratio']}",
            flush=True,
        )


__all__ = ["add_arguments", "first_run", "run", "run_case", "seconds_to"]
