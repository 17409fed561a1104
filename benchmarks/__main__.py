"""`python -m benchmarks COMMAND`, from the root of the repository."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from backend.cli.errors import CommandError
from backend.job.model import JobError
from benchmarks import (
    atlas_fits,
    bake_times,
    batch,
    devices,
    exported,
    farm,
    fit,
    fitted_looks,
    fuzz,
    image_files,
    input_cases,
    kernels,
    known_truth,
    live,
    looks,
    one_closure,
    ops,
    preview,
    saved_maps,
    sizes,
    soak,
    studio_lights,
    upload,
)
from benchmarks.cases import DATA, anchor_curves
from benchmarks.measure import check_output
from render.core.image_io import ImageError
from render.geometry.mesh import MeshError

_COMMANDS = (
    ("fit", fit, "nvdiffrec's two cases: quality against time, with its recorded curve"),
    ("ops", ops, "the time of each operation against the bytes it must move"),
    ("kernels", kernels, "what an iteration on a GPU is made of, each kernel against the roofline"),
    ("sizes", sizes, "cost against the size of maps, views, mesh and light"),
    ("preview", preview, "from a camera's change to the frame in hand, over loopback"),
    ("live", live, "a fit that is watched beside one that is not"),
    ("devices", devices, "several fits at once, on one device and on several"),
    ("looks", fitted_looks, "looks of every kind, fitted as a user would, beside their bakes"),
    ("known_truth", known_truth, "scenes whose maps are known, fitted from a gray start, against these maps"),
    ("one_closure", one_closure, "how near one closure can be to a mix of two, and how near the bake is"),
    ("studio_lights", studio_lights, "how well lights tell base color, roughness, metallic and normals apart"),
    ("bakes", looks, "looks of every kind, baked and judged at points and in renders"),
    ("atlas_fits", atlas_fits, "fits of several slots and objects in an atlas, beside fits of each by itself"),
    ("bake_times", bake_times, "from the click on Bake Maps to the new material, beside bakes by hand"),
    ("saved_maps", saved_maps, "how long Save Maps takes for one object, for several programs"),
    ("batch", batch, "many small objects in one command, beside a command for each"),
    ("farm", farm, "small objects by Ray while workers are killed, and what a task costs"),
    (
        "exported",
        exported,
        "models for other programs: how near they are when imported again, and what their makers say",
    ),
    ("image_files", image_files, "the time to write and read the maps' files"),
    ("fuzz", fuzz, "nearly right messages by the hundred thousand, to a real backend"),
    ("soak", soak, "many clients with small jobs for many minutes: nothing is lost, and everybody is answered"),
    ("upload", upload, "how fast an array reaches a backend of the same machine, and what takes the time"),
    ("input_cases", input_cases, "small files that went wrong, fitted as a user would, against what is right"),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = result.add_subparsers(dest="command", required=True)
    for name, module, about in _COMMANDS:
        module.add_arguments(commands.add_parser(name, help=about, description=module.__doc__))
    plot = commands.add_parser("plot", help="draw the records of several fits beside nvdiffrec's")
    plot.add_argument("records", type=Path, nargs="+", help="files that `fit --json` wrote")
    plot.add_argument("--plot", type=Path, metavar="STEM", required=True, help="draw to STEM.png and STEM.svg")
    plot.add_argument("--data", type=Path, default=DATA, help="folder of anchor-nvdiffrec.json")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 2 after saying on stderr what is wrong and what to do."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "plot":
            from benchmarks.plots import plot_quality, runs_of

            check_output(options.plot)
            plot_quality(runs_of(options.records), anchor_curves(options.data), options.plot)
        elif options.command == "fit" and options.first_run:
            fit.first_run(options)
        else:
            modules = {name: module for name, module, _ in _COMMANDS}
            modules[options.command].run(options)
    except (CommandError, JobError, MeshError, ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
