"""Plots of what was measured, as PNG and SVG, by matplotlib (`pip install "pbrfit[benchmarks]"`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.cli.errors import CommandError

_SUFFIXES = (".png", ".svg")
# What older records call a shading model.
_OLD_MODEL_NAMES = {"seed": "nvdiffrec"}


def require_matplotlib() -> Any:
    """matplotlib.pyplot, drawing to files alone. Raises CommandError where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise CommandError("Plots need matplotlib.", 'Install it with pip install "pbrfit[benchmarks]".') from error
    matplotlib.use("Agg")
    # The same drawing gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "pbrfit"
    import matplotlib.pyplot

    return matplotlib.pyplot


def plot_quality(runs: Sequence[dict[str, Any]], anchor: dict[str, list[dict[str, float]]], stem: Path) -> list[Path]:
    """Held-out PSNR against seconds, one panel a case: the runs of `fit`, and nvdiffrec's recorded curve."""
    pyplot = require_matplotlib()
    cases = [name for name in anchor if any(run["case"] == name for run in runs)]
    figure, panels = pyplot.subplots(1, len(cases), figsize=(6.4 * len(cases), 4.6), squeeze=False, sharey=True)
    for panel, case in zip(panels[0], cases, strict=True):
        for run in runs:
            if run["case"] == case and run["history"]:
                device = run["machine"]["device"]
                model = _OLD_MODEL_NAMES.get(run["model"], run["model"])
                label = f"PBRfit, light {run['light']}, {model} model, {device}"
                panel.plot(*_curve(run["history"]), marker=".", label=label)
                if run.get("image_space", {}).get("history"):
                    label = f"whole images, light {run['light']}, {device}"
                    panel.plot(*_curve(run["image_space"]["history"]), marker=".", linestyle="--", label=label)
        recorded = [entry for entry in anchor[case] if entry["seconds"] > 0]
        panel.plot(*_curve(recorded), color="black", marker="o", label="nvdiffrec, light learned, NVIDIA H200")
        panel.axhline(recorded[-1]["psnr_db"], color="black", linewidth=0.7, linestyle=":")
        panel.set(title=case, xlabel="seconds since the references were requested", xscale="log")
        panel.grid(True, which="both", linewidth=0.3)
        panel.legend(fontsize=7, loc="best")
    panels[0][0].set_ylabel("held-out PSNR (dB)")
    return _save(pyplot, figure, stem)


def _curve(history: Sequence[dict[str, float]]) -> tuple[list[float], list[float]]:
    return [entry["seconds"] for entry in history], [entry["psnr_db"] for entry in history]


def plot_sizes(sweeps: dict[str, list[dict[str, Any]]], stem: Path) -> list[Path]:
    """Seconds of each step (log-log) and peak memory against size, one column a sweep; dotted: linear in the input."""
    pyplot = require_matplotlib()
    figure, panels = pyplot.subplots(2, len(sweeps), figsize=(4.6 * len(sweeps), 7.5), squeeze=False)
    for (name, points), (times, memory) in zip(sweeps.items(), panels.T, strict=True):
        done = [point for point in points if "seconds" in point]
        if not done:
            continue
        inputs = [point["input"] for point in done]
        for step in done[0]["seconds"]:
            seconds = [point["seconds"][step] for point in done]
            (line,) = times.plot(inputs, seconds, marker="o", label=step)
            linear = [seconds[0] * size / inputs[0] for size in inputs]
            times.plot(inputs, linear, color=line.get_color(), linewidth=0.6, linestyle=":")
        times.set(title=name, xscale="log", yscale="log", ylabel="seconds")
        times.legend(fontsize=7)
        memory.plot(inputs, [point["peak_bytes"] / 2**20 for point in done], marker="o", color="black")
        memory.set(xscale="log", ylabel="peak MiB", xlabel=done[0]["input_unit"])
        memory.set_ylim(bottom=0)
        for panel in (times, memory):
            panel.grid(True, which="both", linewidth=0.3)
            panel.set_xticks(inputs, labels=[_short(size) for size in inputs])
            panel.minorticks_off()
    return _save(pyplot, figure, stem)


def _short(count: int) -> str:
    """6291456 as "6.3 M", 5856 as "5.9 k"."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2g} {unit}" if count < 100 * size else f"{count / size:.0f} {unit}"
    return str(count)


def _save(pyplot: Any, figure: Any, stem: Path) -> list[Path]:
    figure.tight_layout()
    paths = [stem.with_name(stem.name + suffix) for suffix in _SUFFIXES]
    for path in paths:
        figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return paths


def runs_of(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The runs in files that `fit --json` wrote. Raises CommandError for a file that is none."""
    runs: list[dict[str, Any]] = []
    for path in paths:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found = values.get("runs", [values])
        except (OSError, ValueError, AttributeError) as error:
            raise CommandError(f"{path} cannot be read ({error}).", "Name files that `fit --json` wrote.") from error
        if not all("history" in run and "case" in run for run in found):
            raise CommandError(f"{path} holds no runs of the fit.", "Name files that `fit --json` wrote.")
        runs += found
    return runs
